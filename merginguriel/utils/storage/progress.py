"""How far a piece of work is: a bar with the time left, or a line now and then where there is no terminal."""

import contextlib
import logging
import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from merginguriel.utils.storage import messages

log = logging.getLogger(__name__)
Item = TypeVar("Item")
Own = TypeVar("Own", bound="Progress")
_FORMAT = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}<{remaining}{postfix}"
# Seconds: shorter work is not told in lines, and every tenth of longer work is, or what this pause has brought, which
# doubles: at most some twenty lines, be it minutes or days.
_SHORT, _PAUSE = 5.0, 30.0
_EARLY = 0.05  # the share that must be done before it tells the time left: until then most of the time was preparation
_NOTHING = 1e-9  # the share that is left by rounding alone, where work is counted in fractions
# Those at work in this process: work inside other work tells nothing in lines.
_at_work: list["Progress"] = []


class Progress:
    """Of `total` work in any unit, `done` of it by an earlier run; `total` may be corrected on the way."""

    def __init__(self, title: str, total: float = 0, done: float = 0):
        self.title, self.total, self._done, self._before = title, total, done, done
        self._start = self._said = time.monotonic()
        self._next_share, self._words = 0.1, ""

    def __enter__(self: Own) -> Own:
        self._open = contextlib.ExitStack()
        has_bar = sys.stderr.isatty() and self.is_shown()
        if has_bar:
            self._open.enter_context(logging_redirect_tqdm())
        bar = tqdm(
            total=self.total or None,
            initial=self._done,
            desc=self.title,
            bar_format=_FORMAT,
            leave=False,
            disable=not has_bar,
        )
        self._bar = self._open.enter_context(bar)
        self._in_lines = self.is_shown() and not has_bar and not _at_work
        _at_work.append(self)
        self._open.callback(_at_work.remove, self)
        return self

    def __exit__(self, *error: Any) -> None:
        self._open.close()

    def is_shown(self) -> bool:
        """Whether people are to hear of it."""
        return not messages.is_quiet()

    def moved(self, work: float = 1) -> None:
        """So much more is done."""
        self.reached(self._done + work)

    def reached(self, done: float) -> None:
        """So much is done in all."""
        self._bar.total = self.total
        self._bar.update(done - self._done)
        self._done = done
        if self._in_lines and self._is_due():
            words = f"; {self._words}" if self._words else ""
            log.info("%s: %.0f %%%s%s", self.title, 100 * done / self.total, self.left(), words)

    def say(self, words: str) -> None:
        """What is being done just now."""
        self._words = words
        self._bar.set_postfix_str(words)

    def left(self) -> str:
        """ ", about 1:20 left", where that can be told."""
        done, left = self._done - self._before, self.total - self._done
        if done < _EARLY * self.total or left < _NOTHING * self.total:
            return ""
        return f", about {tqdm.format_interval((time.monotonic() - self._start) * left / done)} left"

    def _is_due(self) -> bool:
        now = time.monotonic()
        if now - self._said < _SHORT or not 0 < self._done < self.total:
            return False
        share = self._done / self.total
        if share < self._next_share and now - self._said < max(_PAUSE, self._said - self._start):
            return False
        self._said, self._next_share = now, (int(10 * share) + 1) / 10
        return True


def over(items: Iterable[Item], title: str, total: float) -> Iterator[Item]:
    """The items, each counted when the next one is asked for."""
    with Progress(title, total) as progress:
        for item in items:
            yield item
            progress.moved()
