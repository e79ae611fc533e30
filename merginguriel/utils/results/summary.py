"""A row a variant and baseline: means, gains, intervals, tests over locales."""

import numpy as np
import pandas as pd

from merginguriel.utils.evaluation.statistics import wilcoxon, wilson_interval
from merginguriel.utils.results.baselines import ALPHA, EVERY, TESTED
from merginguriel.utils.results.comparison import Comparison, adjusted
from merginguriel.utils.results.pairs import Pairs
from merginguriel.utils.results.rows import COLUMNS

ROUNDING = 1e-9  # equal shares of items differ in their last bits
# What all locales of a variant share.
SETTINGS = ("kind", "method", "num_sources", "selection", "include_target", "seed", "base_model", "settings", "split")
# A row a variant and baseline: what `summarise` gives. NaN where there is nothing to compute from.
SUMMARY = {
    "variant": "as in the comparison",
    **{name: COLUMNS[name] for name in SETTINGS},
    "baseline": ", ".join(EVERY) + "; the last two only where there are adapted models",
    "locales": "how many have the variant's score",
    "mean_score": "of the variant over these locales",
    "std_score": "with n - 1; NaN for one locale",
    "min_score": "lowest of its locales",
    "max_score": "highest of its locales",
    "compared": "locales that have the baseline too; all that follows is over them",
    "baseline_score": "mean of the baseline",
    "mean_gain": "of the variant over the baseline",
    "gain_low": "95 % interval, items drawn by id (paired bootstrap); NaN where predictions are not kept",
    "gain_high": "the same",
    "wins": "locales where the variant is better",
    "ties": "equal",
    "losses": "worse",
    "win_rate": "wins / compared",
    "win_low": "95 % Wilson interval",
    "win_high": "95 % Wilson interval",
    "significant_wins": f"locales where it is better with p_{{baseline}}_holm < {ALPHA}; 0 for avg_zero_shot",
    "significant_losses": "worse, the same way",
    "p_wilcoxon": "signed-rank test over the locales; NaN for one locale",
    "p_wilcoxon_holm": "adjusted for the variants compared with this baseline (Holm)",
}


def summarise(comparison: Comparison) -> pd.DataFrame:
    """A row a variant and baseline, columns of SUMMARY: variants of most locales first, among them the best mean.

    That order describes these items. It is no choice of a method, which needs others.
    """
    rows = []
    for variant, group in comparison.frame.groupby("variant"):
        of_variant = {"variant": variant, **group.iloc[0][list(SETTINGS)].to_dict(), "locales": len(group)}
        of_variant |= spread(group.score)
        for name in comparison.baselines:
            rows.append(of_variant | {"baseline": name} | _against(name, group, comparison.pairs))
    summary = pd.DataFrame(rows, columns=[*SUMMARY])
    for name in comparison.baselines:
        chosen = summary.baseline == name
        summary.loc[chosen, "p_wilcoxon_holm"] = adjusted(summary.p_wilcoxon[chosen].to_numpy(float))
    # Stable, so the rows of a variant stay together.
    return summary.sort_values(["locales", "mean_score"], ascending=False, ignore_index=True)


def spread(scores: pd.Series, of: str = "score") -> dict[str, float]:
    """Mean, standard deviation (with n - 1; NaN of one), minimum and maximum, as they are called in SUMMARY."""
    return {f"{name}_{of}": getattr(scores, name)() for name in ("mean", "std", "min", "max")}


def _against(name: str, group: pd.DataFrame, pairs: Pairs) -> dict:
    """One variant against one baseline over the locales that have both."""
    read = ["score", f"{name}_score", f"vs_{name}", *([f"p_{name}_holm"] if name in TESTED else [])]
    both = group.loc[group[f"vs_{name}"].notna(), read]  # of a hundred columns, which a choice of rows would copy
    count, gains = len(both), both[f"vs_{name}"]
    low, high = pairs.interval((row, name) for row in both.index)
    win_low = win_high = p_value = np.nan
    better, worse = gains > ROUNDING, gains < -ROUNDING
    wins, losses = int(better.sum()), int(worse.sum())
    if count:
        win_low, win_high = wilson_interval(wins, count)
    if count > 1:
        p_value = wilcoxon(both.score, both[f"{name}_score"])
    significant = (both[f"p_{name}_holm"] < ALPHA) if name in TESTED else gains != gains
    return {
        "compared": count,
        "baseline_score": both[f"{name}_score"].mean(),
        "mean_gain": gains.mean(),
        "gain_low": low,
        "gain_high": high,
        "wins": wins,
        "ties": count - wins - losses,
        "losses": losses,
        "win_rate": wins / count if count else np.nan,
        "win_low": win_low,
        "win_high": win_high,
        "significant_wins": int((significant & better).sum()),
        "significant_losses": int((significant & worse).sum()),
        "p_wilcoxon": p_value,
    }
