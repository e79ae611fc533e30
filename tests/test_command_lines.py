"""Commands are named as they were called: what is printed runs as it is, and what files keep is one form."""

import importlib
import subprocess
import sys

import pytest
from running import ROOT, environment

from merginguriel.utils.storage import command_lines
from merginguriel.utils.storage.command_lines import as_called, recorded_line, shell_line, title

MERGE = "run_merging_pipeline_refactored.py"


@pytest.fixture(params=["installed", "module", "folder", "script", "top"])
def call(request, monkeypatch, tmp_path):
    """(sys.argv[0], what a shell runs for `merginguriel merge`, how help names it)"""
    folder = ROOT / "merginguriel"
    first, line, named = {
        "installed": (tmp_path / "bin/merginguriel", "merginguriel merge", "merginguriel merge"),
        "module": (folder / "__main__.py", "python -m merginguriel merge", "python -m merginguriel merge"),
        "folder": (folder, f"python {folder} merge", f"python {folder} merge"),
        "script": (folder / "report.py", f"python {folder / MERGE}", MERGE),
        "top": (ROOT / "plot_results.py", f"python {folder / MERGE}", MERGE),
    }[request.param]
    monkeypatch.setattr(sys, "argv", [str(first)])
    return line, named


def test_lines_and_titles(call):
    line, named = call
    assert shell_line(MERGE, "--source", "a b") == f"{line} --source 'a b'" and title(MERGE) == named


def test_texts_name_commands_as_they_were_called(call):
    line, named = call
    assert as_called(recorded_line(MERGE, "--mode", "x")) == f"{line} --mode x"
    assert as_called(f"train one with python merginguriel/{MERGE} --mode x") == f"train one with {line} --mode x"
    assert as_called(f"measure it with {MERGE} --mode x") == f"measure it with {named} --mode x"
    assert as_called(as_called(line)) == line


@pytest.mark.parametrize(
    "text", ["my/report.py", "x.py", "merginguriel.demo", "merginguriel reports", "--out demo.pyc"]
)
def test_other_texts_stay_as_they_are(call, text):
    assert as_called(text) == text


def test_files_keep_one_form(call):
    assert recorded_line(MERGE, "--mode", "x") == "merginguriel merge --mode x"


@pytest.mark.parametrize("way", [["-m", "merginguriel"], [str(ROOT / "merginguriel")]])
def test_what_is_printed_runs(tmp_path, way):
    """A line that an error advises is a command, whose own error is another one."""
    merge = [sys.executable, *way, "merge", "--mode", "average", "--target-lang", "af-ZA", "--models-root", "none"]
    done = subprocess.run(
        merge, env=environment(), cwd=tmp_path, capture_output=True, text=True, check=False
    ).stderr.split(" with python ")
    assert done[0].startswith("error: no models") and done[1].split()[: len(way) + 1] == [*way, "train-missing"]
    printed = [sys.executable, *done[1].split(), "--no-such-flag"]
    again = subprocess.run(printed, env=environment(), cwd=tmp_path, capture_output=True, text=True, check=False)
    assert again.returncode == 2 and "--no-such-flag" in again.stderr


@pytest.mark.parametrize("script", ["train_missing_models", "run_large_scale_iterative_training", "plot_results"])
def test_help_fits_80_columns_by_the_longest_name(monkeypatch, script):
    monkeypatch.setattr(sys, "argv", [str(ROOT / "merginguriel/__main__.py")])
    monkeypatch.setenv("COLUMNS", "80")
    shown = importlib.import_module(f"merginguriel.{script}").build_parser().format_help()
    assert "python -m merginguriel" in shown and max(map(len, shown.splitlines())) <= 80


def test_every_name_is_of_a_script():
    assert all((ROOT / "merginguriel" / script).is_file() for script in command_lines.NAMES)
