"""The flags of a sweep of merges: modes, presets, and the grid that they span."""

import argparse
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from merginguriel.utils.adaptation.settings import AdaptSettings
from merginguriel.utils.flags import flag_groups
from merginguriel.utils.flags.merge_flags import check_merge_flags, read_merge_settings
from merginguriel.utils.flags.setting_flags import ignore_idle
from merginguriel.utils.merging.modes import ADAPTED, BASELINE, MODES, method_of, mode_named
from merginguriel.utils.merging.sweep_grid import Grid
from merginguriel.utils.similarity import matrix
from merginguriel.utils.storage.settings import declared

DEFAULT_MODES = ("baseline", "similarity", "average", "fisher_dataset", "ties", "task_arithmetic", "slerp", "regmean")
# Name of a preset -> what it sets where the flag itself is not given.
PRESETS: dict[str, dict[str, str]] = {
    "none": {},
    "fairness": {"fisher_data_mode": "sources", "preweight": "equal"},
    "target": {"fisher_data_mode": "target", "preweight": "uriel"},
}


def add_modes(parser: Any) -> None:
    parser.add_argument(
        "--modes",
        nargs="+",
        default=list(DEFAULT_MODES),
        metavar="MODE",
        type=_mode,
        help="see below; MODE+vote and MODE+self: merged so, then adapted to the target, as --adapt does",
    )
    parser.add_argument(
        "--preset",
        choices=list(PRESETS),
        default="none",
        help="fairness: text of the sources, equal weights; target: text of the target, URIEL weights; flags that are "
        "given win",
    )


def _mode(text: str) -> str:
    mode, plus, adapted = text.partition(ADAPTED)
    ways = declared(AdaptSettings)["adapt"].choices or ()
    known = mode_named(mode) in MODES or (mode == BASELINE and not plus)
    if not known or (plus and adapted not in ways):
        near = get_close_matches(
            text, [BASELINE, *MODES, *(f"{one}{ADAPTED}{way}" for one in MODES for way in ways)], 1
        )
        hint = f"did you mean {near[0]}?" if near else "--list-modes lists them"
        raise argparse.ArgumentTypeError(f"unknown mode {text!r}; {hint}")
    return mode_named(mode) + plus + adapted


def choose_targets(args: argparse.Namespace, flag: str = "--locales") -> tuple[list[str], Any]:
    """(the targets, where they come from): those of `flag`, else of the similarity matrix as far as there are data."""
    targets, where = args.targets, flag
    if not targets:
        path = args.similarity_matrix or matrix.find_matrix(matrix.SPARSE_CSV) or Path(matrix.SPARSE_CSV)
        task = flag_groups.read_task(args)
        known = matrix.read_matrix(path).targets
        targets = [code for code in known if code in task.codes]
        where = f"{path}, as far as {task.data} has them"
        others = [code for code in task.default_codes if code not in known]
        if others and not (args.similarity_matrix or task.similar_among):  # similarity is computed when it is needed
            targets, where = [*targets, *others], f"task {task.name}"
    return flag_groups.choose_targets(args, targets, where, f"name others with {flag}"), where


def _numbers(args: argparse.Namespace) -> tuple[int, ...]:
    """Of sources; of those that --source names all, where nothing else is said."""
    if args.given and "num_languages" not in args.explicit:
        return (flag_groups.number_of_given(args),)
    return tuple(dict.fromkeys(args.num_languages))


def read_grid(args: argparse.Namespace) -> Grid:
    """What is asked for, the preset applied, without flags that none of the merges reads."""
    _check_flags(args, _grid(args))
    preset = PRESETS[args.preset]
    for name in preset.keys() - args.explicit:
        setattr(args, name, preset[name])
    return _grid(args)


def _grid(args: argparse.Namespace) -> Grid:
    modes = tuple(dict.fromkeys(args.modes))
    if args.adapt:  # every merge as it is, and adapted
        plain = [mode for mode in modes if mode != BASELINE and ADAPTED not in mode]
        modes = tuple(dict.fromkeys([*modes, *(f"{mode}{ADAPTED}{args.adapt}" for mode in plain)]))
    selections = tuple(dict.fromkeys(args.selection or [None]))
    if args.similarity_type == "REAL" and selections == (None,):
        selections = ("real",)
    chosen = selections[0] if len(selections) == 1 else None
    common = read_merge_settings(args, "linear", "", num_languages=1, selection=chosen)
    return Grid(modes, _numbers(args), selections, common)


def _check_flags(args: argparse.Namespace, grid: Grid) -> None:
    merges = [grid.settings(mode, "", 1, chosen) for mode in grid.merging_modes for chosen in grid.selections]
    check_merge_flags(args, merges)
    used = {dest for setting, dest in args.settings.items() for merge in merges if setting in merge.used()}
    idle = [] if any(method_of(merge.mode).measurement for merge in merges) else ["keep_measurements"]
    idle += [] if used & PRESETS[args.preset].keys() else ["preset"]
    ignore_idle(args, idle, "in these modes")
    if not args.keep_merged:
        ignore_idle(args, ["merged_models_dir"], "without --keep-merged")
    flag_groups.check_backend(args)
