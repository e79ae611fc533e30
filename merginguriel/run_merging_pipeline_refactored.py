"""Merge models fine-tuned on other languages into one for a target language, and evaluate it.

Prints the target's test accuracy beside that of every source on its own.
"""

if not __package__:
    import _checkout  # noqa: F401

from merginguriel.utils.flags.command import command
from merginguriel.utils.flags.config import parse_with_config
from merginguriel.utils.flags.merge_command import build_parser, run
from merginguriel.utils.flags.merge_flags import add_mode
from merginguriel.utils.flags.parser import PrintAndStop
from merginguriel.utils.merging.modes import mode_lines


@command
def main(argv=None):
    parser = build_parser("run_merging_pipeline_refactored.py", __doc__)
    parser.add_argument("--list-modes", action=PrintAndStop, text=mode_lines(), help="list the modes")
    add_mode(parser, required=True)
    return run(parse_with_config(parser, argv))


if __name__ == "__main__":
    raise SystemExit(main())
