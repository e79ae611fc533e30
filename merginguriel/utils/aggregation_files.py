"""What aggregate_results.py writes: three CSV tables, two JSON summaries, one Markdown report, and exports."""

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
from auto_merge_llm.errors import InputError

from merginguriel.utils import records
from merginguriel.utils.aggregation import ALPHA, BASELINES, TESTED, Comparison
from merginguriel.utils.text_tables import latex, markdown

# The files have said "overall" for the best of all models since the first published ones.
IN_FILES = {"native": "native", "best_source": "best_source", "best_zero_shot": "best_overall",
            "avg_zero_shot": "avg_zero_shot"}
TITLES = {"native": "native", "best_source": "best source", "best_zero_shot": "best zero-shot",
          "avg_zero_shot": "average zero-shot"}


@dataclass(frozen=True)
class Aggregate:
    """All that the files are made from; `long` has the results that were asked for."""

    long: pd.DataFrame
    comparison: Comparison
    summary: pd.DataFrame
    with_baselines: bool = True

    @property
    def frame(self) -> pd.DataFrame:
        return self.comparison.frame


# Tables

def aggregated(results: Aggregate) -> pd.DataFrame:
    """A row a result of the results folder, cells of N×N left out; baselines beside merges and ensembles."""
    rows = results.long[results.long.kind != "nxn"]
    is_single = rows.sources.isna()
    table = pd.DataFrame({
        "locale": rows.locale, "experiment_type": rows.method.replace("native", "baseline"),
        "experiment_variant": rows.variant.replace("native", "baseline"),
        "folder_name": rows.folder.map(lambda folder: Path(folder).name), "accuracy": rows.accuracy,
        "correct_predictions": rows.correct, "total_predictions": rows.total, "error_rate": 1 - rows.accuracy,
        "model_name": rows.model, "subfolder": rows.subfolder, "timestamp": rows.timestamp, "target_lang": rows.target,
        "source_languages": rows.sources.where(is_single, rows.sources[~is_single].map(
            lambda sources: json.dumps(list(json.loads(sources))))),
        "weights": rows.sources, "merge_mode": rows.method.where(rows.kind.isin(("merge", "ensemble"))),
        "num_languages": rows.num_sources, "merge_timestamp": rows.merge_timestamp})
    if results.with_baselines:
        beside = results.frame.set_index("folder")
        for column, name in (("best_source_accuracy", "best_source_accuracy"), ("best_source_language", "best_source"),
                             ("best_overall_accuracy", "best_zero_shot_accuracy"),
                             ("best_overall_language", "best_zero_shot"),
                             ("avg_zero_shot_accuracy", "avg_zero_shot_accuracy"),
                             ("native_accuracy", "native_accuracy")):
            table[column] = rows.folder.map(beside[name])
    more = ["kind", "selection", "include_target", "seed", "base_model", "settings", "split", "macro_f1", "ci_low",
            "ci_high", "folder", "git_commit"]
    return table.join(rows[more]).sort_values(["experiment_variant", "locale", "folder"], ignore_index=True)


def compared(results: Aggregate, *, comprehensive: bool) -> pd.DataFrame:
    """A row a locale, a column a variant, each against its own best source, the best zero-shot and the native model.

    `best_source_accuracy` of a locale is the best of the sources that any of its variants used. `comprehensive` adds,
    for each variant, its own best source, the average zero-shot and the p values.
    """
    frame = results.frame
    table = frame.pivot(index="locale", columns="variant", values="accuracy").sort_index(axis=1)
    variants = list(table.columns)
    by_variant = {name: frame.pivot(index="locale", columns="variant", values=name)
                  for name in frame.columns if name.startswith(("vs_", "p_", "best_source"))}
    natives = results.long[results.long.kind == "native"].groupby("locale").accuracy.agg(only_value)
    table = table.reindex(sorted({*table.index, *natives.index}))
    table.insert(0, "baseline", natives.reindex(table.index))
    if results.with_baselines:
        of_locale = frame.groupby("locale")
        table["baseline"] = table.baseline.fillna(of_locale.native_accuracy.agg(only_value))
        table["best_source_accuracy"] = of_locale.best_source_accuracy.max()
        table["best_overall_accuracy"] = of_locale.best_zero_shot_accuracy.agg(only_value)
        if comprehensive:
            table["avg_zero_shot_accuracy"] = of_locale.avg_zero_shot_accuracy.agg(only_value)
        columns = {"improvement": "vs_native", "vs_best_source": "vs_best_source",
                   "vs_best_overall": "vs_best_zero_shot"}
        if comprehensive:
            columns |= {"vs_avg_zero_shot": "vs_avg_zero_shot", "best_source": "best_source",
                        "best_source_accuracy": "best_source_accuracy"}
            columns |= {f"p_{IN_FILES[name]}_holm": f"p_{name}_holm" for name in TESTED}
        added = {f"{variant}_{title}": by_variant[name][variant]
                 for title, name in columns.items() for variant in variants}
        table = pd.concat([table, pd.DataFrame(added, index=table.index)], axis=1)
    return table.rename_axis("locale").reset_index()


