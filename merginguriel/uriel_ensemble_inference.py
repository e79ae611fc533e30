"""Let models of other languages vote on a target language's test items, without merging them.

Prints the ensembles' accuracy beside that of every source on its own.
"""

if not __package__:
    import _checkout  # noqa: F401

from merginguriel.utils.data.language_arguments import locale
from merginguriel.utils.ensembles.votes import VOTES
from merginguriel.utils.flags import nxn_record, vote_flags
from merginguriel.utils.flags.command import command
from merginguriel.utils.flags.config import parse_with_config
from merginguriel.utils.flags.parser import ArgumentParser


def build_parser():
    parser = ArgumentParser(
        "uriel_ensemble_inference.py", description=__doc__, epilog=f"votes:\n{vote_flags.VOTE_LINES}"
    )
    parser.add_argument("--target-lang", type=locale, required=True, metavar="LOC", help="whose items are voted on")
    parser.add_argument(
        "--voting-method",
        choices=[*VOTES, "all"],
        default="majority",
        metavar="VOTE",
        help="see below; all: every one, from the same logits",
    )
    parser.add_argument("--dry-run", action="store_true", help="print sources and weights, then stop")
    vote_flags.add_votes(parser)
    return parser


@command
def main(argv=None):
    args = parse_with_config(build_parser(), argv)
    settings = vote_flags.read_vote_settings(args)
    store = nxn_record.read_store_of(args)
    vote_flags.check_models(settings, store, [args.target_lang])

    from merginguriel.utils.ensembles.comparison import held
    from merginguriel.utils.ensembles.plan import Planner, open_kept
    from merginguriel.utils.ensembles.vote_job import VoteContext
    from merginguriel.utils.models.devices import default_device
    from merginguriel.utils.storage.naming import RESULTS_JSON

    context = VoteContext(store.task, open_kept(settings))
    planner = Planner(settings, store, context, default_device(), [args.target_lang])
    plan = planner.plan(args.target_lang)
    if args.dry_run:
        print(plan.describe())
        return 0
    methods = list(VOTES) if args.voting_method == "all" else [args.voting_method]
    standing = held(planner.jobs(plan, methods, args.results_dir, args.overwrite), context)
    print(standing.table(), *(str(vote.folder / RESULTS_JSON) for vote in standing.votes.values()), sep="\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
