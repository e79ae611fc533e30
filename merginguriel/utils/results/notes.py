"""What a reader of a comparison must know: duplicates, baselines that are unknown, or known in two ways."""

from collections import defaultdict

import pandas as pd

from merginguriel.utils.results.adapted_identity import is_adapted
from merginguriel.utils.results.baseline_commands import remedy
from merginguriel.utils.results.baselines import EVERY, RowBaselines
from merginguriel.utils.results.formatting import some
from merginguriel.utils.results.single_models import Singles


def duplicates(frame: pd.DataFrame) -> list[str]:
    """Of rows that are sorted by time: which results of one experiment do not count."""
    notes, key = [], ["variant", "locale"]
    for (variant, locale), group in frame[frame.duplicated(key, keep=False)].groupby(key):
        *others, taken = group.folder
        notes.append(
            f"{len(group)} results of {variant} for {locale}: {taken} counts, the newest; not {', '.join(others)}"
        )
    return notes


def gaps(frame: pd.DataFrame, beside: list[RowBaselines], singles: Singles) -> list[str]:
    """Where the baselines `beside` each row of `frame` are unknown, or known in two ways."""
    notes = []
    lacking = {(row, source) for row, of_row in enumerate(beside) for source in of_row.unmeasured}
    if lacking:
        unmeasured = sorted({f"{source} on {frame.locale[row]}" for row, source in lacking})
        notes.append(
            f"best source unknown for {len({row for row, _ in lacking})} results, not measured: {some(unmeasured)}; "
            f"run {remedy(frame.iloc[sorted({row for row, _ in lacking})])}"
        )
    untold = int((frame.sources.isna() & (frame.kind != "adapted")).sum())
    if untold:
        notes.append(f"best source unknown for {untold} results that do not tell their sources")
    without = sorted(set(frame.locale[frame.native_score.isna()]))
    if without:
        notes.append(f"no result of the native model of {some(without)}")
    notes += _of_adapted(frame)
    if _are_some_unmeasured(frame, singles):
        counts = frame.num_zero_shot
        notes.append(
            f"best and average zero-shot are over {counts.min()} to {counts.max()} models, by locale; "
            f"{remedy(frame)} measures all of them"
        )
    if singles.disagreements:
        told = [
            f"{source} on {locale} is {results[0].score:.4f} in {results[0].folder}, which counts, and "
            f"{results[1].score:.4f} in {results[1].folder}"
            for (source, locale, _), results in sorted(singles.disagreements.items())
        ]
        notes.append(f"{len(told)} results of single models disagree: {some(told, 3)}")
    return notes


def _of_adapted(frame: pd.DataFrame) -> list[str]:
    """Where what adapted models are compared with beside single models is unknown."""
    adapted = frame[frame.method.map(is_adapted).astype(bool)]
    remedies = {
        "own_merge": "there is no result of what they were before; run the same without adapting",
        "vote": "there is no soft vote with equal weights of the same sources, and not all of them have kept their "
        "logits; run uriel_ensemble_inference.py --voting-method soft --preweight equal",
    }
    notes = []
    for name, remedy_of in remedies.items():
        lacking = adapted[adapted[f"{name}_score"].isna()]
        # One that teaches itself may have no sources at all.
        lacking = lacking[lacking.sources.notna()] if name == "vote" else lacking
        if len(lacking):
            those = some([f"{row.variant} on {row.locale}" for row in lacking.itertuples()], 3)
            notes.append(f"{EVERY[name].title} unknown for {len(lacking)} adapted results, {those}: {remedy_of}")
    return notes


def _are_some_unmeasured(frame: pd.DataFrame, singles: Singles) -> bool:
    """Whether a model that was measured on one target was not on another, which is not its own."""
    pools = [(row, set(singles.on_items_of(row))) for row in frame.itertuples()]
    models: dict[tuple, set[str]] = defaultdict(set)
    for row, pool in pools:
        models[row.base_model, row.models_root, row.split] |= pool
    return any(models[row.base_model, row.models_root, row.split] - pool - {row.target} for row, pool in pools)
