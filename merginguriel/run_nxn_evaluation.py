"""Evaluate every source model on every target locale: the N×N matrix of cross-lingual transfer.

Models are found by name in --models-root. Rows of the matrix are source models, columns target locales. A run that
was interrupted goes on where it stopped when the same command is given again.
"""

if not __package__:
    import _checkout  # noqa: F401

from pathlib import Path

from merginguriel.utils.flags import flag_groups
from merginguriel.utils.flags.command import command
from merginguriel.utils.flags.config import parse_with_config
from merginguriel.utils.flags.parser import ArgumentParser
from merginguriel.utils.storage import naming

HEATMAP = "heatmap.png"


def build_parser():
    parser = ArgumentParser("run_nxn_evaluation.py", description=__doc__)
    flag_groups.add_locales(
        parser, "--locales", help="source models, and targets without --targets (default: all found)"
    )
    flag_groups.add_locales(parser, "--targets", help="locales to evaluate on")
    flag_groups.add_nxn_items(parser)
    flag_groups.add_store(parser)
    flag_groups.add_given(parser)
    parser.add_argument("--results-dir", type=Path, default=naming.NXN_ROOT, metavar="DIR", help="where runs go")
    parser.add_argument("--anew", action="store_true", help="start a new run, even where one could go on")
    parser.add_argument("--list-locales", action="store_true", help="list the locales that have a model, then stop")
    parser.add_argument("--dry-run", action="store_true", help="print what would be evaluated, then stop")
    flag_groups.add_task(parser)
    flag_groups.add_backend(parser, workers=1, flags=("--workers", "--max-workers"))
    return parser


@command
def main(argv=None):
    args = parse_with_config(build_parser(), argv)
    flag_groups.check_backend(args)
    store = flag_groups.read_store(args)
    if args.list_locales:
        available = store.available()
        print(f"{len(available)} locales with a model {store.folder('<language>').name} in {store.root}:")
        print(*available, sep="\n")
        return 0
    sources = store.choose(args.locales)

    from merginguriel.utils.evaluation import nxn, nxn_job, nxn_summary
    from merginguriel.utils.jobs.backends import backend_of, get_ready
    from merginguriel.utils.jobs.engine import carry_out
    from merginguriel.utils.jobs.job import shard
    from merginguriel.utils.jobs.ledger import Ledger
    from merginguriel.utils.jobs.outcome import conclude
    from merginguriel.utils.report import heatmaps

    context = nxn_job.NxnContext(store.task, args.results_dir / nxn.TOKENS)
    plan = nxn.NxnPlan(sources, tuple(args.targets or sources), args.split, args.results_dir, context, args.max_items)
    if not args.dry_run:
        get_ready(args, {"cell"})  # while texts and models are read
    run = nxn.prepare(plan, anew=args.anew, keep_tokens=not args.dry_run and args.backend == "local")
    if args.dry_run:
        print(nxn_summary.what_is_left(run))
        return 0
    if run.is_whole:
        print("already evaluated: every cell of these models, this data, split and precision; --anew starts again")
        if not (run.folder / HEATMAP).is_file():  # the run was stopped before
            heatmaps.save_transfer(run.matrix(), store.task, plan.split, run.folder / HEATMAP)
        print(nxn_summary.table(run.matrix(), store.task.metric), f"matrix: {run.folder / nxn.MATRIX_CSV}", sep="\n")
        return 0
    backend = backend_of(args, run.memory_needed)
    run = nxn.begin(run, anew=args.anew)
    ledger = Ledger(run.folder, args.command, shard(run.jobs(), args.shard), dict(run.failures))
    outcome = carry_out(ledger, backend, context=context, unit="cells")
    run.add_failures(outcome.failures)
    picture = run.folder / HEATMAP
    matrix = nxn_summary.gather(run, lambda matrix: heatmaps.save_transfer(matrix, store.task, plan.split, picture))
    lines = [nxn_summary.table(matrix or run.matrix(), store.task.metric), f"matrix: {run.folder / nxn.MATRIX_CSV}"]
    return conclude(outcome, "\n".join(lines))


if __name__ == "__main__":
    raise SystemExit(main())
