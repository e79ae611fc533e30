"""Merge and evaluate for many target languages: locales x modes x numbers of sources, in one run.

The sources of a target are loaded once; everything is merged and evaluated in memory. What is done is kept: the same
command goes on where it was stopped. Exit code 1 if a job failed.
"""

import argparse
from pathlib import Path

from auto_merge_llm.errors import InputError

from merginguriel import run_merging_pipeline_refactored as pipeline
from merginguriel.utils.data import task
from merginguriel.utils.flags import argument_types, flag_groups
from merginguriel.utils.flags.command import command
from merginguriel.utils.flags.config import parse_with_config
from merginguriel.utils.flags.parser import ArgumentParser, PrintAndStop
from merginguriel.utils.storage import naming
from merginguriel.utils.storage.messages import said_once

BASELINE = "baseline"
DEFAULT_MODES = ("baseline", "similarity", "average", "fisher_dataset", "ties", "task_arithmetic", "slerp", "regmean")
# Name of a preset -> what it sets where the flag itself is not given.
PRESETS = {
    "none": {},
    "fairness": {"fisher_data_mode": "sources", "preweight": "equal"},
    "target": {"fisher_data_mode": "target", "preweight": "uriel"},
}


def build_parser():
    from merginguriel.utils.merging.modes import ALIASES, MODES

    modes = f"  {BASELINE:<16}the target's own model, nothing merged\n{pipeline.mode_lines()}"
    parser = ArgumentParser(prog="run_large_scale_experiment.py", description=__doc__, epilog=f"modes:\n{modes}")
    parser.add_argument("--list-modes", action=PrintAndStop, text=modes, help="list the modes")
    parser.add_argument("--list-locales", action="store_true", help="list the targets there are, then stop")
    flag_groups.add_locales(
        parser, "--locales", help="targets (default: all of the similarity matrix that the dataset has)"
    )
    parser.add_argument(
        "--modes",
        nargs="+",
        choices=[BASELINE, *MODES],
        default=list(DEFAULT_MODES),
        metavar="MODE",
        type=lambda name: ALIASES.get(name, name),
        help="see below",
    )
    parser.add_argument(
        "--start-from", type=argument_types.whole_number, default=0, metavar="N", help="leave out the first N targets"
    )
    parser.add_argument("--max-locales", type=argument_types.positive_int, metavar="N", help="at most N targets")
    parser.add_argument(
        "--preset",
        choices=list(PRESETS),
        default="none",
        help="fairness: text of the sources, equal weights; target: text of the target, URIEL weights; "
        "flags that are given win",
    )
    flag_groups.add_base_model(parser)
    flag_groups.add_models_root(parser)
    parser.add_argument(
        "--seed",
        type=argument_types.seed,
        default=42,
        metavar="N",
        help="of the sources' initial checkpoint, and of methods that draw numbers",
    )
    flag_groups.add_sources(parser, selection_help="; cosine in mode uriel", several=True)
    pipeline.add_merging(parser)
    flag_groups.add_data(parser)

    output = parser.add_argument_group("output")
    output.add_argument("--results-dir", type=Path, default=naming.RESULTS_ROOT, metavar="DIR", help="where results go")
    output.add_argument("--keep-merged", action="store_true", help="write every merged model too")
    output.add_argument(
        "--merged-models-dir", type=Path, default=naming.MERGED_ROOT, metavar="DIR", help="where, with --keep-merged"
    )
    output.add_argument(
        "--keep-measurements",
        action="store_true",
        help="write what Fisher merging and regmean measured, to use it again",
    )
    pipeline.add_dtype(output)
    output.add_argument("--overwrite", action="store_true", help="replace results of other settings")
    output.add_argument(
        "--allow-mismatched-heads", action="store_true", help="merge sources of different initial heads all the same"
    )
    output.add_argument(
        "--dry-run", action="store_true", help="print the jobs with rough estimates of time and disk, then stop"
    )
    flag_groups.add_backend(parser)
    return parser


def choose_targets(args, flag: str = "--locales") -> tuple[list[str], str]:
    """(the targets, where they come from); `flag` names targets."""
    targets, where = getattr(args, flag[2:].replace("-", "_")), flag
    if not targets:
        from merginguriel.utils.data import task
        from merginguriel.utils.similarity import matrix

        path = args.similarity_matrix or matrix.find_matrix(matrix.SPARSE_CSV) or Path(matrix.SPARSE_CSV)
        there = set(task.find_locales(args.dataset_name))
        targets = [locale for locale in matrix.read_matrix(path).locales if locale in there]
        where = f"{path}, as far as {args.dataset_name} has them"
    chosen = targets[args.start_from :][: args.max_locales]
    if not chosen:
        raise InputError(
            f"no targets: {len(targets)} from {where}, --start-from {args.start_from}; name others with {flag}"
        )
    return chosen, where


