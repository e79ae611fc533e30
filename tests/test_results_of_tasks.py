"""Results of tasks of one's own, in tables and on the page: another metric, two tasks in one folder, own codes."""

import csv
import shlex
from dataclasses import replace

import numpy as np
import pytest
from made_results import merge_experiment, write_answers, write_merge, write_old, write_result

from merginguriel import aggregate_results, plot_results
from merginguriel import report as report_command
from merginguriel.utils.data.languages import language, own_codes
from merginguriel.utils.data.massive import MASSIVE
from merginguriel.utils.data.task import Task
from merginguriel.utils.evaluation.metrics import METRICS
from merginguriel.utils.evaluation.resampling import randomisation_test, resampled_scores
from merginguriel.utils.evaluation.statistics import mcnemar, paired_bootstrap
from merginguriel.utils.report import heatmaps, language_data, pictures, plot_command
from merginguriel.utils.report.read_data import from_csv, from_results
from merginguriel.utils.results import collect
from merginguriel.utils.results.baseline_commands import baseline_commands
from merginguriel.utils.results.choice import choose
from merginguriel.utils.results.comparison import compare
from merginguriel.utils.similarity.transfer import TransferMatrix
from merginguriel.utils.similarity.uriel import dense_matrix
from merginguriel.utils.storage import atomic

CODES = (("walser", "gsw"), ("hau_Latn", None), ("north", "sme"), ("eng", None))
TASK = Task("moods", "/data", ("text",), "mood", ("a", "b"), languages=CODES, metric="macro_f1", origin="moods.yaml")
GOLD = "aaaaaaaabb"
# Of 10 items, (right, macro-F1 by hand from 2 hits / (said + support) of a and of b).
ALWAYS_A, NORTH, MERGE, OWN = "aaaaaaaaaa", "aaaabbbbbb", "aaaaabbbbb", "aaaaaabbab"
BY_HAND = {
    ALWAYS_A: (8, (2 * 8 / 18 + 0) / 2),
    NORTH: (6, (2 * 4 / 12 + 2 * 2 / 8) / 2),
    MERGE: (7, (2 * 5 / 13 + 2 * 2 / 7) / 2),
    OWN: (7, (2 * 6 / 15 + 2 * 1 / 5) / 2),
}


def labels(letters):
    return np.array([TASK.labels.index(letter) for letter in letters])


def write(folder, locale, answers, **told):
    return write_answers(folder, locale, labels(GOLD), labels(answers), **{"task": TASK, **told})


def write_moods(results, root="haryos_model", task=TASK):
    """average always says a, as the source eng: right more often, but similarity is better by macro-F1, and north."""
    for locale in ("walser", "hau_Latn"):
        for source, answers in (("eng", ALWAYS_A), ("north", NORTH), ("walser", OWN)):
            name = f"tiny_moods_k_{source}"
            write(results / f"{name}_{locale}", locale, answers, source=source, model=f"{root}/{name}", task=task)
        for mode, answers in (("average", ALWAYS_A), ("similarity", MERGE)):
            experiment = merge_experiment(mode, locale, {"eng": 0.5, "north": 0.5}, task="moods", task_hash="x")
            for source in experiment["sources"]:
                source["path"] = f"{root}/tiny_moods_k_{source['locale']}"
            write(results / f"{mode}_merge_{locale}_2merged_moods", locale, answers, experiment=experiment, task=task)
    return results


