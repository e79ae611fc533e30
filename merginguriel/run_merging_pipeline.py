"""Merge with your own weights: --weights, --weights-file, or ManualWeightCalculator in utils/merging/calculators.py.

The same job as run_merging_pipeline_refactored.py --mode manual.
"""

if not __package__:
    import _checkout  # noqa: F401

from merginguriel.utils.flags.command import command
from merginguriel.utils.flags.config import parse_with_config
from merginguriel.utils.flags.merge_command import build_parser, run


@command
def main(argv=None):
    parser = build_parser("run_merging_pipeline.py", __doc__)
    parser.set_defaults(mode="manual")
    return run(parse_with_config(parser, argv))


if __name__ == "__main__":
    raise SystemExit(main())
