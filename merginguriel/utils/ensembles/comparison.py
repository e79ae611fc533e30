"""Votes beside their sources: for one target, and as means over targets."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from auto_merge_llm.errors import InputError

from merginguriel.utils.ensembles.vote_job import VoteContext, split_of
from merginguriel.utils.evaluation.comparison import best_first, comparison_table, gain_intervals
from merginguriel.utils.evaluation.metrics import ACCURACY
from merginguriel.utils.evaluation.results import Evaluation, read_evaluation
from merginguriel.utils.evaluation.statistics import holm, wilcoxon
from merginguriel.utils.jobs.job import Job
from merginguriel.utils.jobs.outcome import Outcome

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Standing:
    """One target: its sources alone, best first, and its votes by method."""

    target: str
    alone: list[Evaluation]
    votes: dict[str, Evaluation]

    def table(self) -> str:
        """Every source alone and every vote, tested against the best source."""
        return comparison_table([*self.alone, *self.votes.values()], self.alone[0])


def standings(jobs: Sequence[Job], context: VoteContext, is_done: Callable[[str], bool]) -> list[Standing]:
    """Of every target whose votes are done."""
    by_target: dict[str, list[Job]] = {}
    for job in jobs:
        if job.kind == "vote" and is_done(job.name):
            by_target.setdefault(job.group, []).append(job)
    return [
        Standing(
            target,
            best_first(context.alone(votes[0], split_of(votes[0], context))),
            {job.options["method"]: read_evaluation(job.folder, job.name) for job in votes},
        )
        for target, votes in by_target.items()
    ]


def held(jobs: Sequence[Job], context: VoteContext) -> Standing:
    """Do the jobs of one target here; InputError where one fails."""
    shared: dict[str, Any] = {"context": context}
    for job in jobs:
        job.run(shared)
    return standings(jobs, context, lambda name: True)[0]


@dataclass(frozen=True)
class Comparison:
    """One vote against the best source of each target by the task's metric, as means over the targets.

    `interval` resamples items by id, so it speaks of these targets; `p_value` is Wilcoxon's over the targets,
    None for one alone, and `adjusted` is Holm's for the number of votes.
    """

    method: str
    metric: str
    score: float
    difference: float
    interval: tuple[float, float]
    p_value: float | None
    adjusted: float | None


def compare(found: Sequence[Standing]) -> list[Comparison]:
    """Every vote that all targets have, against the best of the sources by its test score, the hardest choice.

    Raises InputError where the targets do not share their items.
    """
    methods = [method for method in found[0].votes if all(method in one.votes for one in found)] if found else []
    if not methods:
        return []
    rows = [[one.alone[0] for one in found], *([one.votes[method] for one in found] for method in methods)]
    best, *voted = ([one.score for one in row] for row in rows)
    several, intervals = len(found) > 1, gain_intervals(rows)
    p_values = [wilcoxon(vote, best) for vote in voted]
    adjusted = holm(p_values).tolist()
    return [
        Comparison(
            method,
            rows[0][0].metric,
            float(np.mean(vote)),
            float(np.mean(vote) - np.mean(best)),
            interval,
            p_value if several else None,
            holm_p if several else None,
        )
        for method, vote, interval, p_value, holm_p in zip(methods, voted, intervals, p_values, adjusted)
    ]


def comparison_lines(comparisons: Sequence[Comparison], num_targets: int) -> str:
    title = f"mean over {num_targets} targets"
    metric = comparisons[0].metric if comparisons else ACCURACY
    width = max(len("accuracy"), len(metric))
    lines = [f"{title}  {metric:>{width}}  vs best source  95 % interval        p  p (Holm)"]
    for row in comparisons:
        low, high = row.interval
        means = f"{row.score:{width}.4f}  {row.difference:+14.4f}"
        line = f"{row.method:<{len(title)}}  {means}  [{low:+.4f}, {high:+.4f}]"
        lines.append(line if row.p_value is None else f"{line}  {row.p_value:.2g}  {row.adjusted:.2g}")
    return "\n".join(lines)


def described(found: Sequence[Standing]) -> dict[str, Any]:
    """What the end of a sweep tells beside: scores by target, and the votes over targets, called by the metric."""
    try:
        comparisons = compare(found)
    except InputError as error:
        log.warning("warning: no comparison over targets: %s", error)
        comparisons = []
    accuracies = {
        one.target: {"best_source": one.alone[0].score, **{method: vote.score for method, vote in one.votes.items()}}
        for one in found
    }
    rows = [
        {row.metric if name == "score" else name: value for name, value in asdict(row).items()} for row in comparisons
    ]
    return {"vs_best_source": rows, "accuracies": accuracies}


def summary(jobs: Sequence[Job], context: VoteContext, outcome: Outcome) -> str:
    """For the end of a sweep: a table a target, and the votes over all of them."""
    found = standings(jobs, context, outcome.is_whole)
    parts = [f"{one.target}\n{one.table()}\n" for one in found]
    try:
        parts += [comparison_lines(compare(found), len(found))] if len(found) > 1 else []
    except InputError:  # `described` has said so
        pass
    return "\n".join(parts)
