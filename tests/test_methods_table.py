"""The table of settings in docs/methods.md is what the committed accuracies say."""

import csv
import re
import shutil
import sys
from statistics import mean

import pytest
from running import ROOT

from merginguriel.utils.merging.modes import BETTER, MODES

sys.path.insert(0, str(ROOT / "benchmarks"))
import methods_table
from tune_methods import GRID

PAGE = (ROOT / "docs/methods.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def measured():
    """Dev and test accuracies by mode and flags, both by target."""
    with open(ROOT / "docs/results/tuned_methods.csv", encoding="utf-8", newline="") as lines:
        found = {}
        for row in csv.DictReader(lines):
            dev, test = found.setdefault((row["mode"], row["flags"]), ({}, {}))
            dev[row["target"]], test[row["target"]] = float(row["validation"]), float(row["test"])
    return found


def test_the_page_has_the_table_of_the_csv(tmp_path):
    page = tmp_path / "methods.md"
    shutil.copy(ROOT / "docs/methods.md", page)
    methods_table.main(["--page", str(page)])
    assert page.read_text(encoding="utf-8") == PAGE


def test_the_table_tells_what_was_measured(measured):
    averages = measured["average", ""][1]
    assert {tuple(dev) for dev, _ in measured.values()} == {tuple(averages)} and len(averages) == 6
    part = re.search(r"<!-- settings -->(.*?)<!-- end -->", PAGE, re.DOTALL)[1].strip().splitlines()[2:]
    mode, seen = "", []
    for line in part:
        label, dev, test, points, above = (cell.strip() for cell in line.strip("|").split("|"))
        mode = mode if label.startswith("·") else label
        setting = mode, label.strip("· `") if label.startswith("·") else ""
        seen.append(setting)
        of_dev, of_test = measured[setting]
        assert dev.strip("*") == f"{mean(of_dev.values()):.4f}"
        best = max(mean(values.values()) for (name, _), (values, _) in measured.items() if name == mode)
        assert mean(of_dev.values()) == best or "*" not in dev
        assert bool(test) == (setting[1] == "" or "*" in dev)
        if points:
            gains = [of_test[target] - averages[target] for target in averages]
            told, low, high = (float(number) / 100 for number in re.findall(r"[-+][\d.]+", points))
            assert test == f"{mean(of_test.values()):.4f}" and told == pytest.approx(mean(gains), abs=6e-5)
            assert min(gains) < low < told < high < max(gains)
            assert above == f"{sum(gain > 0 for gain in gains)}/6"
    assert seen == list(measured)


def test_settings_are_those_of_the_benchmark_but_for_what_is_gone(measured):
    assert {mode for mode, _ in measured} - set(GRID) == {"regmean_plus"} and "regmean_plus" not in MODES
    assert [setting for setting in measured if setting[0] in GRID] == [
        (mode, one) for mode in GRID for one in GRID[mode]
    ]


def test_the_help_names_the_best_by_dev(measured):
    dev = {setting: mean(of_dev.values()) for setting, (of_dev, _) in measured.items()}
    for mode, better in BETTER.items():
        best = max((setting for setting in dev if setting[0] == mode), key=dev.get)
        assert better == (best[1] if dev[best] > dev["average", ""] else "mode average")
