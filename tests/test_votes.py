"""Every vote on ballots worked by hand, and in any order of the sources."""

from itertools import permutations

import numpy as np
import pytest

from merginguriel.utils.ensembles.votes import VOTES, majority, soft, uriel_logits, weighted_majority


def ballots(*predicted, classes=4):
    """Logits (sources, items, classes) of sources that predict these classes, one list a source."""
    return np.eye(classes)[np.array(predicted)] * 2 - 1


def test_majority_by_hand():
    # Item 0: two to one. Item 1: three ways, so the heaviest decides. Item 2: all agree.
    logits = ballots([0, 1, 3], [2, 2, 3], [2, 3, 3])
    assert majority(logits, [0.5, 0.3, 0.2]).tolist() == [2, 1, 3]
    # Two pairs: that with the heaviest single source, though the other pair weighs more together.
    assert majority(ballots([1], [1], [2], [2]), [0.4, 0.05, 0.3, 0.25]).tolist() == [1]


def test_weighted_majority_by_hand():
    # 0.4 alone against 0.35 + 0.25 = 0.6; then 0.4 + 0.25 against 0.35; then 0.4, 0.35 and 0.25.
    logits = ballots([0, 0, 0], [1, 1, 1], [1, 0, 2])
    assert weighted_majority(logits, [0.4, 0.35, 0.25]).tolist() == [1, 0, 0]
    # 0.5 against 0.3 + 0.2, which is less in floats by order: a tie, and the heaviest decides.
    assert weighted_majority(ballots([3], [1], [1]), [0.5, 0.3, 0.2]).tolist() == [3]
    assert weighted_majority(ballots([3], [1], [1], [1]), [0.3, 0.1, 0.1, 0.1]).tolist() == [3]


def test_ties_of_equal_weights_go_to_the_first_class():
    for vote in (majority, weighted_majority):
        assert vote(ballots([3], [1], [2]), [1, 1, 1]).tolist() == [1]


def test_soft_by_hand():
    # Probabilities (0.6, 0.4) and (0.1, 0.9): 0.7·0.6 + 0.3·0.1 = 0.45; evenly 0.35. At 0.9 it is 0.55.
    logits = np.log([[[0.6, 0.4]], [[0.1, 0.9]]])
    assert soft(logits, [0.7, 0.3]).tolist() == [1]
    assert soft(logits, [0.9, 0.1]).tolist() == [0]
    # Softmax does not see what is added to all logits of a source.
    assert soft(logits + [[[5.0]], [[-5.0]]], [0.9, 0.1]).tolist() == [0]


def test_logits_and_probabilities_elect_differently():
    # Logits: class 0 has 0.5·10 − 0.5·1 = 4.5. Probabilities: near 1 and 0.27 for class 0 against 0 and 0.73.
    # With weights 0.2 and 0.8, logits still elect 0 (1.2 > 0), probabilities 1 (0.585 > 0.415).
    logits = np.array([[[10.0, 0.0]], [[-1.0, 0.0]]])
    assert uriel_logits(logits, [0.2, 0.8]).tolist() == [0]
    assert soft(logits, [0.2, 0.8]).tolist() == [1]


def test_weights_are_scaled_and_must_be_positive():
    logits = np.random.default_rng(0).normal(size=(3, 50, 6))
    for name, (vote, _) in VOTES.items():
        assert np.array_equal(vote(logits, [5, 3, 2]), vote(logits, [0.5, 0.3, 0.2])), name
        for weights in ([0.5, 0.5, 0], [0.5, 0.7, -0.2], [0.5, float("nan"), 0.5]):
            with pytest.raises(ValueError, match="positive"):
                vote(logits, weights)


@pytest.mark.parametrize("name", VOTES)
def test_the_order_of_sources_makes_no_difference(name):
    # Few distinct values and weights, so that ties abound.
    generator = np.random.default_rng(1)
    logits = generator.integers(-1, 2, size=(4, 300, 5)) / 10
    weights = np.array([0.1, 0.3, 0.3, 0.3])
    expected = VOTES[name][0](logits, weights)
    for order in permutations(range(4)):
        assert np.array_equal(VOTES[name][0](logits[list(order)], weights[list(order)]), expected)


@pytest.mark.parametrize("name", VOTES)
def test_one_source_answers_for_itself_and_missing_classes_are_never_elected(name):
    logits = np.random.default_rng(2).normal(size=(1, 100, 6)).astype(np.float32)
    logits[..., 4] = -np.inf
    assert np.array_equal(VOTES[name][0](logits, [1.0]), logits[0].argmax(-1))


@pytest.mark.parametrize("name", ["majority", "weighted_majority"])
def test_votes_agree_with_a_loop(name):
    generator = np.random.default_rng(3)
    logits, weights = generator.normal(size=(5, 200, 3)), np.array([0.35, 0.25, 0.2, 0.12, 0.08])
    expected = []
    for item in range(200):
        tally, best = {}, {}
        for source in range(5):
            choice = int(logits[source, item].argmax())
            tally[choice] = tally.get(choice, 0) + (1 if name == "majority" else weights[source])
            best[choice] = max(best.get(choice, 0), weights[source])
        expected.append(max(tally, key=lambda choice: (round(tally[choice], 9), best[choice])))
    assert VOTES[name][0](logits, weights).tolist() == expected
