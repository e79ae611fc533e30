"""The items of one language and split."""

import functools
import hashlib
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from auto_merge_llm.errors import InputError

# The names that people use, and the one by which data know a split.
SPLITS = {"train": "train", "validation": "dev", "dev": "dev", "test": "test"}
Text: TypeAlias = "str | tuple[str, str]"  # one text, or a pair that a tokenizer takes together
DRAW_SEED = 42  # by which texts are drawn where no command asks for a seed
CONSENSUS_TEXTS = 1000  # of the target, on which sources are compared without a label


@dataclass(frozen=True)
class Texts:
    """The items of one language and split without their labels, in file order: what adapts to a target reads these."""

    locale: str
    name: str
    ids: list[str]
    texts: list[Text]

    def __len__(self) -> int:
        return len(self.ids)

    def fingerprint(self) -> str:
        """sha256 over ids and texts."""
        return self._fingerprint

    @functools.cached_property
    def _fingerprint(self) -> str:
        return _sha256([self.ids, self.texts])

    def record(self) -> dict[str, Any]:
        """Which texts a result rests on, as JSON has it."""
        return {"split": self.name, "count": len(self), "fingerprint": self.fingerprint()}

    def of(self, ids: Sequence[str]) -> "Texts":
        """Those of these ids, in that order, without ids that are not there."""
        text_of = dict(zip(self.ids, self.texts))
        there = [id_ for id_ in ids if id_ in text_of]
        return replace(self, ids=there, texts=[text_of[id_] for id_ in there])

    def draw(self, count: int, seed: int) -> "Texts":
        """As of a Split, which draws the same ids."""
        kept = _drawn(self, count, seed)
        return replace(self, ids=[self.ids[item] for item in kept], texts=[self.texts[item] for item in kept])


@dataclass(frozen=True)
class Split:
    """The items of one language and split, in file order; `labels` index `label_names`, the task's."""

    locale: str
    name: str
    ids: list[str]
    texts: list[Text]
    labels: list[int]
    label_names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.ids)

    def fingerprint(self) -> str:
        """sha256 over ids, texts and labels: two results rest on the same data if it is equal."""
        return self._fingerprint

    @functools.cached_property  # every job of a target tells it
    def _fingerprint(self) -> str:
        return _sha256([self.ids, self.texts, self.labels])

    def of(self, ids: Sequence[str]) -> "Split":
        """As of Texts."""
        place = {id_: item for item, id_ in enumerate(self.ids)}
        return self._at([place[id_] for id_ in ids if id_ in place])

    def unlabelled(self) -> Texts:
        return Texts(self.locale, self.name, self.ids, self.texts)

    def draw(self, count: int, seed: int) -> "Split":
        """`count` of the items, drawn by `seed` and in file order: the same ids in every language.

        Not the first ones: neighbours often share topics. Raises InputError where there are fewer.
        """
        return self._at(_drawn(self, count, seed))

    def _at(self, places: Sequence[int]) -> "Split":
        return replace(
            self,
            ids=[self.ids[item] for item in places],
            texts=[self.texts[item] for item in places],
            labels=[self.labels[item] for item in places],
        )


def _drawn(items: Texts | Split, count: int, seed: int) -> list[int]:
    """The places of `count` items, drawn by id."""
    if count > len(items):
        raise InputError(
            f"{count} examples asked for, but the {items.name} split of {items.locale} has {len(items)}; ask for fewer"
        )
    chosen = set(random.Random(seed).sample(sorted(items.ids), count))
    return [item for item, id_ in enumerate(items.ids) if id_ in chosen]


def _sha256(columns: list[Any]) -> str:
    return hashlib.sha256(json.dumps(columns, ensure_ascii=False).encode()).hexdigest()
