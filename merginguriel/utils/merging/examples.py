"""The texts on which a merging method measures its sources, or learns."""

import hashlib
import json
import logging
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

from auto_merge_llm.errors import InputError

from merginguriel.utils.data.split import SPLITS, Text
from merginguriel.utils.data.task import Task
from merginguriel.utils.storage.argument_types import positive_int
from merginguriel.utils.storage.settings import setting

log = logging.getLogger(__name__)
NUM_EXAMPLES = 1000


@dataclass(frozen=True)
class TextSettings:
    """Which texts, how many, in which batches. InputError for the test split.

    `num_examples` None: NUM_EXAMPLES, or as many as a smaller corpus has.
    """

    split: str = setting(
        "train",
        "never test, which is refused",
        "--dataset-split",
        choices=("train", "validation", "dev", "test"),
        word="text-split-{}",
    )
    scope: str = setting(
        "target",
        "whose text all sources are measured on, target, sources or both; or own: each on its own language's, as the "
        "papers do; adamerging takes the target's",
        "--fisher-data-mode",
        "--data-mode",
        metavar="WHOSE",
        choices=("target", "sources", "both", "own"),
        word="text-scope-{}",
    )
    num_examples: int | None = setting(
        None,
        "examples in all, equal shares of all languages whose text it is, so with own N/5 of each of five sources "
        "(default: 1000, or what a smaller corpus has)",
        "--num-fisher-examples",
        "--num-examples",
        read=positive_int,
        metavar="N",
        word="text-num_examples-{}",
    )
    batch_size: int = setting(
        16, "texts a batch", "--batch-size", read=positive_int, metavar="N", word="text-batch_size-{}"
    )
    max_length: int | None = setting(
        None,
        "tokens after which a text is cut (default: the task's, 128)",
        "--max-seq-length",
        read=positive_int,
        metavar="N",
        word="text-max_length-{}",
    )

    def __post_init__(self) -> None:
        if SPLITS.get(self.split) == "test":
            raise InputError("--dataset-split test: a merge must not rest on the texts that it is judged on; use train")

    def locales(self, target: str, sources: Sequence[str]) -> list[str]:
        """Whose texts these are."""
        every = {"target": [target], "sources": [*sources], "both": [target, *sources], "own": [*sources]}
        return every[self.scope]

    def of_source(self, examples: "Examples", source: str) -> "Examples":
        """Those of `examples` that the model of the language `source` is measured on."""
        return examples.of(source) if self.scope == "own" else examples


@dataclass(frozen=True)
class Examples:
    """`labels` index the task's `label_names`; `counts` tells how many texts each language gave."""

    counts: dict[str, int]
    texts: list[Text]
    labels: list[int]
    label_names: tuple[str, ...]
    max_tokens: int  # the task's

    def of(self, locale: str) -> "Examples":
        """Those of one language."""
        places = dict(zip(self.counts, accumulate(self.counts.values())))
        own = slice(places[locale] - self.counts[locale], places[locale])
        return replace(self, counts={locale: self.counts[locale]}, texts=self.texts[own], labels=self.labels[own])

    def fingerprint(self) -> str:
        rows = json.dumps([self.texts, self.labels], ensure_ascii=False)
        return hashlib.sha256(rows.encode()).hexdigest()


def draw_examples(task: Task, settings: TextSettings, locales: Sequence[str], seed: int) -> Examples:
    """`num_examples` items: an equal share of each locale, one more of the first where it does not divide.

    Each locale's items are drawn at random by `seed` and the locale's name. Of a locale that has fewer than its share
    all are taken, which a warning tells; `counts` of the result has the numbers.
    """
    splits = [task.load(locale, settings.split) for locale in locales]
    total = settings.num_examples
    if total is None:
        total = min(NUM_EXAMPLES, len(locales) * min(map(len, splits)))
    share, rest = divmod(total, len(locales))
    counts: dict[str, int] = {}
    texts: list[Text] = []
    labels: list[int] = []
    for place, (locale, split) in enumerate(zip(locales, splits)):
        count = share + (place < rest)
        if count > len(split):
            log.warning(
                "warning: --num-fisher-examples %d asks for %d examples of %s, whose %s split has %d: all are taken",
                total,
                count,
                locale,
                settings.split,
                len(split),
            )
            count = len(split)
        chosen = random.Random(f"{seed} {locale}").sample(range(len(split)), count)
        counts[locale] = count
        texts += [split.texts[item] for item in chosen]
        labels += [split.labels[item] for item in chosen]
    return Examples(counts, texts, labels, task.labels, task.max_tokens)
