"""One HTML page that holds everything: what was found, tables, pictures, every locale, how to make each number again.

It needs no network and no library, and no script runs in it but its own: what comes from files is escaped.
"""

import json
from html import escape
from pathlib import Path
from string import Template

from pandas import isna

from merginguriel.utils.data.languages import LOCALES
from merginguriel.utils.report import figures, html_tables, plots
from merginguriel.utils.report.findings import findings, many, p_value
from merginguriel.utils.report.html_tables import Cell, Table, controls, number, points, text
from merginguriel.utils.report.material import Material
from merginguriel.utils.results import reproduction
from merginguriel.utils.results.comparison import ALPHA
from merginguriel.utils.storage import atomic
from merginguriel.utils.storage.naming import RESULTS_JSON

TEMPLATE = Path(__file__).with_name("page.html")
PICTURES = (
    "ranking",
    "critical_difference",
    "gains",
    "win_rates",
    "gain_by_sources",
    "similarity_and_transfer",
    "transfer",
)
VERSIONS = {
    "merginguriel": "MergingUriel",
    "git_commit": "Commit",
    "python": "Python",
    "torch": "torch",
    "transformers": "transformers",
    "device": "Device",
    "precision": "Precision",
}
VERDICTS = ("better by more than chance", "within chance", "worse by more than chance")


def page(material: Material, *, title: str, made: str, origin: str, command: str) -> str:
    """HTML of everything in `material`: `made` when, from where (`origin`), by which `command`."""
    frame, titles = material.comparison.frame, material.titles
    sections = [
        ("summary", "Summary", _summary(material)),
        ("methods", "Methods", _methods(material)),
        ("pictures", "Pictures", _pictures(material)),
        ("locales", "Locales", _locales(frame, titles)),
        ("each-locale", "Each locale", _each_locale(material)),
        ("all-results", "All results", _all_results(frame, titles)),
        ("again", "Making it again", _again(material, command)),
    ]
    body = "\n".join(
        f'<section aria-labelledby="{name}"><h2 id="{name}">{heading}</h2>\n{content}\n</section>'
        for name, heading, content in sections
    )
    contents = "".join(f'<li><a href="#{name}">{heading}</a></li>' for name, heading, _ in sections)
    subtitle = (
        f"{many(len(frame), 'result')} of {many(len(titles), 'method')} on "
        f"{many(frame['locale'].nunique(), 'target locale')}, from {origin}. Made {made}."
    )
    return Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        title=escape(title),
        subtitle=escape(subtitle),
        contents=contents,
        body=body,
        footer="Made by MergingUriel. Similarities derive from URIEL (CC BY-SA 4.0); MASSIVE is CC BY 4.0.",
    )


def _summary(material: Material) -> str:
    frame = material.comparison.frame
    best = frame.groupby("locale")["vs_best_source"].max().dropna().round(12)
    tiles = {"target locales": frame["locale"].nunique(), "methods": len(material.titles), "results": len(frame)}
    if len(best):
        tiles["locales where the best source is beaten"] = f"{int((best > 0).sum())} of {len(best)}"
    told = findings(frame, material.summary, material.titles)
    return (
        '<dl class="tiles">'
        + "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in tiles.items())
        + '</dl>\n<ul class="findings">'
        + "".join(f"<li><strong>{escape(one.lead)}</strong> {escape(one.text)}</li>" for one in told)
        + "</ul>"
    )


def _methods(material: Material) -> str:
    columns = {
        "Method": False,
        "Sources": True,
        "Selection": False,
        "Locales": True,
        "Mean accuracy": True,
        "Against best source": True,
        "95 % interval": True,
        "p (Wilcoxon, Holm)": True,
        "Won : lost": True,
        "by more than chance": True,
        "Against best zero-shot": True,
        "Against mean zero-shot": True,
        "Against own model": True,
    }
    of = {name: rows.set_index("variant") for name, rows in material.summary.groupby("baseline")}
    against = of["best_source"].sort_values("mean_gain", ascending=False, kind="stable")
    bounds = html_tables.bounds_of([*against["gain_low"], *against["gain_high"]])
    rows = [
        (
            {},
            [
                text(material.titles[variant]),
                number(row["num_sources"], "{:.0f}"),
                text(row["selection"]),
                number(row["locales"], "{:.0f}"),
                number(row["mean_accuracy"]),
                points(row["mean_gain"]),
                html_tables.interval(row["mean_gain"], row["gain_low"], row["gain_high"], bounds),
                html_tables.p_value(row["p_wilcoxon_holm"]),
                html_tables.won_and_lost(row["wins"], row["losses"]),
                html_tables.won_and_lost(row["significant_wins"], row["significant_losses"]),
                *(points(of[name].loc[variant, "mean_gain"]) for name in ("best_zero_shot", "avg_zero_shot", "native")),
            ],
        )
        for variant, row in against.iterrows()
    ]
    return (
        f'<p class="note">Differences are points of accuracy, means over the locales that have both. <em>Best '
        "source</em>: the best, on these items, of the models that take part. <em>Best</em> and <em>mean "
        "zero-shot</em>: of all models but the target's own. <em>By more than chance</em>: McNemar's test on the "
        f"same items, below {ALPHA} after Holm's adjustment for all results.</p>"
        + controls("table-methods", "methods")
        + Table("table-methods", "Methods", columns, rows).html()
    )


