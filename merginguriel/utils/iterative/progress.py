"""A bar over the epochs of all languages of a run."""

import contextlib
from collections.abc import Callable
from typing import Any

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm


class EpochProgress:
    """What jobs/processes.py reports of parts of trainings; `trained` is told of every one that is done."""

    def __init__(self, max_epochs: int, reached: dict[str, int], trained: Callable[[str], None]):
        self._max_epochs, self._reached, self._trained = max_epochs, reached, trained
        self.failures: dict[str, str] = {}

    def __enter__(self) -> "EpochProgress":
        self._open = contextlib.ExitStack()
        self._open.enter_context(logging_redirect_tqdm())
        self._bar = self._open.enter_context(
            tqdm(
                total=self._max_epochs * len(self._reached),
                initial=sum(self._reached.values()),
                desc="training",
                unit=" epochs",
                leave=False,
                disable=None,
            )
        )
        return self

    def __exit__(self, *error: Any) -> None:
        self._open.close()

    def start(self, worker: int, locale: str) -> None:
        self._bar.set_postfix_str(locale)

    def epoch(self, worker: int, locale: str, epoch: int) -> None:
        self._reached[locale] = epoch
        self._bar.update(sum(self._reached.values()) - self._bar.n)

    def done(self, worker: int, locale: str, result: None, seconds: float) -> None:
        self._trained(locale)

    def failed(self, worker: int, locale: str, reason: str) -> None:
        self.failures[locale] = reason
