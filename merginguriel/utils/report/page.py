"""One HTML page that holds everything: what was found, tables, pictures, every locale, how to make each number again.

It needs no network and no library, and no script runs in it but its own: what comes from files is escaped.
"""

import re
from html import escape
from pathlib import Path
from string import Template

from merginguriel.utils.data.languages import own_codes
from merginguriel.utils.report import html_cells, locale_details, page_tables, pictures, source_table
from merginguriel.utils.report.findings import findings
from merginguriel.utils.report.html_tables import Column, table
from merginguriel.utils.report.plots import Picture, inline_svg
from merginguriel.utils.report.report_data import ReportData
from merginguriel.utils.results.baseline_commands import baseline_commands

TEMPLATE = Path(__file__).with_name("page.html")
PICTURES = (
    "ranking",
    "tree",
    "critical_difference",
    "win_rates",
    "gains",
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


def page(data: ReportData, *, title: str, made: str, origin: str, command: str) -> str:
    """HTML of everything in `data`: `made` when, from where (`origin`), by which `command`."""
    with own_codes(data.own_codes):
        return _page(data, title, made, origin, command)


def _page(data: ReportData, title: str, made: str, origin: str, command: str) -> str:
    sections = [
        ("summary", "Summary", _summary(data)),
        ("methods", "Methods", page_tables.methods(data)),
        ("sources", "Sources", source_table.sources(data)),
        ("pictures", "Pictures", _pictures(data)),
        ("locales", "Locales", page_tables.locales(data)),
        ("each-locale", "Each locale", locale_details.each_locale(data)),
        ("all-results", "All results", page_tables.all_results(data)),
        ("again", "Making it again", _again(data, command)),
    ]
    sections = [section for section in sections if section[2]]
    body = "\n".join(
        f'<section aria-labelledby="{name}"><h2 id="{name}">{heading}</h2>\n{content}\n</section>'
        for name, heading, content in sections
    )
    return Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        title=escape(title),
        subtitle=escape(f"{data.described(origin, 'target locale')}. Made {made}."),
        contents="".join(f'<li><a href="#{name}">{heading}</a></li>' for name, heading, _ in sections),
        body=body,
        footer="Made by MergingUriel. Similarities derive from URIEL (CC BY-SA 4.0); data have their own.",
    )


def _summary(data: ReportData) -> str:
    frame = data.frame
    best = frame.groupby("locale")["vs_best_source"].max().dropna().round(12)
    tiles = {"target locales": frame["locale"].nunique(), "methods": len(data.titles), "results": len(frame)}
    if len(best):
        tiles["locales where the best source is beaten"] = f"{int((best > 0).sum())} of {len(best)}"
    told = findings(frame, data.summary, data.titles)
    return (
        '<dl class="tiles">'
        + "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in tiles.items())
        + '</dl>\n<ul class="findings">'
        + "".join(f"<li><strong>{escape(one.lead)}</strong> {escape(one.text)}</li>" for one in told)
        + "</ul>"
    )


def _pictures(data: ReportData) -> str:
    """The overviews, and of the method with the largest mean gain its accuracy by locale and by intent."""
    best = data.titles[data.best]
    found = {picture.name: picture for picture in pictures.pictures(data)}
    shown = (*PICTURES, f"pure_scores_{best}", f"intents_{best}")
    drawn = "\n".join(_figure(found[name]) for name in shown if name in found)
    return f'<div class="figures">{drawn}</div>' if drawn else ""


def _figure(picture: Picture) -> str:
    name = escape(f"picture-{picture.name}")
    drawn = inline_svg(picture.draw()).replace("<svg", f'<svg role="img" aria-labelledby="{name}"', 1)
    width = re.search(r"width:\d+px", drawn)
    return (
        f'<figure style="--{width[0] if width else ""}"><figcaption id="{name}">{escape(picture.shows)}</figcaption>'
        f'<div class="scroll" tabindex="0" role="region" aria-labelledby="{name}">{drawn}</div></figure>'
    )


def _again(data: ReportData, command: str) -> str:
    counts = data.frame.groupby(list(VERSIONS), dropna=False, sort=True).size().reset_index(name="results")
    columns = [
        *(Column(title, html_cells.text, name) for name, title in VERSIONS.items()),
        Column("Results", html_cells.whole, "results"),
    ]
    parts = [
        f"<p>This page:</p><pre>{escape(command)}</pre>",
        *(f"<p>The single models:</p><pre>{escape(told)}</pre>" for told in baseline_commands(data.frame)),
        "<p>Each other number: open its locale above, then <em>how</em> beside it. The results rest on</p>",
        table("table-versions", "Versions", columns, counts.to_dict("records")),
    ]
    for heading, lines in (("Notes", data.comparison.notes), ("Left out", data.damaged.values())):
        if lines:
            parts.append(f"<h3>{heading}</h3><ul>" + "".join(f"<li>{escape(line)}</li>" for line in lines) + "</ul>")
    return "\n".join(parts)
