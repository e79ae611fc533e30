"""What a difference between two accuracies is worth."""


from scipy.stats import binomtest


def wilson_interval(correct: int, total: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson score interval of a proportion (Wilson 1927); `total` must be positive."""
    interval = binomtest(correct, total).proportion_ci(confidence, method="wilson")
    return float(interval.low), float(interval.high)


def mcnemar(correct_a, correct_b) -> float:
    """Exact two-sided McNemar p of two classifiers on the same items (boolean arrays, (items,)).

    Only the items on which exactly one is right count: under the null each favours either side
    with probability 1/2 (McNemar 1947). 1.0 where they never differ.
    """
    only_a = int((correct_a & ~correct_b).sum())
    only_b = int((correct_b & ~correct_a).sum())
    return float(binomtest(only_a, only_a + only_b, 0.5).pvalue) if only_a + only_b else 1.0
