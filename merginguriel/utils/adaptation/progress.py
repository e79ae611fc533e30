"""How far an adaptation is, for people or for whoever runs it as one of many jobs."""

import logging
import time
from collections.abc import Callable

from merginguriel.utils.storage import progress

log = logging.getLogger(__name__)
_PAUSE = 0.5  # seconds between two reports to a caller, who may be another process


class Progress(progress.Progress):
    """`told`, where there is one, is told the share that is done in place of people."""

    def __init__(self, title: str, total: float, told: Callable[[float], None] | None = None):
        super().__init__(title, total)
        self._told, self._reported = told, 0.0

    def is_shown(self) -> bool:
        return self._told is None and super().is_shown()

    def reached(self, done: float) -> None:
        super().reached(done)
        if self._told and time.monotonic() - self._reported > _PAUSE:
            self._told(done / self.total)
            self._reported = time.monotonic()

    def milestone(self, words: str) -> None:
        """Something is done that is worth a line of its own."""
        self.say(words)
        if self._told is None:
            log.info("%s: %s%s", self.title, words, self.left())

    def share_of(self, work: float) -> Callable[[float], None]:
        """To be told what share of so much work is done; what the first call tells was done before this run began."""
        before: float | None = None

        def told(share: float) -> None:
            nonlocal before
            self.spared(share * work) if before is None else self.moved((share - before) * work)
            before = share

        return told

    def spared(self, work: float) -> None:
        """So much was done before this run began."""
        self.total -= work
