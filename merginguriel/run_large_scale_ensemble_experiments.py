"""Let models vote on every target language: locales x votes, in one process that loads each source once.

What is done is kept: the same command goes on where it was stopped. Exit code 1 if a target failed.
"""

import sys

from auto_merge_llm.errors import InputError

from merginguriel.uriel_ensemble_inference import VOTE_LINES, add_ensemble, read_options
from merginguriel.utils.data import task
from merginguriel.utils.ensembles.votes import VOTES
from merginguriel.utils.flags import argument_types, flag_groups
from merginguriel.utils.flags.command import command
from merginguriel.utils.flags.parser import ArgumentParser, PrintAndStop
from merginguriel.utils.storage import naming


def build_parser():
    parser = ArgumentParser(
        prog="run_large_scale_ensemble_experiments.py", description=__doc__, epilog=f"votes:\n{VOTE_LINES}"
    )
    parser.add_argument("--list-locales", action="store_true", help="list the targets there are, then stop")
    parser.add_argument("--list-voting-methods", action=PrintAndStop, text=VOTE_LINES, help="list the votes")
    flag_groups.add_locales(
        parser, "--target-languages", help="targets (default: every locale with a model, or every target of --nxn-dir)"
    )
    parser.add_argument(
        "--voting-methods", nargs="+", choices=list(VOTES), default=list(VOTES), metavar="VOTE", help="see below"
    )
    parser.add_argument(
        "--start-from", type=argument_types.whole_number, default=0, metavar="N", help="leave out the first N targets"
    )
    parser.add_argument("--max-locales", type=argument_types.positive_int, metavar="N", help="at most N targets")
    add_ensemble(parser)
    return parser


def choose_targets(args) -> tuple[list[str], str]:
    """(the targets, where they come from)"""
    if args.target_languages:
        targets, where = args.target_languages, "--target-languages"
    elif args.nxn_dir:
        from merginguriel.utils.evaluation import nxn_logits

        targets, where = list(nxn_logits.open_logits(args.nxn_dir).targets), args.nxn_dir
    else:
        base_model = task.base_model_of(args.base_model, args.dataset_name)
        targets, where = list(naming.find_models(args.models_root, base_model)), args.models_root
    chosen = targets[args.start_from :][: args.max_locales]
    if not chosen:
        raise InputError(
            f"no targets: {len(targets)} found, --start-from {args.start_from}; check --models-root and "
            "--base-model, or name targets with --target-languages"
        )
    return chosen, where


@command
def main(argv=None):
    args = build_parser().parse_args(argv)
    targets, where = choose_targets(args)
    if args.list_locales:
        print(*(f"{number:3}. {locale}" for number, locale in enumerate(targets)), sep="\n")
        print(f"Total: {len(targets)} locales from {where}")
        return 0
    options = read_options(args)

    from merginguriel.utils.ensembles import ensemble

    outcome, comparisons = ensemble.sweep(targets, list(dict.fromkeys(args.voting_methods)), options, args.command)
    for target in outcome.votes:
        print(f"{target}\n{outcome.table(target)}\n")
    if len(outcome.votes) > 1 and comparisons:
        print(ensemble.comparison_lines(comparisons, len(outcome.votes)))
    print(options.results_root / ensemble.FINAL_JSON)
    for target, error in outcome.failures.items():
        print(f"failed: {target}: {error}", file=sys.stderr)
    return 1 if outcome.failures else 0


if __name__ == "__main__":
    raise SystemExit(main())
