"""Names from elsewhere are text in every CSV, never a formula."""

import csv
import io

import numpy as np
import pandas as pd
import pytest
from made_results import write_merge, write_single

from merginguriel import aggregate_results
from merginguriel.utils.similarity.matrix import similarities
from merginguriel.utils.storage import csv_cells

FORMULAS = ("=cmd|' /C calc'!A0", "+1+1", "-2+3", "@SUM(A1)", "\t=1", " =1", "\r=1")


@pytest.mark.parametrize("text", FORMULAS)
def test_a_formula_is_text(text):
    safe = "'" + text.replace("\r", " ")
    assert csv_cells.cell(text) == safe
    table = pd.DataFrame({text: [text, None], "number": [-1.5, 2.0]})
    rows = list(csv.reader(io.StringIO(csv_cells.csv_text(table), newline="")))
    assert rows == [[safe, "number"], [safe, "-1.5"], ["", "2.0"]]


@pytest.mark.parametrize("value", ["nl-NL", "", "-0.25", "1e-3", "0", -2, 3.5, None, True, "a=b"])
def test_everything_else_stays_as_it_is(value):
    assert csv_cells.cell(value) is value


def test_names_of_models_and_languages(tmp_path, monkeypatch):
    """The folder of a model is called as its owner likes."""
    monkeypatch.chdir(tmp_path)
    write_single(tmp_path / "results", "nl-NL", "af-ZA", "1100", root="=cmd|x")
    write_single(tmp_path / "results", "af-ZA", "af-ZA", "1110", root="=cmd|x")
    write_merge(tmp_path / "results", "average", "af-ZA", {"nl-NL": 1.0}, "1101", root="=cmd|x")
    assert aggregate_results.main(["--export", "csv"]) == 0
    tables = list(tmp_path.glob("*.csv"))
    assert len(tables) == 5
    cells = [cell for table in tables for row in csv.reader(open(table, newline="")) for cell in row]
    assert any(cell.startswith("'=cmd|x") for cell in cells)
    assert not [cell for cell in cells if cell.startswith("=")]
    similarities(("=a", "b"), np.eye(2), "here").to_csv(tmp_path / "matrix.csv")
    assert (tmp_path / "matrix.csv").read_text() == ",'=a,b\n'=a,1.0,0.0\nb,0.0,1.0\n"
