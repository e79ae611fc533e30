"""The folder of a run that is not finished: whose it is, and where the same run goes on."""

import contextlib
import logging
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from auto_merge_llm.errors import InputError

from merginguriel.utils.storage import atomic
from merginguriel.utils.storage.locks import LockedError, locked
from merginguriel.utils.storage.made_folders import PARTIAL
from merginguriel.utils.training.settings import TrainingRun
from merginguriel.utils.training.whole_checkpoints import find_best_again, newest_whole

log = logging.getLogger(__name__)
_SETTINGS = "settings.json"
_WRITTEN = re.compile(rf"{re.escape(_SETTINGS)}|(tmp-)?checkpoint-\d+")


def unfinished(output_dir: Path) -> Path:
    """Where the checkpoints of a run stand until its model is whole."""
    return output_dir.with_name(output_dir.name + ".training")


def remove_leftovers(output_dir: Path, work: Path) -> None:
    """Remove `work` and the lock beside a whole `output_dir`: of a run that was killed before it did.

    Nothing where another process is at it.
    """
    if work.exists() or _lock_of(output_dir).exists():
        with contextlib.suppress(InputError), alone(output_dir):
            shutil.rmtree(work, ignore_errors=True)


def _lock_of(output_dir: Path) -> Path:
    return output_dir.with_name(f".{unfinished(output_dir).name}.lock")


@contextlib.contextmanager
def alone(output_dir: Path) -> Iterator[None]:
    """Inside, no other process trains `output_dir`; InputError where one does."""
    lock = _lock_of(output_dir)
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(locked(lock, timeout=0))
        except LockedError:
            raise InputError(
                f"another process trains {output_dir}; wait for it or choose another --output-dir"
            ) from None
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)


def claim(run: TrainingRun, overwrite: bool) -> None:
    """Make the folder of an unfinished run, or find the one that the same settings have left (else InputError)."""
    work = unfinished(run.output_dir)
    settings = work / _SETTINGS
    _check_ours(work)
    if overwrite or not list(work.glob("checkpoint-*")):
        shutil.rmtree(work, ignore_errors=True)
    if settings.exists() and not run.is_told_by(atomic.read_json(settings)):
        raise InputError(
            f"{work} holds an unfinished run with other settings; repeat those to finish it, or use "
            "--overwrite-output-dir to start again"
        )
    atomic.write_json(settings, run.record)


def _check_ours(work: Path) -> None:
    """InputError where the place of an unfinished run is somebody's folder."""
    names = sorted(path.name for path in work.iterdir()) if work.is_dir() else []
    inside = [name for name in names if not PARTIAL.fullmatch(name)]
    foreign = [name for name in inside if not _WRITTEN.fullmatch(name)] if _SETTINGS in inside else inside
    if foreign:
        raise InputError(
            f"{work} is where checkpoints would go, and {foreign[0]} in it is of no training with these commands; move "
            "it or choose another --output-dir"
        )


def newest_checkpoint(work: Path, *, scaled: bool = False) -> str | None:
    """The newest checkpoint that is whole; see newest_whole. Those that are not are told."""
    steps = {int(path.name.rpartition("-")[2]): path for path in work.glob("checkpoint-*")}
    checkpoint = newest_whole([steps[step] for step in sorted(steps)], scaled=scaled)
    if checkpoint is None:
        if steps:
            log.warning("warning: no checkpoint in %s is whole; training begins again", work)
        return None
    find_best_again(checkpoint)
    log.info("going on from %s", checkpoint)
    return str(checkpoint)
