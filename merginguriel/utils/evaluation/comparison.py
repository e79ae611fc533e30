"""Results beside each other: aligned by item, tested, in a table."""

from collections.abc import Sequence

import numpy as np
from auto_merge_llm.errors import InputError

from merginguriel.utils.evaluation.metrics import ACCURACY, METRICS
from merginguriel.utils.evaluation.resampling import randomisation_test, resampled_scores
from merginguriel.utils.evaluation.results import Evaluation
from merginguriel.utils.evaluation.statistics import bootstrap_interval, mcnemar, paired_bootstrap
from merginguriel.utils.storage.text_lines import name_width, named


def mean_interval(evaluations: list[Evaluation]) -> tuple[float, float]:
    """95 % bootstrap interval of the mean accuracy over these locales, items resampled by id."""
    return bootstrap_interval(aligned(evaluations))


def best_first(evaluations: list[Evaluation]) -> list[Evaluation]:
    return sorted(evaluations, key=lambda evaluation: (-evaluation.score, evaluation.name))


def aligned(evaluations: list[Evaluation]) -> np.ndarray:
    """Correctness by id, (evaluations, items) bool: a column is one id in all of them, ids in sorted order.

    Raises InputError where their ids are not the same.
    """
    ids = np.sort(evaluations[0].ids)
    for evaluation in evaluations:
        if not np.array_equal(np.sort(evaluation.ids), ids):
            raise InputError(
                f"{evaluation.name} and {evaluations[0].name} were evaluated on other items, so they "
                "cannot be compared item by item; evaluate both on the same ids"
            )
    return np.stack([evaluation.correct[np.argsort(evaluation.ids)] for evaluation in evaluations])


def gain_intervals(rows: Sequence[Sequence[Evaluation]]) -> list[tuple[float, float]]:
    """95 % bootstrap intervals of the mean gain, by the task's metric, of each row over the first.

    A row has a result of each target. Items are drawn by id, one draw for all targets; InputError where these do not
    share them.
    """
    every = [one for row in rows for one in row]
    correct, metric = aligned(every), every[0].metric
    if metric == ACCURACY:
        best, *others = correct.reshape(len(rows), len(rows[0]), -1)
        return [paired_bootstrap(other, best) for other in others]
    order = [np.argsort(one.ids) for one in every]
    answers = [(one.gold[by_id], one.predicted[by_id]) for one, by_id in zip(every, order)]
    best, *others = resampled_scores(METRICS[metric], answers).reshape(len(rows), len(rows[0]), -1).mean(1)
    ends = [np.percentile(other - best, [2.5, 97.5]) for other in others]
    return [(float(low), float(high)) for low, high in ends]


def comparison_table(
    evaluations: list[Evaluation], reference: Evaluation | None = None, called: str = "best source"
) -> str:
    """One line a model: accuracy, 95 % Wilson interval, and p against `reference`, `called` so, on the same items.

    Where the task has another metric, it comes first, and p is of it.
    """
    metric = evaluations[0].metric
    told = "" if metric == ACCURACY else f"  {metric}"
    title = f"{told}  accuracy  95 % interval{f'   p vs {called}' if reference else ''}"
    width = name_width(["model", *(evaluation.name for evaluation in evaluations)], len(title))
    lines = [f"{'model':<{width}}{title}"]
    for evaluation in evaluations:
        low, high = evaluation.interval
        by_metric = f"  {evaluation.score:{len(told) - 2}.4f}" if told else ""
        numbers = f"{by_metric}  {evaluation.accuracy:8.4f}  [{low:.3f}, {high:.3f}]"
        if reference is evaluation:
            numbers += f"  ({called})"
        elif reference:
            numbers += f"  {_p_value(evaluation, reference):.2g}"
        lines.append(named(evaluation.name, width, numbers))
    return "\n".join(lines)


def _p_value(one: Evaluation, other: Evaluation) -> float:
    """Exact McNemar p of two accuracies, of any other metric that of approximate randomisation."""
    if one.metric == ACCURACY:
        return mcnemar(one.correct, other.correct)
    return randomisation_test(METRICS[one.metric], one.gold, one.predicted, other.predicted)
