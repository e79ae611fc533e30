"""An adapted model beside what it was made of, on the same test items."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from auto_merge_llm.errors import InputError

from merginguriel.utils.adaptation.adapt_job import AdaptOutput
from merginguriel.utils.adaptation.run import AdaptRun
from merginguriel.utils.adaptation.soft_labels import probabilities, vote
from merginguriel.utils.evaluation.agreement import read_answers
from merginguriel.utils.evaluation.comparison import best_first, comparison_table, gain_intervals
from merginguriel.utils.evaluation.results import Evaluation, read_evaluation
from merginguriel.utils.evaluation.statistics import wilcoxon


@dataclass(frozen=True)
class Standing:
    """One target: the model before, its teachers best first and their vote, the adapted model."""

    target: str
    before: Evaluation
    teachers: list[Evaluation]
    vote: Evaluation | None
    adapted: Evaluation

    def table(self) -> str:
        """All of them, tested against the model before."""
        rows = [*self.teachers, *([self.vote] if self.vote else []), self.before, self.adapted]
        return comparison_table(rows, self.before, "the model before")


def standing(run: AdaptRun, output: AdaptOutput) -> Standing:
    """Of a run whose job and baselines are done; InputError where a result is missing or damaged."""
    adapted = read_evaluation(output.results_root / run.output.name, run.output.name)
    folders = [output.alone(teacher.path, teacher.locale, run.target) for teacher in run.teachers]
    teachers = [read_evaluation(folder, f"{teacher.locale} alone") for folder, teacher in zip(folders, run.teachers)]
    own = {teacher.path: folder for folder, teacher in zip(folders, run.teachers)}
    before = read_evaluation(own.get(run.start, output.before(run)), f"{run.start.name}, before")
    elected = voted(teachers, [teacher.weight for teacher in run.teachers], "teachers") if teachers else None
    return Standing(run.target, before, best_first(teachers), elected, adapted)


def voted(results: Sequence[Evaluation], weights: Sequence[float], who: str) -> Evaluation:
    """What the models of these results elect together on their items, from the logits that they have kept."""
    logits = [read_answers(one.folder, ["logits"])["logits"] for one in results]
    elected = vote([probabilities(one) for one in logits], weights).argmax(-1)
    return replace(results[0], name=f"vote of {len(results)} {who}", predicted=elected)


def summary(found: Sequence[Standing]) -> str:
    """A line a target, then the means with what the gain over the model before, and over the vote, is worth."""
    width = max([len("target"), *(len(one.target) for one in found)])
    lines = [f"{'target':<{width}}  before    vote  adapted"]
    for one in found:
        voted = f"{one.vote.score:6.4f}" if one.vote else "     -"
        lines.append(f"{one.target:<{width}}  {one.before.score:6.4f}  {voted}  {one.adapted.score:7.4f}")
    if len(found) > 1:
        lines += _gains(found)
    return "\n".join(lines)


def _gains(found: Sequence[Standing]) -> list[str]:
    rivals = {"the model before": [one.before for one in found]}
    votes = [one.vote for one in found if one.vote]
    if len(votes) == len(found):
        rivals["the vote"] = votes
    lines, adapted = [], [one.adapted for one in found]
    for name, rival in rivals.items():
        ours, theirs = (np.array([one.score for one in these]) for these in (adapted, rival))
        try:
            low, high = gain_intervals([rival, adapted])[0]
            interval = f"[{low:+.4f}, {high:+.4f}]"
        except InputError:  # targets of other items; the lines stand all the same
            interval = "without an interval: these targets do not share their ids"
        lines.append(
            f"{adapted[0].metric} {ours.mean():.4f} on average, {(ours - theirs).mean():+.4f} {interval} over {name}, "
            f"above it on {(ours > theirs).sum()} of {len(found)}, p {wilcoxon(ours, theirs):.2g}"
        )
    return lines


def adapted_table(runs: Iterable[AdaptRun], output: AdaptOutput) -> str:
    """A line a run: the adapted model alone."""
    names = [run.output.name for run in runs]
    return comparison_table([read_evaluation(output.results_root / name, name) for name in names])