def only_value(values: pd.Series) -> float:
    """The one value that all have; NaN where they differ, as those of two base models do."""
    distinct = values.dropna().unique()
    return distinct[0] if len(distinct) == 1 else np.nan


# Summaries

def summary_json(results: Aggregate) -> dict:
    def statistics(values) -> dict:
        return {"count": int(values.notna().sum()), "mean_accuracy": values.mean(), "std_accuracy": values.std(),
                "min_accuracy": values.min(), "max_accuracy": values.max()}

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
            f"vs_{name}_wins": row.wins, f"vs_{name}_ties": row.ties, f"vs_{name}_losses": row.losses,
            f"vs_{name}_total": row.compared, f"vs_{name}_win_rate": row.win_rate,
            f"vs_{name}_win_rate_ci95": [row.win_low, row.win_high],
            f"avg_improvement_vs_{name}": row.mean_gain,
            f"avg_improvement_vs_{name}_ci95": [row.gain_low, row.gain_high],
            f"vs_{name}_p_wilcoxon": row.p_wilcoxon, f"vs_{name}_p_wilcoxon_holm": row.p_wilcoxon_holm}
        if row.baseline in TESTED:
            of_variant |= {f"vs_{name}_significant_wins": row.significant_wins,
                           f"vs_{name}_significant_losses": row.significant_losses}
    return content


# For people

METHOD_HEADER = ["method", "locales", "accuracy", *(f"vs {TITLES[name]} (95 % interval)" for name in BASELINES),
                 "wins over best source", "p (Holm)"]


def method_rows(summary: pd.DataFrame) -> list[list[str]]:
    """A row a variant for METHOD_HEADER: means over its locales; wins and Wilcoxon's p are against the best source."""
    rows = []
    for variant, group in summary.groupby("variant", sort=False):
        by_baseline = {row.baseline: row for row in group.itertuples()}
        first = by_baseline["best_source"]
        rows.append([variant, str(first.locales), accuracy(first.mean_accuracy),
                     *(_gain(by_baseline[name], first.locales) for name in BASELINES),
                     f"{first.wins}/{first.compared}" if first.compared else "", p_value(first.p_wilcoxon_holm)])
    return rows


def _gain(row, locales: int) -> str:
    if not row.compared:
        return ""
    text = points(row.mean_gain)
    if row.gain_low == row.gain_low:
        text += f" ({points(row.gain_low)} to {points(row.gain_high)})"
    return text if row.compared == locales else f"{text}, {row.compared} locales"


def accuracy(value: float) -> str:
    return "" if value != value else f"{value:.4f}"


def points(value: float) -> str:
    """A difference of accuracies in percentage points."""
    return f"{100 * value:+.1f}".replace("-", "−")


def p_value(value: float) -> str:
    return "" if value != value else f"{value:.2g}"


def locale_table(results: Aggregate) -> tuple[list[str], list[list[str]]]:
    """(header, a row a locale): every variant's accuracy between the baselines'; † is better, ‡ worse than its own best
    source with Holm's p below ALPHA."""
    table = compared(results, comprehensive=True)
    variants = sorted(results.frame.variant.unique())
    baselines = {"baseline": "native", "best_overall_accuracy": "best zero-shot",
                 "avg_zero_shot_accuracy": "average zero-shot"}
    baselines = {name: title for name, title in baselines.items() if name in table and table[name].notna().any()}

    def mark(row, variant) -> str:
        if row.get(f"{variant}_p_best_source_holm", 1.0) < ALPHA:
            return "†" if row[f"{variant}_vs_best_source"] > 0 else "‡"
        return ""

    rows = [[row["locale"], *(accuracy(row[name]) for name in baselines),
             *(accuracy(row[variant]) + mark(row, variant) for variant in variants)] for _, row in table.iterrows()]
    return ["locale", *baselines.values(), *variants], rows


CAPTION = ("Differences to the baselines are in points, with bootstrap intervals of the items, by id. Wins and "
           "Wilcoxon's p, adjusted by Holm, are against the best source.")
