"""The items of one language and split, with their labels or without."""

import hashlib
import json
import random
from dataclasses import dataclass, replace
from typing import TypeAlias, TypeVar

from auto_merge_llm.errors import InputError

# The names that people use, and the one by which data know a split.
SPLITS = {"train": "train", "validation": "dev", "dev": "dev", "test": "test"}
Text: TypeAlias = "str | tuple[str, str]"  # one text, or a pair that a tokenizer takes together
DRAW_SEED = 42  # by which texts are drawn where no command asks for a seed
CONSENSUS_TEXTS = 1000  # of the target, on which sources are compared without a label
Kind = TypeVar("Kind", bound="Texts")


@dataclass(frozen=True)
class Texts:
    """The texts of one language and split, in file order; what labels they have was not read."""

    locale: str
    name: str
    ids: list[str]
    texts: list[Text]

    def __len__(self) -> int:
        return len(self.ids)

    def fingerprint(self) -> str:
        """sha256 over ids and texts."""
        return _sha256([self.ids, self.texts])

    def draw(self: Kind, count: int, seed: int) -> Kind:
        """`count` of the items, drawn by `seed` and in file order: the same ids in every language.

        Not the first ones: neighbours often share topics. Raises InputError where there are fewer.
        """
        if count > len(self):
            raise InputError(
                f"{count} examples asked for, but the {self.name} split of {self.locale} has {len(self)}; ask for fewer"
            )
        chosen = set(random.Random(seed).sample(sorted(self.ids), count))
        return self._only([item for item, id_ in enumerate(self.ids) if id_ in chosen])

    def _only(self: Kind, items: list[int]) -> Kind:
        return replace(self, ids=[self.ids[item] for item in items], texts=[self.texts[item] for item in items])


@dataclass(frozen=True)
class Split(Texts):
    """The items of one language and split; `labels` index `label_names`, the task's."""

    labels: list[int]
    label_names: tuple[str, ...]

    def fingerprint(self) -> str:
        """sha256 over ids, texts and labels: two results rest on the same data if it is equal."""
        return _sha256([self.ids, self.texts, self.labels])

    def _only(self: Kind, items: list[int]) -> Kind:
        return replace(super()._only(items), labels=[self.labels[item] for item in items])


def _sha256(rows: list[list]) -> str:
    return hashlib.sha256(json.dumps(rows, ensure_ascii=False).encode()).hexdigest()
