"""Splits of many languages read side by side, in other processes: reading is Python's work, a thread at a time.

with reading_ahead(task, [Wanted("fr-FR", "test")]):
    task.load("fr-FR", "test")
"""

import contextlib
import functools
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from auto_merge_llm.errors import InputError

from merginguriel.utils.data.task import Read, Task, Wanted
from merginguriel.utils.jobs.processes import cores, in_processes
from merginguriel.utils.storage.progress import Progress

FEWEST = 4  # processes, and splits for each, that are worth starting them


@contextlib.contextmanager
def reading_ahead(task: Task, wanted: Sequence[Wanted]) -> Iterator[None]:
    """While it lasts, `task` gives of `wanted` what was read before; all that is held in memory.

    What cannot be read raises where it is asked for. Where there is little to read or there are few cores, and of data
    that are no files here, nothing is read before. For commands: a process that a user's script starts would run that
    script once more.
    """
    processes = min(cores(), len(wanted) // FEWEST)
    if processes >= FEWEST and Path(task.data).expanduser().exists():
        task.ahead.update(_read_all(task, wanted, processes))
    try:
        yield
    finally:
        task.ahead.clear()


def _read_all(task: Task, wanted: Sequence[Wanted], processes: int) -> dict[Wanted, Read]:
    """Without those whose process ended, by a kill or a bug: they are read where they are asked for."""
    splits = {str(number): one for number, one in enumerate(wanted)}
    with Progress("reading", len(splits)) as bar:
        kept = _Kept(bar)
        in_processes(functools.partial(_Reader, task), splits.items(), processes, kept)
    return {splits[name]: read for name, read in kept.reads.items()}


class _Kept:
    """What the processes send, by the name of the job."""

    def __init__(self, bar: Progress):
        self.reads: dict[str, Read] = {}
        self._bar = bar

    def start(self, worker: int, name: str) -> None:
        pass

    def done(self, worker: int, name: str, read: Read, seconds: float) -> None:
        self.reads[name] = read
        self._bar.moved()

    def failed(self, worker: int, name: str, reason: str) -> None:
        self._bar.moved()


class _Reader:
    """The work of a process."""

    def __init__(self, task: Task):
        self._task = task

    def __call__(self, name: str, wanted: Wanted, report: Any) -> Read:
        warnings: list[tuple[str, int, str, Any]] = []
        handler = _Told(warnings)
        logger = logging.getLogger("merginguriel")
        logger.addHandler(handler)
        logger.propagate = False  # they are said by the command, when it asks
        try:
            return Read(wanted.read(self._task), warnings)
        except (InputError, OSError) as error:
            return Read(error, warnings)
        finally:
            logger.removeHandler(handler)
            logger.propagate = True


class _Told(logging.Handler):
    def __init__(self, told: list[tuple[str, int, str, Any]]):
        super().__init__()
        self._told = told

    def emit(self, record: logging.LogRecord) -> None:
        self._told.append((record.name, record.levelno, record.msg, record.args))
