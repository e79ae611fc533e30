"""The checkpoints of a locale that is trained in parts, and its accuracies until then."""

import logging
import re
import shutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from auto_merge_llm.errors import InputError

from merginguriel.utils.storage import atomic
from merginguriel.utils.training.whole_checkpoints import check_whole

log = logging.getLogger(__name__)
METADATA = "checkpoint_metadata.json"


@dataclass(frozen=True)
class LocaleCheckpoint:
    """A whole checkpoint: what Trainer needs to go on, and the locale's accuracies until then."""

    path: Path
    epoch: int
    step: int

    @property
    def metrics(self) -> dict[int, dict]:
        """By epoch at which a part ended: accuracy on the locale's development items, training loss of the part."""
        return {int(epoch): metrics for epoch, metrics in atomic.read_json(self.path / METADATA)["metrics"].items()}


def checkpoints(folder: Path) -> list[LocaleCheckpoint]:
    """Those in a locale's folder, by epoch."""
    found = [
        (path, re.fullmatch(r"checkpoint_epoch_(\d+)\.0_step_(\d+)", path.name))
        for path in (folder.iterdir() if folder.is_dir() else ())
    ]
    return sorted(
        (LocaleCheckpoint(path, int(match[1]), int(match[2])) for path, match in found if match),
        key=lambda checkpoint: checkpoint.epoch,
    )


def newest(folder: Path) -> LocaleCheckpoint | None:
    return next(reversed(checkpoints(folder)), None)


def set_aside_damaged(folder: Path, *, scaled: bool = False) -> None:
    """Rename the newest in a locale's folder until one is whole; `scaled`: as of check_whole."""
    for checkpoint in reversed(checkpoints(folder)):
        try:
            check_whole(checkpoint.path, scaled=scaled)
            if isinstance(atomic.read_json(checkpoint.path / METADATA).get("metrics"), dict):
                return
            reason = f"{checkpoint.path / METADATA} tells no metrics"
        except InputError as error:
            reason = str(error)
        aside = atomic.set_aside(checkpoint.path)
        log.warning("warning: %s is left out and now called %s: %s", checkpoint.path, aside.name, reason)


def keep(folder: Path, told: Mapping[str, Any], kept: Collection[int]) -> None:
    """Name a checkpoint that Trainer has written whole, and remove those before it that are not of `kept` epochs.

    `told`: its locale, epoch, step, and the locale's metrics until then.
    """
    written = folder / f"checkpoint-{told['step']}"
    # A pickle that nothing reads.
    (written / "training_args.bin").unlink(missing_ok=True)
    atomic.write_json(written / METADATA, told)
    before = checkpoints(folder)
    written.rename(folder / f"checkpoint_epoch_{told['epoch']}.0_step_{told['step']}")
    for old in before:
        if old.epoch not in kept:
            shutil.rmtree(old.path)
