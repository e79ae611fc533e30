"""The summaries as JSON."""

import json

import numpy as np
import pandas as pd

from merginguriel.utils.results.baselines import TESTED
from merginguriel.utils.results.csv_tables import IN_FILES, Aggregate, only_value
from merginguriel.utils.results.summary import spread


def summary(results: Aggregate) -> dict[str, dict]:
    """Variant or baseline -> count, mean, standard deviation, lowest and highest accuracy over locales."""

    def statistics(values: pd.Series) -> dict:
        return {"count": int(values.notna().sum()), **spread(values)}

    content = {variant: statistics(group.accuracy) for variant, group in results.frame.groupby("variant")}
    if results.with_baselines:
        by_locale = results.frame.groupby("locale")
        for name, in_files in IN_FILES.items():
            values = by_locale[f"{name}_accuracy"].agg("max" if name == "best_source" else only_value)
            content[f"baseline_{in_files}_accuracy"] = statistics(values)
    return content


def win_analysis(results: Aggregate) -> dict[str, dict]:
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


def as_json(content: dict) -> str:
    """null for what is not known."""
    return json.dumps(_without_nan(content), indent=2, ensure_ascii=False) + "\n"


def _without_nan(value):
    """As JSON can have it: None for NaN, Python's numbers for NumPy's."""
    if isinstance(value, dict):
        return {name: _without_nan(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_without_nan(part) for part in value]
    if isinstance(value, (float, np.floating)):
        return None if np.isnan(value) else float(value)
    return int(value) if isinstance(value, np.integer) else value
