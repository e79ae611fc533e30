"""The modes of a merge: the library's methods, and five weightings of the plain average."""

from collections.abc import Mapping
from dataclasses import asdict

from auto_merge_llm.methods import METHODS

# Mode -> the library's method and a line for people. Five modes are weightings of the plain average; the
# library's other methods are modes by their own names.
MODES = {
    "average": ("linear", "equal weights over the selected sources"),
    "similarity": ("linear", "weights in proportion to the selection's similarity"),
    "uriel": ("linear", "weights in proportion to the URIEL cosine, without Sinkhorn"),
    "linear": ("linear", "weighted average: --weights, or --preweight equal or uriel"),
    "manual": ("linear", "your own: --weights, --weights-file, ManualWeightCalculator"),
    **{name: (name, text) for name, text in METHODS.items() if name not in ("linear", "fisher")},
}
ALIASES = {"fisher": "fisher_dataset"}  # another name of a mode; folders and results have the mode's own
WEIGHTINGS = ("average", "similarity", "uriel")  # modes that are weights by themselves


def method_of(mode: str):
    """The mode's method with its defaults."""
    from auto_merge_llm.methods import create

    return create(MODES[mode][0])


def own_hyperparameters(mode: str, given: Mapping) -> dict:
    """Those of `given` that the mode's method has."""
    return {name: given[name] for name in asdict(method_of(mode)) if name in given}


def preweight_of(weights: list[float]) -> str:
    """equal or uriel, which a merge's record does not tell: similarities that are all equal are none."""
    return "equal" if max(weights) - min(weights) < 1e-9 else "uriel"


def needs_text(mode: str) -> bool:
    """Whether the mode's method measures its sources, or learns, on text."""
    method = method_of(mode)
    return method.measurement is not None or method.learns
