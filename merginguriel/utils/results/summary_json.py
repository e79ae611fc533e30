"""The summaries as JSON."""

from merginguriel.utils.results.comparison import TESTED
from merginguriel.utils.results.tables import IN_FILES, Aggregate, only_value

# Summaries


def summary_json(results: Aggregate) -> dict:
    def statistics(values) -> dict:
        return {
            "count": int(values.notna().sum()),
            "mean_accuracy": values.mean(),
            "std_accuracy": values.std(),
            "min_accuracy": values.min(),
            "max_accuracy": values.max(),
        }

    content = {variant: statistics(group.accuracy) for variant, group in results.frame.groupby("variant")}
    if results.with_baselines:
        by_locale = results.frame.groupby("locale")
        for name, in_files in IN_FILES.items():
            values = by_locale[f"{name}_accuracy"].agg("max" if name == "best_source" else only_value)
            content[f"baseline_{in_files}_accuracy"] = statistics(values)
    return content


def win_analysis(results: Aggregate) -> dict:
    """Variant -> what it wins against each baseline, by the baseline's name."""
    content = {}
    for row in results.summary.itertuples():
        of_variant, name = content.setdefault(row.variant, {}), IN_FILES[row.baseline]
        of_variant |= {
            f"vs_{name}_wins": row.wins,
            f"vs_{name}_ties": row.ties,
            f"vs_{name}_losses": row.losses,
            f"vs_{name}_total": row.compared,
            f"vs_{name}_win_rate": row.win_rate,
            f"vs_{name}_win_rate_ci95": [row.win_low, row.win_high],
            f"avg_improvement_vs_{name}": row.mean_gain,
            f"avg_improvement_vs_{name}_ci95": [row.gain_low, row.gain_high],
            f"vs_{name}_p_wilcoxon": row.p_wilcoxon,
            f"vs_{name}_p_wilcoxon_holm": row.p_wilcoxon_holm,
        }
        if row.baseline in TESTED:
            of_variant |= {
                f"vs_{name}_significant_wins": row.significant_wins,
                f"vs_{name}_significant_losses": row.significant_losses,
            }
    return content
