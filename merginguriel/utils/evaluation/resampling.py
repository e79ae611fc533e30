"""What a difference of any metric is worth, item by item: of those that are no mean over items."""

from collections.abc import Sequence

import numpy as np

from merginguriel.utils.evaluation.metrics import Counts, Metric
from merginguriel.utils.evaluation.statistics import BATCH, RESAMPLES, counts_of_draws

MOST_SWAPS = 100_000  # so that 1e-5 is the smallest p, which an adjustment for thousands of tests leaves small
ENOUGH = 100  # differences as large as the observed one, after which its p is known to a tenth of itself
_ROUNDING = 1e-12  # equal differences differ in their last bits


def randomisation_test(
    metric: Metric, gold: np.ndarray, one: np.ndarray, other: np.ndarray, *, seed: int = 42
) -> float:
    """Two-sided p of two classifiers on the same items, (items,) labels each, by approximate randomisation.

    Under the null it is chance which of them gave which of an item's two answers (Noreen 1989): answers are swapped
    with probability 1/2 each, and p is the share of such worlds whose difference is at least the observed one. Worlds
    are drawn until ENOUGH of them are (Besag & Clifford 1991), at most MOST_SWAPS. 1.0 where the answers never differ.
    """
    size = int(max(gold.max(), one.max(), other.max())) + 1
    differs = one != other
    ours, theirs = (_by_label(gold, answers, size) for answers in (one, other))
    together = [(a + b).sum(0) for a, b in zip(ours, theirs)]
    moved = [(b - a)[differs] for a, b in zip(ours, theirs)]

    def difference(swapped: np.ndarray) -> np.ndarray:
        """(worlds,) of (worlds, items that differ) 0 and 1."""
        # Whole numbers, which float32 has exactly.
        first = Counts(*((a.sum(0) + swapped @ part).astype(float) for a, part in zip(ours, moved)))
        second = Counts(*(whole - part for whole, part in zip(together, first)))
        return np.abs(metric.of_counts(first) - metric.of_counts(second))

    generator, shape = np.random.default_rng(seed), (BATCH, int(differs.sum()))
    observed, found, drawn = difference(np.zeros((1, shape[1]), np.float32))[0] - _ROUNDING, 0, 0
    while drawn < MOST_SWAPS:
        worlds = generator.integers(2, size=shape, dtype=np.uint8).astype(np.float32)
        so_far = found + np.cumsum(difference(worlds) >= observed)
        if so_far[-1] >= ENOUGH:
            return ENOUGH / float(drawn + 1 + np.searchsorted(so_far, ENOUGH))
        found, drawn = int(so_far[-1]), drawn + BATCH
    return (found + 1) / (drawn + 1)


def resampled_scores(
    metric: Metric, answers: Sequence[tuple[np.ndarray, np.ndarray]], *, resamples: int = RESAMPLES, seed: int = 42
) -> np.ndarray:
    """(answers, resamples) bootstrap scores (Efron 1979) of (gold, predicted) labels, (items,) each, as many of all.

    An item is one place in all of them, and one draw of items is for all: their scores may be subtracted, and averaged
    over locales, as in `bootstrap_interval`.
    """
    size = int(max(labels.max() for one in answers for labels in one)) + 1
    generator, scores = np.random.default_rng(seed), np.empty((len(answers), resamples))
    for start in range(0, resamples, BATCH):
        drawn = counts_of_draws(generator, len(answers[0][0]), min(BATCH, resamples - start)).astype(np.float32)
        for row, (gold, predicted) in zip(scores, answers):
            counts = Counts(*((drawn @ part).astype(float) for part in _by_label(gold, predicted, size)))
            row[start : start + len(drawn)] = metric.of_counts(counts)
    return scores


def _by_label(gold: np.ndarray, said: np.ndarray, size: int) -> Counts:
    """(items, labels) of 0 and 1: for which label an item counts."""
    label = np.eye(size, dtype=np.float32)
    return Counts(label[gold] * (gold == said)[:, None], label[said], label[gold])
