"""Estimated accuracies, and how far URIEL counts beside them."""

import numpy as np
import pytest

from merginguriel.utils.similarity.consensus import adjusted_correlation, agree, estimate_accuracies


def sources_of(accuracies, texts=4000, classes=7, seed=0):
    """(probabilities of independent sources of these accuracies, the gold classes)"""
    random = np.random.default_rng(seed)
    gold = random.integers(classes, size=texts)
    probabilities = np.full((len(accuracies), texts, classes), 0.1 / (classes - 1))
    for source, accuracy in enumerate(accuracies):
        wrong = (gold + random.integers(1, classes, size=texts)) % classes
        named = np.where(random.random(texts) < accuracy, gold, wrong)
        probabilities[source, np.arange(texts), named] = 0.9
    return probabilities, gold


def test_independent_sources_get_the_accuracies_that_they_have():
    probabilities, gold = sources_of(np.linspace(0.3, 0.9, 21), texts=2000)
    true = (probabilities.argmax(-1) == gold).mean(-1)
    np.testing.assert_allclose(estimate_accuracies(probabilities), true, atol=0.03)


def test_the_estimate_is_that_of_plain_loops():
    probabilities, _ = sources_of([0.8, 0.6, 0.5], texts=40, classes=3)
    posterior = [[float(np.mean([p[text][c] for p in probabilities])) for c in range(3)] for text in range(40)]
    for _ in range(15):
        accuracies = []
        for of_source in probabilities:
            share = sum(posterior[text][int(np.argmax(of_source[text]))] for text in range(40)) / 40
            accuracies.append(min(0.98, max(0.02, share)))
        for text in range(40):
            votes = [0.0] * 3
            for of_source, accuracy in zip(probabilities, accuracies):
                votes[int(np.argmax(of_source[text]))] += 0.5 * np.log(accuracy * 2 / (1 - accuracy))
            total = sum(np.exp(vote) for vote in votes)
            posterior[text] = [np.exp(vote) / total for vote in votes]
    np.testing.assert_allclose(estimate_accuracies(probabilities), accuracies, rtol=1e-10)


def test_uriel_counts_as_far_as_it_agrees_with_the_consensus():
    accuracies = np.linspace(0.3, 0.9, 20)
    probabilities, _ = sources_of(accuracies, texts=1000)
    alone = agree(probabilities)
    assert alone.deserved == 0 and list(np.argsort(alone.score)) == list(np.argsort(alone.accuracy))
    knowing = agree(probabilities, accuracies + 0.2 * np.sin(np.arange(20) * 9))
    assert 0.7 < knowing.deserved < 1
    misled = agree(probabilities, 1 - accuracies)
    assert misled.deserved == 0
    np.testing.assert_array_equal(misled.score, alone.score)
    for one in (alone, knowing, misled):
        assert one.weight.sum() == pytest.approx(1)
        ratio = one.weight[3] / one.weight[7]
        assert ratio == pytest.approx(np.exp(one.score[3] - one.score[7]))


def test_a_chance_correlation_counts_nothing():
    random = np.random.default_rng(3)
    found = [adjusted_correlation(random.random(30), random.random(30)) for _ in range(300)]
    # Of a plain correlation about half were above 0.
    assert np.mean(np.array(found) > 0) < 0.2
    line = np.arange(8.0)
    assert adjusted_correlation(line, 2 * line) == pytest.approx(1)
    assert adjusted_correlation(line[:3], line[:3]) == 0
    assert adjusted_correlation(line, np.ones(8)) == 0


def test_adjusted_correlation_is_that_of_a_regression():
    from scipy.stats import linregress

    random = np.random.default_rng(5)
    one = random.random(12)
    other = one + 0.5 * random.random(12)
    fitted = linregress(other, one)
    residual = ((one - fitted.intercept - fitted.slope * other) ** 2).sum() / (12 - 2)
    expected = np.sqrt(1 - residual / one.var(ddof=1))
    assert adjusted_correlation(one, other) == pytest.approx(expected)


def test_one_source_is_its_own_consensus():
    probabilities, _ = sources_of([0.7], texts=20)
    found = agree(probabilities, np.array([0.5]))
    assert found.weight.tolist() == [1.0] and found.score.tolist() == [0.0]
