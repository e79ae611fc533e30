"""The modes of a merge: the library's methods, and six weightings of the plain average."""

from typing import TYPE_CHECKING

from auto_merge_llm.methods import METHODS, create
from auto_merge_llm.methods.base import LearningMethod

if TYPE_CHECKING:
    from auto_merge_llm.methods.base import Method

# Mode -> the library's method and a line for people. Six modes are weightings of the plain average; the
# library's other methods are modes by their own names.
MODES = {
    "average": ("linear", "equal weights over the selected sources"),
    "similarity": ("linear", "weights in proportion to the selection's similarity"),
    "uriel": ("linear", "weights in proportion to the URIEL cosine, without Sinkhorn"),
    "consensus": ("linear", "weights by consensus on unlabelled texts of the target"),
    "linear": ("linear", "weighted average: --weights, or --preweight"),
    "manual": ("linear", "your own: --weights, --weights-file, ManualWeightCalculator"),
    **{name: (name, text) for name, text in METHODS.items() if name not in ("linear", "fisher")},
}
# What is better than a mode's defaults, the paper's, on several sources of one task: docs/methods.md, Measured.
BETTER = {"breadcrumbs": "--scaling 0.5", "stock": "mode average", "dare_ties": "--density 1 --scaling 0.5"}
ALIASES = {"fisher": "fisher_dataset"}  # another name of a mode; folders and results have the mode's own
WEIGHTINGS = ("average", "similarity", "uriel", "consensus")  # modes that are weights by themselves
BASELINE = "baseline"  # in sweeps: the target's own model, nothing merged
ADAPTED = "+"  # in sweeps, between a mode and how the merge is adapted: regmean+vote


def mode_named(name: str) -> str:
    """The mode of this name or alias."""
    return ALIASES.get(name, name)


def method_of(mode: str) -> "Method":
    """The mode's method with its defaults."""
    return create(MODES[mode][0])


def needs_text(mode: str) -> bool:
    """Whether the mode's method measures its sources, or learns, on text."""
    method = method_of(mode)
    return method.measurement is not None or isinstance(method, LearningMethod)


def mode_lines(*, baseline: bool = False) -> str:
    """A line for every mode and alias, and in sweeps for the baseline."""
    listed = {BASELINE: "the target's own model, nothing merged"} if baseline else {}
    for name, (_, text) in MODES.items():
        # On a line of its own, which begins with no mode.
        listed[name] = f"{text}\n{'':18}(of one task, better: {BETTER[name]})" if name in BETTER else text
    listed |= {alias: f"another name of {mode}" for alias, mode in ALIASES.items()}
    return "\n".join(f"  {name:<16}{text}" for name, text in listed.items())
