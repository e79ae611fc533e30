"""The settings of votes: whose, with which weights, on which items."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from auto_merge_llm.errors import InputError

from merginguriel.utils.data.split import SPLITS
from merginguriel.utils.merging.selection import OF_CONSENSUS, SourceSettings
from merginguriel.utils.merging.settings import MergeSettings
from merginguriel.utils.storage.argument_types import positive_int, seed
from merginguriel.utils.storage.settings import setting, words


@dataclass(frozen=True)
class VoteSettings:
    """How sources vote. `nxn_dir`: where to take logits from instead of the models."""

    choice: SourceSettings = SourceSettings()
    preweight: str = setting(
        "uriel",
        "weights of the sources: equal, by the selection's similarity, or by the models' consensus",
        "--preweight",
        choices=("equal", "uriel", "consensus"),
        word="{}",
    )
    nxn_dir: Path | None = setting(
        None,
        "take the logits that an N×N evaluation kept there and load no model",
        "--nxn-dir",
        read=Path,
        metavar="DIR",
    )
    split: str = setting("test", "which items", "--split", choices=("test", "validation"))
    num_examples: int | None = setting(
        None, "only N of them, drawn by --seed (default: all)", "--num-examples", read=positive_int, metavar="N"
    )
    seed: int = setting(42, "of the draw", "--seed", read=seed, metavar="N", word="seed{}")

    def __post_init__(self) -> None:
        if self.choice.selection == "real" and not self.choice.sources and SPLITS[self.split] == "dev":
            raise InputError(
                "sources that the target's validation items chose must not be judged on them; use "
                "--split test or another --selection"
            )

    def merge(self, target: str) -> MergeSettings:
        """The merge that chooses the same sources with the same weights."""
        return MergeSettings("linear", target, self.choice, preweight=self.preweight)

    def used(self) -> set[tuple[str, str]]:
        """The settings that have an effect beside the others, as (class, field)."""
        choice, weighed = replace(self.choice, selection=self.choice.selection or "sinkhorn"), self.preweight != "equal"
        of_choice = choice.used(weighed=weighed) | (OF_CONSENSUS if self.preweight == "consensus" else set())
        own = {"preweight", "nxn_dir", "split", "num_examples"} | ({"seed"} if self.num_examples else set())
        found = {(VoteSettings.__name__, name) for name in own}
        return found | {(SourceSettings.__name__, name) for name in of_choice}

    def words(self) -> list[str]:
        """Of a folder's name, for what has not its default; items and their split have a place of their own."""
        chosen = self.merge("").effective()
        told: dict[str, Any] = chosen.selection.words() | words(self)
        return [*told.values()]

    @property
    def draw(self) -> tuple[int, int] | None:
        return (self.num_examples, self.seed) if self.num_examples else None