def check_flags(args) -> None:
    """Apply the preset; a flag that none of the modes reads is refused, not ignored."""
    from merginguriel.utils.merging.modes import method_of, own_hyperparameters

    if args.similarity_type == "REAL" and not args.selection:
        args.selection = ["real"]
    modes = [mode for mode in args.modes if mode != BASELINE]
    combinations = [
        argparse.Namespace(**{**vars(args), "mode": mode, "selection": selection})
        for mode in modes
        for selection in args.selection or [None]
    ]
    with said_once(flag_groups.log):
        idle = [set(pipeline.idle_flags(combination)) for combination in combinations]
    everywhere = set.intersection(*idle) if idle else {"num_languages", "selection", "preweight", *pipeline.TEXT_FLAGS}
    taken = {name for mode in modes for name in own_hyperparameters(mode, dict.fromkeys(pipeline.HYPERPARAMETER_NAMES))}
    everywhere |= pipeline.HYPERPARAMETER_NAMES - taken
    methods = [method_of(mode) for mode in modes]
    if not any(method.needs_base for method in methods):
        everywhere |= {"base_checkpoint"}
    if not any(method.measurement for method in methods):
        everywhere |= {"keep_measurements"}
    if not args.keep_merged:
        everywhere |= {"merged_models_dir"}
    flag_groups.refuse_idle(args, sorted(everywhere))
    pipeline.check_weight_flags(args)
    flag_groups.refuse_idle_backend_flags(args)
    preset = PRESETS[args.preset]
    if preset and everywhere >= preset.keys():
        raise InputError(f"--preset {args.preset} has no effect on the modes given; leave it out")
    for name in preset.keys() - args.explicit:
        setattr(args, name, preset[name])


def read_options(args):
    from merginguriel.utils.merging.sweep import SweepOptions

    selections = tuple(dict.fromkeys(args.selection or [None]))
    similarity = flag_groups.similarity_options(
        argparse.Namespace(**{**vars(args), "selection": "real" if "real" in selections else None})
    )
    return SweepOptions(
        base_model=task.base_model_of(args.base_model, args.dataset_name),
        models_root=args.models_root,
        results_root=args.results_dir,
        merged_root=args.merged_models_dir,
        modes=tuple(dict.fromkeys(args.modes)),
        numbers=tuple(dict.fromkeys(args.num_languages)),
        selections=selections,
        similarity=similarity,
        preweight=args.preweight,
        weights=pipeline.read_weights(args),
        normalize=args.normalize_weights,
        seed=args.seed,
        base=args.base_checkpoint,
        hyperparameters={name: getattr(args, name) for name in pipeline.HYPERPARAMETER_NAMES & args.explicit},
        measuring=pipeline.measuring_options(args),
        dataset_name=args.dataset_name,
        text_column=args.text_column,
        label_column=args.label_column,
        dtype=args.dtype,
        allow_mismatched_heads=args.allow_mismatched_heads,
        keep_merged=args.keep_merged,
        keep_measurements=args.keep_measurements,
        overwrite=args.overwrite,
    )


@command
def main(argv=None):
    args = parse_with_config(build_parser(), argv)
    targets, where = choose_targets(args)
    if args.list_locales:
        print(*(f"{number:3}. {locale}" for number, locale in enumerate(targets)), sep="\n")
        print(f"Total: {len(targets)} locales from {where}")
        return 0
    check_flags(args)
    options = read_options(args)

    from merginguriel.utils.jobs import engine
    from merginguriel.utils.merging import cost, sweep
    from merginguriel.utils.storage import atomic

    backend = engine.backend_of(args, sweep.memory_needed(options))
    plan = sweep.plan_sweep(targets, options, backend.device)
    if args.shard:
        plan.jobs = engine.shard(plan.jobs, *args.shard)
    if args.dry_run:
        print(cost.job_table(plan.jobs, backend, options))
        for name, reason in plan.failures.items():
            print(f"impossible: {name}: {reason}")
        return 1 if plan.failures else 0
    config = {name: value for name, value in atomic.plain(vars(args)).items() if name != "explicit"}
    outcome = sweep.run_sweep(plan, backend, config, args.results_dir, args.shard)
    return engine.conclude(outcome, sweep.summary_table(plan, outcome))


if __name__ == "__main__":
    raise SystemExit(main())
