"""What a reader of a comparison must know: duplicates, baselines that are unknown, or known in two ways."""

import pandas as pd

from merginguriel.utils.results.baseline_commands import remedy
from merginguriel.utils.results.baselines import RowBaselines
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
    untold = int(frame.sources.isna().sum())
    if untold:
        notes.append(f"best source unknown for {untold} results that do not tell their sources")
    without = sorted(set(frame.locale[frame.native_score.isna()]))
    if without:
        notes.append(f"no result of the native model of {some(without)}")
    counts = frame.num_zero_shot
    if len(frame) and counts.min() != counts.max():
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
