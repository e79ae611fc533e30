"""How several classifiers answer as one: votes on their logits, nothing is merged.

Every vote takes logits (sources, items, classes), with -inf for a class that a source does not know, and
positive weights (sources,), which are scaled to sum to 1; it returns the elected class, (items,). The order
of the sources makes no difference: sums are rounded to 12 decimals, so that a tie is a tie in every order.
"""

import numpy as np


def majority(logits, weights) -> np.ndarray:
    """The class that most sources predict; of tied classes that of the source with the highest weight."""
    return _elect(logits, weights, np.ones(len(weights)))


def weighted_majority(logits, weights) -> np.ndarray:
    """argmax_c Σᵢ wᵢ·1[predᵢ = c]; of tied classes that of the source with the highest weight."""
    return _elect(logits, weights, _shares(weights))


def soft(logits, weights) -> np.ndarray:
    """argmax_c Σᵢ wᵢ·softmax(zᵢ)_c."""
    from scipy.special import softmax

    return _weighted_sum(softmax(np.asarray(logits, np.float64), axis=-1), weights).argmax(-1)


def uriel_logits(logits, weights) -> np.ndarray:
    """argmax_c Σᵢ wᵢ·zᵢ_c: as `soft`, but a source that is surer, by larger logits, counts for more."""
    return _weighted_sum(np.asarray(logits, np.float64), weights).argmax(-1)


VOTES = {
    "majority": (majority, "one source, one vote; the highest weight decides ties"),
    "weighted_majority": (weighted_majority, "a source's vote counts its weight"),
    "soft": (soft, "weighted mean of the sources' probabilities"),
    "uriel_logits": (uriel_logits, "weighted mean of the sources' logits"),
}


def _elect(logits, weights, ballots) -> np.ndarray:
    predicted = np.asarray(logits).argmax(-1)
    votes = predicted[..., None] == np.arange(np.shape(logits)[-1])  # (sources, items, classes)
    tally = _rounded_sum(votes, ballots)
    strongest = (votes * _shares(weights).round(12)[:, None, None]).max(0)
    # Where even the strongest supporters weigh the same, the class that comes first.
    return np.where(tally == tally.max(-1, keepdims=True), strongest, -1).argmax(-1)


def _weighted_sum(scores, weights) -> np.ndarray:
    return _rounded_sum(scores, _shares(weights))


def _rounded_sum(scores, factors) -> np.ndarray:
    return (scores * factors[:, None, None]).sum(0).round(12)


def _shares(weights) -> np.ndarray:
    weights = np.asarray(weights, np.float64)
    if not (weights > 0).all() or not np.isfinite(weights).all():
        raise ValueError(f"weights must be positive and finite, not {weights.tolist()}")
    return weights / weights.sum()
