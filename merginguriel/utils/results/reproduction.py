"""The command that makes a result again, from what its results.json tells."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from auto_merge_llm.errors import InputError

from merginguriel.utils.data.task import DEFAULT_TASK, Task
from merginguriel.utils.data.task_file import TaskSettings, task_named, task_of, task_tokens
from merginguriel.utils.ensembles.settings import VoteSettings
from merginguriel.utils.merging.modes import MODES
from merginguriel.utils.merging.recipe import choice_flags, merge_flags, models_by_path, source_flags, store_flags
from merginguriel.utils.merging.record import adaptation_of, choice_of, settings_of
from merginguriel.utils.results import adapted_identity
from merginguriel.utils.storage import naming
from merginguriel.utils.storage.command_lines import recorded_line
from merginguriel.utils.storage.settings import tokens

VOTE = "ensemble_"  # begins the mode of a vote


def command_of(results: Mapping[str, Any]) -> str | None:
    """One line for a shell, or None where the result does not tell enough: it is older, or no merge or vote."""
    experiment, info = results.get("experiment") or {}, results["evaluation_info"]
    if experiment.get("command"):
        return experiment["command"]
    sources = adapted_identity.taught_by(experiment) if "mode" in experiment else None
    if _is_adapted_model(experiment):
        return _adapting(experiment, info, [experiment["target"]])
    if not sources or not all(source.get("path") for source in sources):
        return None
    mode, target, given = experiment["mode"], experiment["target"], given_models(experiment)
    if mode not in MODES and not mode.startswith(VOTE):
        return None
    if given and experiment["similarity"]["selection"] != "explicit":
        return None  # chosen among models from elsewhere, of which those that were not chosen are not told
    script = ["run_merging_pipeline_refactored.py", "--mode", mode]
    if mode.startswith(VOTE):
        script = ["uriel_ensemble_inference.py", "--voting-method", mode.removeprefix(VOTE)]
    return recorded_line(*script, "--target-lang", target, *_settings(experiment, info, [target]), *source_flags(given))


def command_for(targets: Sequence[str], results: Mapping[str, Any], results_root: Path) -> str | None:
    """The same for other targets, in one run, its results in `results_root`; None where that cannot be."""
    experiment, info = results.get("experiment") or {}, results["evaluation_info"]
    if experiment.get("command") or command_of(results) is None:
        return None
    if _is_adapted_model(experiment):
        return _adapting(experiment, info, targets, results_root)
    mode = adapted_identity.method_of(experiment)
    if mode.startswith(VOTE):
        script = ["run_large_scale_ensemble_experiments.py", "--voting-methods", mode.removeprefix(VOTE)]
        script.append("--target-languages")
    elif (experiment.get("similarity") or {}).get("selection") == "explicit":
        return None  # a sweep of merges takes no named sources
    else:
        script = ["run_large_scale_experiment.py", "--modes", mode, "--locales"]
    where = [] if results_root == naming.RESULTS_ROOT else ["--results-dir", results_root]
    return recorded_line(*script, *targets, *_settings(experiment, info, targets, named=True), *where)


def _is_adapted_model(experiment: Mapping[str, Any]) -> bool:
    """Whether a finished model was adapted, by a command of its own."""
    return "start" in (experiment.get("adapt") or {})


def _adapting(
    experiment: Mapping[str, Any], info: Mapping[str, Any], targets: Sequence[str], results_root: Path | None = None
) -> str | None:
    """The command that adapts a finished model; None where the models of `targets` cannot be told from that of one."""
    adapt, target = experiment["adapt"], experiment["target"]
    model, teachers = adapt["start"]["path"], adapt.get("teachers") or []
    if list(targets) == [target]:
        which = ["--target-lang", target]
    elif target in model:
        model, which = model.replace(target, "{target}"), ["--targets", *targets]
    else:
        return None
    told = {one["locale"]: one["path"] for one in teachers}
    own = {one["locale"]: one.get("path") for one in experiment.get("sources") or []}
    if told != own and set(targets) & set(told):
        return None  # a target's own model may not teach, and the first target's would in its place
    seed = [] if adapt.get("seed") in (None, 42) else ["--seed", adapt["seed"]]
    where = [] if results_root in (None, naming.RESULTS_ROOT) else ["--results-dir", results_root]
    settings = tokens(adaptation_of(experiment), without=() if adapt["adapt"] == "self" else ("adapt",))
    flags = [*settings, *seed, *task_flags(info), *source_flags({} if told == own else told), *where]
    return recorded_line("adapt_to_target.py", "--model", model, *which, *flags)


def _settings(
    experiment: Mapping[str, Any], info: Mapping[str, Any], targets: Sequence[str], *, named: bool = False
) -> list[Any]:
    """Flags that commands for one target and for many share; `named`: the mode says that the merge is adapted."""
    given, root = given_models(experiment), Path(experiment["sources"][0]["path"]).parent
    root = naming.MODELS_ROOT if experiment.get("nxn_dir") else root
    data = task_flags(info) if given else [*task_flags(info), *model_flags(info, experiment["base_model"], root)]
    if experiment["mode"].startswith(VOTE):
        settings = _vote(experiment, info)
        return [*data, *choice_flags(settings.choice, targets), *tokens(settings)]
    merge = settings_of(experiment)
    if given and experiment.get("base"):
        merge = replace(merge, base=Path(experiment["base"]["path"]))  # where its own would be is not told
    return [*data, *merge_flags(merge, targets, named=named)]


def given_models(experiment: Mapping[str, Any]) -> dict[str, str]:
    """Language -> model of the sources, where one is not a model of --models-root by its folder's name; else none."""
    sources = experiment.get("sources") or []
    if experiment.get("nxn_dir") or not experiment.get("base_model") or not all(one.get("path") for one in sources):
        return {}
    return models_by_path(experiment["base_model"], {source["locale"]: source["path"] for source in sources})


def _vote(experiment: Mapping[str, Any], info: Mapping[str, Any]) -> VoteSettings:
    drawn = experiment.get("num_examples")
    return VoteSettings(
        choice_of(experiment),
        preweight=experiment.get("preweight") or "uriel",
        nxn_dir=experiment.get("nxn_dir"),
        split=info.get("split") or "test",
        num_examples=drawn,
        seed=experiment["seed"] if drawn else 42,
    )


def task_flags(info: Mapping[str, Any]) -> list[str]:
    """The flags of a result's task; an older result is of MASSIVE, and tells its data alone."""
    return task_tokens(_task_of(info))


def _task_of(info: Mapping[str, Any]) -> Task:
    origin = info.get("task_origin") or DEFAULT_TASK
    try:
        return task_of(TaskSettings(origin, info.get("dataset")))
    except InputError:  # the file is not here; its name does for a command
        return replace(task_named(DEFAULT_TASK), name=info.get("task") or Path(origin).stem, origin=origin)


def model_flags(info: Mapping[str, Any], base_model: str, root: Path) -> list[str]:
    """The flags by which models of `root` are found that have their usual names."""
    return store_flags(_task_of(info), base_model, root)