@pytest.fixture
def moods(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return write_moods(tmp_path / "results")


def rows(file):
    with open(file, newline="") as lines:
        return list(csv.DictReader(lines))


def compared(folder, task=None):
    return compare(choose(collect.collect(folder, None).long, "test", task=task))


# The metric of the task


def test_the_metric_ranks_and_chooses_baselines(moods):
    for answers, (right, f1) in BY_HAND.items():
        predicted, gold = labels(answers), labels(GOLD)
        assert ((predicted == gold).sum(), METRICS["macro_f1"](predicted, gold)) == (right, pytest.approx(f1))
    comparison = compared(moods)
    frame = comparison.frame.set_index(["method", "locale"])
    row = frame.loc["similarity", "hau_Latn"]
    assert (row.metric, row.accuracy, row.score) == ("macro_f1", 0.7, pytest.approx(BY_HAND[MERGE][1]))
    # By accuracy eng would be the best source, by 0.8 to 0.6; average would be before similarity.
    assert (row.best_source, row.best_source_score) == ("north", pytest.approx(BY_HAND[NORTH][1]))
    assert (row.best_zero_shot, row.best_zero_shot_score) == ("walser", pytest.approx(BY_HAND[OWN][1]))
    assert row.avg_zero_shot_score == pytest.approx(np.mean([BY_HAND[one][1] for one in (ALWAYS_A, NORTH, OWN)]))
    assert frame.loc["similarity", "walser"].native_score == row.best_zero_shot_score
    assert row.vs_best_source == pytest.approx(BY_HAND[MERGE][1] - BY_HAND[NORTH][1])
    test = randomisation_test(METRICS["macro_f1"], *map(labels, (GOLD, ALWAYS_A, NORTH)))
    # Of 8 swapped answers, 2 of b, few worlds are as far apart: no McNemar, whose p is 0.6875 here.
    assert frame.loc["average", "walser"].p_best_source == test != mcnemar(*(labels(GOLD) == labels(ALWAYS_A),) * 2)
    own, rival = resampled_scores(METRICS["macro_f1"], [(labels(GOLD), labels(one)) for one in (MERGE, NORTH)])
    keys = [(number, "best_source") for number, row in comparison.frame.iterrows() if row.method == "similarity"]
    assert comparison.pairs.interval(keys) == pytest.approx(np.percentile(own - rival, [2.5, 97.5]))


def test_files_are_named_by_the_metric(moods, capsys, tmp_path):
    assert aggregate_results.main(["--tables", "latex"]) == 0
    printed = capsys.readouterr().out
    assert "average_2lang_moods: 2 experiments, mean macro-F1 = 0.4444" in printed and "accuracy" not in printed
    files = {kind: next(tmp_path.glob(f"results_{kind}_*")) for kind in ("aggregated", "comprehensive", "summary")}
    row = next(row for row in rows(files["aggregated"]) if row["folder_name"].startswith("average_merge_walser"))
    assert (row["metric"], row["accuracy"], row["best_source_language"]) == ("macro_f1", "0.8", "north")
    assert float(row["best_source_macro_f1"]) == pytest.approx(BY_HAND[NORTH][1]) and "best_source_accuracy" not in row
    assert float(row["score"]) == float(row["macro_f1"]) == pytest.approx(BY_HAND[ALWAYS_A][1])
    wide = rows(files["comprehensive"])
    assert not [name for name in wide[0] if name.endswith("accuracy")] and wide[0]["metric"] == "macro_f1"
    assert float(wide[1]["similarity_2lang_moods"]) == pytest.approx(BY_HAND[MERGE][1])
    summary = atomic.read_json(files["summary"])
    assert summary["baseline_best_source_macro_f1"]["mean_macro_f1"] == pytest.approx(BY_HAND[NORTH][1])
    text = next(tmp_path.glob("results_report_*.md")).read_text()
    assert "Highest mean macro-F1 among the 2 with most locales (2): similarity_2lang_moods, 0.6703." in text
    assert "mean F1 over the labels that occur" in text and "approximate randomisation on the same items" in text
    assert "method & locales & macro-F1" in next(tmp_path.glob("results_tables_*.tex")).read_text()
    # The pictures of the table are those of the results, as far as it tells.
    again, first = from_csv(files["comprehensive"]), from_results(moods, None)
    assert (again.comparison.metric, again.metric) == ("macro_f1", "macro-F1")
    assert again.frame.best_source_score.tolist() == pytest.approx(first.frame.best_source_score.tolist())
    drawn = {picture.name: picture for picture in pictures.pictures(first, ["win_rate", "accuracy"])}
    axes = drawn["vs_best_source_average"].draw().axes[0]
    assert axes.get_xlabel() == "points of macro-F1" and drawn["pure_scores_average"].draw().axes[0].get_xlabel()
    gain = 100 * (BY_HAND[ALWAYS_A][1] - BY_HAND[NORTH][1])
    assert [bar.get_width() for bar in axes.patches] == pytest.approx([gain] * 2)


def test_accuracy_is_compared_as_ever(results):
    comparison = compared(results)
    assert comparison.metric == "accuracy" and comparison.frame.score.equals(comparison.frame.accuracy)
    assert len(comparison.pairs.answers) == 9
    for (row, name), (own, rival) in comparison.pairs.answers.items():
        assert comparison.frame[f"p_{name}"][row] == mcnemar(own.correct, rival.correct)
        assert comparison.pairs.interval([(row, name)]) == paired_bootstrap(own.correct, rival.correct)


def test_a_metric_that_was_changed_counts_for_all(moods, caplog):
    for folder in [*moods.glob("average_*"), *moods.glob("tiny_*")]:
        content = atomic.read_json(folder / "results.json")
        content["performance"]["metric"] = "accuracy"
        content["evaluation_info"]["timestamp"] = "2020-01-01T00:00:00"
        atomic.write_json(folder / "results.json", content)
    frame = compared(moods).frame
    assert set(frame.metric) == {"macro_f1"} and set(frame.best_source) == {"north"}
    assert "note: results by accuracy and by macro_f1: ranked by macro_f1, that of the newest" in caplog.text
    folder = moods / "average_merge_walser_2merged_moods"
    atomic.write_json(
        folder / "results.json", {**content, "performance": {**content["performance"], "metric": "recall"}}
    )
    (damage,) = collect.collect(moods, None).damaged.values()
    assert "metric 'recall' is none of accuracy, macro_f1" in damage


def test_cells_that_only_a_matrix_has_are_of_its_metric(moods, tmp_path):
    run = tmp_path / "nxn_results/nxn_eval_20260101_120000"
    run.mkdir(parents=True)
    (run / "evaluation_matrix.csv").write_text(",walser\ndeu,0.9\n")
    told = {"split": "test", "task": "moods", "metric": "macro_f1", "models": {"deu": {"path": "tiny_moods_k_deu"}}}
    atomic.write_json(run / "evaluation_summary.json", told)
    long = choose(collect.collect(moods, run).long, "test")
    (cell,) = long[long.kind == "nxn"].itertuples()
    assert (cell.score, cell.macro_f1) == (0.9, 0.9) and np.isnan(cell.accuracy)
    best = compare(long).frame.set_index("locale").best_zero_shot
    assert set(best["walser"]) == {"deu"} and set(best["hau_Latn"]) == {"walser"}


# Two tasks in one folder


def test_one_task_at_a_time(moods, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(language_data, "read_similarity", lambda path, codes: None)
    write_merge(moods, "average", "af-ZA", {"nl-NL": 0.5, "de-DE": 0.5}, "1111111100")
    write_old(moods / "baseline_af-ZA", "af-ZA", 9, model="haryos_model/xlm-roberta-base_massive_k_af-ZA")
    there = sorted(tmp_path.rglob("*"))
    for main in (aggregate_results.main, report_command.main, plot_results.main):
        assert main([]) == 2 and sorted(tmp_path.rglob("*")) == there
        told = (
            "error: there are results of 2 tasks: massive (2 results), moods (10 results); choose one with --task NAME"
        )
        assert told in capsys.readouterr().err
    assert aggregate_results.main(["--task", "sib200"]) == 2
    assert "no results of task sib200; there are some of massive (2" in capsys.readouterr().err
    assert set(compared(moods, "moods").frame.locale) == {"walser", "hau_Latn"}
    (row,) = compared(moods, "mini").frame.itertuples()  # which has MASSIVE's labels
    assert (row.locale, row.metric, row.score) == ("af-ZA", "accuracy", 0.8) and "task" in row._fields
    text = "name: moods\ndata: .\ntext: text\nlabel: mood\nlabels: [a, b]\n"
    (tmp_path / "moods.yaml").write_text(text)
    assert len(compared(moods, "moods.yaml").frame) == 4
    (tmp_path / "moods.yaml").write_text(text.replace("[a, b]", "[a, c]"))
    assert aggregate_results.main(["--task", "moods.yaml"]) == 2
    assert report_command.main(["--task", "massive"]) == 0


def test_tasks_of_one_name_are_told_apart_by_their_labels(moods):
    other = replace(TASK, labels=("a", "b", "c"))
    write_moods(moods / "other", task=other)
    with pytest.raises(Exception, match="2 tasks: moods@.*, moods@.*choose one"):
        compared(moods)
    frame = compared(moods, f"moods@{other.model_hash}").frame
    assert len(frame) == 4 and all("other/" in folder for folder in frame.folder)


def test_places_of_the_same_data_are_one_experiment(results):
    """MASSIVE from a folder, too; the mini corpus has other items, of the same task."""
    folder = replace(MASSIVE, data="/data/massive")
    for locale, task in (("af-ZA", folder), ("sw-KE", folder), ("th-TH", replace(MASSIVE, data="elsewhere"))):
        sources = {"nl-NL": 0.6, "de-DE": 0.4}
        experiment = merge_experiment("similarity", locale, sources)
        items = 10 if task is folder else 4
        gold = [MASSIVE.labels.index("alarm_set")] * items
        name = f"similarity_merge_{locale}_2merged"
        write_answers(results / f"again/{name}", locale, gold, gold, task=task, experiment=experiment)
    frame = compared(results).frame
    variants = frame[frame.method == "similarity"].groupby("locale").variant.agg(list).to_dict()
    assert variants.pop("th-TH") == ["similarity_2lang_dataset-elsewhere"]
    assert set(variants) == {"af-ZA", "da-DK", "sw-KE"} and len(set(map(tuple, variants.values()))) == 1


# Codes of a task's own


def test_own_codes_are_known_by_what_they_stand_for(moods, tmp_path, monkeypatch, capsys):
    info = atomic.read_json(moods / "average_merge_walser_2merged_moods/results.json")["evaluation_info"]
    assert info["languages"] == {"walser": "gsw", "north": "sme"}
    assert report_command.main([]) == 0
    text = (tmp_path / "report.html").read_text()
    assert "Swiss German" in text and "macro-F1 0.6703 on average over 2 locales" in text
    assert "Approximate randomisation on the same items" in text and "p (randomisation)" in text
    assert "points of accuracy" not in text and "Mean macro-F1" in text
    assert "Swiss German (walser) +8.7 with similarity" in capsys.readouterr().out
    assert language("walser").name == "walser"  # elsewhere
    data = language_data.with_similarity(from_results(moods, None), None)
    assert data.similarity.sources == ("eng", "hau_Latn", "north", "walser")
    assert np.array_equal(data.similarity.values, dense_matrix(["eng", "hau", "sme", "gsw"]).values)
    assert {"similarity", "transfer"} <= {picture.name for picture in pictures.pictures(data, ["heatmap"])}
    drawn = []
    monkeypatch.setattr(plot_command.pictures, "write", lambda *given: drawn.append(language("walser").family) or [])
    plot_command.draw(data, [], tmp_path, ["png"])
    assert drawn == ["Germanic"]


def test_own_codes_of_older_results_are_those_of_the_task_file(moods, tmp_path, caplog):
    for file in moods.rglob("results.json"):
        content = atomic.read_json(file)
        del content["evaluation_info"]["languages"]
        atomic.write_json(file, content)
    assert from_results(moods, None).own_codes == {}
    data = language_data.with_similarity(from_results(moods, None), None)
    assert data.similarity.sources == ("eng", "hau_Latn") and "drawn without north, walser: URIEL" in caplog.text
    text = "name: moods\ndata: .\ntext: text\nlabel: mood\nlabels: [a, b]\nlanguages: {walser: gsw, eng: }\n"
    (tmp_path / "moods.yaml").write_text(text)
    assert from_results(moods, None).own_codes == {"walser": "gsw"}


def test_own_codes_that_uriel_has_not_stand_for_themselves(tmp_path):
    with own_codes({"one": "gsw", "dialect_b": "xqx"}):
        assert [language(code).iso for code in ("one", "dialect_b")] == ["gsw", ""]
    matrix = TransferMatrix(("one", "dialect_b"), ("one", "dialect_b"), np.eye(2), "made up")
    task = replace(TASK, languages=(("one", "gsw"), ("dialect_b", "xqx")))
    heatmaps.save_transfer(matrix, task, "test", tmp_path / "heatmap.png")
    assert (tmp_path / "heatmap.png").is_file()


# Commands that measure baselines


def test_commands_of_baselines(moods, results):
    nxn, targets = "merginguriel nxn", "--targets hau_Latn walser"
    frame = compared(moods, "moods").frame
    # hau_Latn has no model of its own, so that the N×N of all models would not measure them there.
    assert baseline_commands(frame) == [f"{nxn} --task moods.yaml --base-model tiny {targets}"]
    own = frame[frame.locale == "walser"]
    assert baseline_commands(own)[0].endswith("--base-model tiny")
    for file in moods.glob("*_merge_*/results.json"):
        content = atomic.read_json(file)
        for source in content["experiment"].get("sources", ()):
            source["path"] = f"mine/{source['locale']} model"
        atomic.write_json(file, content)
    (command,) = baseline_commands(compared(moods, "moods").frame)
    assert command.endswith(f"--source 'eng=mine/eng model' --source 'north=mine/north model' {targets}")
    assert "--base-model" not in command and "--models-root" not in command
    assert shlex.split(command)[2:4] == ["--task", "moods.yaml"]
    # Another model for one language is another run.
    content["experiment"]["sources"][0]["path"] = "mine/other"
    atomic.write_json(file, content)
    assert len(baseline_commands(compared(moods, "moods").frame)) == 2
    for folder in moods.glob("tiny_moods_k_north*"):
        folder.rename(moods.parent / folder.name)
    (note,) = [note for note in compared(moods, "moods").notes if "best source unknown" in note]
    assert f"north on hau_Latn, north on walser; run {nxn} --task moods.yaml" in note and "--source" in note


def test_the_command_of_validation_results_measures_there(tmp_path):
    experiment = merge_experiment("average", "af-ZA", {"nl-NL": 1.0})
    write_result(tmp_path / "x", "af-ZA", "11", split="validation", experiment=experiment)
    frame = compare(choose(collect.collect(tmp_path, None).long, "validation")).frame
    flags = "--split validation --dataset-name mini --base-model tiny --targets af-ZA"
    assert baseline_commands(frame) == [f"merginguriel nxn {flags}"]
