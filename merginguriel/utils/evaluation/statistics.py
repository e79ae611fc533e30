"""What a difference between accuracies is worth: intervals and paired tests, over items and over locales."""

import functools

import numpy as np
from scipy import stats

RESAMPLES = 10_000
BATCH = 500  # resamples at a time, so that memory does not grow with their number


def wilson_interval(correct: int, total: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson score interval of a proportion (Wilson 1927); `total` must be positive."""
    interval = stats.binomtest(correct, total).proportion_ci(confidence, method="wilson")
    return float(interval.low), float(interval.high)


def mcnemar(correct_a, correct_b) -> float:
    """Exact two-sided McNemar p of two classifiers on the same items (boolean arrays, (items,)).

    Only the items on which exactly one is right count: under the null each favours either side
    with probability 1/2 (McNemar 1947). 1.0 where they never differ.
    """
    return float(mcnemar_of_counts((correct_a & ~correct_b).sum(), (correct_b & ~correct_a).sum()))


def mcnemar_of_counts(only_a, only_b) -> np.ndarray:
    """`mcnemar` of many pairs at once, from how many items only the one and only the other has right, (pairs,) each."""
    only_a, only_b = np.asarray(only_a), np.asarray(only_b)
    # The binomial of 1/2 is symmetric: both tails are equal, and one of all items counts its middle twice.
    return np.minimum(2 * stats.binom.cdf(np.minimum(only_a, only_b), only_a + only_b, 0.5), 1)


def paired_bootstrap(correct_a, correct_b, **options) -> tuple[float, float]:
    """Interval of accuracy a − accuracy b, by `bootstrap_interval` of the differences item by item.

    Two aligned arrays, (items,) or (locales, items); `options` are those of `bootstrap_interval`.
    """
    return bootstrap_interval(np.asarray(correct_a, float) - np.asarray(correct_b, float), **options)


def bootstrap_interval(
    values, *, resample_locales: bool = False, confidence: float = 0.95, resamples: int = RESAMPLES, seed: int = 42
) -> tuple[float, float]:
    """Percentile bootstrap interval (Efron 1979) of the mean of `values`, (items,) or (locales, items).

    A column is one id in every locale: MASSIVE's items are parallel, so an id that is hard in one locale is
    hard in others. Items are therefore drawn by id, one draw for all locales. With `resample_locales` the
    locales are drawn too, independently of the items, and the interval speaks of other locales as well: the
    pigeonhole bootstrap (Owen 2007), which errs on the wide side.

    Without it the mean needs only each id's mean over locales; how often each distinct one is drawn is
    multinomial, which is the resampling of the items exactly and independent of their number.
    """
    values = np.atleast_2d(np.asarray(values, float))
    if values.ndim != 2 or not values.size or not np.isfinite(values).all():
        raise ValueError(f"values must be finite, (items,) or (locales, items), not {values.shape}")
    locales, items = values.shape
    generator = np.random.default_rng(seed)
    if resample_locales:
        means = np.concatenate(
            [_pigeonhole(values, min(BATCH, resamples - start), generator) for start in range(0, resamples, BATCH)]
        )
    else:
        distinct, counts = np.unique(values.mean(0), return_counts=True)
        means = generator.multinomial(items, counts / items, resamples) @ distinct / items
    tail = 50 * (1 - confidence)
    low, high = np.percentile(means, [tail, 100 - tail])
    return float(low), float(high)


def _pigeonhole(values, resamples: int, generator) -> np.ndarray:
    """(resamples,) means of `values` over items and locales drawn with replacement, as counts of each."""
    locales, items = values.shape
    of_items = counts_of_draws(generator, items, resamples)
    of_locales = counts_of_draws(generator, locales, resamples)
    return ((of_items @ values.T) * of_locales).sum(1) / values.size


def interval_with_shared_draws(values: np.ndarray) -> tuple[float, float]:
    """As `bootstrap_interval(values, resample_locales=True)`, where hundreds of intervals share what is drawn.

    `values` (locales, items). All of one shape have the same draws, which stay in memory.
    """
    return interval_of(means_of_draws(values))


def means_of_draws(values: np.ndarray) -> np.ndarray:
    """(RESAMPLES,) means of `values`, (locales, items), with locales and items drawn anew; of a difference, the
    difference of its terms'."""
    of_items = _kept_draws(values.shape[1], 0) @ values.T.astype(np.float32)
    return (of_items * _kept_draws(len(values), 1)).sum(1, dtype=float) / values.size


def interval_of(means: np.ndarray) -> tuple[float, float]:
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


@functools.cache
def _kept_draws(total: int, seed: int) -> np.ndarray:
    """(RESAMPLES, total)"""
    return counts_of_draws(np.random.default_rng([42, seed]), total, RESAMPLES).astype(np.float32)


def counts_of_draws(generator, total: int, resamples: int) -> np.ndarray:
    """How often each of `total` things occurs among `total` draws, (resamples, total)."""
    drawn = generator.integers(total, size=(resamples, total)) + total * np.arange(resamples)[:, None]
    return np.bincount(drawn.ravel(), minlength=resamples * total).reshape(resamples, total).astype(float)


def wilcoxon(accuracies_a, accuracies_b) -> float:
    """Two-sided p of Wilcoxon's signed-rank test over locales, (locales,) each (Wilcoxon 1945).

    Locales without a difference are dropped, as Wilcoxon did; 1.0 where none is left. Exact for up to 50
    locales without ties among the differences and up to 13 with, else the normal approximation. Rounding
    keeps ties ties: equal differences of shares differ in their last bits.
    """
    differences = np.round(np.asarray(accuracies_a, float) - np.asarray(accuracies_b, float), 12)
    differences = differences[differences != 0]
    return float(stats.wilcoxon(differences).pvalue) if differences.size else 1.0


def holm(p_values) -> np.ndarray:
    """p-values of a family of comparisons, adjusted for their number (Holm 1979), in the order given.

    The i-th smallest of m is multiplied by m − i + 1 and is never below the one before it: rejecting all
    that are at most α keeps the chance of any false rejection at α, whatever their dependence.
    """
    p_values = np.asarray(p_values, float)
    order = np.argsort(p_values, kind="stable")
    factors = np.arange(p_values.size, 0, -1)
    adjusted = np.empty_like(p_values)
    adjusted[order] = np.minimum(np.maximum.accumulate(p_values[order] * factors), 1)
    return adjusted


def mean_ranks(accuracies) -> np.ndarray:
    """(methods,) mean ranks over locales of `accuracies`, (locales, methods): 1 is best, ties share their mean rank."""
    return stats.rankdata(-np.round(np.asarray(accuracies, float), 12), axis=1).mean(0)


def nemenyi_distance(num_methods: int, num_locales: int, alpha: float = 0.05) -> float:
    """By how much two of `mean_ranks` differ at least where their methods do (Nemenyi 1963; Demšar 2006, eq. 5.2)."""
    quantile = stats.studentized_range.ppf(1 - alpha, num_methods, np.inf) / np.sqrt(2)
    return float(quantile * np.sqrt(num_methods * (num_methods + 1) / (6 * num_locales)))
