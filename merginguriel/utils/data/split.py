"""The items of one language and split."""

import hashlib
import json
import random
from dataclasses import dataclass

from auto_merge_llm.errors import InputError

# MASSIVE's files say dev where the Hub says validation; both are accepted everywhere.
SPLITS = {"train": "train", "validation": "dev", "dev": "dev", "test": "test"}


@dataclass(frozen=True)
class Split:
    """The items of one locale and split, in file order; `labels` index INTENTS."""

    locale: str
    name: str
    ids: list[str]
    texts: list[str]
    labels: list[int]

    def __len__(self) -> int:
        return len(self.ids)

    def fingerprint(self) -> str:
        """sha256 over ids, texts and labels: two results rest on the same data if it is equal."""
        rows = json.dumps([self.ids, self.texts, self.labels], ensure_ascii=False)
        return hashlib.sha256(rows.encode()).hexdigest()

    def draw(self, count: int, seed: int) -> "Split":
        """`count` of the items, drawn by `seed` and in file order: the same ids in every locale.

        Not the first ones: MASSIVE's neighbours share topics. Raises InputError where there are fewer.
        """
        if count > len(self):
            raise InputError(
                f"{count} examples asked for, but the {self.name} split of {self.locale} has {len(self)}; ask for fewer"
            )
        chosen = set(random.Random(seed).sample(sorted(self.ids), count))
        kept = [item for item, id_ in enumerate(self.ids) if id_ in chosen]
        return Split(
            self.locale,
            self.name,
            [self.ids[item] for item in kept],
            [self.texts[item] for item in kept],
            [self.labels[item] for item in kept],
        )
