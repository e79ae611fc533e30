"""The texts on which a merging method measures its sources."""

import hashlib
import json
import random
from dataclasses import dataclass
from pathlib import Path

from auto_merge_llm.errors import InputError

from merginguriel.utils.data import task
from merginguriel.utils.data.split import SPLITS

SCOPES = ("target", "sources", "both")
NUM_EXAMPLES = 1000


@dataclass(frozen=True)
class MeasuringOptions:
    """Which texts, how many, in which batches; `folder` keeps what was measured. InputError for the test split.

    `num_examples` None: 1000, or as many as a smaller corpus has.
    """

    dataset_name: str
    split: str = "train"
    scope: str = "target"
    num_examples: int | None = None
    batch_size: int = 16
    max_length: int = 128
    text_column: str = "utt"
    label_column: str = "intent"
    folder: Path = Path("results/measurements")

    def __post_init__(self):
        if SPLITS.get(self.split) == "test":
            raise InputError("--dataset-split test: a merge must not rest on the texts that it is judged on; use train")


@dataclass(frozen=True)
class Examples:
    """`labels` index massive.INTENTS; `counts` tells how many texts each locale gave."""

    counts: dict[str, int]
    texts: list[str]
    labels: list[int]

    def fingerprint(self) -> str:
        rows = json.dumps([self.texts, self.labels], ensure_ascii=False)
        return hashlib.sha256(rows.encode()).hexdigest()


def texts_of(options: MeasuringOptions, target: str, sources: list[str]) -> dict[str, tuple]:
    """By locale: what `draw_examples` draws from, as arguments of `massive.load_split`."""
    locales = {"target": [target], "sources": sources, "both": [target, *sources]}[options.scope]
    return {
        locale: (options.dataset_name, locale, options.split, options.text_column, options.label_column)
        for locale in locales
    }


def draw_examples(options: MeasuringOptions, target: str, sources: list[str], seed: int) -> Examples:
    """Exactly `num_examples` items: an equal share of each locale, one more of the first where it does not divide.

    Each locale's items are drawn at random by `seed` and the locale's name. Raises InputError where a locale has
    too few items.
    """
    locales, splits = zip(
        *((locale, task.load_split(*split)) for locale, split in texts_of(options, target, sources).items())
    )
    total = options.num_examples
    if total is None:
        total = min(NUM_EXAMPLES, len(locales) * min(map(len, splits)))
    share, rest = divmod(total, len(locales))
    counts, texts, labels = {}, [], []
    for place, (locale, split) in enumerate(zip(locales, splits)):
        count = share + (place < rest)
        if count > len(split):
            raise InputError(
                f"--num-fisher-examples {total} asks for {count} examples of {locale}, "
                f"whose {options.split} split has {len(split)}; ask for fewer"
            )
        chosen = random.Random(f"{seed} {locale}").sample(range(len(split)), count)
        counts[locale] = count
        texts += [split.texts[item] for item in chosen]
        labels += [split.labels[item] for item in chosen]
    return Examples(counts, texts, labels)
