"""Pictures: they show the numbers that the results have, whatever their number; the commands that draw them."""

import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from dataclasses import replace

import matplotlib.colors
import numpy as np
import pandas as pd
import pytest
from made_results import ALARM, PLAY, merge_experiment, model_path, write_answers, write_merge
from running import ROOT, environment

from merginguriel import plot_results, quick_plot
from merginguriel.utils.data.massive_languages import DEFAULT_LOCALES, LOCALES
from merginguriel.utils.evaluation import statistics
from merginguriel.utils.flags.result_flags import FORMATS, KINDS
from merginguriel.utils.report import (
    heatmaps,
    overview_pictures,
    pictures,
    plot_command,
    plots,
    relation_plots,
    row_plots,
    tree_plot,
)
from merginguriel.utils.report.read_data import from_csv, from_results
from merginguriel.utils.results import csv_tables
from merginguriel.utils.results.baselines import BASELINES, TESTED
from merginguriel.utils.results.pairs import Pairs
from merginguriel.utils.similarity.matrix import similarities
from merginguriel.utils.similarity.transfer import TransferMatrix
from merginguriel.utils.storage import naming


@pytest.fixture
def found(results):
    """The results of test_aggregation, and average with 2 sources on both targets: 9 and 5 of 10."""
    write_merge(results, "average", "af-ZA", dict.fromkeys(("nl-NL", "de-DE"), 0.5), "1111111110")
    write_merge(results, "average", "da-DK", dict.fromkeys(("nl-NL", "de-DE"), 0.5), "1111100000")
    locales = ("af-ZA", "da-DK", "de-DE", "en-US", "nl-NL")
    similarity = similarities(locales, np.random.default_rng(0).random((5, 5)), "made up")
    return from_results(results, None, similarity=similarity)


def drawn(found, name):
    return next(picture for picture in pictures.pictures(found) if picture.name == name).draw()


