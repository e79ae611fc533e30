"""What the tables of aggregation say, in sentences with their numbers: for the report's first lines and for terminals."""

from typing import NamedTuple

from merginguriel.utils.locales import LOCALES


class Finding(NamedTuple):
    lead: str
    text: str

    def __str__(self):
        return f"{self.lead} {self.text}"


def signed(points: float) -> str:
    """+1.2 or −1.2."""
    return f"{points:+.1f}".replace("-", "−")


def p_value(value: float) -> str:
    return "p < 0.0001" if value < 1e-4 else f"p = {value:.2g}"


def findings(comparison, summary, titles: dict[str, str]) -> list[Finding]:
    """Of `Comparison.frame` and the frame of `summarise`; every method by the name in `titles`."""
    frame = comparison[comparison["vs_best_source"].notna()]
    against = summary[(summary["baseline"] == "best_source") & (summary["compared"] > 0)]
    if not len(against):
        return [Finding("Nothing to compare with.", "The best source of no result was measured: evaluate the sources on "
                        "their targets with run_nxn_evaluation.py --split test.")]
    # Means over other locales are no comparison.
    most = against["compared"].max()
    ranked = against[against["compared"] == most].sort_values("mean_gain", ascending=False, kind="stable")
    best = ranked.iloc[0]
    kinds = comparison.drop_duplicates("variant").set_index("variant")["kind"]
    found = [_winner("Largest mean gain", best, len(ranked), titles), _beside(best, summary, titles)]
    merges = ranked[ranked["variant"].map(kinds) == "merge"]
    if kinds[best["variant"]] == "ensemble" and len(merges):
        found.append(_winner("Best among single models, which cost one at inference", merges.iloc[0], len(ranked), titles))
    found += [_all_tests(frame), *_by_locale(frame, titles), _rests_on(comparison)]
    return [finding for finding in found if finding]


def _winner(lead: str, row, rivals: int, titles) -> Finding:
    several = row["compared"] > 1
    text = (f"accuracy {row['mean_accuracy']:.4f}{f' on average over {row.compared} locales' if several else ''}, "
            f"{signed(100 * row['mean_gain'])} points against the best of its sources")
    details = []
    if row["gain_low"] == row["gain_low"]:
        details.append(f"95 % interval {signed(100 * row['gain_low'])} to {signed(100 * row['gain_high'])}")
    if row["p_wilcoxon_holm"] == row["p_wilcoxon_holm"]:
        adjusted = f" after Holm's adjustment for {rivals} methods" if rivals > 1 else ""
        details.append(f"Wilcoxon over locales {p_value(row['p_wilcoxon_holm'])}{adjusted}")
    text += f" ({'; '.join(details)})." if details else "."
    if several:
        text += (f" Better on {row['wins']} of {row['compared']} locales, on {row['significant_wins']} by more than "
                 f"chance; worse on {row['losses']}, on {row['significant_losses']} by more than chance.")
    return Finding(f"{lead}: {titles[row['variant']]},", text)


def _beside(best, summary, titles) -> Finding | None:
    rows = summary[(summary["variant"] == best["variant"]) & (summary["compared"] > 0)].set_index("baseline")
    names = {"best_zero_shot": "the best of all other models", "avg_zero_shot": "their mean",
             "native": "the target's own model"}
    parts = [f"{signed(100 * rows.loc[name, 'mean_gain'])} against {words}" for name, words in names.items()
             if name in rows.index]
    return Finding(f"{titles[best['variant']]} beside the other baselines:", ", ".join(parts) + ", in points.") if parts \
        else None


def _all_tests(frame) -> Finding:
    gains, p_values = frame["vs_best_source"].round(12), frame["p_best_source_holm"]
    chance = p_values.notna().any()
    tested = f", {int((p_values < 0.05)[gains > 0].sum())} by more than chance" if chance else ""
    worse = f", {int((p_values < 0.05)[gains < 0].sum())} by more than chance" if chance else ""
    tests = f" (McNemar on the same items, Holm for {int(p_values.notna().sum())} tests)" if chance else ""
    return Finding("All together:", f"of {len(frame)} results, {int((gains > 0).sum())} are better than the best of their "
                   f"sources{tested}, and {int((gains < 0).sum())} worse{worse}{tests}.")


def _by_locale(frame, titles) -> list[Finding]:
    best = frame.loc[frame.groupby("locale")["vs_best_source"].idxmax()].sort_values("vs_best_source", kind="stable")
    if len(best) < 2:
        return []
    most = [_gain(row, titles) for row in best.iloc[::-1].head(3).to_dict("records")]
    found = [Finding("Where it helps most:", "; ".join(most) + ".")]
    never = best[best["vs_best_source"] < 0]
    if len(never):
        shown = [_gain(row, titles) for row in never.head(6).to_dict("records")]
        rest = f", and on {len(never) - 6} more" if len(never) > 6 else ""
        found.append(Finding(f"Where nothing reaches the best source, {len(never)} of {len(best)} locales:",
                             "; ".join(shown) + rest + "."))
    else:
        found.append(Finding("No locale is lost:", f"on each of the {len(best)} something reaches the best source."))
    return found


def _gain(row: dict, titles) -> str:
    return (f"{LOCALES[row['locale']].language} ({row['locale']}) {signed(100 * row['vs_best_source'])} with "
            f"{titles[row['variant']]}")


def _rests_on(comparison) -> Finding:
    seeds = sorted({int(seed) for seed in comparison["seed"].dropna()})
    items = sorted({int(total) for total in comparison["total"].dropna()})
    splits = " and ".join(sorted(set(comparison["split"].dropna())))
    many = f"{items[0]}" if len(items) == 1 else f"{items[0]} to {items[-1]}" if items else "an unknown number of"
    seeded = (f"One seed ({seeds[0]}): intervals and tests speak of the items, not of other training runs."
              if len(seeds) == 1 else f"Seeds {', '.join(map(str, seeds))}." if seeds else "The seed is not recorded.")
    return Finding("What this rests on:", f"{many} {splits} items a locale. {seeded} The best source is the best by these "
                   "very items, which nobody can know without labels of the target: the hardest baseline.")
