"""Intervals and paired tests against formulas worked by hand."""

from math import comb, sqrt

import numpy as np
import pytest

from merginguriel.utils.evaluation import macro_f1
from merginguriel.utils.statistics import mcnemar, wilson_interval


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
    assert macro_f1(predicted, gold) == pytest.approx(1 / 3)
