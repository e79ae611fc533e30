"""The folder of a run that is not finished: whose it is, and where the same run goes on."""

import contextlib
import logging
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from auto_merge_llm.errors import InputError
from filelock import FileLock, Timeout

from merginguriel.utils.storage import atomic
from merginguriel.utils.storage.made_folders import PARTIAL
from merginguriel.utils.training.settings import TrainingRun

log = logging.getLogger(__name__)
_SETTINGS = "settings.json"
_WRITTEN = re.compile(rf"{re.escape(_SETTINGS)}|(tmp-)?checkpoint-\d+")


def unfinished(output_dir: Path) -> Path:
    """Where the checkpoints of a run stand until its model is whole."""
    return output_dir.with_name(output_dir.name + ".training")


@contextlib.contextmanager
def alone(output_dir: Path) -> Iterator[None]:
    """Inside, no other process trains `output_dir`; InputError where one does."""
    lock = FileLock(output_dir.with_name(f".{unfinished(output_dir).name}.lock"), timeout=0)
    output_dir.parent.mkdir(parents=True, exist_ok=True)
    try:
        lock.acquire()
    except Timeout:
        raise InputError(f"another process trains {output_dir}; wait for it or choose another --output-dir") from None
    try:
        yield
    finally:
        Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()


def claim(run: TrainingRun, overwrite: bool) -> None:
    """Make the folder of an unfinished run, or find the one that the same settings have left (else InputError)."""
    work, record = unfinished(run.output_dir), run.record
    settings = work / _SETTINGS
    _check_ours(work)
    if overwrite or not list(work.glob("checkpoint-*")):
        shutil.rmtree(work, ignore_errors=True)
    elsewhere = ("output_dir", "models_root", "dataset_name")
    if settings.exists() and {**atomic.read_json(settings), **{name: record[name] for name in elsewhere}} != record:
        raise InputError(
            f"{work} holds an unfinished run with other settings; repeat those to finish it, or use "
            "--overwrite-output-dir to start again"
        )
    atomic.write_json(settings, record)


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


def newest_checkpoint(work: Path) -> str | None:
    """The newest checkpoint that is whole."""
    steps = {int(path.name.rpartition("-")[2]): path for path in work.glob("checkpoint-*") if _is_whole(path)}
    if not steps:
        return None
    log.info("going on from %s", steps[max(steps)])
    return str(steps[max(steps)])


def _is_whole(checkpoint: Path) -> bool:
    """Trainer writes trainer_state.json last, and a run that is killed in that moment leaves it empty."""
    try:
        atomic.read_json(checkpoint / "trainer_state.json")
    except InputError:
        return False
    return True
