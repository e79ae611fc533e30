"""Merge models fine-tuned on other languages into one for a target language, and evaluate it.

Prints the target's MASSIVE test accuracy beside that of every source on its own.
"""

import json
import logging
from pathlib import Path

from auto_merge_llm.errors import InputError

from merginguriel.utils.flags import argument_types, flag_groups
from merginguriel.utils.flags.command import command
from merginguriel.utils.flags.parser import ArgumentParser, ArgumentTypeError, PrintAndStop
from merginguriel.utils.storage import naming

log = logging.getLogger(__name__)


# Flag, with its other name if it has one -> how to read it. Ranges are the method's own to check.
HYPERPARAMETERS = {
    "--scaling": dict(type=float, metavar="X", help="λ: how far to go along the merged task vector"),
    "--form": dict(choices=["sum", "mean"], help="task_arithmetic: sum or weighted mean of task vectors"),
    "--density --ties-density": dict(type=float, metavar="X", help="ties, dare_ties: share of elements kept"),
    "--scope --ties-scope": dict(choices=["model", "tensor"], help="ties, dare_ties: trim over all or each tensor"),
    "--drop-rate --dare-drop-rate": dict(type=float, metavar="X", help="dare, dare_ties: share dropped at random"),
    "--beta": dict(type=float, metavar="X", help="breadcrumbs: share kept, below the largest"),
    "--gamma": dict(type=float, metavar="X", help="breadcrumbs: share of the largest that is dropped"),
    "--estimator --fisher-estimator": dict(
        metavar="NAME", help="fisher_dataset: sampled, expected, empirical or batch"
    ),
    "--no-normalize-fisher": dict(
        dest="normalize", action="store_false", help="fisher_dataset: do not divide each source's by its norm"
    ),
    "--floor --fisher-floor": dict(type=float, metavar="X", help="fisher_dataset: least share of its mean"),
    "--alpha": dict(type=float, metavar="X", help="regmean: factor of the Gram matrices' off-diagonals"),
    "--ridge": dict(type=float, metavar="X", help="regmean: added to the diagonals, times their mean"),
    "--per": dict(choices=["tensor", "model"], help="adamerging: one coefficient a source for each"),
    "--learning-rate": dict(type=float, metavar="X", help="adamerging: Adam's"),
    "--epochs": dict(type=int, metavar="N", help="adamerging: passes over the text"),
}
HYPERPARAMETER_NAMES = {
    settings.get("dest", flag.split()[0].strip("-").replace("-", "_")) for flag, settings in HYPERPARAMETERS.items()
}
TEXT_FLAGS = ("dataset_split", "num_fisher_examples", "fisher_data_mode", "batch_size", "max_seq_length")


def mode_lines() -> str:
    """A line for every mode and alias."""
    from merginguriel.utils.merging.modes import ALIASES, MODES

    listed = {name: text for name, (_, text) in MODES.items()} | {
        alias: f"another name of {mode}" for alias, mode in ALIASES.items()
    }
    return "\n".join(f"  {name:<16}{text}" for name, text in listed.items())


def add_merging(parser, *, beside_training: bool = False) -> None:
    """Flags of weights, methods and texts, which sweeps have too.

    `beside_training`: under names that training has not taken, and without --base-checkpoint, which is its own.
    """
    weights = parser.add_argument_group("weights")
    weights.add_argument(
        "--preweight",
        choices=["equal", "uriel"],
        default="equal",
        help="of the sources, in modes that are not weights themselves",
    )
    weights.add_argument(
        "--weights", type=argument_types.locale_weights, metavar="LOC=W,…", help="instead, e.g. nl-NL=0.6,de-DE=0.4"
    )
    weights.add_argument("--weights-file", type=Path, metavar="JSON", help='the same as {"nl-NL": 0.6, …}')
    weights.add_argument("--normalize-weights", action="store_true", help="scale the weights to sum to 1")

    method = parser.add_argument_group("method", "Hyper-parameters; docs/methods.md has their defaults.")
    for flag, settings in HYPERPARAMETERS.items():
        if not (beside_training and flag in ("--learning-rate", "--epochs")):
            method.add_argument(*flag.split(), **settings)
    if not beside_training:
        method.add_argument(
            "--base-checkpoint",
            type=Path,
            metavar="DIR",
            help="base of task vectors (default: <models-root>/init/<base model>_seed<seed>)",
        )

    text = parser.add_argument_group("text", "For fisher_dataset, regmean and adamerging.")
    text.add_argument(
        "--dataset-split",
        choices=["train", "validation", "dev", "test"],
        default="train",
        help="never test, which is refused",
    )
    text.add_argument(
        "--num-fisher-examples",
        "--num-examples",
        type=argument_types.positive_int,
        metavar="N",
        help="examples in all, over all locales (default: 1000, or what a smaller corpus has)",
    )
    text.add_argument(
        "--fisher-data-mode",
        "--data-mode",
        choices=["target", "sources", "both"],
        default="target",
        help="whose text; adamerging takes the target's",
    )
    prefix = "--fisher" if beside_training else "-"
    text.add_argument(
        f"{prefix}-batch-size", type=argument_types.positive_int, default=16, metavar="N", help="texts a batch"
    )
    text.add_argument(
        f"{prefix}-max-seq-length",
        type=argument_types.positive_int,
        default=128,
        metavar="N",
        help="tokens after which a text is cut",
    )


