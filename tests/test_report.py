"""The report: it says what the results say, it works in a browser, and nothing in a file gets out of its cell."""

import csv
import io
import json
import re
import shlex
import shutil
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from auto_merge_llm.methods import METHODS
from browser import CHROMIUM, answer, answer_in_frame, printed
from made_results import write_merge
from running import ROOT

from merginguriel import report as report_command
from merginguriel import run_merging_pipeline_refactored as pipeline
from merginguriel.utils.data.massive_languages import DEFAULT_LOCALES
from merginguriel.utils.evaluation.statistics import mcnemar
from merginguriel.utils.merging import plan
from merginguriel.utils.report import language_data, read_data
from merginguriel.utils.report.findings import findings
from merginguriel.utils.report.page import page as page_of
from merginguriel.utils.report.report_data import ReportData
from merginguriel.utils.results import comparison, reproduction
from merginguriel.utils.results.baselines import BASELINES, TESTED
from merginguriel.utils.results.items import Answers
from merginguriel.utils.results.pairs import Pairs
from merginguriel.utils.results.rows import COLUMNS
from merginguriel.utils.similarity import uriel
from merginguriel.utils.similarity.transfer import TransferMatrix
from merginguriel.utils.storage import csv_cells

METHOD_NAMES = [
    "average",
    "similarity",
    "uriel",
    *[name for name in METHODS if name not in ("linear", "fisher")],
    "ensemble_majority",
    "ensemble_weighted_majority",
    "ensemble_soft",
    "ensemble_uriel_logits",
]
needs_browser = pytest.mark.skipif(not CHROMIUM, reason="no Chromium: Debian's package chromium has one")


def write_page(found: ReportData, path):
    path.write_text(
        page_of(found, title="Title", made="2026-01-02 03:04", origin="results", command="merginguriel report"),
        encoding="utf-8",
    )
    return path


def made_up(methods, locales, items: int = 60) -> ReportData:
    """Results of every method on every locale, as `comparison.compare` tells them, without a file."""
    random, rows, answers, gold = np.random.default_rng(0), [], {}, np.ones(items, int)
    for strength, method in enumerate(methods):
        for locale in locales:
            source = random.choice([other for other in locales if other != locale], 5, replace=False)
            best = random.random(items) < 0.6
            own = np.where(random.random(items) < 0.3, random.random(items) < 0.55 + 0.02 * strength, best)
            answers[len(rows), "best_source"] = Answers(0, gold, own.astype(int)), Answers(0, gold, best.astype(int))
            rows.append(
                dict.fromkeys([*COLUMNS, *comparison.COMPARISON])
                | {
                    "kind": "ensemble" if method.startswith("ensemble") else "merge",
                    "variant": f"{method}_5lang",
                    "method": method,
                    "locale": locale,
                    "target": locale,
                    "num_sources": 5,
                    "selection": "cosine",
                    "seed": 42,
                    "split": "test",
                    "metric": "accuracy",
                    "score": own.mean(),
                    "accuracy": own.mean(),
                    "total": items,
                    "ci_low": own.mean() - 0.1,
                    "ci_high": own.mean() + 0.1,
                    "sources": json.dumps(dict.fromkeys(source, 0.2)),
                    "settings": "{}",
                    "folder": f"results/{method}_merge_{locale}_5merged",
                    "git_commit": "abc123",
                    "best_source": source[0],
                    "best_source_score": best.mean(),
                    "best_zero_shot": source[0],
                    "best_zero_shot_score": best.mean(),
                    "avg_zero_shot_score": 0.5,
                    "native_score": 0.9,
                    "p_best_source": mcnemar(own & ~best, best & ~own),
                }
            )
    frame = pd.DataFrame(rows)
    for name in BASELINES:
        frame[f"vs_{name}"] = frame["score"] - frame[f"{name}_score"]
    frame["p_best_source_holm"] = np.minimum(1, 20 * frame["p_best_source"])
    numeric = [f"p_{name}{end}" for name in TESTED for end in ("", "_holm")]
    frame = frame.astype({"num_sources": "Int64", "seed": "Int64", "total": "Int64"} | dict.fromkeys(numeric, float))
    matrix = TransferMatrix(tuple(locales), tuple(locales), random.random((len(locales), len(locales))), "made up")
    return ReportData(comparison.Comparison(frame, ["a note"], {}, Pairs("accuracy", answers)), matrix)


