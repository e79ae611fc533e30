"""What an adapted model is measured against beside single models: its own merge, and the vote of its sources."""

import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from merginguriel.utils.evaluation.metrics import METRICS
from merginguriel.utils.results import adapted_identity
from merginguriel.utils.results.all_but_target import languages_in
from merginguriel.utils.results.baselines import RowBaselines
from merginguriel.utils.results.items import Answers, ItemReader
from merginguriel.utils.results.single_models import Single, Singles, fit, same_folders

VOTE = "ensemble_soft"
_EQUAL = 1e-9  # weights that differ by less do so in their last bits
_SHARED = ("num_sources", "selection", "include_target", "seed", "base_model")  # of an adapted model and its merge


class AdaptedRivals:
    """Finds both among all results; what has no result of its own, `reader` computes where it is given."""

    def __init__(self, long: pd.DataFrame, singles: Singles, metric: str, reader: ItemReader | None):
        self._singles, self._metric, self._reader = singles, METRICS[metric], reader
        self._by_locale: dict[tuple[str, str], list[Any]] = defaultdict(list)
        for row in long[long.kind != "nxn"].sort_values(["timestamp", "folder"], na_position="first").itertuples():
            self._by_locale[row.locale, row.split].append(row)

    def beside(self, row: Any, known: RowBaselines) -> RowBaselines:
        """The baselines of a `row`, with those of an adapted model where it is one."""
        if not adapted_identity.is_adapted(row.method):
            return known
        same_items = [
            one
            for one in self._by_locale[row.locale, row.split]
            if fit(_known(one.data), _known(row.data)) and fit(_known(one.total), _known(row.total))
        ]
        found = {
            "own_merge": _as_singles([one for one in same_items if _is_own_merge(one, row)], row),
            "vote": _as_singles([one for one in same_items if _is_vote(one, row)], row),
        }
        results = {name: results for name, results in found.items() if results}
        values: dict[str, Any] = {f"{name}_score": results[0].score for name, results in results.items()}
        voted = None if "vote" in results or self._reader is None else self._computed(row, self._reader)
        if voted is None:
            return replace(known, values=known.values | values, results=known.results | results)
        values["vote_score"] = self._metric(voted.predicted, voted.gold)
        return replace(known, values=known.values | values, results=known.results | results, answers={"vote": voted})

    def _computed(self, row: Any, reader: ItemReader) -> Answers | None:
        """The vote of the teachers by the logits that their own results have kept; None where one has not."""
        teachers, root = _teachers(row)
        pool = self._singles.on_items_of(row)
        if not teachers or root != _known(row.models_root) or not teachers <= pool.keys():
            return None
        # Results of one score are one; what one of them has not kept another may have.
        models = (
            tuple(one.folder for one in pool[name] if one.score == pool[name][0].score) for name in sorted(teachers)
        )
        return reader.voted(tuple(models))


def _is_own_merge(one: Any, row: Any) -> bool:
    if row.kind == "adapted":
        name = Path(str(one.model).split("@")[0]).name
        return (
            not adapted_identity.is_adapted(one.method)
            and adapted_identity.without_target(name, row.target) == json.loads(row.settings)["start"]
        )
    return (
        one.kind == row.kind
        and one.target == row.target
        and one.method == adapted_identity.own_mode(row.method)
        and all(_known(getattr(one, name)) == _known(getattr(row, name)) for name in _SHARED)
        and json.loads(one.settings) == adapted_identity.before(json.loads(row.settings))
        and same_folders(_known(one.models_root), _known(row.models_root))
        and _same_weights(one.sources, row.sources)
    )


def _is_vote(one: Any, row: Any) -> bool:
    if one.method != VOTE or one.target != row.target or not isinstance(one.sources, str):
        return False
    weights, (teachers, root) = json.loads(one.sources), _teachers(row)
    return (
        weights.keys() == teachers
        and max(weights.values()) - min(weights.values()) < _EQUAL
        and fit(_known(one.base_model), _known(row.base_model))
        and same_folders(_known(one.models_root), root)
    )


def _teachers(row: Any) -> tuple[set[str], str | None]:
    """(the languages of those who taught an adapted model, the folder of their models)"""
    settings = json.loads(row.settings)
    sources = json.loads(row.sources) if isinstance(row.sources, str) else {}
    named = languages_in(settings, "teachers", row.target)
    return named or set(sources), settings.get("teachers-root") or _known(row.models_root)


def _same_weights(one: Any, other: Any) -> bool:
    if not (isinstance(one, str) and isinstance(other, str)):
        return _known(one) == _known(other)
    ours, theirs = json.loads(one), json.loads(other)
    return ours.keys() == theirs.keys() and all(abs(ours[name] - theirs[name]) < _EQUAL for name in ours)


def _as_singles(rows: Iterable[Any], row: Any) -> list[Single]:
    """Results as pairs are made of them, of the oldest first; those in the row's precision, then the newest first."""
    newest = [Single(*(_known(getattr(one, name)) for name in Single._fields)) for one in rows][::-1]
    return sorted(newest, key=lambda one: one.precision != _known(row.precision))


def _known(value: Any) -> Any:
    """None for what a result does not tell."""
    return None if pd.isna(value) else value
