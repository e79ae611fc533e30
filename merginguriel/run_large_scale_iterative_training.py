"""Iterative training for many target languages, each with its own sources.

Every target is a run of run_iterative_training.py in <output-dir>/<target>. What is done is kept: the same command goes
on where it was stopped. Exit code 1 if a target failed.
"""

import argparse
from pathlib import Path

from auto_merge_llm.errors import InputError

from merginguriel import run_iterative_training as single
from merginguriel import run_large_scale_experiment as sweep
from merginguriel.utils.flags import argument_types, flag_groups
from merginguriel.utils.flags.command import answering_interrupts, command
from merginguriel.utils.flags.parser import ArgumentParser
from merginguriel.utils.storage import naming


def build_parser():
    from merginguriel.utils.merging.modes import ALIASES, MODES

    parser = ArgumentParser(
        prog="run_large_scale_iterative_training.py", description=__doc__, epilog=f"modes:\n{single.mode_lines()}"
    )
    parser.add_argument("--list-locales", action="store_true", help="list the targets there are, then stop")
    flag_groups.add_locales(
        parser, "--target-languages", help="targets (default: all of the similarity matrix that the dataset has)"
    )
    parser.add_argument(
        "--mode",
        choices=list(MODES),
        default="similarity",
        metavar="MODE",
        type=lambda name: ALIASES.get(name, name),
        help="how to merge, see below",
    )
    parser.add_argument(
        "--start-from", type=argument_types.whole_number, default=0, metavar="N", help="leave out the first N targets"
    )
    parser.add_argument("--max-locales", type=argument_types.positive_int, metavar="N", help="at most N targets")
    parser.add_argument(
        "--max-models",
        dest="num_languages",
        type=argument_types.positive_int,
        default=5,
        metavar="N",
        help="the same as --num-languages",
    )
    parser.add_argument(
        "--output-dir",
        type=Path,
        default=Path("iterative_large_scale_results"),
        metavar="DIR",
        help="folder of the runs",
    )
    parser.add_argument(
        "--results-dir",
        type=Path,
        default=naming.RESULTS_ROOT,
        metavar="DIR",
        help="where the results of the last merges go",
    )
    parser.add_argument(
        "--cleanup-intermediate", action="store_true", help="keep only the final model of a run that is done"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace runs of other settings")
    parser.add_argument("--dry-run", action="store_true", help="print targets, sources and weights, then stop")
    single.add_run(parser)
    parser.set_defaults(merge_frequency=3)
    flag_groups.add_backend(parser)
    return parser


@command
def main(argv=None):
    parser = build_parser()
    args = parser.parse_args(argv)
    targets, where = sweep.choose_targets(args, "--target-languages")
    if args.list_locales:
        print(*(f"{number:3}. {locale}" for number, locale in enumerate(targets)), sep="\n")
        print(f"Total: {len(targets)} locales from {where}")
        return 0
    if not args.sequential_training:
        raise InputError("--no-sequential-training is for one target; train several at a time with --workers")
    flag_groups.refuse_idle_backend_flags(args)
    single.check_flags(args)
    runs = {
        target: single.read_settings(
            argparse.Namespace(**{**vars(args), "target_lang": target, "output_dir": args.output_dir / target}), parser
        )
        for target in targets
    }

    from merginguriel.utils.iterative import iterative_job
    from merginguriel.utils.jobs import engine
    from merginguriel.utils.storage import atomic

    planned, failures = iterative_job.plan_jobs(runs, cleanup=args.cleanup_intermediate, overwrite=args.overwrite)
    if args.shard:
        planned = engine.shard(planned, *args.shard)
    if args.dry_run:
        print("\n\n".join(job.options["plan"].describe() for job in planned))
        for target, reason in failures.items():
            print(f"impossible: {target}: {reason}")
        return 1 if failures else 0
    backend = engine.backend_of(args, iterative_job.memory_needed(next(iter(runs.values()))))
    config = {name: value for name, value in atomic.plain(vars(args)).items() if name != "explicit"}
    with answering_interrupts():
        outcome = iterative_job.work_off(planned, failures, backend, config, args.output_dir)
    return engine.conclude(outcome, iterative_job.summary_table(planned, outcome))


if __name__ == "__main__":
    raise SystemExit(main())