class Tables(HTMLParser):
    """Id of each table -> its rows of texts, the head first, and which of them a phone shows at once; and every address
    that the page would fetch.
    """

    def __init__(self, text: str):
        super().__init__()
        self.tables, self.kept, self.fetched, self._rows, self._cell = {}, {}, [], None, None
        self.feed(text)

    def on_a_phone(self, name: str) -> list[list[str]]:
        return [[cell for cell, stays in zip(*row) if stays] for row in zip(self.tables[name], self.kept[name])]

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.fetched += [
            value
            for name, value in attributes.items()
            if name in ("src", "href", "xlink:href") and not value.startswith(("#", "data:"))
        ]
        if tag == "table":
            self._rows = self.tables.setdefault(attributes["id"], [])
            self._kept = self.kept.setdefault(attributes["id"], [])
        elif tag == "tr":
            self._rows.append([])
            self._kept.append([])
        elif tag in ("td", "th"):
            self._rows[-1].append("")
            self._kept[-1].append("further" not in (attributes.get("class") or "").split())
            self._cell = tag

    def handle_endtag(self, tag):
        if tag == self._cell:
            self._cell = None

    def handle_data(self, data):
        if self._cell:
            self._rows[-1][-1] += data


# What it says


@pytest.fixture
def page(results, tmp_path, monkeypatch, capsys):
    """The command's page of test_aggregation's results, and what it printed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(language_data, "read_similarity", lambda path, codes: None)
    assert report_command.main(["--results-dir", "results", "--title", "A & B"]) == 0
    return (tmp_path / "report.html").read_text(encoding="utf-8"), capsys.readouterr().out


def test_its_numbers_are_those_of_the_results(page):
    text, printed = page
    tables = Tables(text).tables
    head, *rows = tables["table-methods"]
    assert rows[0][:3] == ["similarity_2lang", "0.8000", "+5.0"] and rows[0][-3:] == ["2", "sinkhorn", "2"]
    assert rows[1][:3] == ["average_3lang", "0.6000", "−20.0"] and rows[1][-3:] == ["3", "sinkhorn", "1"]
    won = head.index("Won : lost")
    assert [row[won] for row in rows] == ["1 : 0", "0 : 1"] and rows[0][-6:-3] == ["+0.0", "+22.5", "−5.0"]
    # By model: on its own language, mean on the other locales, of how many locales it is best, in how many results.
    assert [row[:1] + row[2:] for row in tables["table-sources"][1:]] == [
        ["de-DE", "", "0.7000", "1", "2", "3"],
        ["en-US", "", "0.6500", "1", "2", "1"],
        ["nl-NL", "", "0.5500", "0", "2", "3"],
        ["da-DK", "0.8000", "0.5000", "0", "1", "0"],
        ["af-ZA", "0.9000", "0.3000", "0", "1", "0"],
    ]
    # af-ZA: own model, mean and best of the others, the best method, its best source and gain.
    assert tables["table-locales"][1][:-1] == [
        "af-ZA",
        "Afrikaans",
        "Germanic",
        "0.9000",
        "0.6500",
        "0.8000",
        "en-US",
        "similarity_2lang",
        "0.8000",
        "nl-NL",
        "+10.0",
    ]
    first, second = tables["table-af-ZA"][1:]
    assert first[:2] == ["similarity_2lang", "0.8000"] and second[:2] == ["average_3lang", "0.6000"]
    assert [first[-3], second[-3]] == ["nl-NL\xa060.0\xa0%, de-DE\xa040.0\xa0%", "nl-NL, de-DE, en-US, equally"]
    # nl-NL is right on 7 of 10, the merge on these and on one more: McNemar's p is 1.
    assert first[4:6] == ["1", "1"] and len(tables["table-results"]) == 1 + 3
    assert "<title>A &amp; B</title>" in text
    assert "merginguriel report --results-dir results --title &#x27;A &amp; B&#x27;" in text
    assert "Best on average: similarity_2lang, accuracy 0.8000 on average over 2 locales, +5.0 points" in printed
    assert printed.rstrip().endswith("report: report.html")


def test_the_page_of_the_committed_results_is_theirs():
    text = (ROOT / "docs/results/votes_and_merges.html").read_text(encoding="utf-8")
    found = Tables(text)
    results = pd.read_csv(ROOT / "docs/results/votes_and_merges.csv").query("method != 'best source'")
    means = results.groupby(["method", "selection"])["accuracy"].mean()
    shown = {(row[0].removesuffix(f"_{row[-2]}"), row[-2]): float(row[1]) for row in found.tables["table-methods"][1:]}
    assert shown == pytest.approx(dict(means), abs=1e-4) and len(found.tables["table-results"]) == 1 + len(results)
    assert found.fetched == [] and len(text) < 1_500_000


def test_it_tells_how_each_number_is_made(page):
    cells = [row[-1] for row in Tables(page[0]).tables["table-da-DK"][1:]]
    assert cells[0].startswith(
        "showmerginguriel merge --mode similarity "
        "--target-lang da-DK --dataset-name mini --base-model models/tiny --num-languages 2"
    )
    assert "<pre>merginguriel nxn --dataset-name mini --base-model tiny</pre>" in page[0]


def test_what_decides_is_on_a_phone_at_once(page):
    found = Tables(page[0])
    shown = {name: found.on_a_phone(name) for name in found.tables}
    heads = {name: rows[0] for name, rows in shown.items()}
    assert heads["table-methods"] == ["Method", "Mean accuracy", "Against best source", "95 % interval"]
    assert heads["table-sources"] == ["Model of", "On its own language", "Mean transfer", "Best on"]
    assert heads["table-locales"] == ["Locale", "Best method", "Accuracy", "Gain"]
    assert heads["table-results"] == ["Method", "Locale", "Accuracy", "Gain"]
    assert heads["table-af-ZA"] == ["Method", "Accuracy", "Gain", "its 95 % interval"]
    assert shown["table-methods"][1][:3] == ["similarity_2lang", "0.8000", "+5.0"]
    for name, rows in shown.items():  # a column stays or gives way as a whole, and can be had
        assert {len(row) for row in rows} == {len(heads[name])}
        fewer = len(heads[name]) < len(found.tables[name][0])
        assert fewer == (f'data-columns="{name}"' in page[0]) and f'data-csv="{name}"' in page[0]


class Told(HTMLParser):
    """What a page says to people: its text without scripts, styles and commands."""

    def __init__(self, text: str):
        super().__init__()
        self.text, self._within = "", []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        if tag in ("script", "style", "code", "pre"):
            self._within.append(tag)

    def handle_endtag(self, tag):
        if self._within and tag == self._within[-1]:
            self._within.pop()

    def handle_data(self, data):
        self.text += "" if self._within else data + "\n"


@pytest.fixture(scope="module")
def page_of_14(tmp_path_factory):
    """With every picture."""
    locales = DEFAULT_LOCALES[:14]
    found = replace(made_up(["average", "ties"], locales), similarity=uriel.dense_matrix(locales))
    return write_page(found, tmp_path_factory.mktemp("page") / "report.html")


def test_it_has_one_minus_sign(page_of_14):
    told = Told(page_of_14.read_text(encoding="utf-8")).text
    assert re.findall(r"(?<![\w.])-\d[\d.]*", told) == [] and len(re.findall(r"(?<![\w.])−\d", told)) > 50
    # The tree too, which has a loss.
    assert "The tree joins languages that are alike" in told


def test_it_needs_nothing_from_elsewhere(page):
    text, _ = page
    assert Tables(text).fetched == [] and "@import" not in text
    assert not re.search(r"url\((?!#)", text)


def test_damage_is_named_and_refusals_are_one_line(results, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(language_data, "read_similarity", lambda path, codes: None)
    (results / "average_merge_af-ZA_3merged/results.json").write_text("{")
    assert report_command.main([]) == 1
    assert "average_merge_af-ZA_3merged/results.json is no JSON object" in (tmp_path / "report.html").read_text()
    assert report_command.main(["--results-dir", "nowhere"]) == 2 and report_command.main(["--locales", "th-TH"]) == 2
    assert "no folder nowhere" in capsys.readouterr().err


def test_sentences(results):
    write_merge(results, "average", "da-DK", dict.fromkeys(("nl-NL", "de-DE", "en-US"), 1 / 3), "1111111000")
    found = read_data.from_results(results, None)
    told = dict(findings(found.comparison.frame, found.summary, found.titles))
    # average: 6 against 8 and 7 against 8; similarity: 8 against 7 and 8 against 8.
    assert told["All together:"].startswith(
        "of 4 results, 1 (none by more than chance) better than the best of "
        "their sources and 2 (none by more than chance) worse."
    )
    assert (
        told["Largest gains:"] == "Afrikaans (af-ZA) +10.0 with similarity_2lang; Danish (da-DK) +0.0 with "
        "similarity_2lang."
    )
    assert "No locale is lost:" in told
    assert (
        told["similarity_2lang beside the other baselines:"] == "+0.0 against the best of all other models, +22.5 "
        "against their mean, −5.0 against the target's own model, in points."
    )
    assert told["What this rests on:"].startswith("10 test items a locale. One seed (42)")


def test_without_baselines_it_says_so(results):
    for folder in results.glob("tiny_*"):
        folder.rename(results.parent / folder.name)
    found = read_data.from_results(results, None)
    assert findings(found.comparison.frame, found.summary, found.titles)[0].lead == "No comparison with the sources:"
    assert "No single model was measured" in page_of(found, title="", made="", origin="", command="")


# In a browser

SORT = """
const table = document.getElementById('table-results'), heads = table.tHead.rows[0].cells;
const head = Array.from(heads).find(cell => cell.textContent.startsWith('Gain'));
const column = () => Array.from(table.tBodies[0].rows, row => row.cells[head.cellIndex].dataset.v);
const sorted = {};
for (let turn = 0; turn < 2; turn++) {
  head.querySelector('button').click();
  sorted[head.getAttribute('aria-sort')] = column();
}
sorted.others = Array.from(heads).filter(cell => cell !== head && cell.getAttribute('aria-sort') !== 'none').length;
heads[0].querySelector('button').click();
sorted.methods = Array.from(table.tBodies[0].rows, row => row.cells[0].textContent);
"""
FILTER = """
const controls = document.querySelector('[data-for=table-results]'), said = controls.querySelector('output');
const shown = () => [said.textContent, Array.from(table.tBodies[0].rows).filter(row => !row.hidden).length];
const set = (field, value) => {
  field.value = value;
  field.dispatchEvent(new Event('input', {bubbles: true}));
  return shown();
};
const search = controls.querySelector('input'), family = controls.querySelector('select[name=family]');
const filtered = {all: shown(), words: set(search, 'SW-ke  ties'), none: set(search, '<b>'), back: set(search, ''),
                  family: set(family, 'Slavic')};
