"""The flags that make a merge again, for the commands that reports print and for model cards."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from merginguriel.utils.data import older_names
from merginguriel.utils.data.task import Task
from merginguriel.utils.data.task_file import task_tokens
from merginguriel.utils.merging.hyperparameters import hyperparameter_tokens
from merginguriel.utils.merging.selection import SourceSettings
from merginguriel.utils.merging.settings import MergeSettings
from merginguriel.utils.models.store import ModelStore
from merginguriel.utils.similarity.transfer import RUN_JSON
from merginguriel.utils.storage import atomic, naming
from merginguriel.utils.storage.settings import tokens

if TYPE_CHECKING:  # readers of results need no torch
    from merginguriel.utils.merging.plan import MergePlan


def recipe(plan: "MergePlan") -> list[str]:
    """The arguments of `merginguriel merge` that make `plan` again."""
    models = {source.locale: str(source.path) for source in plan.sources}
    given, root = models_by_path(plan.base_model, models), Path(next(iter(models.values()), "")).parent
    where = source_flags(given) if given else store_flags(plan.task, plan.base_model, root)
    settings = merge_flags(plan.settings, [plan.target])
    return ["--mode", plan.mode, "--target-lang", plan.target, *task_tokens(plan.task), *where, *map(str, settings)]


def merge_flags(settings: MergeSettings, targets: Sequence[str], *, named: bool = False) -> list[Any]:
    """The flags of a merge for `targets`, but for task and models; `named`: the mode says that it is adapted."""
    own = [*tokens(settings), *hyperparameter_tokens(settings.hyperparameters.items()), *tokens(settings.texts)]
    adaptation = tokens(settings.adaptation, without=("adapt",) if named else ())
    return [*choice_flags(settings.choice, targets, settings.weighs_by_hand), *own, *adaptation]


def choice_flags(choice: SourceSettings, targets: Sequence[str], by_hand: bool = False) -> list[Any]:
    """How many sources are always told, where they are not named."""
    if choice.selection != "real" and choice.nxn_matrix and not _has(choice.nxn_matrix, targets):
        choice = replace(choice, nxn_matrix=None)  # the models are asked themselves, and say the same
    number = [] if choice.sources or by_hand else ["--num-languages", choice.num_languages]
    return [*number, *tokens(choice, without=("num_languages",))]


def _has(nxn: Path, targets: Sequence[str]) -> bool:
    """Whether an N×N evaluation is there that has all of these."""
    run = (nxn if nxn.is_dir() else nxn.parent) / RUN_JSON
    return run.is_file() and set(targets) <= atomic.read_json(run)["data"].keys()


def models_by_path(base_model: str, models: Mapping[str, str]) -> dict[str, str]:
    """`models`, language -> folder, where one is not found in a --models-root by its name; else none."""
    base, paths = naming.base_slug(base_model), list(map(Path, models.values()))
    named = [older_names.parse_model(path.name) for path in paths]
    usual = named == [(base, language) for language in models] and len({path.parent for path in paths}) <= 1
    return {} if usual else dict(models)


def source_flags(models: Mapping[str, str]) -> list[str]:
    """--source of every one."""
    return [part for language, model in models.items() for part in ("--source", f"{language}={model}")]


def store_flags(task: Task, base_model: str, root: Path) -> list[str]:
    """The flags by which models of `root` are found that have their usual names."""
    usual = ModelStore(naming.base_slug(task.base_model()), task)
    flags = [] if naming.base_slug(base_model) == usual.base_model else ["--base-model", base_model]
    return flags if root == usual.root else [*flags, "--models-root", str(root)]
