"""Iterative training for many target languages, each with its own sources.

Every target is a run of run_iterative_training.py in <output-dir>/<target>. What is done is kept: the same command goes
on where it was stopped. Exit code 1 if a target failed.
"""

import argparse
from pathlib import Path

from auto_merge_llm.errors import InputError

from merginguriel import run_iterative_training as single
from merginguriel import run_large_scale_experiment as sweep
from merginguriel.utils import arguments, naming
from merginguriel.utils.errors import answering_interrupts, command


def build_parser():
    from merginguriel.utils.merging import ALIASES, MODES

    parser = arguments.ArgumentParser(prog="run_large_scale_iterative_training.py", description=__doc__,
                                      epilog=f"modes:\n{single.mode_lines()}")
    parser.add_argument("--list-locales", action="store_true", help="list the targets there are, then stop")
    arguments.add_locales(parser, "--target-languages",
                          help="targets (default: all of the similarity matrix that the dataset has)")
    parser.add_argument("--mode", choices=list(MODES), default="similarity", metavar="MODE",
                        type=lambda name: ALIASES.get(name, name), help="how to merge, see below")
    parser.add_argument("--start-from", type=arguments.whole_number, default=0, metavar="N",
                        help="leave out the first N targets")
    parser.add_argument("--max-locales", type=arguments.positive_int, metavar="N", help="at most N targets")
    parser.add_argument("--max-models", dest="num_languages", type=arguments.positive_int, default=5, metavar="N",
                        help="the same as --num-languages")
    parser.add_argument("--output-dir", type=Path, default=Path("iterative_large_scale_results"), metavar="DIR",
                        help="folder of the runs")
    parser.add_argument("--results-dir", type=Path, default=naming.RESULTS_ROOT, metavar="DIR",
                        help="where the results of the last merges go")
    parser.add_argument("--cleanup-intermediate", action="store_true",
                        help="keep only the final model of a run that is done")
    parser.add_argument("--overwrite", action="store_true", help="replace runs of other settings")
    parser.add_argument("--dry-run", action="store_true", help="print targets, sources and weights, then stop")
    single.add_run(parser)
    parser.set_defaults(merge_frequency=3)
    arguments.add_backend(parser)
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
    arguments.refuse_idle_backend_flags(args)
    single.check_flags(args)
    runs = {target: single.read_settings(argparse.Namespace(**{
        **vars(args), "target_lang": target, "output_dir": args.output_dir / target}), parser) for target in targets}

    from merginguriel.utils import iterative_jobs, jobs, records

    planned, failures = iterative_jobs.plan_jobs(runs, cleanup=args.cleanup_intermediate, overwrite=args.overwrite)
    if args.shard:
        planned = jobs.shard(planned, *args.shard)
    if args.dry_run:
        print("\n\n".join(job.options["plan"].describe() for job in planned))
        for target, reason in failures.items():
            print(f"impossible: {target}: {reason}")
        return 1 if failures else 0
    backend = jobs.backend_of(args, iterative_jobs.memory_needed(next(iter(runs.values()))))
    config = {name: value for name, value in records.plain(vars(args)).items() if name != "explicit"}
    with answering_interrupts():
        outcome = iterative_jobs.work_off(planned, failures, backend, config, args.output_dir)
    return jobs.conclude(outcome, iterative_jobs.summary_table(planned, outcome))


if __name__ == "__main__":
    raise SystemExit(main())
