"""Put every result into tables, merges and ensembles beside fair baselines, with intervals and paired tests.

Results that differ in method, number of sources, selection, seed or any other setting are never mixed. Files that are
damaged are named and left out, with exit code 1.
"""

if not __package__:
    import _checkout  # noqa: F401

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from auto_merge_llm.errors import InputError

from merginguriel.utils.flags import result_flags
from merginguriel.utils.flags.command import command
from merginguriel.utils.flags.parser import ArgumentParser
from merginguriel.utils.flags.setting_flags import ignore_idle

log = logging.getLogger(__name__)


def build_parser() -> ArgumentParser:
    parser = ArgumentParser("aggregate_results.py", description=__doc__)
    result_flags.add_results(parser)
    against = result_flags.add_baselines(parser)
    against.add_argument("--no-baselines", action="store_true", help="leave baselines out")
    against.add_argument(
        "--no-tests", action="store_true", help="leave out what needs predictions: paired tests and intervals of gains"
    )
    output = parser.add_argument_group("output")
    output.add_argument("--output-dir", type=Path, default=Path("."), metavar="DIR", help="where the files go")
    output.add_argument("--output-prefix", default="results", metavar="NAME", help="how their names begin")
    output.add_argument("--format", choices=["csv", "json", "markdown", "all"], default="all", help="which files")
    output.add_argument(
        "--export",
        choices=["csv", "parquet"],
        help="also one long table with a row a result, every setting and version",
    )
    output.add_argument(
        "--tables",
        nargs="+",
        choices=["latex", "markdown"],
        default=[],
        metavar="KIND",
        help="also tables for a paper: latex, markdown or both",
    )
    output.add_argument(
        "--show-missing", action="store_true", help="also list what is missing, and the command that makes it"
    )
    return parser


def choose_nxn(args: argparse.Namespace) -> Path | None:
    """The N×N whose cells are baselines too."""
    if args.no_baselines:
        ignore_idle(args, ["nxn_results_dir", "evaluation_matrix", "no_tests"], "beside --no-baselines")
        return None
    return result_flags.nxn_of(args)


@command
def main(argv: Sequence[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    if Path(args.output_prefix).name != args.output_prefix:
        raise InputError(f"--output-prefix {args.output_prefix} is not a plain name; --output-dir chooses the folder")
    result_flags.check_results(args)
    nxn = choose_nxn(args)

    from merginguriel.utils.results import collect, files, text_report
    from merginguriel.utils.results.choice import choose, of_types
    from merginguriel.utils.results.comparison import compare
    from merginguriel.utils.results.csv_tables import Aggregate
    from merginguriel.utils.results.missing import missing
    from merginguriel.utils.results.summary import summarise

    log.info("Aggregating experiment results...")
    collection = collect.collect(args.results_dir, nxn, logging.INFO)
    among = choose(collection.long, args.split, args.locales, task=args.task)
    long = of_types(among, args.experiment_types) if args.experiment_types else among
    log.info("Processing %d experiment results", len(long))
    log.info("Creating comparison table...")
    comparison = compare(long, baselines=not args.no_baselines, tests=not args.no_tests, among=among)
    log.info("Generating summary statistics...\nAnalyzing win rates...")
    results = Aggregate(long, comparison, summarise(comparison), not args.no_baselines)
    log.info("%d of them merges and ensembles", len(comparison.frame))
    formats = files.FORMATS if args.format == "all" else [args.format]
    written = files.write(
        results, args.output_dir, args.output_prefix, formats=formats, export=args.export, tables=args.tables
    )

    print(text_report.printed(results))
    print("\nFiles generated:", *files.told(written), sep="\n")
    damaged = collection.damaged | comparison.damaged
    if args.show_missing:
        lines, damaged_lists = missing(args.results_dir, comparison.frame, args.locales)
        damaged |= damaged_lists
        print("\nMissing:", *lines or ["nothing"], sep="\n")
    for note in comparison.notes:
        log.warning("note: %s", note)
    for error in damaged.values():
        print(f"left out: {error}", file=sys.stderr)
    return 1 if damaged else 0


if __name__ == "__main__":
    raise SystemExit(main())
