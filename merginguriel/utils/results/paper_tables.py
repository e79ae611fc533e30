"""Tables for a paper: a row a variant, and a row a locale."""

import pandas as pd
from auto_merge_llm.errors import InputError

from merginguriel.utils.evaluation.metrics import METRICS
from merginguriel.utils.results.baselines import ALPHA, BASELINES, EVERY
from merginguriel.utils.results.csv_tables import Aggregate, compared
from merginguriel.utils.results.formatting import capitalised, gain, p_value, score
from merginguriel.utils.results.text_tables import TextTable, latex, markdown, table_of

MARKS = f"† better, ‡ worse than the best of its own sources, Holm-adjusted p < {ALPHA}."
CAPTION = (
    "Differences to the baselines are in points, with bootstrap intervals of the items, by id. Wins and "
    "Wilcoxon's p, adjusted by Holm, are against the best source."
)


def tables(results: Aggregate, kind: str) -> str:
    """The variants, then the locales, in `kind`: latex or markdown. InputError where there are no variants."""
    if results.summary.empty:
        raise InputError("no merges or ensembles to make --tables of; leave the flag out")
    metric = METRICS[results.metric].title
    methods, locales = method_table(results.summary, metric), locale_table(results)
    of_methods, of_locales = f"Mean {metric} over locales.", f"{capitalised(metric)} by locale."
    if results.with_baselines:
        of_methods, of_locales = f"{of_methods} {CAPTION}", f"{of_locales} {MARKS}"
    if kind == "latex":
        parts = [latex(*methods, of_methods, "tab:methods"), latex(*locales, of_locales, "tab:locales")]
    else:
        parts = [of_methods, markdown(*methods), of_locales, markdown(*locales)]
    return "\n\n".join(parts) + "\n"


def method_table(summary: pd.DataFrame, metric: str) -> TextTable:
    """A row a variant: means over its locales; wins and Wilcoxon's p are against the best source.

    Without the columns that have nothing in any row.
    """
    rows = []
    for variant, group in summary.groupby("variant", sort=False):
        by_baseline = {row.baseline: row for row in group.itertuples()}
        first = by_baseline["best_source"]
        rows.append(
            {
                "method": variant,
                "locales": str(first.locales),
                metric: score(first.mean_score),
                **{
                    f"vs {EVERY[name].title} (95 % interval)": gain(row, first.locales)
                    for name, row in by_baseline.items()
                },
                "wins over best source": f"{first.wins}/{first.compared}" if first.compared else "",
                "p (Holm)": p_value(first.p_wilcoxon_holm),
            }
        )
    told = [title for title in rows[0] if any(row[title] for row in rows)]
    return table_of([{title: row[title] for title in told} for row in rows])


def locale_table(results: Aggregate) -> TextTable:
    """A row a locale: every variant's score between the baselines'.

    † is better, ‡ worse than its own best source with Holm's p below ALPHA.
    """
    table = compared(results, comprehensive=True)
    variants = sorted(results.frame.variant.unique())
    others = (BASELINES[name] for name in ("best_zero_shot", "avg_zero_shot"))
    titles = {"baseline": "native", **{f"{baseline.in_files}_{results.metric}": baseline.title for baseline in others}}
    baselines = {name: title for name, title in titles.items() if name in table and table[name].notna().any()}

    def marked(row: pd.Series, variant: str) -> str:
        significant = row.get(f"{variant}_p_best_source_holm", 1.0) < ALPHA
        mark = ("†" if row[f"{variant}_vs_best_source"] > 0 else "‡") if significant else ""
        return score(row[variant]) + mark

    rows = [
        [row.locale, *(score(row[name]) for name in baselines), *(marked(row, variant) for variant in variants)]
        for _, row in table.iterrows()
    ]
    return ["locale", *baselines.values(), *variants], rows
