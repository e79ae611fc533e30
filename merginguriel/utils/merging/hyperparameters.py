"""The hyper-parameters of the library's methods as flags; defaults and ranges are the methods' own.

A method's new hyper-parameter needs a line here, by the name of its field.
"""

from argparse import Namespace
from collections.abc import Collection, Iterable
from typing import Any

from merginguriel.utils.storage.settings import Setting

HYPERPARAMETERS = {
    "scaling": Setting("λ: how far to go along the merged task vector", ("--scaling",), float, metavar="X"),
    "form": Setting("task_arithmetic: sum or weighted mean of task vectors", ("--form",), choices=("sum", "mean")),
    "density": Setting("ties, dare_ties: share of elements kept", ("--density", "--ties-density"), float, metavar="X"),
    "scope": Setting(
        "ties, dare_ties: trim over all or each tensor", ("--scope", "--ties-scope"), choices=("model", "tensor")
    ),
    "drop_rate": Setting(
        "dare, dare_ties: share dropped at random", ("--drop-rate", "--dare-drop-rate"), float, metavar="X"
    ),
    "beta": Setting("breadcrumbs: share kept, below the largest", ("--beta",), float, metavar="X"),
    "gamma": Setting("breadcrumbs: share of the largest that is dropped", ("--gamma",), float, metavar="X"),
    "embeddings": Setting(
        "widen: what of embeddings is ranked, tokens as the authors do, or hidden features over all tokens",
        ("--widen-embeddings",),
        choices=("tokens", "features"),
    ),
    "estimator": Setting(
        "fisher_dataset: sampled, expected, empirical or batch", ("--estimator", "--fisher-estimator"), metavar="NAME"
    ),
    "normalize": Setting("fisher_dataset: do not divide each source's by its norm", ("--no-normalize-fisher",)),
    "floor": Setting("fisher_dataset: least share of its mean", ("--floor", "--fisher-floor"), float, metavar="X"),
    "alpha": Setting("regmean: factor of the Gram matrices' off-diagonals", ("--alpha",), float, metavar="X"),
    "ridge": Setting("regmean: added to the diagonals, times their mean", ("--ridge",), float, metavar="X"),
    "per": Setting("adamerging: one coefficient a source for each", ("--per",), choices=("tensor", "model")),
    "learning_rate": Setting("adamerging: Adam's", ("--learning-rate",), float, metavar="X"),
    "epochs": Setting("adamerging: passes over the text", ("--epochs",), int, metavar="N"),
    "start": Setting(
        "adamerging: coefficient of every source before learning, in the paper 0.3 (default: its weight)",
        ("--start", "--adamerging-start"),
        float,
        metavar="X",
    ),
    "clamp": Setting("adamerging: hold coefficients in [0, 1], as the paper does", ("--clamp", "--adamerging-clamp")),
}
SWITCHES = {"normalize": "store_false", "clamp": "store_true"}
OWNER = "hyperparameters"  # in place of a class's name, where flags are told apart


def add_hyperparameters(group: Any, without: Collection[str] = ()) -> None:
    for name, told in HYPERPARAMETERS.items():
        if name not in without:
            more: dict[str, Any] = {"type": told.read, "choices": told.choices, "metavar": told.metavar}
            if name in SWITCHES:
                more = {"dest": name, "action": SWITCHES[name]}
            options = {key: value for key, value in more.items() if value is not None}
            group.add_argument(*told.flags, help=told.help, **options).setting = OWNER, name


def read_hyperparameters(args: Namespace) -> dict[str, Any]:
    """Those that the user gave."""
    return {
        name: getattr(args, dest)
        for (owner, name), dest in args.settings.items()
        if owner == OWNER and dest in args.explicit
    }


def hyperparameter_tokens(values: Iterable[tuple[str, Any]]) -> list[str]:
    """The flags of a command line that give them."""
    tokens: list[str] = []
    for name, value in values:
        tokens += [HYPERPARAMETERS[name].flags[0]] + ([] if name in SWITCHES else [str(value)])
    return tokens
