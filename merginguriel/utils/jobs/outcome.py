"""What became of a list of jobs: while they run, as a bar and lines, and in the end."""

import logging
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from merginguriel.utils.jobs.job import Job
from merginguriel.utils.jobs.processes import AGAIN
from merginguriel.utils.storage.command_lines import as_called
from merginguriel.utils.storage.messages import by_reason
from merginguriel.utils.storage.progress import Progress

log = logging.getLogger(__name__)


@dataclass
class Outcome:
    """By name: what a finished job said, how long it took, which were done before, why one failed."""

    done: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    kept: list[str] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)

    def settled(self, name: str) -> bool:
        return name in self.done or name in self.failures or name in self.kept

    def is_whole(self, name: str) -> bool:
        return name in self.done or name in self.kept

    def __str__(self) -> str:
        return f"{len(self.done)} done, {len(self.kept)} done before, {len(self.failures)} failed"


def conclude(outcome: Outcome, table: str) -> int:
    """Print how a command's jobs ended; its exit code."""
    print(*([table] if table else []), outcome, sep="\n")
    for line in by_reason(outcome.failures):
        print(f"failed: {as_called(line)}", file=sys.stderr)
    if outcome.failures:
        log.info("%s when they are repaired: only what is missing is done", AGAIN)
    return 1 if outcome.failures else 0


class JobProgress:
    """What workers report, on a bar, as a line for every job that has failed, and in the outcome."""

    def __init__(self, outcome: Outcome, jobs: Sequence[Job], bar: Progress, changed: Callable[[Outcome], None]):
        self._outcome, self._bar, self._changed = outcome, bar, changed
        self._names: dict[str, list[str]] = {}
        for job in jobs:
            self._names.setdefault(job.group, []).append(job.name)
        self._titles = {job.name: job.title or job.name for job in jobs}
        self._running: dict[int, str] = {}
        self._begun: set[int] = set()
        self._lost: Counter[str] = Counter()
        self._shares: dict[str, float] = {}
        self._since: dict[str, float] = {}

    def start(self, worker: int, group: str) -> None:
        self._running.pop(worker, None)
        self._begun.discard(worker)

    def done(self, worker: int, group: str, result: None, seconds: float) -> None:
        pass

    def failed(self, worker: int, group: str, reason: str) -> None:
        """The process, or its machine, is gone."""
        name = self._running.pop(worker, None)
        if name is None and worker not in self._begun:  # it never came to a job: the first one has to answer for it
            name = next((name for name in self._names[group] if not self._outcome.settled(name)), None)
        if name is None:
            return
        self._lost[name] += 1
        if self._lost[name] > 1:
            self.job_failed(worker, name, reason)
        else:
            log.warning("%s: lost, %s", name, reason.removesuffix(f"; {AGAIN}") + "; it is tried once more")

    def job_started(self, worker: int, name: str) -> None:
        self._running[worker] = name
        self._begun.add(worker)
        self._since[name] = time.monotonic()
        self._show()

    def job_share(self, worker: int, name: str, share: float) -> None:
        self._shares[name] = share
        self._show()

    def job_kept(self, worker: int, name: str) -> None:
        self._outcome.kept.append(name)
        self._ended(worker, name)

    def job_done(self, worker: int, name: str, words: str) -> None:
        self._outcome.done[name] = words
        self._outcome.seconds[name] = round(time.monotonic() - self._since[name], 2)
        if words:
            log.debug("%s: %s", self._titles[name], words)
        self._ended(worker, name)

    def job_failed(self, worker: int, name: str, reason: str) -> None:
        self._outcome.failures[name] = reason
        log.warning("%s: failed, %s", name, reason)
        self._ended(worker, name)

    def _ended(self, worker: int, name: str) -> None:
        self._running.pop(worker, None)
        self._shares.pop(name, None)
        self._show()
        self._changed(self._outcome)

    def _show(self) -> None:
        outcome = self._outcome
        ended = len(outcome.done) + len(outcome.kept) + len(outcome.failures)
        failed = [f"{len(outcome.failures)} failed"] if outcome.failures else []
        running = [
            f"{name} {self._shares[name]:.0%}" if name in self._shares else name for name in self._running.values()
        ]
        self._bar.say("; ".join([*failed, ", ".join(running)]))
        self._bar.reached(ended + round(sum(self._shares.values()), 1))
