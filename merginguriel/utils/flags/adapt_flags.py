"""The flags of an adaptation, and the runs that they ask for."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from auto_merge_llm.errors import InputError

from merginguriel.utils.adaptation.settings import AdaptSettings
from merginguriel.utils.data.language_arguments import locale, locale_tuple
from merginguriel.utils.data.task_file import task_tokens
from merginguriel.utils.flags import flag_groups
from merginguriel.utils.flags.setting_flags import add_settings, ignore_idle, read_settings
from merginguriel.utils.merging.details import DETAILS_JSON
from merginguriel.utils.models.store import ModelStore
from merginguriel.utils.storage import atomic, naming
from merginguriel.utils.storage.argument_types import seed
from merginguriel.utils.storage.settings import tokens

if TYPE_CHECKING:
    from merginguriel.utils.adaptation.run import AdaptRun, Teacher

PLACE = "{target}"  # in a path: the target's code
DEFAULTS = {"adapt": "vote"}
_BACKEND = ("backend", "workers", "workers_per_gpu", "address", "shard")


def add_adaptation(parser: Any) -> None:
    """Flags for `read_adapt_settings` and `plan_run`."""
    add_model(parser)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--target-lang", type=locale, metavar="LOC", help="language to adapt to")
    flag_groups.add_locales(which, "--targets", help="several languages, each a job")
    add_taught(parser)
    output = parser.add_argument_group("output")
    output.add_argument(
        "--output-dir",
        type=Path,
        metavar="DIR",
        help=f"folder of the adapted model, with {PLACE} in it for several (default: merged_models/<model>_adapt-vote)",
    )
    output.add_argument("--results-dir", type=Path, default=naming.RESULTS_ROOT, metavar="DIR", help="where results go")
    output.add_argument("--overwrite", action="store_true", help="replace what was made with other settings")
    add_evaluated(output)
    output.add_argument("--dry-run", action="store_true", help="print texts, teachers and paths, then stop")
    flag_groups.add_backend(parser, workers=1)


def add_model(parser: Any) -> None:
    parser.add_argument(
        "--model",
        type=Path,
        required=True,
        metavar="DIR",
        help=f"folder of the model to adapt; {PLACE} in it stands for each of several targets",
    )


def add_taught(parser: Any) -> None:
    """How the model learns, from whom, and of which task."""
    add_settings(parser.add_argument_group("adaptation"), AdaptSettings, defaults=DEFAULTS)
    teachers = parser.add_argument_group("teachers", "By default the sources of the merge that --model is.")
    teachers.add_argument(
        "--teachers",
        type=locale_tuple,
        metavar="LOC,LOC,…",
        help="languages whose models in --models-root, or of --source, teach instead",
    )
    flag_groups.add_store(teachers)
    flag_groups.add_given(teachers)
    parser.add_argument(
        "--seed", type=seed, default=42, metavar="N", help="of the texts' order, and which --adapt-examples"
    )
    flag_groups.add_task(parser)


def add_evaluated(parser: Any) -> None:
    parser.add_argument("--no-eval", action="store_true", help="do not evaluate")
    parser.add_argument(
        "--no-baselines", action="store_true", help="evaluate the adapted model, not what it was made of"
    )


def read_adapt_settings(args: argparse.Namespace) -> AdaptSettings:
    """The settings, without flags that have no effect."""
    settings = read_taught(args)
    if args.target_lang:
        ignore_idle(args, _BACKEND, "for one target")
    elif len(args.targets) > 1 and args.output_dir and PLACE not in str(args.output_dir):
        raise InputError(f"--output-dir {args.output_dir} is one folder for several models; put {PLACE} into it")
    flag_groups.check_backend(args)
    return settings


def read_taught(args: argparse.Namespace) -> AdaptSettings:
    """The same of `add_taught` and `add_evaluated` alone."""
    settings = read_settings(AdaptSettings, args)
    if args.no_eval:
        ignore_idle(args, ["results_dir", "no_baselines", "label_column"], "without evaluation")
    if settings.adapt == "self":
        ignore_idle(args, ["teachers", "given", "base_model", "models_root"], "where the model teaches itself")
    elif not args.teachers and not args.given:
        ignore_idle(args, ["base_model", "models_root"], "without --teachers")
    return settings


def check_models(args: argparse.Namespace, store: ModelStore) -> None:
    """InputError where the model or the teachers of the only target are not there; of several each is told its own."""
    if args.target_lang:
        model = _of_target(args.model, args.target_lang)
        if not model.is_dir():
            raise InputError(f"no model folder {model}; check --model")
    if args.teachers:
        store.choose(args.teachers)


def plan_run(args: argparse.Namespace, settings: AdaptSettings, store: ModelStore, target: str) -> "AdaptRun":
    """The adaptation to one target; InputError for what cannot be done, before a tensor is read."""
    from merginguriel.utils.adaptation.run import AdaptRun, warn_of_few
    from merginguriel.utils.merging.recipe import source_flags

    model = _of_target(args.model, target)
    own = () if settings.adapt == "self" else sources_of(model)
    teachers = () if settings.adapt == "self" else _teachers(args, store, target) or own
    told = settings.words()
    if {one.locale for one in teachers} != {one.locale for one in own}:
        told.append(f"teachers-{naming.listed(sorted(one.locale for one in teachers))}")
    if args.seed != 42:
        told.append(f"seed{args.seed}")
    # A path such as . has a name only when resolved.
    name = naming.adapted_name(model.resolve().name, target, told)
    output = _of_target(args.output_dir, target) if args.output_dir else naming.MERGED_ROOT / name
    others = {one.locale: str(one.path) for one in teachers} if teachers != own else {}
    flags = [*task_tokens(store.task), *tokens(settings), "--seed", str(args.seed), *source_flags(others)]
    recipe = ("adapt", "--model", str(model), "--target-lang", target, *flags)
    run = AdaptRun(store.task, target, model, teachers, settings, args.seed, output, recipe=recipe)
    run.check()
    warn_of_few(run.texts())
    return run


def experiment_of(model: Path, target: str) -> dict[str, Any] | None:
    """What a merge tells of itself; None of another model."""
    details = model / DETAILS_JSON
    if not details.is_file():
        return None
    plan = atomic.read_json(details).get("plan", {})
    if not isinstance(plan, dict):
        raise InputError(f"{details} tells no merge; it is damaged, merge again")
    return {**plan, "target": target}


def sources_of(model: Path) -> tuple["Teacher", ...]:
    """The sources of a merge, none of another model; InputError where one is not there any more."""
    from merginguriel.utils.adaptation.run import Teacher

    experiment = experiment_of(model, "") or {}
    try:
        told = [(str(one["locale"]), Path(one["path"])) for one in experiment.get("sources", ())]
    except (TypeError, KeyError):
        raise InputError(f"the sources in {model / DETAILS_JSON} are damaged; name teachers with --teachers") from None
    sources = tuple(Teacher(*one) for one in told)
    lost = [source for source in sources if not source.path.is_dir()]
    if lost:
        raise InputError(
            f"{model / DETAILS_JSON} names the source {lost[0].path}, which is not there; name teachers with --teachers"
        )
    return sources


def _teachers(args: argparse.Namespace, store: ModelStore, target: str) -> tuple["Teacher", ...]:
    """Those that flags name: by language, else all of --source but the target's."""
    from merginguriel.utils.adaptation.run import Teacher

    if args.teachers:
        return tuple(Teacher(code, path) for code, path in store.choose(args.teachers).items())
    return tuple(Teacher(code, path) for code, path in store.given if code != target)


def _of_target(path: Path, target: str) -> Path:
    return Path(str(path).replace(PLACE, target))
