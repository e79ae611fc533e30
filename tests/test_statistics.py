"""Intervals and paired tests against formulas worked by hand, plain loops and SciPy."""

from itertools import product
from math import comb, sqrt

import numpy as np
import pytest
from scipy import stats

from merginguriel.utils.evaluation.metrics import METRICS, per_label
from merginguriel.utils.evaluation.statistics import (
    bootstrap_interval,
    holm,
    mcnemar,
    paired_bootstrap,
    wilcoxon,
    wilson_interval,
)


@pytest.mark.parametrize("correct, total", [(0, 10), (7, 10), (10, 10), (2094, 2974)])
def test_wilson_interval_is_the_textbook_formula(correct, total):
    z, p = 1.959963984540054, correct / total
    centre = (p + z * z / (2 * total)) / (1 + z * z / total)
    half = z / (1 + z * z / total) * sqrt(p * (1 - p) / total + z * z / (4 * total * total))
    assert wilson_interval(correct, total) == pytest.approx((max(0, centre - half), min(1, centre + half)))


def test_mcnemar_counts_only_items_where_one_is_right():
    a = np.array([1, 1, 1, 1, 1, 1, 0, 1, 0], bool)
    b = np.array([0, 0, 0, 0, 0, 0, 1, 1, 0], bool)
    # 6 to 1 of 7 discordant items: 2 * P(X <= 1) for X ~ Binomial(7, 1/2)
    assert mcnemar(a, b) == pytest.approx(2 * (comb(7, 0) + comb(7, 1)) / 2**7)
    assert mcnemar(b, a) == mcnemar(a, b)


def test_mcnemar_of_equals_is_one():
    a = np.array([True, False, True])
    assert mcnemar(a, a) == 1.0


def test_macro_f1_by_hand():
    gold, predicted = np.array([0, 0, 1, 2]), np.array([0, 1, 1, 3])
    # F1: intent 0 2/3, intent 1 2/3, intent 2 0, intent 3 0
    assert METRICS["macro_f1"](predicted, gold) == pytest.approx(1 / 3)


def test_per_label_by_hand():
    # Intent 0: two of three said are right, both there were; 2 is never said; 3 is said, but never gold.
    gold, predicted = np.array([0, 0, 1, 1, 2, 1]), np.array([0, 0, 0, 1, 3, 1])
    rows = per_label(predicted, gold)
    assert [row.label for row in rows] == [0, 1, 2, 3]
    expected = [(2 / 3, 1, 4 / 5, 2), (1, 2 / 3, 4 / 5, 3), (np.nan, 0, 0, 1), (0, np.nan, 0, 0)]
    np.testing.assert_allclose([row[1:] for row in rows], expected)
    assert METRICS["macro_f1"](predicted, gold) == pytest.approx(8 / 5 / 4)


# Bootstrap


def test_bootstrap_of_three_items_is_the_enumeration_of_all_resamples():
    a, b = np.array([True, True, False]), np.array([False, True, True])
    means = sorted(sum(drawn) / 3 for drawn in product([1, 0, -1], repeat=3))
    # Of 27 resamples 1 has mean 1 and 3 have 2/3, so both tails of 8 % end at 2/3.
    assert np.percentile(means, [8, 92]).tolist() == pytest.approx([-2 / 3, 2 / 3])
    assert paired_bootstrap(a, b, confidence=0.84) == pytest.approx((-2 / 3, 2 / 3))
    assert paired_bootstrap(a, b, confidence=0.96) == pytest.approx((-1, 1))


def test_bootstrap_over_items_agrees_with_scipy():
    generator = np.random.default_rng(0)
    a, b = generator.random(800) < 0.7, generator.random(800) < 0.66
    ours = paired_bootstrap(a, b)
    scipys = stats.bootstrap(
        (a.astype(float) - b,), np.mean, n_resamples=10_000, method="percentile", batch=500, rng=1
    ).confidence_interval
    assert ours == pytest.approx(scipys, abs=0.002)
    assert paired_bootstrap(b, a) == pytest.approx([-end for end in ours[::-1]], abs=0.002)
    values = generator.random(800)
    assert bootstrap_interval(values) == bootstrap_interval(values) != bootstrap_interval(values, seed=7)


