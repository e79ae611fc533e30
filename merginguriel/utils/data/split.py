"""The items of one language and split."""

import hashlib
import json
import random
from dataclasses import dataclass, replace
from typing import TypeAlias

from auto_merge_llm.errors import InputError

# The names that people use, and the one by which data know a split.
SPLITS = {"train": "train", "validation": "dev", "dev": "dev", "test": "test"}
Text: TypeAlias = "str | tuple[str, str]"  # one text, or a pair that a tokenizer takes together


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
        rows = json.dumps([self.ids, self.texts, self.labels], ensure_ascii=False)
        return hashlib.sha256(rows.encode()).hexdigest()

    def draw(self, count: int, seed: int) -> "Split":
        """`count` of the items, drawn by `seed` and in file order: the same ids in every language.

        Not the first ones: neighbours often share topics. Raises InputError where there are fewer.
        """
        if count > len(self):
            raise InputError(
                f"{count} examples asked for, but the {self.name} split of {self.locale} has {len(self)}; ask for fewer"
            )
        chosen = set(random.Random(seed).sample(sorted(self.ids), count))
        kept = [item for item, id_ in enumerate(self.ids) if id_ in chosen]
        return replace(
            self,
            ids=[self.ids[item] for item in kept],
            texts=[self.texts[item] for item in kept],
            labels=[self.labels[item] for item in kept],
        )