METHODOLOGY = f"""Every accuracy is a share of the items of one locale and split. A variant is one method with one
number of sources, one selection, one seed and one choice of all other settings; variants are never mixed.

| baseline | |
|---|---|
{chr(10).join(f"| {TITLES[name]} | {text} |" for name, text in BASELINES.items())}

Best source and best zero-shot are picked by their accuracy on these very items. Nobody could pick them so in practice,
which makes them the hardest baselines. The order of the variants rests on the same items: it describes them, and is no
way to choose a method.

Intervals of mean gains are 95 % bootstrap intervals, items drawn by id, one draw for all locales; they speak of these
locales and these trained models. Intervals of win rates are Wilson's. p over locales is Wilcoxon's signed-rank test,
adjusted for the number of variants; on one locale it is the exact McNemar test on the same items, adjusted for all
tests against that baseline, over locales and variants. Both adjustments are Holm's."""


def report(results: Aggregate) -> str:
    frame, summary = results.frame, results.summary
    sections = ["# Results", "## Executive Summary", executive_summary(results), "## Summary Statistics",
                markdown(["variant", "locales", "mean", "sd", "min", "max"],
                         [[variant, str(len(group)), *map(accuracy, (group.accuracy.mean(), group.accuracy.std(),
                                                                     group.accuracy.min(), group.accuracy.max()))]
                          for variant, group in frame.groupby("variant")])]
    if results.with_baselines:
        by_locale = {name: frame.groupby("locale")[f"{name}_accuracy"].max() for name in BASELINES}
        rows = [[TITLES[name], str(values.count()), *map(accuracy, (values.mean(), values.min(), values.max()))]
                for name, values in by_locale.items()]
        sections += ["## Baseline Performance", markdown(["baseline", "locales", "mean", "min", "max"], rows),
                     "## Win Rate Analysis", *(_wins(name, summary) for name in BASELINES)]
    sections += ["## Detailed Comparison Results", markdown(*locale_table(results))]
    if results.with_baselines:
        sections += [f"† better, ‡ worse than the best of its own sources, Holm-adjusted p < {ALPHA}.",
                     "## Methodology", METHODOLOGY]
    if results.comparison.notes:
        sections += ["## Notes", "\n".join(f"- {note}" for note in results.comparison.notes)]
    return "\n\n".join(sections) + "\n"


def executive_summary(results: Aggregate) -> str:
    frame = results.frame
    if frame.empty:
        return "No merges or ensembles."
    lines = [f"Results: {len(frame)}. Variants: {frame.variant.nunique()}. Locales: {frame.locale.nunique()}."]
    means = frame.groupby("variant").accuracy.agg(["size", "mean"])
    widest = means[means["size"] == means["size"].max()].sort_values("mean", ascending=False)
    lines.append(f"Highest mean accuracy among the {len(widest)} with most locales ({widest['size'].iloc[0]}): "
                 f"{widest.index[0]}, {widest['mean'].iloc[0]:.4f}. This describes these items; it is no choice, which "
                 "needs others.")
    if results.with_baselines:
        for name in BASELINES:
            rows = results.summary[(results.summary.baseline == name) & (results.summary.compared > 0)]
            if len(rows):
                better = rows[(rows.p_wilcoxon_holm < ALPHA) & (rows.mean_gain > 0)]
                lines.append(f"Better than {TITLES[name]} on average: {int((rows.mean_gain > 0).sum())} of {len(rows)} "
                             f"variants, {len(better)} of them with Holm-adjusted Wilcoxon p < {ALPHA}.")
    return "\n".join(f"- {line}" for line in lines)


def printed(results: Aggregate) -> str:
    """What the command says: means, then win rates, each named by its baseline."""
    means = results.frame.groupby("variant").accuracy.agg(["size", "mean"])
    lines = ["Summary Statistics:", *(f"  {row.Index}: {row.size} experiments, mean accuracy = {row.mean:.4f}"
                                      for row in means.itertuples())]
    rows = results.summary[results.summary.compared > 0]
    if results.with_baselines and len(rows):
        lines += ["", "Win Rate Analysis Summary:"]
        lines += [f"  {row.variant}: {100 * row.win_rate:.1f}% win rate vs {TITLES[row.baseline]} "
                  f"({row.wins}/{row.compared}), {points(row.mean_gain)} points on average"
                  for row in rows.itertuples()]
    return "\n".join(lines)


def _wins(name: str, summary: pd.DataFrame) -> str:
    rows = [[row.variant, f"{row.wins}/{row.compared}", f"{100 * row.win_rate:.1f} %",
             f"{100 * row.win_low:.0f} to {100 * row.win_high:.0f} %", str(row.ties), _gain(row, row.compared),
             p_value(row.p_wilcoxon), p_value(row.p_wilcoxon_holm),
             f"{row.significant_wins} / {row.significant_losses}" if name in TESTED else ""]
            for row in summary[(summary.baseline == name) & (summary.compared > 0)].itertuples()]
    header = ["variant", "wins", "win rate", "95 % interval", "ties", "mean gain, points (95 % interval)",
              "p (Wilcoxon)", "p (Holm)", "significantly better / worse"]
    title = f"### vs {TITLES[name]}: {BASELINES[name]}"
    return f"{title}\n\n{markdown(header, rows) if rows else 'Not measured.'}"


