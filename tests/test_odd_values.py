"""Values of another kind than our own, in every place of the files that are read back: a line each, no traceback."""

import copy
import json
import shutil

import pytest
from auto_merge_llm.errors import InputError

from merginguriel import aggregate_results, evaluate_specific_model
from merginguriel.utils.jobs.ledger import undone
from merginguriel.utils.results import rows
from merginguriel.utils.results.collect import collect
from merginguriel.utils.similarity import transfer
from merginguriel.utils.storage import atomic

ODD = [None, -1, 10**400, float("nan"), "y" * 5000, "\ud800", True, ["a"], {"a": 1}]


def places(value, path=()):
    """The path to every value inside, `value` itself excepted."""
    for key, part in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield (*path, key)
        yield from places(part, (*path, key))


def write(file, content, path, odd):
    content = copy.deepcopy(content)
    holder = content
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = odd
    file.write_text(json.dumps(content))


@pytest.fixture
def result(results):
    return results / "similarity_merge_af-ZA_2merged"


def test_a_row_has_the_types_of_its_columns_or_is_refused(result, results):
    """Every value of a results.json in turn is each of the odd ones."""
    file = result / "results.json"
    content, read, refused = atomic.read_json(file), 0, 0
    for path in places(content):
        for odd in ODD:
            write(file, content, path, odd)
            try:
                row = rows.read_row(result, results)
            except InputError as error:
                refused += "\n" not in str(error) and len(str(error)) < 1000
            else:
                read += 1
                rows.check_types(row)
                json.dumps(row).encode()
    assert read and refused and read + refused == len(ODD) * sum(1 for _ in places(content))


def test_one_odd_result_does_not_stop_the_tables(result, results, tmp_path, monkeypatch, capsys):
    """All at once: what can be read is in the tables, what cannot is named."""
    monkeypatch.chdir(tmp_path)
    content = atomic.read_json(result / "results.json")
    for number, path in enumerate(places(content)):
        for odd in (10**400, "\ud800", {"a": 1}):
            copied = shutil.copytree(result, results / f"odd{number}" / f"{ODD.index(odd)}_merge_af-ZA")
            write(copied / "results.json", content, path, odd)
    bad = results / "bad"
    bad.mkdir()
    for number, text in enumerate(["", "[", "{}", "[" * 100_000, '{"performance": ' + "9" * 5000 + "}", "\xff"]):
        (bad / str(number)).mkdir()
        (bad / f"{number}/results.json").write_text(text, encoding="latin-1")
    assert aggregate_results.main([]) == 1
    said = capsys.readouterr().err
    assert all(f"bad/{number}/results.json" in said for number in range(6)) and "Traceback" not in said


def test_an_nxn_with_an_odd_summary(results, tmp_path):
    folder = tmp_path / "nxn_results/run"
    folder.mkdir(parents=True)
    (folder / "evaluation_matrix.csv").write_text(",af-ZA\nnl-NL,0.5\n")
    content = {"split": "test", "models": {"nl-NL": {"path": "m"}}, "data_sha256": {"af-ZA": "x"}, "environment": {}}
    file = folder / transfer.SUMMARY_JSON
    for path in places(content):
        for odd in ODD[::2]:
            write(file, content, path, odd)
            found = collect(results, tmp_path / "nxn_results")
            assert set(found.damaged) <= {folder / "evaluation_matrix.csv"}


def test_an_odd_list_of_jobs(tmp_path):
    file = tmp_path / "experiment_jobs_1.json"
    content = {"command": "c", "jobs": {"a": {"job": "h", "mark": "a/results.json"}, "b": "h"}, "failures": {"a": "r"}}
    for path in places(content):
        for odd in ODD:
            write(file, content, path, odd)
            lists, damaged = undone(tmp_path)
            assert len(lists) + len(damaged) == 1


CONFIG = {
    "merginguriel_task": [5, "x", ["a"], {"max_tokens": "x"}, {"max_tokens": -1}, {"max_tokens": True}],
    "pad_token_id": [None, -1, 10**6],
    "num_attention_heads": [-1, 0],
    "hidden_size": ["x", None],
    "vocab_size": ["x", 1.5, None],
    "id2label": [5, ["a"], "x"],
    "num_hidden_layers": ["2", [], -1],
    "model_type": [5, ["a"], "x"],
    "initial_head": [5, [], "x"],
    "max_position_embeddings": [-1, "x"],
}


@pytest.mark.parametrize("key", CONFIG)
def test_an_odd_config_is_one_line(source_copies, tmp_path, monkeypatch, capsys, key):
    monkeypatch.chdir(tmp_path)
    model = source_copies / "tiny_massive_k_nl-NL"
    config = atomic.read_json(model / "config.json")
    for odd in CONFIG[key]:
        (model / "config.json").write_text(json.dumps({**config, key: odd}))
        flags = ["--base-model", str(model), "--locale", "nl-NL", "--dataset-name", "mini"]
        assert evaluate_specific_model.main(flags) == 2, odd
        said = capsys.readouterr().err
        assert len([line for line in said.splitlines() if line.startswith("error: ")]) == 1, said
        assert not (tmp_path / "results").exists()


def test_odd_architectures_are_no_error(source_copies, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = source_copies / "tiny_massive_k_nl-NL"
    config = atomic.read_json(model / "config.json")
    (model / "config.json").write_text(json.dumps({**config, "architectures": {"a": 1}}))
    assert (
        evaluate_specific_model.main(["--base-model", str(model), "--locale", "nl-NL", "--dataset-name", "mini"]) == 0
    )
