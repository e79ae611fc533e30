"""The flags of a merge, for the commands that merge once, in sweeps, and in turns with training."""

import argparse
import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from auto_merge_llm.errors import InputError

from merginguriel.utils.adaptation.settings import AdaptSettings
from merginguriel.utils.data.language_arguments import locale
from merginguriel.utils.flags.setting_flags import add_settings, given_fields, ignore_idle, ignore_unused, read_settings
from merginguriel.utils.merging.calculators import ManualWeightCalculator
from merginguriel.utils.merging.examples import TextSettings
from merginguriel.utils.merging.hyperparameters import OWNER, add_hyperparameters, read_hyperparameters
from merginguriel.utils.merging.modes import ALIASES, MODES, WEIGHTINGS, mode_named
from merginguriel.utils.merging.selection import SourceSettings
from merginguriel.utils.merging.settings import MergeSettings
from merginguriel.utils.storage.settings import as_argument

OF_CHOICE = SourceSettings.__name__
# Of a training, whose flags have these names.
BESIDE_TRAINING = {"batch_size": "--fisher-batch-size", "max_length": "--fisher-max-seq-length"}


def add_mode(parser: Any, **more: Any) -> None:
    parser.add_argument(
        "--mode",
        choices=list(MODES),
        type=mode_named,
        metavar="MODE",
        help=f"how to merge, see below; {', '.join(ALIASES)} is another name",
        **more,
    )


def add_sources(parser: Any, *, several: bool = False, renamed: Mapping[str, str] | None = None) -> None:
    """Flags that choose the sources. `several`: for several numbers and selections, and without --sources."""
    group = parser.add_argument_group("sources")
    fields = [name for name in SourceSettings.__dataclass_fields__ if not (several and name == "sources")]
    many = ("num_languages", "selection") if several else ()
    add_settings(group, SourceSettings, fields, several=many, renamed=renamed)
    group.add_argument(
        "--similarity-type",
        type=str.upper,
        choices=["URIEL", "REAL"],
        help="REAL: the same as --selection real; URIEL: one of the others",
    )


def add_merging(parser: Any, *, beside_training: bool = False) -> None:
    """Flags of weights, methods and texts. `beside_training`: under names that training has not taken."""
    weights = parser.add_argument_group("weights")
    add_settings(weights, MergeSettings, ("preweight", "weights", "normalize"))
    weights.add_argument("--weights-file", type=Path, metavar="JSON", help='the same as {"nl-NL": 0.6, …}')
    method = parser.add_argument_group(
        "method",
        "Hyper-parameters; docs/methods.md has their defaults. Those of breadcrumbs, stock and dare_ties, the papers', "
        "do badly on several sources of one task: what is better stands beside these modes.",
    )
    add_settings(method, MergeSettings, ("length",))
    add_hyperparameters(method, without=("learning_rate", "epochs") if beside_training else ())
    if not beside_training:
        add_settings(method, MergeSettings, ("base",))
    text = parser.add_argument_group("text", "For fisher_dataset, regmean and adamerging.")
    add_settings(text, TextSettings, renamed=BESIDE_TRAINING if beside_training else None)


def add_adapt(parser: Any, *, several: bool = False) -> None:
    """Flags of what follows a merge, or `several`."""
    both = " Every mode is made both ways, plain and adapted." if several else ""
    group = parser.add_argument_group(
        "adaptation", f"Of the merge to its target by unlabelled train texts; its sources are the teachers.{both}"
    )
    add_settings(group, AdaptSettings)


def read_choice(args: argparse.Namespace, **given: Any) -> SourceSettings:
    """The sources that are asked for; --similarity-type becomes --selection."""
    selection = given.get("selection", getattr(args, "selection", None))
    kind = args.similarity_type
    if kind and selection and (kind == "REAL") != (selection == "real"):
        raise InputError(f"--similarity-type {kind} and --selection {selection} contradict each other; leave one out")
    return read_settings(SourceSettings, args, **{**given, "selection": "real" if kind == "REAL" else selection})