"""


@needs_browser
def test_large_page_sorts_and_filters(tmp_path):
    found = made_up(METHOD_NAMES[:20], DEFAULT_LOCALES)
    frame = found.comparison.frame
    frame.loc[frame.index[:30], ["best_source_score", "vs_best_source", "p_best_source_holm"]] = np.nan
    page = write_page(found, tmp_path / "report.html")
    seen, console = answer(
        page,
        f"""
        {SORT} {FILTER}
        return {{sorted, filtered, problems,
                 open: Array.from(document.querySelectorAll('details[open]'), one => one.id)}};""",
        fragment="#locale-sw-KE",
    )
    assert seen["problems"] == [] and console == ""
    gains = (100 * frame["vs_best_source"]).round(6)
    for order, descending in (("descending", True), ("ascending", False)):
        values = seen["sorted"][order]
        assert values[-30:] == [""] * 30
        assert [float(value) for value in values[:-30]] == sorted(gains.dropna(), reverse=descending)
    words = sum("ties" in row.variant and "sw-KE" in (row.locale, row.best_source) for row in frame.itertuples())
    assert seen["sorted"]["others"] == 0 and seen["sorted"]["methods"] == sorted(seen["sorted"]["methods"])
    assert seen["filtered"] == {
        "all": ["980 of 980 rows", 980],
        "words": [f"{words} of 980 rows", words],
        "none": ["0 of 980 rows", 0],
        "back": ["980 of 980 rows", 980],
        "family": ["60 of 980 rows", 60],
    }
    assert seen["open"] == ["locale-sw-KE"]


@needs_browser
def test_phone_and_dark(tmp_path):
    page = write_page(made_up(["average", "ties"], DEFAULT_LOCALES[:7]), tmp_path / "report.html")
    seen = answer_in_frame(
        page,
        """
        const root = page.document.documentElement, style = page.getComputedStyle(page.document.body);
        for (const each of page.document.querySelectorAll('details')) each.open = true;
        return {page: root.scrollWidth, room: root.clientWidth, window: page.innerWidth, colour: style.color,
                ground: style.backgroundColor, size: parseFloat(style.fontSize),
                narrow: Array.from(page.document.querySelectorAll('.controls input'),
                                   box => box.getBoundingClientRect().width),
                letters: Math.min(...Array.from(page.document.querySelectorAll('svg text'),
                                                text => text.getBoundingClientRect().height))};""",
        width=390,
        flags=["--blink-settings=preferredColorScheme=0"],
    )
    assert seen["window"] == 390 and seen["page"] == seen["room"]  # nothing sticks out; tables scroll in their frames
    assert seen["size"] == 16 and min(seen["narrow"]) > 300
    light, dark = ([int(part) for part in re.findall(r"\d+", seen[name])] for name in ("colour", "ground"))
    assert min(light) > 200 and max(dark) < 60
    assert seen["letters"] > 8


@needs_browser
def test_nothing_is_cut_on_a_phone(page_of_14):
    seen = answer_in_frame(
        page_of_14,
        """
        const all = chosen => Array.from(page.document.querySelectorAll(chosen));
        for (const each of all('details.locale')) each.open = true;
        const wider = frame => frame.scrollWidth - frame.clientWidth;
        const frames = () => Object.fromEntries(all('.scroll table').map(one => [one.id, wider(one.parentElement)]));
        const first = frames(), columns = page.document.querySelector('[data-columns=table-methods]');
        columns.click();
        return {first, whole: frames()['table-methods'], pressed: columns.getAttribute('aria-pressed'),
                pictures: ['ranking', 'tree'].map(
                  name => wider(page.document.getElementById('picture-' + name).nextElementSibling))};""",
        width=390,
    )
    assert {name: wider for name, wider in seen["first"].items() if wider > 0 and name != "table-versions"} == {}
    assert seen["whole"] > 100 and seen["pressed"] == "true"
    assert seen["pictures"] == [0, 0]


@needs_browser
@pytest.mark.skipif(not shutil.which("pdftotext"), reason="no pdftotext: Debian's package poppler-utils has one")
def test_nothing_is_cut_on_paper(tmp_path):
    page = write_page(made_up(METHOD_NAMES[:4], DEFAULT_LOCALES[:30]), tmp_path / "report.html")
    sheets = printed(page)
    assert len(sheets) > 4
    for width, words in sheets:
        assert all(0 < low and high < width for _, low, high in words)
    there = {word for _, words in sheets for word, *_ in words}
    tables = Tables(page.read_text(encoding="utf-8")).tables
    for name in ("methods", "sources", "locales", "results"):
        heads = re.findall(r"\w{5,}", " ".join(tables[f"table-{name}"][0]))
        assert heads and set(heads) <= set(re.findall(r"\w{5,}", " ".join(there)))
    # The last table, of 120 rows, has its heads on each of its pages.
    of_rows = [words for _, words in sheets if sum(word in METHOD_NAMES for word, *_ in words) > 20]
    assert all({"Method", "Family", "Gain"} <= {word for word, *_ in words} for words in of_rows[-2:])


@needs_browser
def test_a_table_is_downloaded_as_csv(tmp_path):
    found = made_up(["average"], DEFAULT_LOCALES[:8])
    names = ["=1+1", "+x", "-2", "-2e3", "@a", " =a", 'a"b, c', "plain"]
    frame = found.comparison.frame.assign(variant=names, best_source=["-x", *DEFAULT_LOCALES[1:8]])
    page = write_page(replace(found, comparison=replace(found.comparison, frame=frame)), tmp_path / "report.html")
    seen, console = answer(
        page,
        """
        const made = [], saved = [];
        URL.createObjectURL = blob => { made.push([blob.type, blob.size]); return 'blob:none'; };
        HTMLAnchorElement.prototype.click = function () { saved.push([this.download, this.href]); };
        const controls = document.querySelector('[data-for=table-results]'), search = controls.querySelector('input');
        const whole = csvOf(document.getElementById('table-results'));
        document.querySelector('button[data-csv=table-results]').click();
        search.value = 'plain';
        search.dispatchEvent(new Event('input', {bubbles: true}));
        return {whole, filtered: csvOf(document.getElementById('table-results')), made, saved,
                methods: csvOf(document.getElementById('table-methods')), problems};""",
    )
    assert seen["problems"] == [] and console == ""
    table = pd.read_csv(io.StringIO(seen["whole"]), dtype={"Method": str})
    # What was there, as every other CSV of the toolkit has it, to the last digit.
    assert list(table["Method"]) == [str(csv_cells.cell(name)) for name in names]
    assert table["Method"][0] == "'=1+1" and table["Method"][2] == "-2" and table["Best source"][0] == "'-x"
    np.testing.assert_array_equal(table["Accuracy"], frame["score"])
    np.testing.assert_allclose(table["Gain"], 100 * frame["vs_best_source"], atol=1e-6)
    np.testing.assert_array_equal(table["p (Holm)"], frame["p_best_source_holm"])
    head, row = csv.reader(io.StringIO(seen["filtered"]))
    assert row[head.index("Method")] == "plain"
    assert seen["made"] == [["text/csv", len(seen["whole"].encode())]]
    assert seen["saved"] == [["results.csv", "blob:none"]]
    methods = pd.read_csv(io.StringIO(seen["methods"]))
    assert list(methods["Won : lost"].str.match(r"[01] : [01]$")) == [True] * 8
    assert methods["95 % interval"].str.match(r"\[-?\d+\.\d\d, -?\d+\.\d\d\]$").all()


@needs_browser
def test_nothing_gets_out_of_its_cell(tmp_path):
    found = made_up(["average"], DEFAULT_LOCALES[:6])
    evil = "<img src=x onerror=hacked=1>\"'&$x_1^2$"
    frame = found.comparison.frame.assign(variant=evil, selection=evil, git_commit=evil, folder=evil, timestamp=evil)
    found = replace(found, comparison=replace(found.comparison, frame=frame, notes=[evil]), damaged={evil: evil})
    page = write_page(found, tmp_path / "report.html")
    assert Tables(page.read_text()).tables["table-methods"][1][0] == evil
    seen, console = answer(
        page,
        """return {images: document.querySelectorAll('img').length, hacked: 'hacked' in window,
        method: document.getElementById('table-methods').tBodies[0].rows[0].cells[0].textContent, problems};""",
    )
    assert seen == {"images": 0, "hacked": False, "method": evil, "problems": []} and console == ""


def test_a_page_of_flores_codes(tmp_path):
    codes = ["quy_Latn", "hau_Latn", "ace_Arab", "ace_Latn", "eus_Latn", "dialect_a"]
    page = Tables(write_page(made_up(["average", "ties"], codes), tmp_path / "report.html").read_text()).tables
    told = {row[0]: row[1:3] for row in page["table-locales"][1:]}
    assert told == {
        "ace_Arab": ["Acehnese", "Austronesian"],
        "ace_Latn": ["Acehnese", "Austronesian"],
        "dialect_a": ["dialect_a", "unknown"],
        "eus_Latn": ["Basque", "unknown"],
        "hau_Latn": ["Hausa", "Chadic"],
        "quy_Latn": ["Ayacucho Quechua", "Quechuan"],
    }
    assert len(page["table-quy_Latn"]) == 3


# Making it again


@pytest.mark.parametrize(
    "flags",
    [
        "--mode average --num-languages 2",
        "--mode similarity --num-languages 3 --selection cosine",
        "--mode uriel --num-languages 2 --selection sinkhorn",
        "--mode linear --num-languages 2 --preweight uriel",
        "--mode linear --weights nl-NL=0.7,de-DE=0.3",
        "--mode manual --weights id-ID=0.25,de-DE=0.75",
        "--mode similarity --sources nl-NL,id-ID",
        "--mode average --num-languages 2 --similarity-source dense --top-k 10 --sinkhorn-iters 5",
        "--mode ties --num-languages 2 --density 0.5 --scope tensor",
        "--mode task_arithmetic --num-languages 2 --form mean --scaling 0.4 --preweight uriel",
        "--mode dare --num-languages 2 --base-checkpoint {root}/init/tiny_seed42 --seed 7",
        "--mode fisher_dataset --num-languages 2 --no-normalize-fisher --num-fisher-examples 20 "
        "--fisher-data-mode both",
    ],
)
def test_a_merge_is_told_by_its_command(models_root, monkeypatch, capsys, flags):
    plans, plan_merge = [], plan.plan_merge
    monkeypatch.setattr(
        plan, "plan_merge", lambda *given, **more: plans.append(plan_merge(*given, **more)) or plans[-1]
    )
    flags = [*flags.format(root=models_root).split(), "--target-lang", "af-ZA", "--base-model", "tiny"]
    flags += ["--models-root", str(models_root), "--dry-run"]
    if "fisher_dataset" in flags:
        flags += ["--dataset-name", "mini"]
    assert pipeline.main(flags) == 0
    info = {"dataset": "mini" if "mini" in flags else "AmazonScience/massive", "locale": "af-ZA"}
    told = reproduction.command_of({"experiment": plans[0].record(), "evaluation_info": info})
    program, name, *again = shlex.split(told)
    assert (program, name) == ("merginguriel", "merge")
    assert pipeline.main([*again, "--dry-run"]) == 0, capsys.readouterr().err
    assert plans[1] == plans[0]


def test_votes_are_told_and_older_results_are_not():
    sources = [
        {"locale": "nl-NL", "path": "haryos_model/xlm-roberta-base_massive_k_nl-NL", "weight": 0.5},
        {"locale": "de-DE", "path": "haryos_model/xlm-roberta-base_massive_k_de-DE", "weight": 0.5},
    ]
    vote = {
        "mode": "ensemble_soft",
        "target": "af-ZA",
        "base_model": "xlm-roberta-base",
        "preweight": "equal",
        "seed": 3,
        "num_examples": 100,
        "similarity": {"selection": "explicit"},
        "sources": sources,
    }
    info = {"dataset": "AmazonScience/massive", "split": "validation", "locale": "af-ZA", "model_name": "x"}
    assert reproduction.command_of({"experiment": vote, "evaluation_info": info}) == (
        "merginguriel ensemble --voting-method soft --target-lang af-ZA --sources "
        "nl-NL,de-DE --preweight equal --split validation --num-examples 100 --seed 3"
    )
    assert reproduction.command_of({"evaluation_info": info}) is None
    assert reproduction.command_of({"experiment": {"mode": "ties"}, "evaluation_info": info}) is None
