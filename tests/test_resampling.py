"""Tests and intervals of metrics that are no means over items, against SciPy on the metric's definition."""

import numpy as np
import pytest
from scipy import stats

from merginguriel.utils.evaluation.metrics import METRICS
from merginguriel.utils.evaluation.resampling import ENOUGH, MOST_SWAPS, randomisation_test, resampled_scores
from merginguriel.utils.evaluation.statistics import mcnemar, paired_bootstrap

MACRO_F1, ACCURACY = METRICS["macro_f1"], METRICS["accuracy"]


def f1_by_definition(predicted, gold) -> float:
    """From precision and recall of every label that occurs."""
    scores = []
    for label in {*gold.tolist(), *predicted.tolist()}:
        hits = ((predicted == label) & (gold == label)).sum()
        precision, recall = hits / max((predicted == label).sum(), 1), hits / max((gold == label).sum(), 1)
        scores.append(2 * precision * recall / (precision + recall) if hits else 0.0)
    return float(np.mean(scores))


def answers(items: int, *quality: float):
    """Gold labels, of which most are one, and answers that are right so often and guessed else."""
    random = np.random.default_rng(3)
    gold = random.choice(4, items, p=[0.6, 0.2, 0.15, 0.05])
    return gold, *(np.where(random.random(items) < share, gold, random.integers(0, 5, items)) for share in quality)


def test_metrics_are_what_they_are_defined_to_be():
    gold, one, other = answers(60, 0.7, 0.2)
    for predicted in (gold, one, other):
        assert MACRO_F1(predicted, gold) == pytest.approx(f1_by_definition(predicted, gold))
        assert ACCURACY(predicted, gold) == (predicted == gold).mean()


@pytest.mark.parametrize("items, quality", [(14, (0.9, 0.35)), (16, (0.8, 0.6))])
def test_randomisation_is_scipys_permutation_test(items, quality):
    gold, one, other = answers(items, *quality)
    differs = one != other
    assert differs.sum() < 11  # so that SciPy goes through all swaps

    def statistic(first, second):
        whole_first, whole_second = one.copy(), other.copy()
        whole_first[differs], whole_second[differs] = first, second
        return round(abs(f1_by_definition(whole_first, gold) - f1_by_definition(whole_second, gold)), 12)

    exact = stats.permutation_test(
        (one[differs], other[differs]), statistic, permutation_type="samples", n_resamples=np.inf, alternative="greater"
    ).pvalue
    # Known to a tenth of itself, by ENOUGH: three standard errors.
    assert randomisation_test(MACRO_F1, gold, one, other) == pytest.approx(exact, rel=3 / np.sqrt(ENOUGH))
    assert randomisation_test(MACRO_F1, gold, one, other) == randomisation_test(MACRO_F1, gold, other, one)


def test_randomisation_of_accuracy_is_mcnemars_test():
    gold, one, other = answers(300, 0.7, 0.62)
    exact = mcnemar(one == gold, other == gold)
    assert 0.001 < exact < 0.3
    assert randomisation_test(ACCURACY, gold, one, other) == pytest.approx(exact, rel=3 / np.sqrt(ENOUGH))


def test_ends_of_the_scale():
    gold, one, _ = answers(300, 0.7, 0.6)
    assert randomisation_test(MACRO_F1, gold, one, one) == 1
    assert randomisation_test(MACRO_F1, gold, gold, (gold + 1) % 4) == 1 / (MOST_SWAPS + 1)


def test_resampled_scores_are_of_one_draw():
    gold, one, other = answers(200, 0.75, 0.6)
    ours, theirs, again = resampled_scores(MACRO_F1, [(gold, one), (gold, other), (gold, one)])
    assert np.array_equal(ours, again)
    found = stats.bootstrap(
        (gold, one, other),
        lambda gold, one, other: f1_by_definition(one, gold) - f1_by_definition(other, gold),
        paired=True,
        vectorized=False,
        n_resamples=1500,
        method="percentile",
        rng=np.random.default_rng(0),
    )
    spread = found.standard_error
    assert np.percentile(ours - theirs, [2.5, 97.5]) == pytest.approx(found.confidence_interval, abs=0.2 * spread)
    assert (ours - theirs).std() == pytest.approx(spread, rel=0.1)
    right, wrong = resampled_scores(ACCURACY, [(gold, one), (gold, other)])
    low, high = paired_bootstrap(one == gold, other == gold)
    assert np.percentile(right - wrong, [2.5, 97.5]) == pytest.approx([low, high], abs=0.01)
