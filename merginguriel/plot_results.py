"""Draw what the results say: every method beside its baselines, gains, rankings, transfer and similarity.

Reads the results folder, or a table that aggregate_results.py made of it: the one that is named, or the newest where
there are no results. Also writes advanced_analysis_summary_<time>.csv, with every number that is drawn by locale.
"""

import logging
from datetime import datetime
from pathlib import Path

from auto_merge_llm.errors import InputError

from merginguriel.utils.flags import flag_groups
from merginguriel.utils.flags.command import command
from merginguriel.utils.flags.parser import ArgumentParser
from merginguriel.utils.storage import argument_types

log = logging.getLogger(__name__)
PLOTS_ROOT = Path("plots")
# As figures.KINDS and plots.FORMATS have them, which are not read for --help.
KINDS = ("accuracy", "win_rate", "heatmap", "summary")
FORMATS = ("png", "svg", "pdf")


def build_parser(prog="plot_results.py", description=__doc__):
    parser = ArgumentParser(prog=prog, description=description)
    flag_groups.add_results(parser)
    parser.add_argument("--csv-file", type=Path, metavar="CSV", help="this results_comprehensive table instead")
    parser.add_argument(
        "--num-languages",
        type=argument_types.positive_ints,
        metavar="N,N,…",
        help="only merges and ensembles of so many sources",
    )
    flag_groups.add_baselines(parser)
    parser.add_argument(
        "--similarity-matrix", type=Path, metavar="CSV", help="dense matrix of similarities to draw (default: URIEL's)"
    )
    output = parser.add_argument_group("output")
    output.add_argument("--plots-dir", type=Path, default=PLOTS_ROOT, metavar="DIR", help="where pictures go")
    output.add_argument(
        "--format",
        nargs="+",
        choices=FORMATS,
        default=["png"],
        metavar="FORMAT",
        help="png (300 dpi), svg, pdf or several",
    )
    return parser


def read_material(args):
    """(what is drawn, where it comes from in words)"""
    from merginguriel.utils.report.material import comprehensive_files, from_csv, from_results
    from merginguriel.utils.results import rows

    chosen = {
        "locales": args.locales,
        "types": args.experiment_types,
        "numbers": args.num_languages,
        "similarity": read_similarity(args),
    }
    has_results = args.results_dir.is_dir() and next(rows.find_results(args.results_dir), None)
    if not args.csv_file and (has_results or "results_dir" in args.explicit):
        return from_results(args.results_dir, flag_groups.nxn_of(args), split=args.split, **chosen), str(
            args.results_dir
        )
    csv_file = args.csv_file or next(iter(comprehensive_files(Path("."))), None)
    if csv_file is None:
        raise InputError(
            f"no results in {args.results_dir} and no results_comprehensive_*.csv here; run merges first, "
            "or name a folder with --results-dir or a table with --csv-file"
        )
    flag_groups.refuse_idle(args, ["results_dir", "split", "nxn_results_dir"], "beside a table ")
    return from_csv(csv_file, args.evaluation_matrix, **chosen), str(csv_file)


def read_similarity(args):
    from merginguriel.utils.report.material import dense_similarity

    try:
        return dense_similarity(args.similarity_matrix)
    except InputError as error:
        if args.similarity_matrix:
            raise
        log.warning("warning: similarity is not drawn: %s", error)
        return None


def draw(material, args, kinds) -> str:
    """Draw all pictures of these kinds and write the table of their numbers; says where they are."""
    from merginguriel.utils.report import figures
    from merginguriel.utils.report.findings import many
    from merginguriel.utils.storage import atomic

    time = f"{datetime.now():%Y%m%d_%H%M%S}"
    table = Path(f"advanced_analysis_summary_{time}.csv")
    names = figures.write(material, kinds, args.plots_dir, time, args.format)
    atomic.write_text(table, figures.advanced_summary(material.comparison.frame).to_csv(index=False))
    return "\n".join(
        [
            f"{many(len(names), 'picture')}, {args.plots_dir}/<name>_{time}.{' .'.join(args.format)}:",
            *(f"  {name}" for name in names),
            f"their numbers: {table}",
        ]
    )


def described(material, origin: str) -> str:
    from merginguriel.utils.report.findings import many

    frame = material.comparison.frame
    return (
        f"{many(len(frame), 'result')} of {many(len(material.titles), 'method')} on "
        f"{many(frame['locale'].nunique(), 'locale')}, from {origin}"
    )


def list_csv() -> None:
    from merginguriel.utils.report.material import comprehensive_files

    files = comprehensive_files(Path("."))
    for path in files:
        print(f"{path}  {datetime.fromtimestamp(path.stat().st_mtime):%Y-%m-%d %H:%M}")
    if not files:
        print("no results_comprehensive_*.csv here; aggregate_results.py writes them")


@command
def main(argv=None):
    parser = build_parser()
    parser.add_argument(
        "--plot-types",
        nargs="+",
        choices=KINDS,
        default=list(KINDS),
        metavar="TYPE",
        help="accuracy, win_rate, heatmap, summary or several",
    )
    parser.add_argument(
        "--list-csv", action="store_true", help="list the tables that are here, newest first, then stop"
    )
    parser.add_argument(
        "--list-num-languages", action="store_true", help="list the numbers of sources that results have, then stop"
    )
    args = parser.parse_args(argv)
    if args.list_csv:
        list_csv()
        return 0
    material, origin = read_material(args)
    if args.list_num_languages:
        counts = material.comparison.frame["num_sources"].value_counts().sort_index()
        print(*(f"{number}  {count} results" for number, count in counts.items()), sep="\n")
        return 0
    print(described(material, origin))
    print(draw(material, args, args.plot_types))
    for error in material.damaged.values():
        log.warning("left out: %s", error)
    return 1 if material.damaged else 0


if __name__ == "__main__":
    raise SystemExit(main())
