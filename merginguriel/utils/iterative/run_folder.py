"""The folder of a run: whose it is, how far every language has come, and its merged models."""

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from auto_merge_llm.errors import InputError

from merginguriel.utils.storage import atomic, environment
from merginguriel.utils.storage.made_folders import MERGED as MERGED_MODEL
from merginguriel.utils.storage.made_folders import PARTIAL
from merginguriel.utils.training.checkpoints import LocaleCheckpoint, checkpoints, newest

STATE_JSON = "state_summary.json"
MERGED = "merged_models"
FINAL = "final_merged_model"
MEASUREMENTS = ".measurements"
CONFIG_JSON = "experiment_config.json"
FILES = (STATE_JSON, CONFIG_JSON, "merge_history.json")


def _is_written(path: Path) -> bool:
    """Whether a run writes such a thing into its folder: a file of its own, merges, a language's checkpoints."""
    if path.is_file():
        return path.name in FILES or bool(PARTIAL.fullmatch(path.name))
    inside = [part.name for part in path.iterdir()]
    return path.name in (MERGED, MEASUREMENTS) or not set(inside) - {"checkpoints"}


class RunFolder:
    """Everything that a run has to know to go on: checkpoints of the languages, merged models, merge_history.json."""

    def __init__(self, path: Path):
        self.path = path

    def checkpoints_of(self, locale: str) -> Path:
        return self.path / locale / "checkpoints"

    def newest(self, locale: str) -> LocaleCheckpoint | None:
        return newest(self.checkpoints_of(locale))

    def model(self, locale: str) -> Path:
        """Its newest checkpoint, once there is one."""
        return checkpoints(self.checkpoints_of(locale))[-1].path

    def epoch(self, locale: str) -> int:
        """How many epochs of it are done."""
        last = self.newest(locale)
        return last.epoch if last else 0

    def metrics(self, locale: str) -> dict[int, dict[str, Any]]:
        """By epoch at which a part ended; see LocaleCheckpoint."""
        last = self.newest(locale)
        return last.metrics if last else {}

    def merged(self, name: str) -> Path:
        return self.path / MERGED / name

    def claim(self, settings: dict[str, Any], data: dict[str, str], overwrite: bool) -> None:
        """Find the run that the same settings and items have left here, or an empty place for a new one."""
        state = self.path / STATE_JSON
        if self.path.exists() and any(self.path.iterdir()):
            if not state.is_file():
                raise InputError(
                    f"{self.path} is nothing that this command made, so it is left alone; choose another --output-dir"
                )
            kept = atomic.read_json(state)
            if kept.get("settings") == settings and kept.get("data") == data:
                return
            if not overwrite:
                same = kept.get("settings") == settings
                what = "items in its dataset" if same else "settings, or of an earlier version"
                raise InputError(
                    f"{self.path} holds a run with other {what}; repeat those to finish it, choose another "
                    "--output-dir, or use --overwrite to replace it"
                )
            self._check_ours()
            # The state goes last: without it the folder would not be known as a run's.
            for path in sorted(self.path.iterdir(), key=lambda path: path == state):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        if not state.exists():
            atomic.write_json(state, {"settings": settings, "data": data, "models": {}})

    def _check_ours(self) -> None:
        """InputError where something in the folder was not written by a run."""
        foreign = [path for path in sorted(self.path.iterdir()) if not _is_written(path)]
        merges = self.path / MERGED
        for merge in sorted(merges.iterdir()) if merges.is_dir() and not foreign else ():
            if not PARTIAL.fullmatch(merge.name) and MERGED_MODEL.objection(merge):
                foreign.append(merge)
        if foreign:
            raise InputError(
                f"{foreign[0]} was not written by a run, so {self.path} is not replaced; move it or choose another "
                "--output-dir"
            )

    def write_state(self, settings: dict[str, Any], data: dict[str, str], locales: Iterable[str]) -> None:
        """What every language has reached, for people; nothing but the settings is read again."""
        state = {}
        for locale in locales:
            last, metrics = self.newest(locale), list(self.metrics(locale).values())
            state[locale] = {
                "locale": locale,
                "epoch": last.epoch if last else 0,
                "step": last.step if last else 0,
                "checkpoint_path": str(last.path) if last else None,
                "current_metrics": metrics[-1] if metrics else None,
                "best_metrics": max(metrics, key=lambda metric: metric["eval_accuracy"], default=None),
            }
        atomic.write_json(
            self.path / STATE_JSON,
            {"timestamp": environment.utc_now(), "settings": settings, "data": data, "models": state},
        )
