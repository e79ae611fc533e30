"""The settings of a merge: which of them have an effect, what a folder's name says of them, and back from a record."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from auto_merge_llm.methods import create

from merginguriel.utils.adaptation.settings import AdaptSettings
from merginguriel.utils.data.language_arguments import locale_weights
from merginguriel.utils.merging import hyperparameters
from merginguriel.utils.merging.calculators import ManualWeightCalculator
from merginguriel.utils.merging.examples import TextSettings
from merginguriel.utils.merging.modes import MODES, WEIGHTINGS, method_of, needs_text
from merginguriel.utils.merging.selection import OF_CONSENSUS, SourceSettings
from merginguriel.utils.storage.argument_types import seed
from merginguriel.utils.storage.naming import short_hash, word
from merginguriel.utils.storage.settings import as_argument, setting, words

if TYPE_CHECKING:
    from auto_merge_llm.methods.base import Method


@dataclass(frozen=True)
class MergeSettings:
    """How models are merged for a target. `hyperparameters`: those of the method that have not its defaults.

    `weights` None: by the mode. `base` None: the initial checkpoint of `seed`. `dtype` None: the sources'.
    """

    mode: str
    target: str
    choice: SourceSettings = SourceSettings()
    texts: TextSettings = TextSettings()
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    adaptation: AdaptSettings = AdaptSettings()
    preweight: str = setting(
        "equal",
        "of the sources, in modes that are not weights themselves: equal, by the selection's similarity, or by the "
        "models' consensus",
        "--preweight",
        choices=("equal", "uriel", "consensus"),
        word="{}",
    )
    weights: Mapping[str, float] | None = setting(
        None, "instead, e.g. nl-NL=0.6,de-DE=0.4", "--weights", read=locale_weights, metavar="LOC=W,…"
    )
    normalize: bool = setting(False, "scale the weights to sum to 1", "--normalize-weights")
    base: Path | None = setting(
        None,
        "base of task vectors (default: <models-root>/init/<base model>_seed<seed>)",
        "--base-checkpoint",
        read=Path,
        metavar="DIR",
    )
    seed: int = setting(
        42,
        "of the sources' initial checkpoint, and of methods that draw numbers",
        "--seed",
        read=seed,
        metavar="N",
        word="seed{}",
    )
    dtype: str | None = setting(
        None,
        "of the merged weights (default: the sources'); sums are float32 always",
        "--dtype",
        choices=("float32", "float16", "bfloat16"),
        word="{}",
    )
    allow_mismatched_heads: bool = setting(
        False, "merge sources of different initial heads all the same", "--allow-mismatched-heads"
    )

    @property
    def method(self) -> "Method":
        """The library's method with these hyper-parameters; InputError where one is unknown or out of its range."""
        drawing = {"seed": self.seed} if "seed" in asdict(method_of(self.mode)) else {}
        return create(MODES[self.mode][0], **self.hyperparameters, **drawing)

    @property
    def default_selection(self) -> str:
        return {"uriel": "cosine", "consensus": "consensus"}.get(self.mode, "sinkhorn")

    @property
    def weighs_by_hand(self) -> bool:
        return self.mode == "manual" or (self.mode not in WEIGHTINGS and bool(self.weights))

    @property
    def weighs_by_similarity(self) -> bool:
        """Or by consensus."""
        return self.mode in ("similarity", "uriel", "consensus") or (
            self.mode not in WEIGHTINGS and self.preweight != "equal"
        )

    @property
    def weighs_by_consensus(self) -> bool:
        return self.mode == "consensus" or (self.mode not in WEIGHTINGS and self.preweight == "consensus")

    @property
    def needs_consensus(self) -> bool:
        by_hand = self.weighs_by_hand
        chooses = not self.choice.sources and self.selection.selection == "consensus"
        return not by_hand and (chooses or self.weighs_by_consensus)

    def used(self) -> set[tuple[str, str]]:
        """The settings that have an effect beside the others, as (class, field)."""
        own, method = {"seed", "dtype", "allow_mismatched_heads"}, method_of(self.mode)
        # The sum of task vectors and breadcrumbs have no place for weights.
        takes_weights = self.mode != "breadcrumbs" and (
            self.mode != "task_arithmetic" or self.hyperparameters.get("form") == "mean"
        )
        own |= {"weights", "normalize"} if self.weighs_by_hand else set()
        own |= {"preweight"} if takes_weights and not self.weighs_by_hand and self.mode not in WEIGHTINGS else set()
        own |= {"base"} if method.needs_base else set()
        found = {(MergeSettings.__name__, name) for name in own}
        found |= {(hyperparameters.OWNER, name) for name in asdict(method)}
        if not self.weighs_by_hand:
            found |= {(SourceSettings.__name__, name) for name in self._used_of_choice()}
        if needs_text(self.mode):
            texts = {one.name for one in fields(TextSettings)} - ({"scope"} if self.mode == "adamerging" else set())
            found |= {(TextSettings.__name__, name) for name in texts}
        return found | self.adaptation.used()

    def _used_of_choice(self) -> set[str]:
        found = self.selection.used(weighed=self.weighs_by_similarity)
        if self.weighs_by_consensus:
            found |= OF_CONSENSUS
        # The weights of mode uriel are cosines, whatever chooses the sources.
        return found - {"source", "top_k", "sinkhorn_iters"} | {"matrix"} if self.mode == "uriel" else found

    def effective(self) -> "MergeSettings":
        """The same merge with everything that has no effect, or is said to be its default, at its default."""
        used, method = self.used(), asdict(method_of(self.mode))
        given = self.hyperparameters
        told = {name: given[name] for name in (*method, *given) if name in given and given[name] != method.get(name)}
        weights = self.weights if self.weights != ManualWeightCalculator.WEIGHTS or self.mode != "manual" else None
        choice, texts = _only(self.selection, used).with_own_matrix(), _only(self.texts, used)
        selection = None if choice.selection == self.default_selection else choice.selection
        own = _only(replace(self, weights=weights), used)
        choice, adaptation = replace(choice, selection=selection), _only(self.adaptation, used)
        return replace(own, choice=choice, texts=texts, hyperparameters=told, adaptation=adaptation)

    @property
    def selection(self) -> SourceSettings:
        """The choice of sources, with the mode's own selection where none was asked for."""
        return replace(self.choice, selection=self.choice.selection or self.default_selection)

    def words(self) -> dict[str, str]:
        """Setting -> its word in a folder's name, of what has not its default."""
        told = self.selection.words(self.default_selection)
        if self.weights:
            told["sources"] = f"weights-{short_hash(as_argument(dict(sorted(self.weights.items()))))}"
        own = words(self)
        told |= {name: own.pop(name) for name in ("preweight", "seed") if name in own}
        told |= {name: f"{name}-{value}" for name, value in self.hyperparameters.items()}
        told |= {f"text-{name}": text for name, text in words(self.texts).items()}
        if self.base:
            told["base"] = f"base-{word(self.base.name)}"
        return told | own | {f"adapt-{number}": text for number, text in enumerate(self.adaptation.words())}


def _only(settings: Any, used: set[tuple[str, str]]) -> Any:
    """`settings` with the declared fields that are not `used` at their defaults."""
    owner = type(settings).__name__
    unused = {
        one.name: one.default for one in fields(settings) if "setting" in one.metadata and (owner, one.name) not in used
    }
    return replace(settings, **unused)