# Writing

FORMATS = {
    "csv": {"raw": "{prefix}_aggregated_{time}.csv", "comparison": "{prefix}_comparison_{time}.csv",
            "comprehensive": "{prefix}_comprehensive_{time}.csv"},
    "json": {"summary": "{prefix}_summary_{time}.json", "win_analysis": "{prefix}_win_analysis_{time}.json"},
    "markdown": {"markdown": "{prefix}_report_{time}.md"},
}


def write(results: Aggregate, folder: Path, prefix: str, *, formats: list[str], export: str | None = None,
          tables: list[str] = ()) -> dict[str, Path]:
    """What each file is -> its path; all of one moment, none of which was there before.

    `export`: csv or parquet, of every row of `results.long`. `tables`: latex and markdown, of variants and of locales.
    """
    contents = {"raw": lambda: _csv(aggregated(results)),
                "comparison": lambda: _csv(compared(results, comprehensive=False)),
                "comprehensive": lambda: _csv(compared(results, comprehensive=True)),
                "summary": lambda: _json(summary_json(results)), "win_analysis": lambda: _json(win_analysis(results)),
                "markdown": lambda: report(results).encode(),
                "export": lambda: _parquet(results.long) if export == "parquet" else _csv(results.long),
                "latex": lambda: text_tables_of(results, "latex").encode(),
                "markdown_tables": lambda: text_tables_of(results, "markdown").encode()}
    names = {name: pattern for kind in formats for name, pattern in FORMATS[kind].items()}
    if not results.with_baselines:
        names.pop("win_analysis", None)
    if export:
        names["export"] = f"{{prefix}}_long_{{time}}.{export}"
    names |= {kind: pattern for kind, pattern in (("latex", "{prefix}_tables_{time}.tex"),
                                                  ("markdown_tables", "{prefix}_tables_{time}.md"))
              if kind.split("_")[0] in tables}
    moment = datetime.now()
    while any((folder / pattern.format(prefix=prefix, time=f"{moment:%Y%m%d_%H%M%S}")).exists()
              for pattern in names.values()):
        moment += timedelta(seconds=1)
    paths = {name: folder / pattern.format(prefix=prefix, time=f"{moment:%Y%m%d_%H%M%S}")
             for name, pattern in names.items()}
    made = {path: contents[name]() for name, path in paths.items()}  # all, before the first is written
    for path, content in made.items():
        with records.beside(path) as partial:
            partial.write_bytes(content)
    return paths


def text_tables_of(results: Aggregate, kind: str) -> str:
    """The variants, then the locales, for a paper."""
    methods, locales = _without_empty(METHOD_HEADER, method_rows(results.summary)), locale_table(results)
    captions = "Mean accuracy over locales.", "Accuracy by locale."
    if results.with_baselines:
        captions = (f"{captions[0]} {CAPTION}",
                    f"{captions[1]} † better, ‡ worse than the best of its own sources, Holm-adjusted p < {ALPHA}.")
    if not methods[1]:
        raise InputError("no merges or ensembles to make --tables of; leave the flag out")
    if kind == "markdown":
        parts = [f"{caption}\n\n{markdown(*table)}" for caption, table in zip(captions, (methods, locales))]
    else:
        parts = [latex(*table, caption, label) for caption, table, label in
                 zip(captions, (methods, locales), ("tab:methods", "tab:locales"))]
    return "\n\n".join(parts) + "\n"


def _without_empty(header: list[str], rows: list[list[str]]) -> tuple[list[str], list[list[str]]]:
    """Without the columns that have nothing in any row."""
    kept = [place for place in range(len(header)) if any(row[place] for row in rows)]
    return [header[place] for place in kept], [[row[place] for place in kept] for row in rows]


def _csv(table: pd.DataFrame) -> bytes:
    return table.to_csv(index=False).encode()


def _parquet(table: pd.DataFrame) -> bytes:
    try:
        return table.to_parquet(index=False)
    except ImportError:
        raise InputError("--export parquet needs the package pyarrow; install it, or use --export csv") from None


def _json(content: dict) -> bytes:
    return (json.dumps(_without_nan(content), indent=2, ensure_ascii=False) + "\n").encode()


def _without_nan(value):
    """As JSON can have it: null for what is not known, Python's numbers for NumPy's."""
    if isinstance(value, dict):
        return {name: _without_nan(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_without_nan(part) for part in value]
    if isinstance(value, (float, np.floating)):
        return None if np.isnan(value) else float(value)
    return int(value) if isinstance(value, np.integer) else value
