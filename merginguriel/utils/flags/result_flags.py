"""Flags that choose finished results, what they are compared with, and pictures of them."""

import argparse
from pathlib import Path

from auto_merge_llm.errors import InputError

from merginguriel.utils.flags.flag_groups import add_locales
from merginguriel.utils.flags.parser import ArgumentParser
from merginguriel.utils.flags.setting_flags import ignore_idle
from merginguriel.utils.storage import naming
from merginguriel.utils.storage.argument_types import positive_ints

# Kinds of pictures.
KINDS = {
    "accuracy": "accuracy of each method beside its baselines, locale by locale",
    "win_rate": "gain of each method over each baseline, locale by locale, and locales won and lost",
    "heatmap": "gains by locale and method, measured transfer and similarity, by language family",
    "summary": "ranking, critical differences, gain by number of sources, similarity against transfer, intents",
}
FORMATS = ("png", "svg", "pdf")


def add_results(parser: ArgumentParser) -> None:
    """Flags that choose among finished results."""
    which = parser.add_argument_group("which results")
    which.add_argument(
        "--results-dir",
        type=Path,
        default=naming.RESULTS_ROOT,
        metavar="DIR",
        help="every results.json in it, however deep",
    )
    add_locales(which, "--locales", help="only these targets")
    which.add_argument(
        "--experiment-types",
        nargs="+",
        metavar="TYPE",
        help="only these methods or variants, e.g. similarity, ties_5lang or baseline",
    )
    which.add_argument("--task", metavar="NAME|FILE", help="only results of this task, where there are several")
    which.add_argument("--split", choices=["test", "validation"], default="test", help="only results on these items")


def add_baselines(parser: ArgumentParser) -> argparse._ArgumentGroup:
    """Flags for what results are compared with; `nxn_of` reads them. Returns their group."""
    against = parser.add_argument_group("baselines")
    against.add_argument(
        "--nxn-results-dir", type=Path, default=naming.NXN_ROOT, metavar="DIR", help="folder of N×N runs, or one run"
    )
    against.add_argument("--evaluation-matrix", type=Path, metavar="CSV", help="only this N×N's evaluation_matrix.csv")
    return against


def nxn_of(args: argparse.Namespace) -> Path | None:
    """The N×N that the user named, else the usual folder where there is one."""
    if args.evaluation_matrix:
        ignore_idle(args, ["nxn_results_dir"], "beside --evaluation-matrix")
        if not args.evaluation_matrix.is_file():
            raise InputError(f"no file {args.evaluation_matrix}; check --evaluation-matrix")
        return args.evaluation_matrix
    if args.nxn_results_dir.is_dir():
        return args.nxn_results_dir
    if "nxn_results_dir" in args.explicit:
        raise InputError(f"no folder {args.nxn_results_dir}; check --nxn-results-dir")
    return None


def check_results(args: argparse.Namespace) -> None:
    """InputError where the folder of results is not there."""
    if not args.results_dir.is_dir():
        raise InputError(f"no folder {args.results_dir}; run merges first, or name it with --results-dir")


def add_pictures(parser: ArgumentParser) -> None:
    """Flags of the commands that draw: what `add_results` and `add_baselines` choose, or a table; and where to."""
    add_results(parser)
    parser.add_argument("--csv-file", type=Path, metavar="CSV", help="this results_comprehensive table instead")
    parser.add_argument(
        "--num-languages", type=positive_ints, metavar="N,N,…", help="only merges and ensembles of so many sources"
    )
    add_baselines(parser)
    parser.add_argument(
        "--similarity-matrix", type=Path, metavar="CSV", help="dense matrix of similarities to draw (default: URIEL's)"
    )
    output = parser.add_argument_group("output")
    output.add_argument("--plots-dir", type=Path, default=Path("plots"), metavar="DIR", help="where pictures go")
    output.add_argument(
        "--format",
        nargs="+",
        choices=FORMATS,
        default=["png"],
        metavar="FORMAT",
        help="png (300 dpi), svg, pdf or several",
    )
