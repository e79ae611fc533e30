"""Groups of flags that several commands share."""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

from auto_merge_llm.errors import InputError

from merginguriel.utils.data.language_arguments import given_source, locale_list
from merginguriel.utils.data.split import CONSENSUS_TEXTS
from merginguriel.utils.data.task import DEFAULT_BASE_MODEL, Task
from merginguriel.utils.data.task_file import TaskSettings, task_of
from merginguriel.utils.evaluation.metrics import METRICS
from merginguriel.utils.flags.setting_flags import add_settings, ignore_idle, read_settings
from merginguriel.utils.merging.selection import SourceSettings
from merginguriel.utils.models import hub
from merginguriel.utils.models.store import ModelStore
from merginguriel.utils.storage import naming
from merginguriel.utils.storage.argument_types import positive_int, shard, whole_number


def add_task(parser: Any) -> None:
    add_settings(parser.add_argument_group("task"), TaskSettings)


def add_store(parser: Any, flag: str = "--base-model") -> None:
    """Flags for `read_store`; `flag` names the base model, as --base-model does everywhere."""
    parser.add_argument(
        *dict.fromkeys([flag, "--base-model"]),
        dest="base_model",
        metavar="NAME",
        help=f"Hub id or folder of the base model (default: {DEFAULT_BASE_MODEL}; mini with --task mini)",
    )
    parser.add_argument(
        "--models-root", type=Path, default=naming.MODELS_ROOT, metavar="DIR", help="where the fine-tuned models are"
    )


def add_given(parser: Any) -> None:
    """--source, for `read_store`."""
    parser.add_argument(
        "--source",
        dest="given",
        action="append",
        type=given_source,
        default=[],
        metavar="LANG=MODEL",
        help="a model of your own for a language, instead of those in --models-root: a folder, a Hub id or a LoRA "
        "adapter; repeat it for every source",
    )


def read_task(args: argparse.Namespace) -> Task:
    """The task that is asked for; InputError where it lacks a language that a flag names, or names no metric."""
    task = task_of(read_settings(TaskSettings, args))
    if task.metric not in METRICS:
        raise InputError(f"{task.origin}: metric {task.metric!r} is none of {', '.join(METRICS)}")
    for value in (getattr(args, name) for name in args.language_flags):
        task.check([value] if isinstance(value, str) else value or ())
    return task


def read_store(args: argparse.Namespace) -> ModelStore:
    task = read_task(args)
    given = _given(args, task)
    if not given:
        return ModelStore(task.base_model(args.base_model), task, args.models_root)

    from merginguriel.utils.models.foreign import base_of

    base = base_of([model for _, model in given]) or task.base_model()
    return ModelStore(base, task, args.models_root, given)


def _given(args: argparse.Namespace, task: Task) -> tuple[tuple[str, Path], ...]:
    """The models of --source by language, as folders that every command can read."""
    given = getattr(args, "given", [])
    twice = sorted({code for code, _ in given if [name for name, _ in given].count(code) > 1})
    if twice:
        raise InputError(f"--source names {', '.join(twice)} twice; give one model a language")
    if not given:
        return ()
    ignore_idle(args, ["base_model"], "beside --source")

    located = [(code, hub.located(model)) for code, model in given]  # what is missing is told before torch is loaded

    from merginguriel.utils.models.foreign import as_model_folder

    cache = args.models_root / naming.ADAPTERS
    return tuple((code, as_model_folder(folder, cache, labels=task.labels)) for code, folder in located)


def choose_given(args: argparse.Namespace, choice: SourceSettings, target: str | None) -> SourceSettings:
    """All models of --source but the target's take part, unless other flags choose; None: of many targets."""
    if not args.given or {"num_languages", "sources"} & args.explicit:
        return choice
    others = tuple(code for code, _ in args.given if code != target)
    if not others:
        raise InputError(f"the only --source is of the target {target}; name models of other languages")
    if target is None or "selection" in args.explicit:
        return replace(choice, num_languages=number_of_given(args) if target is None else len(others))
    return replace(choice, sources=others)


