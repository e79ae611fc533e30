"""Write one HTML page about all results, which needs no network: to be looked at and to be sent around.

It has a summary in words, tables to sort and to filter, pictures, every locale with its sources and weights, and how
to make each number again.
"""

import logging
import shlex
import sys
from pathlib import Path

from merginguriel.aggregate_results import add_choice, choose_nxn
from merginguriel.utils import arguments
from merginguriel.utils.errors import command

log = logging.getLogger(__name__)


def build_parser():
    parser = arguments.ArgumentParser(prog="report.py", description=__doc__)
    add_choice(parser)
    parser.add_argument("--similarity-matrix", type=Path, metavar="CSV",
                        help="dense matrix to set beside measured transfer (default: URIEL's)")
    parser.add_argument("--title", default="MergingUriel results", metavar="TEXT", help="of the page")
    parser.add_argument("--output", type=Path, default=Path("report.html"), metavar="FILE", help="where the page goes")
    return parser
