"""How far an adaptation is: a bar with the time left, or lines where there is no terminal."""

import contextlib
import logging
import time
from collections.abc import Callable
from typing import Any

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

log = logging.getLogger(__name__)
_FORMAT = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}<{remaining}{postfix}"
_PAUSE = 0.5  # seconds between two reports to a caller, who may be another process


class Progress:
    """Of `total` work in any unit; `told`, where there is one, is told the share that is done in place of people."""

    def __init__(self, title: str, total: float, told: Callable[[float], None] | None = None):
        self._title, self._total, self._told = title, total, told
        self._done, self._start, self._reported = 0.0, time.monotonic(), 0.0

    def __enter__(self) -> "Progress":
        self._open = contextlib.ExitStack()
        self._open.enter_context(logging_redirect_tqdm())
        shown = True if self._told else None  # None: where stderr is a terminal
        self._bar = self._open.enter_context(
            tqdm(total=self._total, desc=self._title, bar_format=_FORMAT, leave=False, disable=shown)
        )
        return self

    def __exit__(self, *error: Any) -> None:
        self._open.close()

    def moved(self, work: float) -> None:
        """So much more is done."""
        self._done += work
        self._bar.update(work)
        if self._told and time.monotonic() - self._reported > _PAUSE:
            self._told(self._done / self._total)
            self._reported = time.monotonic()

    def share_of(self, work: float) -> Callable[[float], None]:
        """To be told what share of so much work is done; what the first call tells was done before this run began."""
        before: float | None = None

        def reached(share: float) -> None:
            nonlocal before
            self.spared(share * work) if before is None else self.moved((share - before) * work)
            before = share

        return reached

    def spared(self, work: float) -> None:
        """So much was done before this run began."""
        self._total -= work
        self._bar.total = self._total
        self._bar.refresh()

    def say(self, words: str) -> None:
        if not self._bar.disable:
            self._bar.set_postfix_str(words)
        elif not self._told:
            log.info("%s: %s%s", self._title, words, self._left())

    def _left(self) -> str:
        if not 0 < self._done < self._total:
            return ""
        seconds = (time.monotonic() - self._start) * (self._total / self._done - 1)
        return f", about {tqdm.format_interval(seconds)} left"
