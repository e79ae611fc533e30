"""Train several languages in turn and merge them every few epochs; each goes on from the merge.

Prints the accuracy of every merge on validation items and of the last one on the target's test items. A run that was
stopped goes on when the same command is given again.
"""

if not __package__:
    import _checkout  # noqa: F401

from pathlib import Path

from merginguriel.utils.data.language_arguments import locale
from merginguriel.utils.flags.command import answering_interrupts, command
from merginguriel.utils.flags.config import flags_given, with_config
from merginguriel.utils.flags.iterative_flags import add_output, add_run, check_iterative_flags, read_iterative_settings
from merginguriel.utils.flags.merge_flags import add_mode
from merginguriel.utils.flags.parser import ArgumentParser
from merginguriel.utils.merging.modes import mode_lines


def build_parser():
    parser = ArgumentParser("run_iterative_training.py", description=__doc__, epilog=f"modes:\n{mode_lines()}")
    add_mode(parser, required=True)
    parser.add_argument(
        "--target-lang", type=locale, default="sq-AL", metavar="LOC", help="locale to merge for; it is not trained on"
    )
    add_output(parser, "iterative_training_results", "folder of the run: checkpoints, merged models, history")
    parser.add_argument(
        "--config-file", type=Path, metavar="JSON", help="flags by name; those of the command line count more"
    )
    parser.add_argument(
        "--save-config",
        action="store_true",
        help="keep the flags in <output-dir>/experiment_config.json, for --config-file",
    )
    add_run(parser)
    return parser


def parse(argv=None):
    """(IterativeSettings, the arguments), without flags that have no effect."""
    parser = build_parser()
    args = parser.parse_args(with_config(parser, argv, "--config-file"))
    check_iterative_flags(args, read_iterative_settings(args, args.target_lang, args.output_dir))
    return read_iterative_settings(args, args.target_lang, args.output_dir), args


@command
def main(argv=None):
    settings, args = parse(argv)

    from merginguriel.utils.evaluation.comparison import comparison_table
    from merginguriel.utils.iterative.history import history_table
    from merginguriel.utils.iterative.plan import plan_run
    from merginguriel.utils.iterative.run import run

    plan, config = plan_run(settings), None
    if args.save_config:
        without = ("save_config", "config_file", "overwrite")
        config = {name: value for name, value in flags_given(args.tokens).items() if name not in without}
    with answering_interrupts():
        final = run(plan, overwrite=args.overwrite, config=config)
    print(history_table(settings.folder))
    print(f"\ntest items of {settings.target}:\n{comparison_table([final])}")
    print(f"merged model: {plan.merge.output}")


if __name__ == "__main__":
    raise SystemExit(main())
