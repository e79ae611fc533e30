"""Write one HTML page about all results, which needs no network: to be looked at and to be sent around.

It has a summary in words, tables to sort and to filter, pictures, every locale with its sources and weights, and how
to make each number again.
"""

import logging
import shlex
import sys
from datetime import datetime, timezone
from pathlib import Path

from merginguriel.plot_results import read_similarity
from merginguriel.utils.flags import flag_groups
from merginguriel.utils.flags.command import command
from merginguriel.utils.flags.parser import ArgumentParser

log = logging.getLogger(__name__)


def build_parser():
    parser = ArgumentParser(prog="report.py", description=__doc__)
    flag_groups.add_results(parser)
    flag_groups.add_baselines(parser)
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
def main(argv=None):
    args = build_parser().parse_args(argv)
    given = sys.argv[1:] if argv is None else list(map(str, argv))

    from merginguriel.utils.report import material, page
    from merginguriel.utils.report.findings import findings
    from merginguriel.utils.storage import atomic

    found = material.from_results(
        args.results_dir,
        flag_groups.nxn_of(args),
        similarity=read_similarity(args),
        split=args.split,
        locales=args.locales,
        types=args.experiment_types,
    )
    made = f"{datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC"
    atomic.write_text(
        args.output,
        page.page(
            found,
            title=args.title,
            made=made,
            origin=str(args.results_dir),
            command=shlex.join(["merginguriel", "report", *given]),
        ),
    )
    print(*findings(found.comparison.frame, found.summary, found.titles), sep="\n")
    print(f"report: {args.output}")
    for error in found.damaged.values():
        log.warning("left out: %s", error)
    return 1 if found.damaged else 0


if __name__ == "__main__":
    raise SystemExit(main())