def _pictures(material: Material) -> str:
    """The overviews, and of the method with the largest mean gain its accuracy by locale and by intent."""
    against = material.summary[material.summary["baseline"] == "best_source"]
    best = material.titles[against.sort_values("mean_gain", ascending=False, kind="stable")["variant"].iloc[0]]
    found = {picture.name: picture for picture in figures.pictures(material)}
    shown = (*PICTURES, f"pure_scores_{best}", f"intents_{best}")
    return "\n".join(_figure(found[name]) for name in shown if name in found)


def _figure(picture: figures.Picture) -> str:
    shows, name = escape(picture.shows), escape(f"picture-{picture.name}")
    drawn = plots.inline_svg(picture.draw()).replace("<svg", f'<svg role="img" aria-labelledby="{name}"', 1)
    return (
        f'<figure><figcaption id="{name}">{shows}</figcaption><div class="scroll" tabindex="0" role="region" '
        f'aria-labelledby="{name}">{drawn}</div></figure>'
    )


def _families(frame) -> list[str]:
    return sorted({LOCALES[locale].family for locale in frame["locale"]})


def _locales(frame, titles) -> str:
    columns = {
        "Locale": False,
        "Language": False,
        "Family": False,
        "Own model": True,
        "Mean zero-shot": True,
        "Best zero-shot": True,
        "its model": False,
        "Best method": False,
        "Accuracy": True,
        "Best source": False,
        "Gain": True,
        "p (McNemar, Holm)": True,
    }
    rows = []
    for locale, group in frame.groupby("locale"):
        best, about = group.loc[group["accuracy"].idxmax()], LOCALES[locale]
        rows.append(
            (
                {"data-family": about.family},
                [
                    Cell(f'<a href="#locale-{locale}">{locale}</a>'),
                    text(about.language),
                    text(about.family),
                    number(best["native_accuracy"]),
                    number(best["avg_zero_shot_accuracy"]),
                    number(best["best_zero_shot_accuracy"]),
                    text(best["best_zero_shot"]),
                    text(titles[best["variant"]]),
                    number(best["accuracy"]),
                    text(best["best_source"]),
                    points(best["vs_best_source"]),
                    html_tables.p_value(best["p_best_source_holm"]),
                ],
            )
        )
    return (
        '<p class="note">The best method of a locale is the best on these very items: a description, no way to '
        "choose one.</p>"
        + controls("table-locales", "locales", {"family": _families(frame)})
        + Table("table-locales", "Locales", columns, rows, tall=True).html()
    )


def _each_locale(material: Material) -> str:
    frame, titles = material.comparison.frame, material.titles
    intervals = {row: material.interval(row, "best_source") for row in frame.index}
    bounds = html_tables.bounds_of([end for pair in intervals.values() for end in pair])
    columns = {
        "Method": False,
        "Accuracy": True,
        "Gain": True,
        "its 95 % interval": True,
        "p (McNemar)": True,
        "p (Holm)": True,
        "Best source": False,
        "Sources and weights": False,
        "95 % interval of accuracy": False,
        "": False,
    }
    parts = [
        '<p><button type="button" class="plain" data-all="open">Open all</button> '
        '<button type="button" class="plain" data-all="closed">Close all</button></p>'
    ]
    for locale, group in frame.groupby("locale"):
        group = group.sort_values("accuracy", ascending=False, kind="stable")
        rows = [
            (
                {},
                [
                    text(titles[row["variant"]]),
                    number(row["accuracy"]),
                    points(row["vs_best_source"]),
                    html_tables.interval(row["vs_best_source"], *intervals[index], bounds),
                    html_tables.p_value(row["p_best_source"]),
                    html_tables.p_value(row["p_best_source_holm"]),
                    text(row["best_source"]),
                    _sources(row),
                    Cell("" if isna(row["ci_low"]) else f"{row['ci_low']:.3f} to {row['ci_high']:.3f}"),
                    _how(row),
                ],
            )
            for index, row in group.iterrows()
        ]
        table = Table(f"table-{locale}", f"Results on {locale}", columns, rows).html()
        parts.append(
            f'<details class="locale" id="locale-{locale}"><summary>{_headline(locale, group.iloc[0], titles)}'
            f'</summary><p class="note">{_alone(group.iloc[0])}</p>{table}</details>'
        )
    return "\n".join(parts)


