"""Splits of many languages read side by side, in copies of this process: reading is Python's work, a thread at a time.

with reading_ahead(task, [Wanted("fr-FR", "test")]):
    task.load("fr-FR", "test")
"""

import contextlib
import functools
import logging
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from auto_merge_llm.errors import InputError

from merginguriel.utils.data.task import Read, Task, Wanted
from merginguriel.utils.jobs import copies
from merginguriel.utils.jobs.processes import cores
from merginguriel.utils.storage.progress import over

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
        task.ahead.update(zip(wanted, _read_all(task, wanted, processes)))
    try:
        yield
    finally:
        task.ahead.clear()


def _read_all(task: Task, wanted: Sequence[Wanted], processes: int) -> list[Read]:
    with ProcessPoolExecutor(processes, copies.context(), _leave_stopping_to_the_command) as pool:
        try:
            return list(over(pool.map(functools.partial(_read, task), wanted), "reading", len(wanted)))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _leave_stopping_to_the_command() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _read(task: Task, wanted: Wanted) -> Read:
    warnings: list[tuple[str, int, str, Any]] = []
    handler = _Told(warnings)
    logger = logging.getLogger("merginguriel")
    logger.addHandler(handler)
    logger.propagate = False  # they are said by the command, when it asks
    try:
        return Read(wanted.read(task), warnings)
    except InputError as error:
        return Read(error, warnings)
    finally:
        logger.removeHandler(handler)


class _Told(logging.Handler):
    def __init__(self, told: list[tuple[str, int, str, Any]]):
        super().__init__()
        self._told = told

    def emit(self, record: logging.LogRecord) -> None:
        self._told.append((record.name, record.levelno, record.msg, record.args))
