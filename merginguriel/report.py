"""Write one HTML page about all results, which needs no network: to be looked at and to be sent around.

It has a summary in words, tables to sort and to filter, pictures, every locale with its sources and weights, and how
to make each number again.
"""

if not __package__:
    import _checkout  # noqa: F401

import logging
import shutil
import sys
import textwrap
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

from merginguriel.utils.flags import result_flags
from merginguriel.utils.flags.command import command
from merginguriel.utils.flags.parser import ArgumentParser

log = logging.getLogger(__name__)


def build_parser() -> ArgumentParser:
    parser = ArgumentParser("report.py", description=__doc__)
    result_flags.add_results(parser)
    result_flags.add_baselines(parser)
    parser.add_argument(
        "--similarity-matrix",
        type=Path,
        metavar="CSV",
        help="dense matrix to set beside measured transfer (default: URIEL's)",
    )
    parser.add_argument("--title", default="MergingUriel results", metavar="TEXT", help="of the page")
    parser.add_argument("--output", type=Path, default=Path("report.html"), metavar="FILE", help="where the page goes")
    return parser


@command
def main(argv: Sequence[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    result_flags.check_results(args)
    nxn = result_flags.nxn_of(args)

    from merginguriel.utils.data.languages import own_codes
    from merginguriel.utils.report import language_data, read_data
    from merginguriel.utils.report.findings import findings
    from merginguriel.utils.report.page import page
    from merginguriel.utils.storage import atomic
    from merginguriel.utils.storage.command_lines import as_called

    data = read_data.from_results(
        args.results_dir, nxn, split=args.split, locales=args.locales, types=args.experiment_types, task=args.task
    )
    data = language_data.with_similarity(data, args.similarity_matrix)
    made = f"{datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC"
    written = page(data, title=args.title, made=made, origin=str(args.results_dir), command=args.command)
    atomic.write_text(args.output, written)
    with own_codes(data.own_codes):
        told = [as_called(str(found)) for found in findings(data.frame, data.summary, data.titles)]
        # A pipe or a file gets a sentence a line.
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else sys.maxsize
        print(*(textwrap.fill(sentence, width, subsequent_indent="  ") for sentence in told), sep="\n")
    print(f"report: {args.output}")
    for error in data.damaged.values():
        log.warning("left out: %s", error)
    return 1 if data.damaged else 0


if __name__ == "__main__":
    raise SystemExit(main())
