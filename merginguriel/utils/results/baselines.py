"""The baselines of a merge or ensemble, by name, and those of one row of a table."""

import json
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from merginguriel.utils.results.items import Answers
from merginguriel.utils.results.single_models import Single


class Baseline(NamedTuple):
    """What a merge or ensemble is measured against: its `title` for people, its name `in_files`, what it is."""

    title: str
    in_files: str
    meaning: str


# The files have said "overall" for the best of all models since the first published ones.
BASELINES = {
    "best_source": Baseline("best source", "best_source", "best of the sources that take part in it"),
    "best_zero_shot": Baseline("best zero-shot", "best_overall", "best of all models but the target's own"),
    "avg_zero_shot": Baseline("average zero-shot", "avg_zero_shot", "mean of all models but the target's own"),
    "native": Baseline("native", "native", "the target's own model"),
}
# Beside them, of an adapted model alone.
OF_ADAPTED = {
    "own_merge": Baseline("own merge", "own_merge", "the model before it was adapted"),
    "vote": Baseline("vote", "vote", "soft vote, with equal weights, of the sources of an adapted model"),
}
EVERY = BASELINES | OF_ADAPTED
# Single models and votes, whose items can be compared one by one.
TESTED = ("best_source", "best_zero_shot", "native", *OF_ADAPTED)
ALPHA = 0.05
# What `baselines_of` adds to a row. NaN or None where a baseline was not measured.
BASELINE_COLUMNS = {
    "best_source": "its locale",
    "best_source_score": BASELINES["best_source"].meaning + "; only where all of them were measured",
    "best_zero_shot": "its locale",
    "best_zero_shot_score": BASELINES["best_zero_shot"].meaning,
    "avg_zero_shot_score": BASELINES["avg_zero_shot"].meaning,
    "num_zero_shot": "how many models the two are taken over",
    "native_score": BASELINES["native"].meaning,
    **{f"{name}_score": baseline.meaning for name, baseline in OF_ADAPTED.items()},
}


def told_of(frame: pd.DataFrame) -> list[str]:
    """The baselines that tables of a comparison's rows have; those of adapted models where one of them is known."""
    return [*BASELINES, *(name for name in OF_ADAPTED if f"vs_{name}" in frame and frame[f"vs_{name}"].notna().any())]


@dataclass(frozen=True)
class RowBaselines:
    """`values` of BASELINE_COLUMNS, and of each baseline's model its results, the one to take first.

    `answers`: of what has no result of its own.
    """

    values: dict[str, Any]
    results: dict[str, list[Single]]
    unmeasured: list[str]  # its own sources without a result on its items
    answers: dict[str, Answers] = field(default_factory=dict)


def baselines_of(row: Any, pool: dict[str, list[Single]]) -> RowBaselines:
    """Of a row of results, against the `pool` that `Singles.on_items_of` gives for it."""
    score = {source: results[0].score for source, results in pool.items()}
    own = json.loads(row.sources) if isinstance(row.sources, str) else {}
    others = [source for source in pool if source != row.target]
    unmeasured = [source for source in own if source not in pool]
    # max takes the first of equals: pools are sorted by locale.
    best = max(others, key=score.__getitem__, default=None)
    best_own = None if unmeasured else max(sorted(own), key=score.__getitem__, default=None)
    models = {"best_source": best_own, "best_zero_shot": best, "native": row.target if row.target in pool else None}
    values = {
        **{f"{name}_score": score.get(model or "") for name, model in models.items()},
        "best_source": best_own,
        "best_zero_shot": best,
        "num_zero_shot": len(others),
        "avg_zero_shot_score": float(np.mean([score[source] for source in others])) if others else None,
    }
    return RowBaselines(values, {name: pool[model] for name, model in models.items() if model is not None}, unmeasured)