def texts(figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def row_names(axes) -> list[str]:
    return [label.get_text() for label in axes.get_yticklabels()]


# What is drawn


def test_every_kind_of_picture(found):
    names = {kind: [picture.name for picture in pictures.pictures(found, [kind])] for kind in KINDS}
    methods = ("average_2lang", "average_3lang", "similarity_2lang")
    assert names["accuracy"] == [f"pure_scores_{method}" for method in methods]
    # average_3lang has one locale, and one gain is no picture.
    assert names["win_rate"] == [
        f"{against}_{method}"
        for method in ("average_2lang", "similarity_2lang")
        for against in ("vs_avg_zero", "vs_best_zero", "vs_best_source")
    ] + ["win_rates"]
    assert names["heatmap"] == ["gains", "transfer", "similarity"]
    # Two locales are too few for ranks.
    assert names["summary"] == ["ranking", "gain_by_sources", "similarity_and_transfer"]
    assert tuple(KINDS) == ("accuracy", "win_rate", "heatmap", "summary") and FORMATS == ("png", "svg", "pdf")
    assert {picture.name for picture in pictures.pictures(found)} == set(sum(names.values(), []))
    for picture in pictures.pictures(found):
        assert picture.draw().axes and picture.shows.endswith(".")


@pytest.mark.parametrize(
    "name, values",
    [
        ("vs_avg_zero_average_2lang", {"af-ZA": 90 - 65, "da-DK": 50 - 50}),
        ("vs_best_zero_average_2lang", {"af-ZA": 90 - 80, "da-DK": 50 - 80}),
        ("vs_best_source_average_2lang", {"af-ZA": 90 - 70, "da-DK": 50 - 80}),
    ],
)
def test_differences_are_what_the_name_says(found, name, values):
    figure = drawn(found, name)
    axes = figure.axes[0]
    assert row_names(axes) == [row_plots.language(locale) for locale in values]
    assert [bar.get_width() for bar in axes.patches] == pytest.approx(list(values.values()))
    assert texts(figure) == [f"{value:+.1f}".replace("-", "−") for value in values.values()]
    assert f"mean {np.mean(list(values.values())):+.2f} points".replace("-", "−") in axes.get_title(loc="left")
    colours = [bar.get_facecolor()[:3] for bar in axes.patches]
    assert (colours[0] == colours[1]) == (values["da-DK"] >= 0)


def test_scores_stand_beside_their_baselines(found):
    axes = drawn(found, "pure_scores_similarity_2lang").axes[0]
    lines = {line.get_label(): list(line.get_xdata()) for line in axes.lines}
    assert row_names(axes) == ["Afrikaans  af-ZA", "Danish  da-DK"]
    assert lines["similarity_2lang"] == [0.8, 0.8] and lines["native"] == [0.9, 0.8]
    assert lines["average zero-shot"] == pytest.approx([0.65, 0.5]) and lines["best zero-shot"] == [0.8, 0.8]
    assert lines["best source"] == [0.7, 0.8]


def test_gains_rank_and_win(found):
    figure = drawn(found, "gains")
    # Best mean first: similarity, average of 2, average of 3, which has no result on da-DK.
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == [
        "similarity_2lang",
        "average_2lang",
        "average_3lang",
    ]
    assert [text for text in texts(figure) if text[0] in "+−"] == ["+10.0", "+20.0", "−20.0", "+0.0", "−30.0"]
    figure = drawn(found, "ranking")
    assert row_names(figure.axes[0]) == ["similarity_2lang  (2)", "average_2lang  (2)", "average_3lang  (1)"]
    assert texts(figure) == ["+5.00", "−5.00", "−20.00"]
    figure = drawn(found, "win_rates")
    assert [axes.get_title(loc="left") for axes in figure.axes] == [
        "against best source",
        "against best zero-shot",
        "against average zero-shot",
        "against native",
    ]
    # similarity wins 1 of 2 and ties once, average_2lang wins 1 and loses 1, average_3lang loses its only one.
    assert [text.get_text() for text in figure.axes[0].texts] == ["1/2", "1/2", "0/1"]
    assert [bar.get_width() for bar in figure.axes[0].patches] == [50, 50, 0, 50, 0, 0, 0, 50, 100]


def test_gain_by_number_of_sources(found):
    figure = drawn(found, "gain_by_sources")
    (axes,) = figure.axes
    points = axes.lines[-1]
    assert axes.get_title(loc="left") == "average"
    assert list(points.get_xdata()) == [2, 3] and list(points.get_ydata()) == pytest.approx([-5, -20])


def test_transfer_is_rows_models_and_columns_locales(found):
    assert found.transfer.sources == ("af-ZA", "da-DK", "de-DE", "en-US", "nl-NL")
    assert found.transfer.targets == ("af-ZA", "da-DK")
    np.testing.assert_allclose(found.transfer.values, [[0.9, 0.3], [0.5, 0.8], [0.6, 0.8], [0.8, 0.5], [0.7, 0.4]])
    figure = drawn(found, "similarity_and_transfer")
    # Similarity of a source (row) to a target (column); the target's own model is left out.
    similarity = found.similarity.values
    expected = statistics.stats.spearmanr(similarity[[1, 2, 3, 4], 0], [0.5, 0.6, 0.8, 0.7]).statistic
    points = {label: x for label, x in zip(row_names(figure.axes[1]), figure.axes[1].lines[0].get_xdata())}
    assert points["af-ZA"] == pytest.approx(expected)


def test_models_on_their_own_languages_alone_say_nothing_about_transfer(found):
    locales = found.similarity.targets
    own = np.where(np.eye(len(locales), dtype=bool), 0.9, np.nan)
    found = replace(found, transfer=TransferMatrix(locales, locales, own, "made up"))
    assert "similarity_and_transfer" not in {picture.name for picture in pictures.pictures(found)}


def test_rank_correlations_against_scipy():
    random = np.random.default_rng(1)
    alike, transfer = random.random((6, 3)), random.random((6, 3))
    alike[0, 1] = np.nan
    transfer[:, 2] = 0.5
    found = relation_plots.rank_correlations(alike, transfer)
    assert found[0] == pytest.approx(statistics.stats.spearmanr(alike[:, 0], transfer[:, 0]).statistic)
    assert found[1] == pytest.approx(statistics.stats.spearmanr(alike[1:, 1], transfer[1:, 1]).statistic)
    assert np.isnan(found[2])


def test_accuracy_by_intent(tmp_path):
    # Of alarm_set the best source has 2 of 4 right and the merge 3, of play_music 5 of 6 and 4.
    gold = [ALARM] * 4 + [PLAY] * 6
    told = {
        "nl-NL": ("1100111110", {"model": model_path("nl-NL")}),
        "de-DE": ("1000000000", {"model": model_path("de-DE")}),
        "merge": ("1110111100", {"experiment": merge_experiment("average", "af-ZA", {"nl-NL": 0.5, "de-DE": 0.5})}),
    }
    for name, (right, more) in told.items():
        answers = [label if bit == "1" else ALARM + PLAY - label for label, bit in zip(gold, right)]
        folder = naming.merge_name("average", "af-ZA", 2) if name == "merge" else f"tiny_massive_k_{name}_af-ZA"
        write_answers(tmp_path / folder, "af-ZA", gold, answers, **more)
    figure = drawn(from_results(tmp_path, None), "intents_average")
    (axes,) = figure.axes
    assert row_names(axes) == ["alarm_set", "play_music"]
    assert [(line.get_label(), list(line.get_xdata())) for line in axes.lines] == [
        ("best source", pytest.approx([2 / 4, 5 / 6])),
        ("average", pytest.approx([3 / 4, 4 / 6])),
    ]


def test_a_single_number_is_no_picture(results, monkeypatch):
    """One method, one target, one number of sources, one label: only its score beside the baselines has several."""
    one = from_results(results, None, locales=["af-ZA"], types=["similarity"])
    assert [picture.name for picture in pictures.pictures(one)] == ["pure_scores_similarity"]
    monkeypatch.chdir(results.parent)
    said = plot_command.draw(one, ["win_rate", "summary"], results.parent / "plots", ["png"])
    assert said.startswith("no picture: a single number needs none;")


def family_tree() -> tuple[list[str], np.ndarray]:
    """Twelve locales in three groups: 0.9 alike within one, 0.5 between the first two, 0.2 to the last."""
    locales = "af-ZA nl-NL de-DE da-DK es-ES it-IT fr-FR pt-PT hi-IN bn-BD ur-PK ta-IN".split()
    group = np.arange(12) // 4
    alike = np.where(np.maximum.outer(group, group) == 2, 0.2, 0.5)
    return locales, np.where(group[:, None] == group, 0.9, alike)


def test_tree_joins_what_is_alike_and_tells_every_gain():
    locales, alike = family_tree()
    mixed = np.random.default_rng(0).permutation(12)
    gains = np.array([7, 4, 2, 0.5, 0, 0, 0, 0, -0.5, -2, -4, -7])
    figure = tree_plot.tree([locales[place] for place in mixed], alike[np.ix_(mixed, mixed)], gains[mixed], label="l")
    branches, bars = figure.axes[:2]
    of = {name: gain for name, gain in zip(map(row_plots.language, locales), gains)}
    names = row_names(bars)
    assert sorted(names) == sorted(of)
    for first in range(0, 12, 4):  # each group stands together
        assert len({list(of).index(name) // 4 for name in names[first : first + 4]}) == 1
    assert [bar.get_width() for bar in bars.patches[:12]] == [of[name] for name in names]
    assert texts(figure)[:12] == [f"{of[name]:+.1f}".replace("-", "−") for name in names]
    shade = {name: bar.get_facecolor() for name, bar in zip(names, bars.patches)}
    steps = [matplotlib.colors.to_rgba(colour) for colour in plots.STEPS]
    assert [steps.index(shade[name]) for name in of] == [6, 5, 4, 3, 3, 3, 3, 3, 3, 2, 1, 0]
    # The last join is of the third group, of mean -3.4, to the others, of mean 1.7, at a height of 1 - 0.2.
    last = branches.lines[-2:]
    assert {round(max(line.get_xdata()), 6) for line in last} == {0.8}
    assert {line.get_color() for line in last} == {plots.STEPS[4], plots.STEPS[1]}


def test_a_tree_needs_ten_languages_that_the_similarity_knows(found):
    locales, alike = family_tree()
    rows = found.frame[found.frame["variant"] == "similarity_2lang"].iloc[:1]
    measured = [*locales, "sw-KE", "tr-TR"]
    frame = pd.concat([rows.assign(locale=locale, vs_best_source=0.01) for locale in measured], ignore_index=True)
    data = replace(found, comparison=replace(found.comparison, frame=frame, pairs=Pairs()))
    for known, names in ((12, ["tree"]), (10, ["tree"]), (9, [])):
        one = replace(data, similarity=similarities(tuple(locales[:known]), alike[:known, :known], "made up"))
        there = list(overview_pictures.gain_by_language(one))
        assert [picture.name for picture in there] == names
    assert list(overview_pictures.gain_by_language(replace(data, similarity=None))) == []
    one = replace(data, similarity=similarities(tuple(locales[:10]), alike[:10, :10], "made up"))
    (picture,) = overview_pictures.gain_by_language(one)
    assert picture.shows.endswith("Without sw-KE, ta-IN, tr-TR, ur-PK, whose similarity is unknown.")
    assert len(row_names(picture.draw().axes[1])) == 10


def test_critical_difference():
    # Demšar 2006, section 3.2.2: four classifiers on 14 data sets, 1.25.
    assert statistics.nemenyi_distance(4, 14) == pytest.approx(1.25, abs=0.005)
    # Ties share their mean rank.
    assert list(statistics.mean_ranks([[0.9, 0.8, 0.8], [0.7, 0.8, 0.6]])) == [1.5, 1.75, 2.75]
    assert relation_plots.cliques(np.array([1, 1.5, 2.2, 4]), 1) == [(0, 1), (1, 2)]
    assert relation_plots.cliques(np.array([1, 2, 3]), 0.5) == []
    figure = relation_plots.critical_difference(["a", "b", "c"], [2.8, 1, 2.2], 1, title="")
    assert texts(figure) == ["critical difference 1.00", "b  1.00", "c  2.20", "2.80  a"]


def test_summary_table(found):
    table = csv_tables.advanced_summary(found.comparison.frame).set_index("locale")
    row = table.loc["da-DK"]
    assert (row["baseline"], row["avg_zero_shot"], row["best_zero_shot"]) == (0.8, 0.5, 0.8)
    assert row["average_2lang"] == 0.5 and row["average_2lang_vs_best_source"] == pytest.approx(-0.3)
    assert row["average_2lang_best_source"] == "de-DE" and row["average_2lang_source_locales"] == "nl-NL de-DE"
    assert np.isnan(row["average_3lang"]) and table.loc["af-ZA", "average_3lang_num_languages"] == 3


def test_a_table_of_aggregation_gives_the_same(found, tmp_path):
    whole = csv_tables.Aggregate(found.comparison.frame, found.comparison, found.summary)
    file = tmp_path / "results_comprehensive_20260101_000000.csv"
    csv_tables.compared(whole, comprehensive=True).to_csv(file, index=False)
    again = from_csv(file)
    columns = [
        "variant",
        "locale",
        "accuracy",
        "num_sources",
        "best_source",
        "kind",
        *(f"vs_{name}" for name in BASELINES),
        *(f"p_{name}_holm" for name in TESTED),
    ]
    first, second = (
        one.comparison.frame[columns]
        .sort_values(["variant", "locale"], ignore_index=True)
        .astype({"num_sources": float})
        for one in (found, again)
    )
    pd.testing.assert_frame_equal(first, second, check_dtype=False)
    without = [picture.name for picture in pictures.pictures(again)]
    assert without == [
        picture.name for picture in pictures.pictures(found) if not re.match("transfer|simil|intents", picture.name)
    ]
    assert "average_2lang" in texts_of_svg(drawn(again, "gains"))
    table = file.read_text()
    file.write_text(table.replace("average_2lang", "../a b"))
    pictures.write(from_csv(file), ["accuracy"], tmp_path / "plots", "now", ["svg"])
    assert (tmp_path / "plots/pure_scores_...a.b_now.svg").is_file()
    file.write_text(table)
    chosen = from_csv(file, locales=["da-DK"], types=["average"], numbers=[2]).comparison.frame
    assert chosen[["locale", "variant"]].to_numpy().tolist() == [["da-DK", "average_2lang"]]


def texts_of_svg(figure) -> str:
    return " ".join(re.findall(r"<text[^>]*>([^<]*)</text>", plots.inline_svg(figure)))


# How it looks


def test_49_locales_and_20_methods_stay_readable(tmp_path):
    """Nothing overlaps in the labels of rows, and no picture is larger than a screen is high, several times."""
    random, locales = np.random.default_rng(0), list(DEFAULT_LOCALES)
    values = random.normal(0, 3, (49, 20))
    methods = [f"a_method_with_a_name_{number}" for number in range(20)]
    every = [
        row_plots.scores(
            locales,
            random.random(49),
            dict.fromkeys("abcd", random.random(49)),
            method="m",
            title="t",
            label="accuracy",
        ),
        row_plots.differences(
            locales,
            values[:, 0],
            title="t",
            label="l",
            intervals=np.full((49, 2), np.nan),
            significant=values[:, 0] > 3,
        ),
        row_plots.ranking(methods, values[0], values[:2].T, label="l", title="t"),
        heatmaps.heatmap(values, locales, methods, label="l", row_title="r", column_title="c", signed=True),
    ]
    for figure in every:
        plots.save(figure, tmp_path / "picture.png", dpi=50)
        labels = figure.axes[0].get_yticklabels()
        assert len(labels) in (20, 49)
        boxes = sorted((label.get_window_extent() for label in labels), key=lambda box: box.y0)
        assert all(below.y1 <= above.y0 + 1 for below, above in zip(boxes, boxes[1:]))
        assert max(figure.get_size_inches()) < 14


def test_any_codes_stand_by_family(tmp_path):
    codes = ["dialect_a", "zul_Latn", "eus_Latn", "nld_Latn", "swh_Latn", "spa_Latn", "ace_Latn", "afr", "ace_Arab"]
    order = ["ace_Arab", "ace_Latn", "swh_Latn", "zul_Latn", "afr", "nld_Latn", "spa_Latn", "dialect_a", "eus_Latn"]
    families = ["Austronesian", "Bantu", "Germanic", "Romance"]
    values = np.random.default_rng(0).random((9, 9))
    figure = heatmaps.heatmap(values, codes, codes, label="l", row_title="r", column_title="c")
    cells = figure.axes[0]
    assert row_names(cells) == order
    assert [text for text in texts(figure) if not text[0].isdigit()] == families * 2
    assert len(cells.lines) == 2 * 4  # between the groups, those of no known family too
    plots.save(figure, tmp_path / "heatmap.png", dpi=50)
    names = max(label.get_window_extent().width for label in cells.get_yticklabels())
    beside = [text.get_window_extent().x1 for text in cells.texts if text.get_text() in families][:4]
    assert max(beside) < cells.get_window_extent().x0 - names  # the families stand clear of the codes

    figure = row_plots.scores(codes, values[0], {"a": values[1]}, method="m", title="t", label="accuracy")
    assert row_names(figure.axes[0])[1:3] == ["Acehnese  ace_Latn", "Swahili  swh_Latn"]
    assert row_names(figure.axes[0])[-2:] == ["dialect_a", "Basque  eus_Latn"] and texts(figure) == families
    # Methods are no languages, though one is called as Mixtepec Mixtec is.
    assert heatmaps.by_family(["ties", "mix", "average"]) == [0, 1, 2]


def test_the_unknown_are_not_of_one_family():
    table = pd.DataFrame(np.arange(9).reshape(3, 3) / 9, ["eus", "dialect_a", "afr"], ["nqo", "dialect_b", "nl-NL"])
    figure = relation_plots.similarity_against_transfer(table, table, "accuracy")
    others, same = figure.axes[0].collections
    assert len(others.get_offsets()) == 8 and same.get_offsets().tolist() == [[8 / 9, pytest.approx(100 / 3)]]


def test_the_same_figure_gives_the_same_bytes_in_every_format(found, tmp_path):
    for suffix, mark in (("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")):
        for name in "ab":
            plots.save(drawn(found, "ranking"), tmp_path / f"{name}.{suffix}")
        first, second = ((tmp_path / f"{name}.{suffix}").read_bytes() for name in "ab")
        assert first == second and first.startswith(mark), suffix
    assert sorted(path.name for path in tmp_path.glob("?.*")) == ["a.pdf", "a.png", "a.svg", "b.pdf", "b.png", "b.svg"]


def test_a_picture_in_a_page_keeps_its_numbers_and_takes_the_pages_colours(found):
    svg = plots.inline_svg(drawn(found, "ranking"))
    assert svg.startswith("<svg") and "currentColor" in svg and plots.INK not in svg
    assert "−20.00" in svg and not re.search(r'"[^"]*\d\.\d{4,}', svg) and "<metadata" not in svg
    assert "$x_1$" in texts_of_svg(row_plots.ranking(["$x_1$"], [1], [[0, 2]], label="", title=""))


def test_names_of_methods_in_pictures(results):
    only = from_results(results, None, numbers=[2])
    assert only.titles == {"similarity_2lang": "similarity"}
    both = from_results(results, None)
    assert both.titles == {name: name for name in ("average_3lang", "similarity_2lang")}


# Commands


def test_plot_results(run, results, tmp_path):
    flags = ["--plot-types", "heatmap", "win_rate", "--num-languages", "2", "--format", "svg"]
    done = run("plot_results.py", *flags, "--locales", "af-ZA", "da-DK", "--results-dir", "results")
    assert done.returncode == 0, done.stderr
    time_ = re.search(r"advanced_analysis_summary_(\d{8}_\d{6})\.csv", done.stdout)[1]
    names = {path.name for path in (tmp_path / "plots").iterdir()}
    assert f"vs_best_source_similarity_{time_}.svg" in names and f"win_rates_{time_}.svg" in names
    assert not [name for name in names if "average" in name or name.startswith((".", "pure"))]
    table = pd.read_csv(tmp_path / f"advanced_analysis_summary_{time_}.csv")
    assert table["similarity_2lang"].tolist() == [0.8, 0.8]


def test_which_table_is_drawn(results, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(plot_command, "with_similarity", lambda data, path: data)
    assert plot_results.main(["--list-csv"]) == 0 and "no results_comprehensive" in capsys.readouterr().out
    for time_, accuracy in (("20260101_000000", 0.5), ("20260202_000000", 0.6)):
        (tmp_path / f"results_comprehensive_{time_}.csv").write_text(
            f"locale,baseline,ties_3lang,ties_3lang_vs_best_source\naf-ZA,0.9,{accuracy},0.1\n"
        )
    assert plot_results.main(["--list-csv"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == [
        "results_comprehensive_20260202_000000.csv",
        "results_comprehensive_20260101_000000.csv",
    ]
    # The newest table, until there is a result that it cannot have; what only results know is read from them.
    newest = "1 result of 1 method on 1 locale, from results_comprehensive_20260202"
    assert plot_results.main(["--plot-types", "accuracy"]) == 0 and newest in capsys.readouterr().out
    assert plot_results.main(["--list-num-languages"]) == 0 and capsys.readouterr().out == "3  1 results\n"
    assert plot_results.main(["--list-num-languages", "--split", "test"]) == 0
    assert capsys.readouterr().out.splitlines() == ["2  2 results", "3  1 results"]
    later = (tmp_path / "results_comprehensive_20260202_000000.csv").stat().st_mtime + 1
    os.utime(results / "similarity_merge_af-ZA_2merged/results.json", (later, later))
    assert plot_results.main(["--plot-types", "accuracy"]) == 0 and "from results\n" in capsys.readouterr().out
    results.rename(tmp_path / "elsewhere")
    assert plot_results.main(["--plot-types", "accuracy"]) == 0
    assert "1 result of 1 method on 1 locale, from results_comprehensive_20260202" in capsys.readouterr().out
    older = "results_comprehensive_20260101_000000.csv"
    assert plot_results.main(["--csv-file", older, "--plot-types", "accuracy"]) == 0
    assert "results_comprehensive_20260101" in capsys.readouterr().out


@pytest.mark.parametrize(
    "flags, said",
    [
        (["--csv-file", "nothing.csv"], "no file nothing.csv"),
        (["--csv-file", "bad.csv"], "is no results_comprehensive table"),
        (["--csv-file", "good.csv", "--num-languages", "4"], "no results with 4 sources; there are some with 3"),
        (["--csv-file", "good.csv", "--locales", "th-TH"], "good.csv has no result of those that were asked for"),
        (
            ["--csv-file", "good.csv", "--experiment-types", "ties", "slerp"],
            "good.csv has no result of slerp; there are some of ties_3lang",
        ),
        (["--num-languages", "7"], "no results with 7 sources; there are some with 2, 3"),
        (["--num-languages", "2,x"], "must be a whole number"),
        (["--results-dir", "nowhere"], "no folder nowhere"),
        (["--experiment-types", "slerp"], "no result of slerp"),
        (["--similarity-matrix", "nowhere.csv"], "no similarity matrix nowhere.csv"),
    ],
)
def test_refused_in_one_line(results, tmp_path, monkeypatch, capsys, flags, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.csv").write_text("a,b\n1,2\n")
    (tmp_path / "good.csv").write_text("locale,ties_3lang,ties_3lang_vs_best_source\naf-ZA,0.5,0.1\n")
    with pytest.raises(SystemExit) if "x" in flags[-1][-1] else open(os.devnull):
        assert plot_results.main(flags) == 2
    (error,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert said in error and not (tmp_path / "plots").exists()


def test_answers_to_the_menu():
    offered = list(KINDS)
    assert quick_plot.kinds_of("1, heatmap 1", offered) == ["accuracy", "heatmap"]
    assert quick_plot.kinds_of("5", offered) == quick_plot.kinds_of("ALL", offered) == offered
    assert quick_plot.locales_of("all", {"sw-KE", "af-ZA"}) == ["af-ZA", "sw-KE"]
    assert quick_plot.locales_of("sw-KE, af-ZA", set(LOCALES)) == ["sw-KE", "af-ZA"]


class Terminal:
    """A command in a terminal of its own."""

    def __init__(self, script, folder):
        self._ours, theirs = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, str(ROOT / script)],
            cwd=folder,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={**environment(), "TERM": "dumb"},
            start_new_session=True,
        )
        os.close(theirs)
        self.seen = ""

    def until(self, text: str, seconds: float = 60) -> str:
        """What is printed up to `text`."""
        end = time.monotonic() + seconds
        while text not in self.seen:
            ready, _, _ = select.select([self._ours], [], [], max(0, end - time.monotonic()))
            assert ready, f"no {text!r} in {self.seen!r}"
            self.seen += os.read(self._ours, 65536).decode()
        before, _, self.seen = self.seen.partition(text)
        return before

    def type(self, line: str) -> None:
        os.write(self._ours, line.encode())

    def close(self) -> int:
        code = self.process.wait(20)
        os.close(self._ours)
        return code


def test_quick_plot_in_a_terminal(results, tmp_path):
    terminal = Terminal("quick_plot.py", tmp_path)
    menu = terminal.until("Which plots? [5] ")
    assert "3 results of 2 methods on 2 locales, from results" in menu
    assert all(f"  {number}  {kind}" in menu for number, kind in enumerate([*KINDS, "all"], 1))
    terminal.type("6\n")
    assert "no 6; type numbers from 1 to 5, or q to stop" in terminal.until("Which plots? [5] ")
    terminal.type("accuracy\n")
    terminal.until("Which locales? [all] ")
    terminal.type("th-TH\n")
    assert "no results on th-TH; there are some on af-ZA, da-DK" in terminal.until("Which locales? [all] ")
    terminal.type("af-ZA\n")
    assert "2 pictures, plots/<name>_" in terminal.until("Which plots? [5] ")
    assert len(list((tmp_path / "plots").iterdir())) == 2
    (drawn,) = (tmp_path / "plots").glob("pure_scores_similarity_2lang_*.png")
    assert drawn.stat().st_size > 10_000 and len(list(tmp_path.glob("advanced_analysis_summary_*.csv"))) == 1
    time.sleep(0.3)  # so that it waits for an answer when it is interrupted
    os.killpg(terminal.process.pid, signal.SIGINT)
    assert terminal.close() == 130


def test_the_menu_is_left(results, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(plot_command, "draw", None)
    for typed in (["q"], ["1", "Quit"], []):
        answers = iter(typed)
        monkeypatch.setattr("builtins.input", lambda question, answers=answers: _typed(answers))
        assert quick_plot.main([]) == 0


def _typed(answers) -> str:
    for answer in answers:
        return answer
    raise EOFError  # Ctrl+D