def read_merge_settings(args: argparse.Namespace, mode: str, target: str, **choice: Any) -> MergeSettings:
    """`choice`: fields of SourceSettings that the arguments have not, or have several of."""
    return read_settings(
        MergeSettings,
        args,
        mode=mode,
        target=target,
        choice=read_choice(args, **choice),
        texts=read_settings(TextSettings, args),
        hyperparameters=read_hyperparameters(args),
        adaptation=read_settings(AdaptSettings, args),
        weights=read_weights(args) if mode == "manual" or mode not in WEIGHTINGS else None,
    )


def check_merge_flags(args: argparse.Namespace, merges: Sequence[MergeSettings], where: str = "in these modes") -> None:
    """Ignore, with a warning, a flag that none of the merges reads; InputError where two contradict each other."""
    if args.weights is not None and args.weights_file is not None:
        raise InputError("--weights and --weights-file exclude each other; give one")
    used = {setting for merge in merges for setting in merge.used()}
    if (MergeSettings.__name__, "weights") not in used:
        ignore_idle(args, ["weights_file"], where)
    for merge in merges:
        by_hand = (merge.weights or ManualWeightCalculator.WEIGHTS) if merge.weighs_by_hand else None
        check_named(args, used, by_hand or merge.choice.sources or ())
    ignore_unused_choice(args, used, where)
    kinds = (MergeSettings.__name__, TextSettings.__name__, AdaptSettings.__name__, OWNER)
    ignore_unused(args, used | {setting for setting in args.settings if setting[0] not in kinds}, where)


def check_named(args: argparse.Namespace, used: Collection[tuple[str, str]], named: Collection[str]) -> None:
    """InputError where an unused --num-languages or --sources says otherwise than the sources that are `named`."""
    given = {name: args.settings[OF_CHOICE, name] for name in given_fields(SourceSettings, args)}
    idle = {name: getattr(args, dest) for name, dest in given.items() if (OF_CHOICE, name) not in used}
    number = idle.get("num_languages", ())
    if named and number and {len(named)} != set(number if isinstance(number, list) else [number]):
        raise InputError(
            f"--num-languages {as_argument(number)} contradicts the sources that are named, {', '.join(named)}; leave "
            "one of the two out"
        )
    if named and "sources" in idle and set(idle["sources"]) != set(named):
        raise InputError(
            f"--sources contradicts the weights, which are of {', '.join(named)}; leave one of the two out"
        )


def ignore_unused_choice(args: argparse.Namespace, used: Collection[tuple[str, str]], where: str) -> None:
    """Ignore, with a warning, flags of `add_sources` that are not `used`."""
    if (OF_CHOICE, "selection") not in used:
        ignore_idle(args, ["similarity_type"], where)
    if (OF_CHOICE, "source") in used:
        dense = [
            args.settings[OF_CHOICE, name] for name in ("top_k", "sinkhorn_iters") if (OF_CHOICE, name) not in used
        ]
        ignore_idle(args, dense, "without --similarity-source dense")
    ignore_unused(args, {*used, *(setting for setting in args.settings if setting[0] != OF_CHOICE)}, where)


def read_weights(args: argparse.Namespace) -> dict[str, float] | None:
    if args.weights_file is None:
        return args.weights
    try:
        pairs = json.loads(args.weights_file.read_text(encoding="utf-8"), object_pairs_hook=list)
        weights = {locale(name): float(weight) for name, weight in pairs}
        if len(weights) < len(pairs):
            raise ValueError("a locale stands twice")
        return weights
    except FileNotFoundError:
        raise InputError(f"no weights file {args.weights_file}; check the path") from None
    except (ValueError, TypeError, AttributeError, OverflowError, argparse.ArgumentTypeError) as error:
        raise InputError(f'{args.weights_file} is not {{"locale": weight, …}} in JSON: {error}') from None