def measuring_options(args):
    from merginguriel.utils.merging.examples import MeasuringOptions

    return MeasuringOptions(
        args.dataset_name,
        args.dataset_split,
        args.fisher_data_mode,
        args.num_fisher_examples,
        args.batch_size,
        args.max_seq_length,
        args.text_column,
        args.label_column,
        args.results_dir / "measurements",
    )


def add_dtype(group) -> None:
    group.add_argument(
        "--dtype",
        choices=["float32", "float16", "bfloat16"],
        help="of the merged weights (default: the sources'); sums are float32 always",
    )


def build_parser(prog="run_merging_pipeline_refactored.py", mode: str | None = None):
    from merginguriel.utils.merging.modes import ALIASES, MODES

    modes = mode_lines()
    parser = ArgumentParser(prog=prog, description=__doc__, epilog=f"modes:\n{modes}")
    if mode is None:
        parser.add_argument("--list-modes", action=PrintAndStop, text=modes, help="list the modes")
        parser.add_argument(
            "--mode",
            required=True,
            choices=list(MODES),
            metavar="MODE",
            type=lambda name: ALIASES.get(name, name),
            help="see below",
        )
    else:
        parser.set_defaults(mode=mode)
    parser.add_argument(
        "--target-lang", type=argument_types.locale, default="sq-AL", metavar="LOC", help="locale to merge for"
    )
    flag_groups.add_base_model(parser)
    flag_groups.add_models_root(parser)
    parser.add_argument(
        "--seed",
        type=argument_types.seed,
        default=42,
        metavar="N",
        help="of the sources' initial checkpoint, and of methods that draw numbers",
    )

    flag_groups.add_sources(parser, selection_help="; cosine in mode uriel")
    add_merging(parser)
    flag_groups.add_data(parser)
    output = parser.add_argument_group("output")
    output.add_argument(
        "--output-dir",
        type=Path,
        metavar="DIR",
        help="folder of the merged model (default: merged_models/<mode>_merge_<target>_<N>merged)",
    )
    output.add_argument("--results-dir", type=Path, default=naming.RESULTS_ROOT, metavar="DIR", help="where results go")
    add_dtype(output)
    output.add_argument("--overwrite", action="store_true", help="replace what is there")
    output.add_argument(
        "--allow-mismatched-heads", action="store_true", help="merge sources of different initial heads all the same"
    )
    output.add_argument("--no-eval", action="store_true", help="do not evaluate")
    output.add_argument("--no-baselines", action="store_true", help="evaluate the merge, not its sources")
    output.add_argument("--dry-run", action="store_true", help="print sources, weights and paths, then stop")
    return parser


def check_flags(args) -> None:
    """A flag that the chosen mode does not read is refused, not ignored."""
    idle = idle_flags(args)
    if args.no_eval:
        with_text = "dataset_split" not in idle
        idle += ["no_baselines"] + ([] if with_text else ["results_dir", "dataset_name", "text_column", "label_column"])
    # The dataset also names the default base model.
    if args.dataset_name == "mini":
        idle = [name for name in idle if name != "dataset_name"]
    flag_groups.refuse_idle(args, idle, f"in mode {args.mode} ")
    check_weight_flags(args)


def check_weight_flags(args) -> None:
    if args.weights is not None and args.weights_file is not None:
        raise InputError("--weights and --weights-file exclude each other; give one")


