"""Every method under several settings: dev accuracy chooses, test accuracy of the defaults and of the choice is shown.

A setting is written as the flags of the merging command. The sources of a target are loaded once; every setting is
merged in memory and scored there. A setting is chosen by its mean dev accuracy over the targets. What is done is not
repeated, so the command also prints the table of finished runs.

    python benchmarks/tune_methods.py --base-model DIR/me5-small-xlmr --dataset-name DIR/massive \
        --models-root haryos_model --targets af-ZA,id-ID,de-DE --output tuning --workers 3
"""

import argparse
import shlex
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from commands import call, languages, read_right
from methods_table import DEV, TEST, table
from sib200_tables import write_rows
from tqdm import tqdm

from merginguriel.utils.data import language_arguments
from merginguriel.utils.data.task_file import task_tokens
from merginguriel.utils.evaluation.classifier import evaluate
from merginguriel.utils.evaluation.predictions import PREDICTIONS
from merginguriel.utils.flags import flag_groups, merge_command
from merginguriel.utils.flags.merge_flags import add_mode
from merginguriel.utils.flags.parser import ArgumentParser
from merginguriel.utils.merging.memory_bench import Alone, MemoryBench
from merginguriel.utils.merging.plan import MergePlan, plan_merge
from merginguriel.utils.storage import argument_types

# Mode -> flags, the first its defaults.
GRID = {
    "average": ["", "--length 0.8", "--length 1.25"],
    "slerp": [""],
    "karcher": [""],
    "fisher_simple": [""],
    "widen": ["", "--widen-embeddings features", "--length 1.25"],
    "stock": ["", "--length 2"],
    "task_arithmetic": ["", "--scaling 0.2", "--scaling 0.25", "--scaling 0.4"],
    "ties": ["", "--density 0.5", "--density 1", "--scaling 0.7"],
    "dare": ["", "--drop-rate 0.1"],
    "dare_ties": ["", "--density 1", "--drop-rate 0.1 --density 1", "--density 1 --scaling 0.5"],
    "breadcrumbs": ["", "--scaling 0.5", "--beta 0.5", "--beta 0.994 --scaling 0.2", "--beta 1 --gamma 0"],
    "fisher_dataset": [
        "",
        "--floor 0.1",
        "--floor 1",
        "--no-normalize-fisher",
        "--data-mode sources",
        "--data-mode sources --floor 1",
        "--data-mode own",
    ],
    "regmean": [
        "",
        "--alpha 0.5",
        "--alpha 1",
        "--ridge 0.1",
        "--data-mode sources",
        "--data-mode own",
        "--length 0.8",
        "--length 1.25",
    ],
    "adamerging": [
        "",
        "--learning-rate 1e-2",
        "--per model --learning-rate 1e-2",
        "--adamerging-start 0.3 --adamerging-clamp",
    ],
}


def build_parser():
    parser = ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flag_groups.add_store(parser)
    flag_groups.add_task(parser)
    parser.add_argument("--targets", type=language_arguments.locale_list, help="default: the task's first three")
    parser.add_argument("--methods", nargs="+", choices=GRID, default=list(GRID))
    parser.add_argument("--chosen-by", default="--selection cosine", help="flags that choose the sources")
    parser.add_argument("--num-languages", type=argument_types.positive_int, default=5)
    parser.add_argument("--seed", type=argument_types.seed, default=42)
    parser.add_argument("--workers", type=argument_types.positive_int, default=1, help="targets at a time")
    parser.add_argument("--output", type=Path, default=Path("tuning"), help="folder, written after each setting")
    return parser


def plan(args, target: str, mode: str, flags: str) -> MergePlan:
    parser = merge_command.build_parser("tune_methods.py", "")
    add_mode(parser, required=True)
    line = ["--mode", mode, "--target-lang", target, "--num-languages", args.num_languages, "--seed", args.seed]
    line += ["--models-root", args.models_root]
    line += ["--base-model", args.base_model] if args.base_model else []
    line += [*task_tokens(flag_groups.read_task(args)), *shlex.split(args.chosen_by), *shlex.split(flags)]
    settings, store = merge_command.read_merge(parser.parse_args(list(map(str, line))))
    return plan_merge(settings, store.task, store, merged_root=args.output / "merged")


def run_target(args, target: str) -> None:
    """A result of every setting, and of every source alone, on dev and test."""
    jobs = [(mode, flags) for mode in args.methods for flags in GRID[mode]]
    missing = [job for job in jobs if not correct(args, TEST, target, label(*job)).any()]
    if not missing:
        return
    bench, task = MemoryBench(args.output / "measurements"), flag_groups.read_task(args)
    splits = {name: task.load(target, name) for name in (DEV, TEST)}

    def keep(name: str, evaluated) -> None:
        for split, items in splits.items():
            evaluated(items, folder(args, split, target, name))

    for source in plan(args, target, "average", "").sources:
        alone = Alone(bench, source.path, task)
        keep(
            f"alone {source.locale}",
            lambda items, to, alone=alone: evaluate(alone, items, to, name=to.name, overwrite=True),
        )
    for job in tqdm(missing, desc=target):
        made = plan(args, target, *job)
        merged = bench.merge(made, made.record(), overwrite=True)
        keep(label(*job), lambda items, to, merged=merged: merged.evaluate(items, to, overwrite=True, job=None))


def folder(args, split: str, target: str, name: str) -> Path:
    return args.output / split / target / name.replace(" ", "_")


def correct(args, split: str, target: str, name: str) -> np.ndarray:
    """(items,) bool, none where it is not done."""
    file = folder(args, split, target, name) / PREDICTIONS
    return read_right(file) if file.is_file() else np.zeros(0, bool)


def main(argv=None):
    args = build_parser().parse_args(argv)
    args.targets = languages(args.targets, flag_groups.read_task(args), 3)
    args.methods = list(dict.fromkeys(["average", *args.methods]))  # what all are compared with
    with ProcessPoolExecutor(args.workers, mp_context=get_context("spawn")) as pool:
        list(pool.map(run_target, [args] * len(args.targets), args.targets))
    rows = rows_of(args)
    write_rows(args.output / "settings.csv", rows)
    print("\n".join(table(rows)))


def rows_of(args) -> list[dict]:
    """A row for each target and setting: accuracies on dev and test."""
    return [
        {"mode": mode, "flags": flags, "target": target}
        | {split: round(float(correct(args, split, target, label(mode, flags)).mean()), 6) for split in (DEV, TEST)}
        for mode in args.methods
        for flags in GRID[mode]
        for target in args.targets
    ]


def label(mode: str, flags: str) -> str:
    return f"{mode} {flags}".strip()


if __name__ == "__main__":
    call(main)
