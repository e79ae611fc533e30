"""Results that are damaged, or contradict themselves: left out by name, or in the tables as they are."""

import csv
import json

import oracles
import pytest
import strategies
import verdicts
from edits import Edit
from hypothesis import strategies as st

MERGE = "results/average_merge_af-ZA_3merged_tiny_matrix-bbe4f4d6"
SOURCE = "results/tiny_tiny_k_nl-NL_af-ZA"
FLAGS = ["--results-dir", "results", "--nxn-results-dir", "nxn"]
ANY = st.one_of(strategies.of_result(MERGE), strategies.of_result(SOURCE))


@pytest.fixture(scope="module")
def tables(world_of_results, tmp_path_factory):
    """Folder -> its row in the table of undamaged results, and what is in its files."""
    with verdicts.copy_of(world_of_results, tmp_path_factory.mktemp("tables")) as root:
        assert aggregate(root).code == 0
        return {name: (row, content(root / "results" / name)) for name, row in rows_of(root).items()}


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} if folder.is_dir() else {}


def aggregate(root):
    flags = [*FLAGS, "--output-dir", "out", "--format", "csv"]
    return verdicts.judge(root, "aggregate_results", flags, partly=True)


def rows_of(root):
    (table,) = (root / "out").glob("results_aggregated_*.csv")
    with open(table, encoding="utf-8", newline="") as file:
        return {row["folder_name"]: row for row in csv.DictReader(file)}


def check_tables(root, verdict, tables):
    rows = rows_of(root)
    for name, row in rows.items():
        folder = root / "results" / name
        if not folder.is_dir():  # cells of the N×N
            continue
        told = json.loads((folder / "results.json").read_text())
        performance = told["performance"]
        accuracy = float(row["accuracy"])
        assert abs(accuracy - performance["accuracy"]) < 1e-12 and 0 <= accuracy <= 1
        if row["correct_predictions"] and row["total_predictions"]:
            right, total = (int(float(row[f"{which}_predictions"])) for which in ("correct", "total"))
            assert abs(accuracy - right / total) < 1e-9
        found = oracles.kept_or_none(folder)  # published results have none
        whole = (
            found and {"labels", "predictions"} <= found.keys() and found["labels"].shape == found["predictions"].shape
        )
        if whole and verdict.code == 0:  # without them a result stands all the same, if no test needs them
            assert abs(accuracy - float((found["labels"] == found["predictions"]).mean())) < 1e-9
    for name, (row, files) in tables.items():
        if (root / "results" / name).is_dir() and content(root / "results" / name) == files:
            assert name in rows, f"{name} is sound, and not in the table"
            assert all(rows[name][column] == row[column] for column in ("accuracy", "locale", "kind", "num_languages"))
            # Where a source cannot be read, there is no best of all of them.
            assert rows[name]["best_source_accuracy"] in ("", row["best_source_accuracy"])
        elif name not in rows and (root / "results" / name / "results.json").exists():
            assert verdict.code == 1 and name in verdict.err


def test_tables(world_of_results, hold, tables):
    def check(root):
        verdict = aggregate(root)
        if not verdict.refused:
            check_tables(root, verdict, tables)
        return verdict

    known = [
        [Edit("set_value", f"{MERGE}/results.json", (("performance", "accuracy"), 10**400))],
        [Edit("set_value", f"{MERGE}/results.json", (("evaluation_info", "timestamp"), []))],
        [Edit("nest_value", f"{MERGE}/results.json", ("examples", 20_000))],
        [Edit("nest_value", f"{MERGE}/results.json", ("examples", 900))],
        [Edit("set_value", f"{SOURCE}/results.json", (("examples",), [None] * 30))],
        [Edit("change_array", f"{SOURCE}/predictions.npz", ("predictions", "empty"))],
    ]
    hold(world_of_results, 35, ANY, check, known)


def test_pages(world_of_results, hold):
    def check(root):
        verdict = verdicts.judge(root, "report", [*FLAGS, "--output", "out.html"], partly=True)
        if verdict.code != 2:
            page = (root / "out.html").read_text(encoding="utf-8")
            assert "<script>alert" not in page
        return verdict

    known = [[Edit("set_value", f"{MERGE}/results.json", (("experiment", "sources", 0, "path"), None))]]
    hold(world_of_results, 8, ANY, check, known)


def test_pictures(world_of_results, hold):
    def check(root):
        flags = [*FLAGS, "--plots-dir", "out", "--plot-types", "win_rate"]
        return verdicts.judge(root, "plot_results", flags, partly=True)

    hold(world_of_results, 5, ANY, check)
