"""Let models of other languages vote on a target language's test items, without merging them.

Prints the ensembles' accuracy beside that of every source on its own.
"""

from pathlib import Path

from auto_merge_llm.errors import InputError

from merginguriel.utils.data import task
from merginguriel.utils.ensembles.votes import VOTES
from merginguriel.utils.flags import argument_types, flag_groups
from merginguriel.utils.flags.command import command
from merginguriel.utils.flags.parser import ArgumentParser
from merginguriel.utils.storage import naming

VOTE_LINES = "\n".join(f"  {name:<19}{text}" for name, (_, text) in VOTES.items())


def build_parser():
    parser = ArgumentParser(prog="uriel_ensemble_inference.py", description=__doc__, epilog=f"votes:\n{VOTE_LINES}")
    parser.add_argument(
        "--target-lang",
        type=argument_types.locale,
        required=True,
        metavar="LOC",
        help="locale whose items are voted on",
    )
    parser.add_argument(
        "--voting-method",
        choices=[*VOTES, "all"],
        default="majority",
        metavar="VOTE",
        help="see below; all: every one, from the same logits",
    )
    parser.add_argument("--dry-run", action="store_true", help="print sources and weights, then stop")
    add_ensemble(parser)
    return parser


def add_ensemble(parser) -> None:
    """The flags that are the same for one target and for many; `read_options` reads them."""
    flag_groups.add_base_model(parser)
    flag_groups.add_models_root(parser)
    flag_groups.add_sources(parser)
    parser.add_argument(
        "--preweight",
        choices=["equal", "uriel"],
        default="uriel",
        help="weights of the sources: equal, or by similarity to the target",
    )
    parser.add_argument(
        "--nxn-dir",
        type=Path,
        metavar="DIR",
        help="take the logits that an N×N evaluation kept there and load no model",
    )
    items = parser.add_argument_group("items")
    items.add_argument("--split", choices=["test", "validation"], default="test", help="which items")
    items.add_argument(
        "--num-examples",
        type=argument_types.positive_int,
        metavar="N",
        help="only N of them, drawn by --seed (default: all)",
    )
    items.add_argument("--seed", type=argument_types.seed, default=42, metavar="N", help="of the draw")
    flag_groups.add_data(parser)
    output = parser.add_argument_group("output")
    output.add_argument(
        "--results-dir", "--output-dir", type=Path, default=naming.RESULTS_ROOT, metavar="DIR", help="where results go"
    )
    output.add_argument("--overwrite", action="store_true", help="replace what is there")


def read_options(args):
    idle = flag_groups.idle_source_flags(args)
    if args.num_examples is None:
        idle.append("seed")
    if args.nxn_dir:
        idle.append("models_root")
    if args.sources and args.preweight == "equal":
        idle.append("similarity_matrix")
    flag_groups.refuse_idle(args, idle)

    from merginguriel.utils.ensembles.ensemble import EnsembleOptions

    return EnsembleOptions(
        base_model=task.base_model_of(args.base_model, args.dataset_name),
        models_root=args.models_root,
        num_languages=args.num_languages,
        sources=args.sources,
        similarity=flag_groups.similarity_options(args),
        preweight=args.preweight,
        dataset_name=args.dataset_name,
        text_column=args.text_column,
        label_column=args.label_column,
        split=args.split,
        num_examples=args.num_examples,
        seed=args.seed,
        results_root=args.results_dir,
        overwrite=args.overwrite,
        nxn_dir=args.nxn_dir,
    )


@command
def main(argv=None):
    args = build_parser().parse_args(argv)
    options, target = read_options(args), args.target_lang

    from merginguriel.utils.ensembles import ensemble
    from merginguriel.utils.storage import naming

    if args.dry_run:
        print(ensemble.plan_ensemble(target, options, ensemble.origin_of(options)).describe())
        return
    methods = list(VOTES) if args.voting_method == "all" else [args.voting_method]
    outcome = ensemble.run_ensembles([target], methods, options)
    if target in outcome.failures:
        raise InputError(outcome.failures[target])
    print(outcome.table(target))
    print(*(vote.folder / naming.RESULTS_JSON for vote in outcome.votes[target].values()), sep="\n")


if __name__ == "__main__":
    raise SystemExit(main())
