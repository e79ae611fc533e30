"""Finished training runs, found by name and copied to where merging looks for models."""

import filecmp
import shutil
from pathlib import Path

from merginguriel.utils.data import older_names
from merginguriel.utils.data.task import DEFAULT_TASK
from merginguriel.utils.models import model_folder
from merginguriel.utils.storage import atomic, naming
from merginguriel.utils.storage.made_folders import TRAINED


def plan(runs: list[Path] | None, models_root: Path) -> tuple[dict[Path, Path], dict[Path, str]]:
    """(run -> its place in `models_root`, run -> why it cannot be copied) of `runs`, or of all in checkpoint_results/.

    Where `runs` is None, runs of several locales are left out: merging has no name for them.
    """
    found = (
        runs
        if runs is not None
        else sorted(path for path in naming.CHECKPOINTS_ROOT.glob("*") if path.is_dir() and _model_of(path))
    )
    copies, refused = {}, {}
    for run in found:
        model = _model_of(run)
        if not run.is_dir():
            refused[run] = "there is no such folder"
        elif run.name.endswith(".training"):
            refused[run] = "its training was interrupted; run the same training command again"
        elif model is None:
            refused[run] = "it is not a run of one language: neither its training.json says so nor its name is like "
            refused[run] += "<base>_massive_<locale>_lr5e-5_ep15"
        elif not model_folder.is_whole(run):
            refused[run] = "it is half-written; train it again with --overwrite-output-dir"
        else:
            copies[run] = models_root / model
    for run, target in list(copies.items()):
        if list(copies.values()).count(target) > 1:
            refused[run] = f"other runs go to {target} too; choose one of them with --runs"
    return {run: target for run, target in copies.items() if run not in refused}, refused


def _model_of(run: Path) -> str | None:
    """The name that merging finds a run's model by; None for a run of several languages, or of nobody knows what."""
    record = run / model_folder.TRAINING_JSON
    told = atomic.read_json(record).get("settings", {}) if record.is_file() else {}
    if "task" in told:
        several = len(told["locales"]) > 1
        return None if several else naming.model_name(told["base_model"], told["task"], told["locales"][0])
    parsed = older_names.parse_training_run(run.name.removesuffix(".training"))
    return naming.model_name(parsed[0], DEFAULT_TASK, parsed[1]) if parsed else None


def is_copied(run: Path, target: Path) -> bool:
    """Whether `target` has every file of the run, with the same bytes."""
    files = [file.relative_to(run) for file in run.rglob("*") if file.is_file()]
    return all((target / file).is_file() and filecmp.cmp(run / file, target / file, shallow=False) for file in files)


def copy(run: Path, target: Path, overwrite: bool) -> None:
    """Copy beside and rename. InputError where `target` is there and `overwrite` is false."""
    with atomic.whole_folder(target, TRAINED, overwrite=overwrite) as partial:
        shutil.copytree(run, partial, dirs_exist_ok=True)
