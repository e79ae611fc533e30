"""What the tables of aggregation say, in sentences with their numbers: the first lines of the report, and terminals."""

from typing import NamedTuple

import pandas as pd

from merginguriel.utils.data.languages import language
from merginguriel.utils.evaluation.metrics import METRICS
from merginguriel.utils.results.baseline_commands import remedy
from merginguriel.utils.results.baselines import ALPHA, OF_ADAPTED
from merginguriel.utils.results.formatting import capitalised, many, points, said_p
from merginguriel.utils.results.pairs import said_item_test


class Finding(NamedTuple):
    """`lead` stands out; `text` goes on."""

    lead: str
    text: str

    def __str__(self) -> str:
        return f"{self.lead} {self.text}"


def findings(frame: pd.DataFrame, summary: pd.DataFrame, titles: dict[str, str]) -> list[Finding]:
    """Of `Comparison.frame` and the frame of `summarise`; every method by its name in `titles`."""
    known = frame[frame["vs_best_source"].notna()].assign(title=frame["variant"].map(titles))
    summary = summary[summary["compared"] > 0].assign(title=summary["variant"].map(titles))
    against = summary[summary["baseline"] == "best_source"]
    if not len(against):
        why = f"they were not measured on these items; run {remedy(frame)}"
        return [Finding("No comparison with the sources:", why), _rests_on(frame)]
    # Means over other locales are no comparison.
    widest = against[against["compared"] == against["compared"].max()]
    ranked = widest.sort_values("mean_gain", ascending=False, kind="stable")
    best, merges, tests = ranked.iloc[0], ranked[ranked["kind"] != "ensemble"], int(against["p_wilcoxon"].count())
    metric = str(frame["metric"].iloc[0])
    found = [_winner("Best on average", best, tests, metric), *_beside(best, summary)]
    if best["kind"] == "ensemble" and len(merges):
        found.append(_winner("Best of those that are one model at inference", merges.iloc[0], tests, metric))
    found += _adapted(summary)
    return [*found, _all_tests(known, metric), *_by_locale(known), _rests_on(frame)]


def _winner(lead: str, row: pd.Series, tests: int, metric: str) -> Finding:
    over = f" on average over {row['compared']} locales" if row["compared"] > 1 else ""
    gain = f"{points(row['mean_gain'])} points against the best of its sources{_worth(row, tests)}."
    if row["compared"] > 1:
        gain += (
            f" Better on {row['wins']} of {row['compared']} locales, on {row['significant_wins'] or 'none'} by more "
            f"than chance; worse on {row['losses'] or 'none'}, on {row['significant_losses'] or 'none'} by more than "
            "chance."
        )
    return Finding(f"{lead}: {row['title']},", f"{METRICS[metric].title} {row['mean_score']:.4f}{over}, {gain}")


def _worth(row: pd.Series, tests: int) -> str:
    """Interval and test of a mean gain, in parentheses; `tests`: how many there are against that baseline."""
    details = []
    if row["gain_low"] == row["gain_low"]:
        details.append(f"95 % interval {points(row['gain_low'])} to {points(row['gain_high'])}")
    if row["p_wilcoxon_holm"] == row["p_wilcoxon_holm"]:
        adjusted = f" after Holm's adjustment for {tests} methods" if tests > 1 else ""
        details.append(f"Wilcoxon over locales p {said_p(row['p_wilcoxon_holm'])}{adjusted}")
    return f" ({'; '.join(details)})" if details else ""


def _adapted(summary: pd.DataFrame) -> list[Finding]:
    """The best of what was adapted, against what could be had without adapting."""
    names = {
        "own_merge": "what it was before",
        "vote": "the vote of its sources",
        "best_source": "the best of its sources",
    }
    first = next((name for name in OF_ADAPTED if (summary["baseline"] == name).any()), None)
    if first is None:
        return []
    against = summary[summary["baseline"] == first]
    widest = against[against["compared"] == against["compared"].max()]
    best = widest.sort_values("mean_score", ascending=False, kind="stable").iloc[0]
    parts = []
    for name, words in names.items():
        rivals = summary[summary["baseline"] == name]
        for _, row in rivals[rivals["variant"] == best["variant"]].iterrows():
            worth = _worth(row, int(rivals["p_wilcoxon"].count()))
            gain = f"mean {points(row['mean_gain'])} points{worth}"
            parts.append(f"above {words} on {row['wins']} of {many(row['compared'], 'target')}, {gain}")
    return [Finding(f"Adapted without labels, {best['title']}:", "; ".join(parts) + ".")]


def _beside(best: pd.Series, summary: pd.DataFrame) -> list[Finding]:
    gains = summary[summary["variant"] == best["variant"]].set_index("baseline")["mean_gain"]
    names = {
        "best_zero_shot": "the best of all other models",
        "avg_zero_shot": "their mean",
        "native": "the target's own model",
    }
    parts = [f"{points(gains[name])} against {words}" for name, words in names.items() if name in gains]
    lead = f"{best['title']} beside the other baselines:"
    return [Finding(lead, f"{', '.join(parts)}, in points.")] if parts else []


def _all_tests(known: pd.DataFrame, metric: str) -> Finding:
    gains, p_values = known["vs_best_source"].round(12), known["p_best_source_holm"]
    tested, small = int(p_values.notna().sum()), p_values < ALPHA

    def told(chosen: pd.Series) -> str:
        beyond = f" ({(small & chosen).sum() or 'none'} by more than chance)" if tested else ""
        return f"{chosen.sum()}{beyond}" if chosen.any() else "none"

    test = capitalised(said_item_test(metric))
    tests = f" {test} on the same items, Holm's adjustment for {tested} tests." if tested else ""
    than = f"{told(gains > 0)} better than the best of their sources and {told(gains < 0)} worse"
    return Finding("All together:", f"of {len(known)} results, {than}.{tests}")


def _by_locale(known: pd.DataFrame) -> list[Finding]:
    best = known.loc[known.groupby("locale")["vs_best_source"].idxmax()].sort_values("vs_best_source", kind="stable")
    if len(best) < 2:
        return []
    told = [
        f"{language(row.locale).name} ({row.locale}) {points(row.vs_best_source)} with {row.title}"
        for row in best.itertuples()
    ]
    largest = Finding("Largest gains:", "; ".join(told[:-4:-1]) + ".")
    never = int((best["vs_best_source"].round(12) < 0).sum())
    if not never:
        reached = f"on each of the {len(best)} something reaches the best source."
        return [largest, Finding("No locale is lost:", reached)]
    lead = f"Where nothing reaches the best source, {never} of {len(best)} locales, and what comes closest:"
    rest = f"; and {never - 6} more" if never > 6 else ""
    return [largest, Finding(lead, "; ".join(told[: min(never, 6)]) + rest + ".")]


def _rests_on(frame: pd.DataFrame) -> Finding:
    seeds = sorted({int(seed) for seed in frame["seed"].dropna()})
    items = sorted({int(total) for total in frame["total"].dropna()})
    splits = " and ".join(sorted(set(frame["split"].dropna())))
    number = " to ".join(map(str, dict.fromkeys((items[0], items[-1])))) if items else "an unknown number of"
    seeded = f"Seeds {', '.join(map(str, seeds))}." if seeds else "The seed is not recorded."
    if len(seeds) == 1:
        seeded = f"One seed ({seeds[0]}): intervals and tests speak of the items, not of other training runs."
    hardest = "which nobody can know without labels of the target: the hardest baseline."
    text = f"{number} {splits} items a locale. {seeded} The best source is the best on these very items, {hardest}"
    return Finding("What this rests on:", text)
