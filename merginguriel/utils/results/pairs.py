"""Results and their baselines on the same items: what their differences are worth, by the task's metric."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from merginguriel.utils.evaluation.metrics import ACCURACY, METRICS
from merginguriel.utils.evaluation.resampling import randomisation_test, resampled_scores
from merginguriel.utils.evaluation.statistics import bootstrap_interval, mcnemar_of_counts
from merginguriel.utils.results.items import Answers

Key = tuple[int, str]  # row of a comparison, baseline


def item_test(metric: str) -> str:
    """The paired test of two results on the same items, as headings have it."""
    return "McNemar" if metric == ACCURACY else "randomisation"


def said_item_test(metric: str) -> str:
    """The same as a sentence has it."""
    return "McNemar's test" if metric == ACCURACY else "approximate randomisation"


@dataclass(frozen=True)
class Pairs:
    """(row, baseline) -> what both answered, where both have kept it.

    McNemar's test and the bootstrap of right and wrong answers are of accuracy. For any other metric answers are
    swapped, and drawn again, and the metric computed anew.
    """

    metric: str = ACCURACY
    answers: Mapping[Key, tuple[Answers, Answers]] = field(default_factory=dict)

    def p_values(self, baseline: str) -> dict[int, float]:
        """Row -> two-sided p against this baseline."""
        pairs = {row: pair for (row, name), pair in self.answers.items() if name == baseline}
        if self.metric != ACCURACY:
            metric = METRICS[self.metric]
            return {
                row: randomisation_test(metric, own.gold, own.predicted, rival.predicted)
                for row, (own, rival) in pairs.items()
            }
        gained = (own.correct & ~rival.correct for own, rival in pairs.values())
        lost = (rival.correct & ~own.correct for own, rival in pairs.values())
        counts = [[which.sum() for which in items] for items in (gained, lost)]
        return dict(zip(pairs, mcnemar_of_counts(*counts))) if pairs else {}

    def interval(self, keys: Iterable[Key]) -> tuple[float, float]:
        """95 % bootstrap interval of the mean gain over these rows, items drawn by id.

        NaN where one has not kept its answers, or they are not of the same number of items.
        """
        pairs = [self.answers.get(key) for key in keys]
        known = [pair for pair in pairs if pair is not None]
        if not known or len(known) < len(pairs) or len({own.gold.size for own, _ in known}) > 1:
            return np.nan, np.nan
        if self.metric == ACCURACY:
            return bootstrap_interval(np.stack([own.correct.astype(np.int8) - rival.correct for own, rival in known]))
        gains = np.mean([self._resampled[own] - self._resampled[rival] for own, rival in known], axis=0)
        low, high = np.percentile(gains, [2.5, 97.5])
        return float(low), float(high)

    @cached_property
    def _resampled(self) -> dict[Answers, np.ndarray]:
        """(resamples,) scores of each that is in a pair, one draw for all of one number of items."""
        by_size: dict[int, dict[Answers, None]] = {}
        for pair in self.answers.values():
            by_size.setdefault(pair[0].gold.size, {}).update(dict.fromkeys(pair))
        scores: dict[Answers, np.ndarray] = {}
        for same in by_size.values():
            answers = [(one.gold, one.predicted) for one in same]
            scores |= zip(same, resampled_scores(METRICS[self.metric], answers))
        return scores
