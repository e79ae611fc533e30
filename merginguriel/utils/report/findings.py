"""What the tables of aggregation say, in sentences with their numbers: the first lines of the report, and terminals."""

from typing import NamedTuple

from merginguriel.utils.data.languages import LOCALES
from merginguriel.utils.results.baselines import ALPHA
from merginguriel.utils.results.formatting import points, said_p


class Finding(NamedTuple):
    lead: str
    text: str

    def __str__(self):
        return f"{self.lead} {self.text}"


def findings(frame, summary, titles: dict[str, str]) -> list[Finding]:
    """Of `Comparison.frame` and the frame of `summarise`; every method by its name in `titles`."""
    known = frame[frame["vs_best_source"].notna()]
    against = summary[(summary["baseline"] == "best_source") & (summary["compared"] > 0)]
    if not len(against):
        return [
            Finding(
                "No comparison with the sources:",
                "they were not measured on these items; run run_nxn_evaluation.py --split test.",
            ),
            _rests_on(frame),
        ]
    # Means over other locales are no comparison.
    widest = against[against["compared"] == against["compared"].max()]
    ranked = widest.sort_values("mean_gain", ascending=False, kind="stable")
    best, merges, tests = ranked.iloc[0], ranked[ranked["kind"] == "merge"], int(against["p_wilcoxon"].count())
    found = [_winner("Best on average", best, tests, titles), *_beside(best, summary, titles)]
    if best["kind"] == "ensemble" and len(merges):
        found.append(_winner("Best of those that are one model at inference", merges.iloc[0], tests, titles))
    return [*found, _all_tests(known), *_by_locale(known, titles), _rests_on(frame)]


def _winner(lead: str, row, tests: int, titles) -> Finding:
    over = f" on average over {row['compared']} locales" if row["compared"] > 1 else ""
    text = (
        f"accuracy {row['mean_accuracy']:.4f}{over}, {points(row['mean_gain'])} points against the best of its sources"
    )
    details = []
    if row["gain_low"] == row["gain_low"]:
        details.append(f"95 % interval {points(row['gain_low'])} to {points(row['gain_high'])}")
    if row["p_wilcoxon_holm"] == row["p_wilcoxon_holm"]:
        adjusted = f" after Holm's adjustment for {tests} methods" if tests > 1 else ""
        details.append(f"Wilcoxon over locales p {said_p(row['p_wilcoxon_holm'])}{adjusted}")
    text += f" ({'; '.join(details)})." if details else "."
    if row["compared"] > 1:
        text += (
            f" Better on {row['wins']} of {row['compared']} locales, on {_count(row['significant_wins'])} by more "
            f"than chance; worse on {_count(row['losses'])}, on {_count(row['significant_losses'])} by more than "
            "chance."
        )
    return Finding(f"{lead}: {titles[row['variant']]},", text)


def _count(number: int) -> str:
    return str(number) if number else "none"


def _beside(best, summary, titles) -> list[Finding]:
    rows = summary[(summary["variant"] == best["variant"]) & (summary["compared"] > 0)].set_index("baseline")
    names = {
        "best_zero_shot": "the best of all other models",
        "avg_zero_shot": "their mean",
        "native": "the target's own model",
    }
    parts = [
        f"{points(rows.loc[name, 'mean_gain'])} against {words}" for name, words in names.items() if name in rows.index
    ]
    lead = f"{titles[best['variant']]} beside the other baselines:"
    return [Finding(lead, f"{', '.join(parts)}, in points.")] if parts else []


def _all_tests(known) -> Finding:
    gains, p_values = known["vs_best_source"].round(12), known["p_best_source_holm"]
    tested, small = int(p_values.notna().sum()), p_values < ALPHA

    def told(chosen):
        beyond = f" ({_count(int((small & chosen).sum()))} by more than chance)" if tested else ""
        return f"{_count(int(chosen.sum()))}{beyond if chosen.any() else ''}"

    tests = f" McNemar's test on the same items, Holm's adjustment for {tested} tests." if tested else ""
    return Finding(
        "All together:",
        f"of {len(known)} results, {told(gains > 0)} better than the best of their sources "
        f"and {told(gains < 0)} worse.{tests}",
    )


def _by_locale(known, titles) -> list[Finding]:
    best = known.loc[known.groupby("locale")["vs_best_source"].idxmax()].sort_values("vs_best_source", kind="stable")
    if len(best) < 2:
        return []
    most = [_gain(row, titles) for row in best.iloc[::-1].head(3).to_dict("records")]
    never = best[best["vs_best_source"].round(12) < 0]
    found = [Finding("Largest gains:", "; ".join(most) + ".")]
    if not len(never):
        return [*found, Finding("No locale is lost:", f"on each of the {len(best)} something reaches the best source.")]
    shown = [_gain(row, titles) for row in never.head(6).to_dict("records")]
    rest = f"; and {len(never) - 6} more" if len(never) > 6 else ""
    return [
        *found,
        Finding(
            f"Where nothing reaches the best source, {len(never)} of {len(best)} locales, and what comes closest:",
            "; ".join(shown) + rest + ".",
        ),
    ]


def _gain(row: dict, titles) -> str:
    return (
        f"{LOCALES[row['locale']].language} ({row['locale']}) {points(row['vs_best_source'])} with "
        f"{titles[row['variant']]}"
    )


def _rests_on(frame) -> Finding:
    seeds = sorted({int(seed) for seed in frame["seed"].dropna()})
    items = sorted({int(total) for total in frame["total"].dropna()})
    splits = " and ".join(sorted(set(frame["split"].dropna())))
    number = " to ".join(map(str, dict.fromkeys((items[0], items[-1])))) if items else "an unknown number of"
    if len(seeds) == 1:
        seeded = f"One seed ({seeds[0]}): intervals and tests speak of the items, not of other training runs."
    else:
        seeded = f"Seeds {', '.join(map(str, seeds))}." if seeds else "The seed is not recorded."
    return Finding(
        "What this rests on:",
        f"{number} {splits} items a locale. {seeded} The best source is the best on "
        "these very items, which nobody can know without labels of the target: the hardest baseline.",
    )
