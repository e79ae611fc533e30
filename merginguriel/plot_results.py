"""Draw what the results say: every method beside its baselines, gains, rankings, transfer and similarity.

Reads the results folder, or a table that aggregate_results.py made of it: the one that is named, or the newest where
there are no results. Also writes advanced_analysis_summary_<time>.csv, with every number that is drawn by locale.
"""

if not __package__:
    import _checkout  # noqa: F401

import logging
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from merginguriel.utils.flags import result_flags
from merginguriel.utils.flags.command import command
from merginguriel.utils.flags.parser import ArgumentParser

log = logging.getLogger(__name__)


def build_parser() -> ArgumentParser:
    parser = ArgumentParser("plot_results.py", description=__doc__)
    result_flags.add_pictures(parser)
    parser.add_argument(
        "--plot-types",
        nargs="+",
        choices=list(result_flags.KINDS),
        default=list(result_flags.KINDS),
        metavar="TYPE",
        help="accuracy, win_rate, heatmap, summary or several",
    )
    parser.add_argument(
        "--list-csv", action="store_true", help="list the tables that are here, newest first, then stop"
    )
    parser.add_argument(
        "--list-num-languages", action="store_true", help="list the numbers of sources that results have, then stop"
    )
    return parser


def list_csv() -> None:
    from merginguriel.utils.report.read_data import comprehensive_files

    files = comprehensive_files(Path("."))
    for path in files:
        print(f"{path}  {datetime.fromtimestamp(path.stat().st_mtime):%Y-%m-%d %H:%M}")
    if not files:
        print("no results_comprehensive_*.csv here; aggregate_results.py writes them")


@command
def main(argv: Sequence[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    if args.list_csv:
        list_csv()
        return 0

    from merginguriel.utils.report import plot_command

    data, origin = plot_command.chosen_data(args)
    if args.list_num_languages:
        counts = data.frame["num_sources"].value_counts().sort_index()
        print(*(f"{number}  {count} results" for number, count in counts.items()), sep="\n")
        return 0
    print(data.described(origin))
    print(plot_command.draw(data, args.plot_types, args.plots_dir, args.format))
    for error in data.damaged.values():
        log.warning("left out: %s", error)
    return 1 if data.damaged else 0


if __name__ == "__main__":
    raise SystemExit(main())
