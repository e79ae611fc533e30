"""Which sources to trust on a target without a label: those that agree with the others, and those that URIEL is for.

How far URIEL deserves a say is found out without labels too: as far as it agrees with the consensus.
"""

from dataclasses import dataclass

import numpy as np

ORIGIN = "the consensus"  # what records call it
ROUNDS = 15
LOWEST, HIGHEST = 0.02, 0.98  # of an estimated accuracy, so that no source decides alone
# Sources grew from one encoder and err alike, so that each is worth about half an independent witness.
DEPENDENCE = 0.5


@dataclass(frozen=True)
class Consensus:
    """Of each source, (sources,): its estimated `accuracy`, its `score`, and its `weight`; these sum to 1.

    `deserved`: how much a standard deviation of the cosine counts against one of the accuracy, 0 to 1.
    """

    accuracy: np.ndarray
    score: np.ndarray
    weight: np.ndarray
    deserved: float


def agree(probabilities: np.ndarray, cosines: np.ndarray | None = None) -> Consensus:
    """The consensus of sources on texts: `probabilities` (sources, texts, classes), `cosines` (sources,) if known.

    A score is the sum of the standardised accuracy and of the standardised cosine, the latter times `deserved`.
    A weight is in proportion to the exponential of the score.
    """
    accuracy = estimate_accuracies(probabilities)
    deserved = adjusted_correlation(accuracy, cosines) if cosines is not None else 0.0
    score = standardised(accuracy)
    if cosines is not None:
        score = score + deserved * standardised(cosines)
    # Equal ones stay equal whatever the order of the sums.
    score = score.round(9)
    weight = np.exp(score - score.max())
    return Consensus(accuracy, score, weight / weight.sum(), deserved)


def estimate_accuracies(probabilities: np.ndarray) -> np.ndarray:
    """(sources,) how often each is right by the others' word, from `probabilities` (sources, texts, classes).

    The model of Dawid and Skene (1979, 10.2307/2346806) with one number a source: it names the right class so often,
    and any other equally often otherwise. Expectation-maximisation from the mean of the probabilities.
    """
    texts, classes = probabilities.shape[1:]
    predicted, each = probabilities.argmax(-1), np.arange(texts)
    posterior = probabilities.mean(0, dtype=np.float64)
    accuracy = np.empty(0)
    for _ in range(ROUNDS):
        named = np.stack([posterior[each, one] for one in predicted])
        accuracy = named.mean(-1).clip(LOWEST, HIGHEST)
        votes = np.zeros((texts, classes))
        for one, worth in zip(predicted, DEPENDENCE * np.log(accuracy * (classes - 1) / (1 - accuracy))):
            votes[each, one] += worth
        posterior = np.exp(votes - votes.max(-1, keepdims=True))
        posterior /= posterior.sum(-1, keepdims=True)
    return accuracy


def standardised(values: np.ndarray) -> np.ndarray:
    """Mean 0 and standard deviation 1; all 0 where they are all equal."""
    deviation = values.std()
    return (values - values.mean()) / deviation if deviation > 1e-12 else np.zeros(len(values))


def adjusted_correlation(one: np.ndarray, other: np.ndarray) -> float:
    """The square root of their adjusted R², 0 where they correlate by chance or less (Ezekiel 1930).

    Of few sources some correlation is to be expected of anything; three can tell nothing, and two less.
    """
    count = len(one)
    if count < 4:
        return 0.0
    correlation = float((standardised(one) * standardised(other)).mean())
    left = 1 - (1 - correlation**2) * (count - 1) / (count - 2)
    return float(np.sqrt(left)) if correlation > 0 and left > 0 else 0.0