def idle_flags(args) -> list[str]:
    """The flags of sources, weights and texts that `args.mode` does not read."""
    from merginguriel.utils.merging.modes import needs_text

    own_weights = args.weights is not None or args.weights_file is not None
    is_weighting = args.mode in ("average", "similarity", "uriel")
    weighs_by_hand = args.mode == "manual" or (not is_weighting and own_weights)
    # The sum of task vectors and breadcrumbs have no place for weights.
    weightless = args.mode == "breadcrumbs" or (args.mode == "task_arithmetic" and args.form != "mean")
    idle = flag_groups.idle_source_flags(args)
    if is_weighting:
        idle += ["weights", "weights_file"]
    if not own_weights and args.mode != "manual":
        idle += ["normalize_weights"]
    if is_weighting or weighs_by_hand or weightless:
        idle += ["preweight"]
    if weighs_by_hand:
        idle += [
            "num_languages",
            "sources",
            "selection",
            "similarity_source",
            "similarity_matrix",
            "top_k",
            "sinkhorn_iters",
            "similarity_type",
            "nxn_matrix",
        ]
    weighs_by_similarity = args.mode in ("similarity", "uriel") or (not is_weighting and args.preweight == "uriel")
    if args.sources and not weighs_by_similarity:
        idle += ["similarity_matrix"]
    if args.mode == "uriel":
        # Its weights are cosines, whatever chooses the sources.
        idle = [name for name in idle if name != "similarity_matrix"]
        idle += ["similarity_source", "top_k", "sinkhorn_iters"]
    if not needs_text(args.mode):
        idle += TEXT_FLAGS
    if args.mode == "adamerging":
        idle += ["fisher_data_mode"]
    return idle


def read_weights(args) -> dict | None:
    if args.weights_file is None:
        return args.weights
    try:
        pairs = json.loads(args.weights_file.read_text(encoding="utf-8"), object_pairs_hook=list)
        weights = {argument_types.locale(locale): float(weight) for locale, weight in pairs}
        if len(weights) < len(pairs):
            raise ValueError("a locale stands twice")
        return weights
    except FileNotFoundError:
        raise InputError(f"no weights file {args.weights_file}; check the path") from None
    except (ValueError, TypeError, AttributeError, ArgumentTypeError) as error:
        raise InputError(f'{args.weights_file} is not {{"locale": weight, …}} in JSON: {error}') from None


def run(args) -> int:
    from merginguriel.utils.data import task
    from merginguriel.utils.merging import merge
    from merginguriel.utils.merging.plan import plan_merge

    check_flags(args)
    plan = plan_merge(
        mode=args.mode,
        target=args.target_lang,
        base_model=task.base_model_of(args.base_model, args.dataset_name),
        num_languages=args.num_languages,
        models_root=args.models_root,
        output=args.output_dir,
        similarity=flag_groups.similarity_options(args, "cosine" if args.mode == "uriel" else "sinkhorn"),
        preweight=args.preweight,
        weights=read_weights(args),
        normalize=args.normalize_weights,
        sources=args.sources,
        seed=args.seed,
        base=args.base_checkpoint,
        hyperparameters={name: getattr(args, name) for name in HYPERPARAMETER_NAMES & args.explicit},
        measuring=measuring_options(args),
    )
    if args.dry_run:
        print(plan.describe())
        return 0
    split = None
    if not args.no_eval:
        split = task.load_split(args.dataset_name, args.target_lang, "test", args.text_column, args.label_column)
        merge.check_results(plan, args.results_dir, args.dtype, args.overwrite)
    log.info("%s", plan.describe())
    merge.run_merge(
        plan, overwrite=args.overwrite, dtype=args.dtype, allow_mismatched_heads=args.allow_mismatched_heads
    )
    if split is not None:
        from merginguriel.utils.evaluation.comparison import comparison_table

        evaluations = merge.evaluate_merge(
            plan, split, args.dataset_name, args.results_dir, baselines=not args.no_baselines, overwrite=args.overwrite
        )
        print(comparison_table(evaluations, None if args.no_baselines else evaluations[0]))
    print(f"merged model: {plan.output}")
    return 0


@command
def main(argv=None):
    return run(build_parser().parse_args(argv))


if __name__ == "__main__":
    raise SystemExit(main())
