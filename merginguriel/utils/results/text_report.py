"""Results as text: the report in Markdown, and what the command prints."""

from typing import Any

import pandas as pd

from merginguriel.utils.evaluation.metrics import METRICS
from merginguriel.utils.results.baselines import ALPHA, EVERY, TESTED
from merginguriel.utils.results.csv_tables import Aggregate
from merginguriel.utils.results.formatting import gain, p_value, points, score
from merginguriel.utils.results.pairs import said_item_test
from merginguriel.utils.results.paper_tables import MARKS, locale_table
from merginguriel.utils.results.summary import spread
from merginguriel.utils.results.text_tables import markdown, table_of
from merginguriel.utils.storage.text_lines import COLUMNS

METHODOLOGY = """Every {metric} is the {meaning}, on the items of one locale and split. A variant is one method
with one number of sources, one selection, one seed and one choice of all other settings; variants are never mixed.

| baseline | |
|---|---|
{baselines}

Best source and best zero-shot are picked by their {metric} on these very items. Nobody could pick them so in
practice, which makes them the hardest baselines. The order of the variants rests on the same items: it describes them,
and is no way to choose a method.

Intervals of mean gains are 95 % bootstrap intervals, items drawn by id, one draw for all locales; they speak of these
locales and these trained models. Intervals of win rates are Wilson's. p over locales is Wilcoxon's signed-rank test,
adjusted for the number of variants; on one locale it is that of {test} on the same items, adjusted for all tests
against that baseline, over locales and variants. Both adjustments are Holm's."""


def report(results: Aggregate) -> str:
    """The whole report in Markdown."""
    frame, summary, metric, told = results.frame, results.summary, METRICS[results.metric], results.comparison.baselines
    spreads = [
        [variant, str(len(group)), *map(score, spread(group.score).values())]
        for variant, group in frame.groupby("variant")
    ]
    sections = [
        "# Results",
        "## Executive Summary",
        _executive_summary(results),
        "## Summary Statistics",
        markdown(["variant", "locales", "mean", "sd", "min", "max"], spreads),
    ]
    if results.with_baselines:
        by_locale = {name: frame.groupby("locale")[f"{name}_score"].max() for name in told}
        rows = [
            [EVERY[name].title, str(values.count()), *map(score, (values.mean(), values.min(), values.max()))]
            for name, values in by_locale.items()
        ]
        sections += [
            "## Baseline Performance",
            markdown(["baseline", "locales", "mean", "min", "max"], rows),
            "## Win Rate Analysis",
            *(_wins(name, summary) for name in told),
        ]
    sections += ["## Detailed Comparison Results", markdown(*locale_table(results))]
    if results.with_baselines:
        words = {"metric": metric.title, "meaning": metric.meaning, "test": said_item_test(results.metric)}
        baselines = "\n".join(f"| {EVERY[name].title} | {EVERY[name].meaning} |" for name in told)
        sections += [MARKS, "## Methodology", METHODOLOGY.format(**words, baselines=baselines)]
    if results.comparison.notes:
        sections += ["## Notes", "\n".join(f"- {note}" for note in results.comparison.notes)]
    return "\n\n".join(sections) + "\n"


def _executive_summary(results: Aggregate) -> str:
    frame = results.frame
    if frame.empty:
        return "No merges or ensembles."
    means = frame.groupby("variant").score.agg(["size", "mean"])
    widest = means[means["size"] == means["size"].max()].sort_values("mean", ascending=False)
    lines = [
        f"Results: {len(frame)}. Variants: {frame.variant.nunique()}. Locales: {frame.locale.nunique()}.",
        f"Highest mean {METRICS[results.metric].title} among the {len(widest)} with most locales "
        f"({widest['size'].iloc[0]}): "
        f"{widest.index[0]}, {widest['mean'].iloc[0]:.4f}. This describes these items; it is no choice, which "
        "needs others.",
    ]
    for name in results.comparison.baselines if results.with_baselines else ():
        rows = results.summary[(results.summary.baseline == name) & (results.summary.compared > 0)]
        if len(rows):
            better = rows[rows.mean_gain > 0]
            lines.append(
                f"Better than {EVERY[name].title} on average: {len(better)} of {len(rows)} variants, "
                f"{(better.p_wilcoxon_holm < ALPHA).sum()} of them with Holm-adjusted Wilcoxon p < {ALPHA}."
            )
    return "\n".join(f"- {line}" for line in lines)


def printed(results: Aggregate) -> str:
    """What the command says: means, then win rates, each named by its baseline."""
    means, metric = results.frame.groupby("variant").score.agg(["size", "mean"]), METRICS[results.metric].title
    lines = [
        "Summary Statistics:",
        *(f"  {row.Index}: {row.size} experiments, mean {metric} = {row.mean:.4f}" for row in means.itertuples()),
    ]
    rows = results.summary[results.summary.compared > 0]
    if results.with_baselines and len(rows):
        lines += ["", "Win Rate Analysis Summary:"]
        lines += map(_won, rows.itertuples())
    return "\n".join(lines)


def _won(row: Any) -> str:
    """A variant against a baseline, in one line where that fits a terminal."""
    of_all = f"({row.wins}/{row.compared})"
    wins = f"  {row.variant}: {100 * row.win_rate:.1f}% win rate vs {EVERY[row.baseline].title} {of_all}"
    mean = f"{points(row.mean_gain)} points on average"
    return f"{wins}, {mean}" if len(wins) + 2 + len(mean) <= COLUMNS else f"{wins}\n      {mean}"


def _wins(name: str, summary: pd.DataFrame) -> str:
    rows = [
        {
            "variant": row.variant,
            "wins": f"{row.wins}/{row.compared}",
            "win rate": f"{100 * row.win_rate:.1f} %",
            "95 % interval": f"{100 * row.win_low:.0f} to {100 * row.win_high:.0f} %",
            "ties": str(row.ties),
            "mean gain, points (95 % interval)": gain(row, row.compared),
            "p (Wilcoxon)": p_value(row.p_wilcoxon),
            "p (Holm)": p_value(row.p_wilcoxon_holm),
            "significantly better / worse": f"{row.significant_wins} / {row.significant_losses}"
            if name in TESTED
            else "",
        }
        for row in summary[(summary.baseline == name) & (summary.compared > 0)].itertuples()
    ]
    told = markdown(*table_of(rows)) if rows else "Not measured."
    return f"### vs {EVERY[name].title}: {EVERY[name].meaning}\n\n{told}"
