"""The summaries as JSON."""

import json

from merginguriel.utils.results.baselines import EVERY, OF_ADAPTED, TESTED
from merginguriel.utils.results.csv_tables import Aggregate, only_value
from merginguriel.utils.results.summary import spread


def summary(results: Aggregate) -> dict[str, dict]:
    """Variant or baseline -> count, mean, standard deviation, lowest and highest score over locales."""
    metric = results.comparison.metric
    scores = {variant: group.score for variant, group in results.frame.groupby("variant")}
    if results.with_baselines:
        by_locale = results.frame.groupby("locale")
        of_adapted = [name for name in results.comparison.baselines if name in OF_ADAPTED]
        for name in ("native", "best_source", "best_zero_shot", "avg_zero_shot", *of_adapted):
            several = name in ("best_source", *of_adapted)  # each variant has its own
            values = by_locale[f"{name}_score"].agg("max" if several else only_value)
            scores[f"baseline_{EVERY[name].in_files}_{metric}"] = values
    return {name: {"count": values.count(), **spread(values, metric)} for name, values in scores.items()}


def win_analysis(results: Aggregate) -> dict[str, dict]:
    """Variant -> what it wins against each baseline, by the baseline's name."""
    content: dict[str, dict] = {}
    for row in results.summary.itertuples():
        of_variant, name = content.setdefault(row.variant, {}), EVERY[row.baseline].in_files
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


def as_json(content: dict) -> str:
    """null for NaN, which is no JSON."""
    known = json.loads(json.dumps(content, default=int), parse_constant=lambda _: None)
    return json.dumps(known, indent=2, ensure_ascii=False) + "\n"