def _headline(locale: str, best, titles) -> str:
    headline = (
        f"<b>{escape(LOCALES[locale].language)}</b> {locale}: {escape(titles[best['variant']])} {best['accuracy']:.4f}"
    )
    if isna(best["vs_best_source"]):
        return headline
    chance = "" if isna(best["p_best_source_holm"]) else f", {escape(p_value(best['p_best_source_holm']))}"
    return f"{headline}, {points(best['vs_best_source']).html} against {escape(best['best_source'])}{chance}"


def _alone(row) -> str:
    known = {
        "own model": row["native_accuracy"],
        "mean of all others": row["avg_zero_shot_accuracy"],
        f"best of all others ({row['best_zero_shot']})": row["best_zero_shot_accuracy"],
    }
    told = [f"{name} {value:.4f}" for name, value in known.items() if not isna(value)]
    return escape(f"Single models: {', '.join(told)}.") if told else "No single model was measured on these items."


def _sources(row) -> Cell:
    if isna(row["sources"]):
        return html_tables.EMPTY
    weights = json.loads(row["sources"])
    equal = max(weights.values()) - min(weights.values()) < 1e-9
    names = [f"{escape(name)}{'' if equal else f'&nbsp;{100 * weight:.1f}&nbsp;%'}" for name, weight in weights.items()]
    names = [f"<b>{shown}</b>" if name == row["best_source"] else shown for name, shown in zip(weights, names)]
    return Cell(f'<div class="wide">{", ".join(names)}{", equally" if equal and len(names) > 1 else ""}</div>')


def _how(row) -> Cell:
    file = None if isna(row["folder"]) else Path(row["folder"]) / RESULTS_JSON
    command = reproduction.command_of(atomic.read_json(file)) if file and file.is_file() else None
    told = {"commit": row["git_commit"], "seed": row["seed"], "evaluated": row["timestamp"], "kept in": row["folder"]}
    details = ", ".join(f"{name} {value}" for name, value in told.items() if not isna(value))
    shown = f"<code>{escape(command)}</code>" if command else "The result does not tell its command."
    return Cell(f'<details class="how"><summary>how</summary><div>{shown}<br>{escape(details)}</div></details>')


def _all_results(frame, titles) -> str:
    columns = {
        "Method": False,
        "Locale": False,
        "Family": False,
        "Accuracy": True,
        "Best source": False,
        "its accuracy": True,
        "Gain": True,
        "p (Holm)": True,
        "Against best zero-shot": True,
        "Against mean zero-shot": True,
        "Against own model": True,
    }
    rows = []
    for row in frame.to_dict("records"):
        method, family = titles[row["variant"]], LOCALES[row["locale"]].family
        rows.append(
            (
                {"data-method": method, "data-family": family, "data-verdict": _verdict(row)},
                [
                    text(method),
                    text(row["locale"]),
                    text(family),
                    number(row["accuracy"]),
                    text(row["best_source"]),
                    number(row["best_source_accuracy"]),
                    points(row["vs_best_source"]),
                    html_tables.p_value(row["p_best_source_holm"]),
                    *(points(row[f"vs_{name}"]) for name in ("best_zero_shot", "avg_zero_shot", "native")),
                ],
            )
        )
    selects = {"method": sorted(titles.values()), "family": _families(frame), "verdict": VERDICTS}
    return (
        controls("table-results", "results", selects)
        + Table("table-results", "All results", columns, rows, tall=True).html()
    )


def _verdict(row: dict) -> str:
    if isna(row["p_best_source_holm"]):
        return ""
    better, within, worse = VERDICTS
    return within if row["p_best_source_holm"] >= ALPHA else better if row["vs_best_source"] > 0 else worse


def _again(material: Material, command: str) -> str:
    groups = material.comparison.frame.groupby(list(VERSIONS), dropna=False, sort=True).size()
    columns = dict.fromkeys(VERSIONS.values(), False) | {"Results": True}
    rows = [({}, [*map(text, key), number(count, "{:.0f}")]) for key, count in groups.items()]
    baselines = material.comparison.frame[["base_model", "models_root", "dataset", "split"]].drop_duplicates()
    baselines = baselines.astype(object).where(baselines.notna(), None).to_dict("records")
    commands = sorted({told for row in baselines if (told := reproduction.command_of_baselines(row))})
    parts = [
        f"<p>This page:</p><pre>{escape(command)}</pre>",
        *(f"<p>The single models:</p><pre>{escape(told)}</pre>" for told in commands),
        "<p>Each other number: open its locale above, then <em>how</em> beside it. The results rest on</p>",
        Table("table-versions", "Versions", columns, rows).html(),
    ]
    for heading, lines in (("Notes", material.comparison.notes), ("Left out", material.damaged.values())):
        if lines:
            parts.append(f"<h3>{heading}</h3><ul>" + "".join(f"<li>{escape(line)}</li>" for line in lines) + "</ul>")
    return "\n".join(parts)
