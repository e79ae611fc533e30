"""Merge with your own weights: --weights, --weights-file, or ManualWeightCalculator in utils/calculators.py.

The same job as run_merging_pipeline_refactored.py --mode manual.
"""

from merginguriel.run_merging_pipeline_refactored import build_parser, run
from merginguriel.utils.flags.command import command


@command
def main(argv=None):
    parser = build_parser("run_merging_pipeline.py", mode="manual")
    parser.description = __doc__
    return run(parser.parse_args(argv))


if __name__ == "__main__":
    raise SystemExit(main())
