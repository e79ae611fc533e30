"""Whether a checkpoint of a training can be gone on from: every file that Trainer reads of it is opened first."""

import logging
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from auto_merge_llm.checkpoint import Checkpoint
from auto_merge_llm.errors import InputError

from merginguriel.utils.storage import atomic
from merginguriel.utils.training import ranks

log = logging.getLogger(__name__)
STATE = "trainer_state.json"  # Trainer writes it last
# Without one of these Trainer goes on silently, with fresh moments, another learning rate or other random numbers.
_NEEDED = ("optimizer.pt", "scheduler.pt")
_RANDOM = "rng_state.pth"  # on several GPUs rng_state_0.pth and so on
_SCALER = "scaler.pt"


def newest_whole(checkpoints: Iterable[Path], *, scaled: bool = False) -> Path | None:
    """The last of `checkpoints`, which are in the order of their steps, that is whole; the others after it are told.

    `scaled`: the training is one in float16, which has a loss scale too.
    """
    for checkpoint in reversed(list(checkpoints)):
        try:
            check_whole(checkpoint, scaled=scaled)
        except InputError as error:
            log.warning("warning: the checkpoint %s is left out: %s", checkpoint, error)
        else:
            return checkpoint
    return None


def check_whole(checkpoint: Path, *, scaled: bool = False) -> None:
    """Raise InputError naming the file that is missing or damaged, in the checkpoint or in the best until then."""
    state = atomic.read_json(checkpoint / STATE)
    if not isinstance(state.get("global_step"), int) or not isinstance(state.get("log_history"), list):
        raise InputError(f"{checkpoint / STATE} is not Trainer's; remove the checkpoint")
    Checkpoint(checkpoint)
    count = ranks.count()
    random = [_RANDOM] if count == 1 else [_RANDOM.replace(".", f"_{rank}.") for rank in range(count)]
    for name in (*_NEEDED, *random, *([_SCALER] if scaled else [])):
        _check_archive(checkpoint / name)
    best = best_of(checkpoint, state)
    if best is not None and best != checkpoint:  # its weights are taken in the end
        Checkpoint(best)


def find_best_again(checkpoint: Path) -> None:
    """Let its state name the best checkpoint where that is now: Trainer forgets one that it does not find."""
    state = atomic.read_json(checkpoint / STATE)
    best = best_of(checkpoint, state)
    if best is not None and str(best) != state["best_model_checkpoint"]:
        atomic.write_json(checkpoint / STATE, state | {"best_model_checkpoint": str(best)})


def stopped_early(checkpoint: Path, patience: int) -> int | None:
    """The step after which early stopping has ended the training; None where it has not."""
    state = atomic.read_json(checkpoint / STATE)
    stopping = (state.get("stateful_callbacks") or {}).get("EarlyStoppingCallback") or {}
    waited = (stopping.get("attributes") or {}).get("early_stopping_patience_counter", 0)
    return state["global_step"] if waited >= patience else None


def best_of(checkpoint: Path, state: dict[str, Any]) -> Path | None:
    """The best checkpoint until then, beside this one, wherever the folder was when it was written."""
    best = state.get("best_model_checkpoint")
    return checkpoint.with_name(Path(best).name) if isinstance(best, str) else None


def _check_archive(file: Path) -> None:
    """torch writes zip archives, whose parts have checksums."""
    if not file.is_file():
        raise InputError(f"no file {file}")
    try:
        with zipfile.ZipFile(file) as archive:
            damaged = archive.testzip()
    except (zipfile.BadZipFile, OSError, EOFError, ValueError, NotImplementedError) as error:
        raise InputError(f"{file} is damaged: {error}") from None
    if damaged is not None:
        raise InputError(f"{file} is damaged: {damaged} is not what was written")