def test_one_draw_of_ids_serves_every_locale():
    # Seven locales that agree item by item tell no more than one of them does.
    values = (np.random.default_rng(1).random(500) < 0.3).astype(float)
    one = bootstrap_interval(values)
    assert bootstrap_interval(np.tile(values, (7, 1))) == pytest.approx(one)
    # Where they do not agree, averaging does help.
    apart = np.random.default_rng(2).random((7, 500)) < 0.3
    low, high = bootstrap_interval(apart)
    assert high - low == pytest.approx((one[1] - one[0]) / sqrt(7), rel=0.15)


def test_bootstrap_over_locales_and_items_agrees_with_a_loop():
    generator = np.random.default_rng(3)
    values = generator.normal(0, 1, (6, 1)) + generator.normal(0, 2, (1, 40))
    means = []
    for _ in range(4000):
        rows, columns = generator.integers(6, size=6), generator.integers(40, size=40)
        means.append(values[rows][:, columns].mean())
    ours = bootstrap_interval(values, resample_locales=True)
    assert ours == pytest.approx(np.percentile(means, [2.5, 97.5]), abs=0.08)
    # Of additive effects the variances add up.
    deviation = sqrt(values.mean(1).var() / 6 + values.mean(0).var() / 40)
    assert ours[1] - ours[0] == pytest.approx(2 * 1.96 * deviation, rel=0.05)
    only_items = bootstrap_interval(values)
    assert only_items[1] - only_items[0] == pytest.approx(2 * 1.96 * values.mean(0).std() / sqrt(40), rel=0.05)


@pytest.mark.parametrize("values", [np.empty((3, 0)), np.zeros((2, 2, 2)), np.array([0.0, np.nan])])
def test_bootstrap_refuses_what_is_no_sample(values):
    with pytest.raises(ValueError, match="locales, items"):
        bootstrap_interval(values)


# Tests over locales


def test_wilcoxon_by_hand():
    b = np.array([0.5, 0.6, 0.7, 0.55, 0.65])
    # All five ranks on one side: 2 of the 32 assignments of signs are as extreme.
    assert wilcoxon(b + [0.01, 0.02, 0.03, 0.04, 0.05], b) == pytest.approx(2 / 32)
    # The smallest against the others, W = 1: 4 of 32.
    assert wilcoxon(b + [-0.01, 0.02, 0.03, 0.04, 0.05], b) == pytest.approx(4 / 32)
    # Locales without a difference do not count.
    assert wilcoxon([*(b + [0.01, 0.02, 0.03, 0.04, 0.05]), 0.4, 0.3], [*b, 0.4, 0.3]) == pytest.approx(2 / 32)
    assert wilcoxon(b, b) == 1.0


def test_wilcoxon_with_ties_is_the_enumeration_of_all_signs():
    # Equal differences of shares that are not equal as floats.
    hits_b = np.array([2001, 1777, 1003, 2222, 1500, 900])
    hits_a = hits_b + [7, 7, -7, 7, 12, 12]
    ranks = np.array([2.5, 2.5, 2.5, 2.5, 5.5, 5.5])
    sums = [ranks @ signs for signs in product([0, 1], repeat=6)]
    observed = 2.5
    expected = sum(min(total, ranks.sum() - total) <= observed for total in sums) / 64
    differences = hits_a / 2974 - hits_b / 2974
    assert len(set(np.abs(differences))) > 2
    assert wilcoxon(hits_a / 2974, hits_b / 2974) == pytest.approx(expected)


def test_wilcoxon_agrees_with_scipys_exact_null_of_49_locales():
    differences = np.random.default_rng(4).normal(0.3, 1, 49)
    assert wilcoxon(differences, np.zeros(49)) == pytest.approx(stats.wilcoxon(differences, method="exact").pvalue)


def test_holm_by_hand():
    # Sorted 0.005·4, 0.01·3, 0.03·2, and 0.04·1 raised to the one before it.
    assert holm([0.01, 0.04, 0.03, 0.005]).tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.5]).tolist() == [1.0, 1.0]
    assert holm([0.02]).tolist() == [0.02] and holm([]).size == 0


def test_holm_lies_between_the_raw_values_and_bonferroni():
    p_values = np.random.default_rng(5).random(20) ** 3
    adjusted = holm(p_values)
    assert (adjusted >= p_values).all() and (adjusted <= np.minimum(20 * p_values, 1)).all()
    assert np.array_equal(np.argsort(adjusted, kind="stable")[:3], np.argsort(p_values)[:3])
