"""One HTML page that holds everything: what was found, tables, pictures, every locale, how to make each number again.

It needs no network and no library, and nothing but its own script runs in it: what comes from files is escaped.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from string import Template

import numpy as np
from auto_merge_llm.errors import InputError

from merginguriel.utils import figures, findings, plots, records, reproduction
from merginguriel.utils.locales import LOCALES
from merginguriel.utils.statistics import bootstrap_interval

TEMPLATE = Path(__file__).with_name("report.html")
SHOWN = ("ranking", "critical_difference", "gains", "win_rates", "gain_by_sources", "similarity_and_transfer", "transfer")
ENVIRONMENT = ("merginguriel", "git_commit", "python", "torch", "transformers", "device", "precision")


@dataclass(frozen=True)
class Cell:
    """`html` as it stands in the page; `value` sorts it, where its text would not."""

    html: str
    value: object = None


@dataclass(frozen=True)
class Table:
    """`columns`: title -> whether of numbers. `rows`: attributes and cells of each; the first cell is its heading."""

    name: str
    caption: str
    columns: dict[str, bool]
    rows: list[tuple[dict, list[Cell]]] = field(default_factory=list)
    tall: bool = False

    def html(self) -> str:
        heads = "".join(_head(title, numeric) for title, numeric in self.columns.items())
        body = "\n".join(self._row(attributes, cells) for attributes, cells in self.rows)
        return (f'<div class="scroll{" tall" if self.tall else ""}" tabindex="0" role="region" '
                f'aria-label="{escape(self.caption)}"><table id="{escape(self.name)}"><thead><tr>{heads}</tr></thead>'
                f"<tbody>\n{body}\n</tbody></table></div>")

    def _row(self, attributes: dict, cells: list[Cell]) -> str:
        numeric = list(self.columns.values())
        inside = "".join(_cell(cell, number, place == 0) for place, (cell, number) in enumerate(zip(cells, numeric)))
        return f"<tr{_attributes(attributes)}>{inside}</tr>"


def _head(title: str, numeric: bool) -> str:
    order = ' data-first="descending"' if numeric else ""
    kind = ' class="n"' if numeric else ""
    if not title:
        return '<th scope="col"><span class="plainhead"></span></th>'
    return f'<th scope="col" aria-sort="none"{kind}{order}><button type="button">{escape(title)}</button></th>'


def _cell(cell: Cell, numeric: bool, is_heading: bool) -> str:
    value = {} if cell.value is None else {"data-v": "" if cell.value != cell.value else cell.value}
    kind = {"class": "n"} if numeric else {}
    tag = "th" if is_heading else "td"
    return f"<{tag}{_attributes(value | kind | ({'scope': 'row'} if is_heading else {}))}>{cell.html}</{tag}>"


def _attributes(attributes: dict) -> str:
    return "".join(f' {name}="{escape(str(value))}"' for name, value in attributes.items())


def _text(value) -> Cell:
    return Cell("" if _unknown(value) else escape(str(value)))


def _number(value, form: str = "{:.4f}") -> Cell:
    return Cell("", "") if _unknown(value) else Cell(form.format(value), repr(float(value)))


def _points(value, star: bool = False) -> Cell:
    if _unknown(value):
        return Cell("", "")
    shade = "gain" if value > 0 else "loss"
    return Cell(f'<span class="{shade}">{findings.signed(100 * value)}</span>{"*" if star else ""}', repr(float(value)))


def _p(value) -> Cell:
    if _unknown(value):
        return Cell("", "")
    return Cell("&lt; 0.0001" if value < 1e-4 else f"{value:.2g}", repr(float(value)))


def _unknown(value) -> bool:
    return value is None or value != value or type(value).__name__ == "NAType"


def _controls(table: str, what: str, selects: dict[str, Iterable[str]] | None = None) -> str:
    boxes = "".join(f'<label>{escape(name)} <select name="{escape(name)}"><option value="">all</option>'
                    + "".join(f"<option>{escape(value)}</option>" for value in values) + "</select></label>"
                    for name, values in (selects or {}).items())
    return (f'<div class="controls" data-for="{escape(table)}"><label>Search {escape(what)} <input type="search" '
            f'autocomplete="off"></label>{boxes}<output class="count" aria-live="polite"></output></div>')


def _range(mean: float, low: float, high: float, bounds: tuple[float, float]) -> Cell:
    """A mean with its interval on a scale of `bounds`, all in shares."""
    if _unknown(low) or _unknown(mean):
        return Cell("", "")
    span = bounds[1] - bounds[0] or 1
    at = {name: f"{100 * (value - bounds[0]) / span:.2f}%" for name, value in
          (("low", low), ("at", mean), ("zero", 0))} | {"width": f"{100 * (high - low) / span:.2f}%"}
    shade = "gain" if low > 0 else "loss" if high < 0 else ""
    style = ";".join(f"--{name}:{value}" for name, value in at.items())
    words = f"{findings.signed(100 * low)} to {findings.signed(100 * high)}"
    return Cell(f'<span class="range {shade}" style="{style}" role="img" aria-label="{words}" title="{words}"><i></i><b>'
                "</b></span>", repr(float(mean)))


# The page

def page(comparison, summary, material: figures.Material, *, title: str, made: str, origin: str, command: str,
         damaged=()) -> str:
    """HTML of an aggregation.Comparison and its summary. `damaged`: files that were left out, and why."""
    frame = comparison.frame
    if not len(frame):
        raise InputError(f"no merge or ensemble in {origin}; run one first, or name another folder with --results-dir")
    titles = figures.titles_of(frame)
    intervals = gain_intervals(comparison)
    results = {row: _read(folder) for row, folder in frame["folder"].items()}
    sections = [
        ("summary", "Summary", _summary(frame, summary, titles)),
        ("methods", "Methods", _methods(summary, titles)),
        ("pictures", "Pictures", _pictures(material)),
        ("locales", "Locales", _locales(frame, titles)),
        ("each", "Each locale", _each_locale(frame, titles, intervals, results)),
        ("results", "All results", _all_results(frame, titles)),
        ("again", "Making it again", _again(frame, results, comparison.notes, damaged, command)),
    ]
    body = "\n".join(f'<section aria-labelledby="{name}"><h2 id="{name}">{heading}</h2>\n{content}\n</section>'
                     for name, heading, content in sections)
    return Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        title=escape(title), body=body,
        subtitle=escape(f"{len(frame)} results of {len(titles)} methods on {frame['locale'].nunique()} target locales, from "
                        f"{origin}. Made {made} UTC."),
        contents="".join(f'<li><a href="#{name}">{heading}</a></li>' for name, heading, _ in sections),
        footer="Made by MergingUriel. Similarities derive from URIEL (CC BY-SA 4.0); MASSIVE is CC BY 4.0.")


def gain_intervals(comparison) -> dict[int, tuple[float, float]]:
    """Row of the frame -> 95 % interval of its gain over the best source, items resampled; where they are kept."""
    return {row: bootstrap_interval(difference) for (row, baseline), difference in comparison.differences.items()
            if baseline == "best_source"}


def _read(folder: str) -> dict:
    file = Path(folder) / "results.json"
    return records.read_json(file) if file.is_file() else {}


def _summary(frame, summary, titles) -> str:
    told = findings.findings(frame, summary, titles)
    best = frame.groupby("locale")["vs_best_source"].max().dropna()
    tiles = {"target locales": frame["locale"].nunique(), "methods": len(titles), "results": len(frame)}
    if len(best):
        tiles["locales where the best source is beaten"] = f"{int((best > 0).sum())} of {len(best)}"
    return ('<dl class="tiles">' + "".join(f"<div><dt>{escape(name)}</dt><dd>{value}</dd></div>"
                                           for name, value in tiles.items())
            + '</dl>\n<ul class="findings">' + "".join(f"<li><strong>{escape(finding.lead)}</strong> "
                                                       f"{escape(finding.text)}</li>" for finding in told) + "</ul>")


def _methods(summary, titles) -> str:
    columns = {"Method": False, "Sources": True, "Selection": False, "Locales": True, "Mean accuracy": True,
               "Against best source": True, "95 % interval": True, "p (Wilcoxon, Holm)": True, "Won": True, "Lost": True,
               "Won*": True, "Lost*": True, "Against best zero-shot": True, "Against mean zero-shot": True,
               "Against own model": True}
    by_baseline = {name: rows.set_index("variant") for name, rows in summary.groupby("baseline")}
    against = by_baseline["best_source"]
    ends = [*against["gain_low"].dropna(), *against["gain_high"].dropna(), 0]
    bounds = (min(ends), max(ends))
    rows = []
    for variant, row in against.sort_values("mean_gain", ascending=False, kind="stable").iterrows():
        others = [_points(by_baseline[name].loc[variant, "mean_gain"])
                  for name in ("best_zero_shot", "avg_zero_shot", "native")]
        rows.append(({}, [_text(titles[variant]), _number(row["num_sources"], "{:.0f}"), _text(row["selection"]),
                          _number(row["locales"], "{:.0f}"), _number(row["mean_accuracy"]), _points(row["mean_gain"]),
                          _range(row["mean_gain"], row["gain_low"], row["gain_high"], bounds),
                          _p(row["p_wilcoxon_holm"]),
                          *(_number(row[name], "{:.0f}") for name in ("wins", "losses", "significant_wins",
                                                                      "significant_losses")), *others]))
    note = ("Differences are points of accuracy, means over the locales that have both. <em>Best source</em>: the best, on "
            "these items, of the models that take part. <em>Best</em> and <em>mean zero-shot</em>: of all models but the "
            "target's own. An asterisk: by more than chance, McNemar's test on the same items with Holm's adjustment, "
            "below 0.05.")
    return f"<p class=note>{note}</p>{_controls('table-methods', 'methods')}" \
           f"{Table('table-methods', 'Methods', columns, rows).html()}"


def _pictures(material: figures.Material) -> str:
    parts = []
    for picture in figures.pictures(material):
        if picture.name in SHOWN:
            parts.append((SHOWN.index(picture.name), f'<figure class="big" id="picture-{picture.name}"><figcaption>'
                          f'{escape(picture.shows)}</figcaption><div class="scroll" tabindex="0" role="region" '
                          f'aria-label="{escape(picture.shows)}">{plots.inline_svg(picture.draw())}</div></figure>'))
    return "\n".join(html for _, html in sorted(parts))


def _locales(frame, titles) -> str:
    columns = {"Locale": False, "Language": False, "Family": False, "Own model": True, "Mean zero-shot": True,
               "Best zero-shot": True, "its model": False, "Best method": False, "Accuracy": True, "Best source": False,
               "Gain": True, "p (McNemar, Holm)": True}
    rows = []
    for locale, group in frame.groupby("locale"):
        best, about = group.loc[group["accuracy"].idxmax()], LOCALES[locale]
        link = Cell(f'<a href="#locale-{escape(locale)}">{escape(locale)}</a>')
        rows.append(({"data-family": about.family}, [
            link, _text(about.language), _text(about.family), _number(best["native_accuracy"]),
            _number(best["avg_zero_shot_accuracy"]), _number(best["best_zero_shot_accuracy"]),
            _text(best["best_zero_shot"]), _text(titles[best["variant"]]), _number(best["accuracy"]),
            _text(best["best_source"]), _points(best["vs_best_source"]), _p(best["p_best_source_holm"])]))
    families = sorted({LOCALES[locale].family for locale in frame["locale"]})
    return (_controls("table-locales", "locales", {"family": families})
            + Table("table-locales", "Locales", columns, rows, tall=True).html())


def _each_locale(frame, titles, intervals, results) -> str:
    ends = [end for interval in intervals.values() for end in interval] + [0]
    bounds = (min(ends), max(ends))
    parts = ['<p><button type="button" class="plain" data-all="open">Open all</button> '
             '<button type="button" class="plain" data-all="closed">Close all</button></p>']
    columns = {"Method": False, "Accuracy": True, "95 % interval": False, "Best source": False, "Gain": True,
               "its 95 % interval": True, "p (McNemar)": True, "p (Holm)": True, "Sources and weights": False,
               "": False}
    for locale, group in frame.groupby("locale"):
        group = group.sort_values("accuracy", ascending=False, kind="stable")
        rows = [({}, [_text(titles[row["variant"]]), _number(row["accuracy"]),
                      Cell("" if _unknown(row["ci_low"]) else f"{row['ci_low']:.3f} to {row['ci_high']:.3f}"),
                      _text(row["best_source"]), _points(row["vs_best_source"]),
                      _range(row["vs_best_source"], *intervals.get(index, (np.nan, np.nan)), bounds),
                      _p(row["p_best_source"]), _p(row["p_best_source_holm"]), _sources(row), _how(row, results[index])])
                for index, row in group.iterrows()]
        table = Table(f"table-{locale}", f"Results on {locale}", columns, rows).html()
        parts.append(f'<details class="locale" id="locale-{escape(locale)}"><summary>{_headline(locale, group, titles)}'
                     f"</summary><p class=note>{_baselines(group.iloc[0])}</p>{table}</details>")
    return "\n".join(parts)


def _headline(locale: str, group, titles) -> str:
    best = group.iloc[0]
    gain = best["vs_best_source"]
    words = "" if _unknown(gain) else (f", {_points(gain).html} points against {escape(best['best_source'])}"
                                       f"{_significance(best['p_best_source_holm'])}")
    return (f"<b>{escape(LOCALES[locale].language)}</b> {escape(locale)}: {escape(titles[best['variant']])} is best, "
            f"{best['accuracy']:.4f}{words}")


def _significance(p_value) -> str:
    return "" if _unknown(p_value) else f" ({escape(findings.p_value(p_value))})"


def _baselines(row) -> str:
    known = {"own model": row["native_accuracy"], "mean of all others": row["avg_zero_shot_accuracy"],
             f"best of all others, {row['best_zero_shot']},": row["best_zero_shot_accuracy"]}
    told = [f"{name} {value:.4f}" for name, value in known.items() if not _unknown(value)]
    return escape("Alone: " + ", ".join(told) + ".") if told else "No single model was measured on these items."


def _sources(row) -> Cell:
    if _unknown(row["sources"]):
        return Cell("")
    weights = json.loads(row["sources"])
    equal = max(weights.values()) - min(weights.values()) < 1e-9
    names = [f"{'<b>' if name == row['best_source'] else ''}{escape(name)}{'' if equal else f' {100 * weight:.1f} %'}"
             f"{'</b>' if name == row['best_source'] else ''}" for name, weight in weights.items()]
    return Cell(f'<div class="wide">{", ".join(names)}{", equally" if equal and len(names) > 1 else ""}</div>')


def _how(row, results: dict) -> Cell:
    command = reproduction.command_of(results) if results else None
    told = {"commit": row["git_commit"], "seed": row["seed"], "evaluated": row["timestamp"], "kept in": row["folder"]}
    details = ", ".join(f"{name} {value}" for name, value in told.items() if not _unknown(value))
    shown = f"<code>{escape(command)}</code>" if command else "The result does not tell its command."
    return Cell(f'<details class="how"><summary>how</summary><div>{shown}<br>{escape(details)}</div></details>')


def _all_results(frame, titles) -> str:
    columns = {"Method": False, "Locale": False, "Family": False, "Accuracy": True, "Best source": False,
               "its accuracy": True, "Gain": True, "p (Holm)": True, "Against best zero-shot": True,
               "Against mean zero-shot": True, "Against own model": True}
    rows = [({"data-family": LOCALES[row["locale"]].family, "data-method": titles[row["variant"]],
              "data-chance": _verdict(row)},
             [_text(titles[row["variant"]]), _text(row["locale"]), _text(LOCALES[row["locale"]].family),
              _number(row["accuracy"]), _text(row["best_source"]), _number(row["best_source_accuracy"]),
              _points(row["vs_best_source"]), _p(row["p_best_source_holm"]),
              *(_points(row[f"vs_{name}"]) for name in ("best_zero_shot", "avg_zero_shot", "native"))])
            for row in frame.to_dict("records")]
    selects = {"method": sorted(titles.values()), "family": sorted({LOCALES[locale].family for locale in frame["locale"]}),
               "chance": ["better by more than chance", "within chance", "worse by more than chance"]}
    return (_controls("table-results", "results", selects)
            + Table("table-results", "All results", columns, rows, tall=True).html())


def _verdict(row: dict) -> str:
    if _unknown(row["p_best_source_holm"]):
        return ""
    if row["p_best_source_holm"] >= 0.05:
        return "within chance"
    return f"{'better' if row['vs_best_source'] > 0 else 'worse'} by more than chance"


def _again(frame, results, notes, damaged, command: str) -> str:
    groups = frame.groupby(list(ENVIRONMENT), dropna=False, sort=True).size()
    columns = {"Version": False, "Commit": False, "Python": False, "torch": False, "transformers": False, "Device": False,
               "Precision": False, "Results": True}
    rows = [({}, [*(_text(part) for part in key), _number(count, "{:.0f}")]) for key, count in groups.items()]
    parts = [f"<p>This page:</p><pre>{escape(command)}</pre>",
             "<p>Each number: open its locale above, then <em>how</em> beside it. The results rest on</p>",
             Table("table-environments", "Versions", columns, rows).html()]
    left_out = [f"{path}: {reason}" for path, reason in dict(damaged).items()]
    for heading, lines in (("Notes", notes), ("Left out", left_out)):
        if lines:
            parts.append(f"<h3>{heading}</h3><ul>" + "".join(f"<li>{escape(line)}</li>" for line in lines) + "</ul>")
    return "\n".join(parts)
