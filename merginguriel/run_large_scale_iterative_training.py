"""Iterative training for many target languages, each with its own sources.

Every target is a run of run_iterative_training.py in <output-dir>/<target>. What is done is kept: the same command goes
on where it was stopped. Exit code 1 if a target failed.
"""

if not __package__:
    import _checkout  # noqa: F401

from auto_merge_llm.errors import InputError

from merginguriel.utils.flags import flag_groups
from merginguriel.utils.flags.command import answering_interrupts, command
from merginguriel.utils.flags.config import as_record
from merginguriel.utils.flags.iterative_flags import add_output, add_run, check_iterative_flags, read_iterative_settings
from merginguriel.utils.flags.merge_flags import add_mode
from merginguriel.utils.flags.parser import ArgumentParser
from merginguriel.utils.flags.sweep_flags import choose_targets
from merginguriel.utils.merging.modes import mode_lines


def build_parser():
    parser = ArgumentParser(
        "run_large_scale_iterative_training.py", description=__doc__, epilog=f"modes:\n{mode_lines()}"
    )
    flag_groups.add_targets(parser, "--target-languages", "all of the similarity matrix that the dataset has")
    add_mode(parser, default="similarity")
    add_output(parser, "iterative_large_scale_results", "folder of the runs")
    parser.add_argument(
        "--cleanup-intermediate", action="store_true", help="keep only the final model of a run that is done"
    )
    parser.add_argument("--dry-run", action="store_true", help="print targets, sources and weights, then stop")
    add_run(parser, num_languages="--num-languages --max-models", merge_frequency=3)
    flag_groups.add_backend(parser)
    return parser


@command
def main(argv=None):
    args = build_parser().parse_args(argv)
    targets, where = choose_targets(args, "--target-languages")
    if args.list_locales:
        flag_groups.print_targets(targets, where)
        return 0
    if not args.sequential_training:
        raise InputError("--no-sequential-training is for one target; train several at a time with --workers")
    flag_groups.check_backend(args)
    check_iterative_flags(args, read_iterative_settings(args, targets[0], args.output_dir / targets[0]))
    runs = [read_iterative_settings(args, target, args.output_dir / target) for target in targets]

    from merginguriel.utils.iterative import iterative_job
    from merginguriel.utils.jobs.backends import backend_of
    from merginguriel.utils.jobs.engine import carry_out
    from merginguriel.utils.jobs.job import shard
    from merginguriel.utils.jobs.ledger import Ledger, ending_of
    from merginguriel.utils.jobs.outcome import conclude
    from merginguriel.utils.training.training_job import memory_needed

    planned, failures = iterative_job.iterative_jobs(runs, cleanup=args.cleanup_intermediate, overwrite=args.overwrite)
    jobs = shard(planned, args.shard)
    if args.dry_run:
        print("\n\n".join(job.options["plan"].merge.describe() for job in jobs))
        for target, reason in failures.items():
            print(f"impossible: {target}: {reason}")
        return 1 if failures else 0
    backend = backend_of(args, memory_needed(runs[0].training))
    ledger = Ledger(
        args.output_dir,
        args.command,
        jobs,
        failures,
        config=as_record(args),
        prefix="iterative_large_scale",
        ending=ending_of(args.shard),
        describe=iterative_job.accuracies,
    )
    with answering_interrupts():
        outcome = carry_out(ledger, backend)
    return conclude(outcome, iterative_job.summary_table(jobs, outcome))


if __name__ == "__main__":
    raise SystemExit(main())