def number_of_given(args: argparse.Namespace) -> int:
    """How many models of --source every target has that is not its own."""
    codes = {code for code, _ in args.given}
    return max(1, len(codes) - bool(codes & set(args.targets or codes)))


class LocaleLists(argparse.Action):
    """Collects the lists of a flag with nargs="+" and type=locale_list: words, commas or both."""

    def __call__(self, parser, namespace, values, option_string=None):
        locales = [locale for part in values for locale in part]
        if len(set(locales)) < len(locales):
            parser.error(f"argument {option_string}: a locale stands twice")
        setattr(namespace, self.dest, locales)


def add_locales(parser, flag: str, **kwargs) -> None:
    parser.add_argument(flag, nargs="+", type=locale_list, action=LocaleLists, metavar="LOC", **kwargs)


def add_nxn_items(parser: Any) -> None:
    parser.add_argument(
        "--split",
        choices=["test", "validation", "train"],
        default="test",
        help="which items: validation for a matrix to choose sources by, with --selection real; train with "
        f"--max-items {CONSENSUS_TEXTS} for --selection consensus",
    )
    parser.add_argument(
        "--max-items", type=positive_int, metavar="N", help="at most N items of each target, drawn at random"
    )


def add_targets(parser: Any, flag: str, default: str) -> None:
    """Flags for `choose_targets`, and --list-locales; `default` says which targets there are without `flag`."""
    parser.add_argument("--list-locales", action="store_true", help="list the targets there are, then stop")
    add_locales(parser, flag, dest="targets", help=f"targets (default: {default})")
    parser.add_argument("--start-from", type=whole_number, default=0, metavar="N", help="leave out the first N targets")
    parser.add_argument("--max-locales", type=positive_int, metavar="N", help="at most N targets")


def choose_targets(args: argparse.Namespace, targets: list[str], where: Any, remedy: str) -> list[str]:
    """What is asked for of `targets`, which are from `where`; InputError naming the `remedy` where that is nothing."""
    chosen = targets[args.start_from :][: args.max_locales]
    if not chosen:
        raise InputError(f"no targets: {len(targets)} found in {where}, --start-from {args.start_from}; {remedy}")
    return chosen


def print_targets(targets: list[str], where: Any) -> None:
    print(*(f"{number:3}. {locale}" for number, locale in enumerate(targets)), sep="\n")
    print(f"Total: {len(targets)} locales from {where}")


def add_backend(parser: Any, workers: int | None = None, flags: tuple[str, ...] = ("--workers",)) -> None:
    """Flags for `check_backend`, jobs.backends.backend_of and jobs.job.shard.

    `workers`: the default, None for as many as the machine has room for; `flags`: its names.
    """
    group = parser.add_argument_group("where the jobs run")
    group.add_argument(
        "--backend",
        choices=["local", "ray"],
        default="local",
        help="processes of this machine, or tasks of a Ray cluster",
    )
    many, one = ("", "") if workers else (" (default: one a GPU, or one a core as far as memory goes)", " (default: 1)")
    group.add_argument(
        *flags,
        dest="workers",
        type=positive_int,
        default=workers,
        metavar="N",
        help=f"local: processes at a time{many}",
    )
    group.add_argument(
        "--workers-per-gpu", type=positive_int, metavar="N", help=f"processes at a time on every GPU{one}"
    )
    group.add_argument(
        "--address", metavar="HOST:PORT", help="ray: of the cluster, or auto (default: one of its own on this machine)"
    )
    group.add_argument(
        "--shard",
        type=shard,
        metavar="I/N",
        help="do only the I-th of N parts of the jobs, I from 1; parts may run on different machines",
    )


def check_backend(args: argparse.Namespace) -> None:
    """InputError for flags of `add_backend` that contradict each other."""
    ignore_idle(args, ["address"] if args.backend == "local" else ["workers"], f"with --backend {args.backend}")
    if {"workers", "workers_per_gpu"} <= args.explicit:
        raise InputError("--workers and --workers-per-gpu exclude each other; give one")
