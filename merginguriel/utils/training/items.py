"""Training items of one or several languages, and their tokens."""

import logging
import random
from collections import Counter
from typing import Any, NamedTuple

from merginguriel.utils.data.split import Text
from merginguriel.utils.models import tokens
from merginguriel.utils.training.settings import TrainingRun

log = logging.getLogger(__name__)


class Item(NamedTuple):
    text: Text
    label: int  # indexes the task's labels
    locale: str


def load(run: TrainingRun, limits: dict[str, int | None]) -> dict[str, list[Item]]:
    """Items of all locales by split; a limit counts over the locales together, after a seeded shuffle."""
    locales, seed = list(run.locales), run.settings.seed
    several = len(locales) > 1
    if several:
        log.info("Loading and combining %d language configurations: %s", len(locales), locales)
    splits: dict[str, list[Item]] = {split: [] for split in limits}
    for locale in locales:
        if several:
            log.info("Loading %s...", locale)
        for split, items in splits.items():
            part = run.task.load(locale, split)
            items += (Item(text, label, locale) for text, label in zip(part.texts, part.labels))
            if split == "train" or "train" not in limits:
                log.info("✓ %s: %d %s samples", locale, len(part), "training" if split == "train" else split)
    if several:
        log.info("Combining datasets...")
        for split, items in splits.items():
            log.info("Combined %s set: %d samples", "training" if split == "train" else split, len(items))
        log.info("Shuffling datasets with seed %d", seed)
    for split, limit in limits.items():
        if several or limit is not None:
            random.Random(seed).shuffle(splits[split])
            splits[split] = splits[split][:limit]
    if "train" in splits:
        counts = Counter(item.label for item in splits["train"])
        log.info("Class distribution in train set:")
        if several:
            log.info("  Languages: %d languages: %s", len(locales), locales)
        log.info("  Total samples: %d", len(splits["train"]))
        log.info("  Labels: %d, of %d to %d samples", len(counts), min(counts.values()), max(counts.values()))
    return splits


def encode(tokenizer: Any, items: list[Item], max_length: int, model: Any) -> list[dict[str, Any]]:
    """Token ids, attention mask and label of each item, cut after `max_length` tokens, as Trainer takes them.

    InputError where `model` has no embedding for one of them.
    """
    encoded = tokens.encode(tokenizer, [item.text for item in items], max_length)
    tokens.check_rows(encoded["input_ids"], getattr(model.config, "vocab_size", None), tokenizer.name_or_path)
    return [
        {**{name: values[row] for name, values in encoded.items()}, "labels": item.label}
        for row, item in enumerate(items)
    ]
