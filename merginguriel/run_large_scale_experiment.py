"""Merge and evaluate for many target languages: locales x modes x numbers of sources, in one run.

The sources of a target are loaded once; everything is merged and evaluated in memory. What is done is kept: the same
command goes on where it was stopped. Exit code 1 if a job failed.
"""

if not __package__:
    import _checkout  # noqa: F401

from pathlib import Path

from merginguriel.utils.flags import flag_groups, sweep_flags
from merginguriel.utils.flags.command import command
from merginguriel.utils.flags.config import as_record, parse_with_config
from merginguriel.utils.flags.merge_flags import add_adapt, add_merging, add_sources
from merginguriel.utils.flags.parser import ArgumentParser, PrintAndStop
from merginguriel.utils.flags.setting_flags import add_settings
from merginguriel.utils.merging import wanted
from merginguriel.utils.merging.modes import mode_lines
from merginguriel.utils.merging.settings import MergeSettings
from merginguriel.utils.storage import naming


def build_parser():
    modes = mode_lines(baseline=True)
    parser = ArgumentParser("run_large_scale_experiment.py", description=__doc__, epilog=f"modes:\n{modes}")
    parser.add_argument("--list-modes", action=PrintAndStop, text=modes, help="list the modes")
    flag_groups.add_targets(parser, "--locales", "all of the similarity matrix that the dataset has")
    sweep_flags.add_modes(parser)
    flag_groups.add_store(parser)
    flag_groups.add_given(parser)
    add_settings(parser, MergeSettings, ("seed",))
    add_sources(parser, several=True)
    add_merging(parser)
    add_adapt(parser, several=True)
    flag_groups.add_task(parser)
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
    add_settings(output, MergeSettings, ("dtype", "allow_mismatched_heads"))
    output.add_argument("--overwrite", action="store_true", help="replace results of other settings")
    output.add_argument(
        "--dry-run", action="store_true", help="print the jobs with rough estimates of time and disk, then stop"
    )
    flag_groups.add_backend(parser)
    return parser


@command
def main(argv=None):
    args = parse_with_config(build_parser(), argv)
    targets, where = sweep_flags.choose_targets(args)
    if args.list_locales:
        flag_groups.print_targets(targets, where)
        return 0
    store = flag_groups.read_store(args)
    wanted.available(store, targets, max(args.num_languages))
    grid = sweep_flags.read_grid(args)

    from merginguriel.utils.jobs.backends import backend_of, get_ready
    from merginguriel.utils.jobs.engine import carry_out
    from merginguriel.utils.jobs.job import shard
    from merginguriel.utils.jobs.ledger import Ledger, ending_of
    from merginguriel.utils.jobs.outcome import conclude
    from merginguriel.utils.merging import cost, sweep
    from merginguriel.utils.merging.merge_job import MergeContext, MergeOutput

    output = MergeOutput(args.results_dir, args.overwrite, args.keep_merged, args.keep_measurements)
    task = store.task
    if args.backend == "local":  # what machines of a cluster have, they say themselves
        sweep.check_environment(grid)
    if not args.dry_run:
        get_ready(args, grid.job_kinds)  # while models and texts are read
    planner = sweep.Planner(grid, task, store, output, args.merged_models_dir)
    backend = backend_of(args, sweep.memory_needed(grid, list(planner.available.values())))
    planner.ask(targets, backend)
    planned = planner.plan(targets, backend.device)
    jobs = shard(planned.jobs, args.shard)
    if args.dry_run:
        print(cost.job_table(jobs, backend, args.keep_measurements))
        for name, reason in planned.failures.items():
            print(f"impossible: {name}: {reason}")
        return 1 if planned.failures else 0
    ledger = Ledger(
        args.results_dir,
        args.command,
        jobs,
        planned.failures,
        config=as_record(args),
        prefix="experiment",
        ending=ending_of(args.shard),
        describe=sweep.accuracies,
    )
    outcome = carry_out(ledger, backend, context=MergeContext(task, output))
    return conclude(outcome, sweep.summary_table(jobs, outcome, task.metric))


if __name__ == "__main__":
    raise SystemExit(main())
