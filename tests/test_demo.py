"""`make demo` on a fresh folder: sources learn, near languages help, a second run repeats nothing."""

import csv
import re
import signal
import time

import pytest
from running import ROOT

from merginguriel import demo
from merginguriel.utils.flags.command import INTERRUPTED
from merginguriel.utils.results import collect

LOCALES = ("af-ZA", "nl-NL", "de-DE", "en-US")
# A base that has been pre-trained for less time, and fewer languages, are good enough.
SHORTER = "from merginguriel.utils.models import mini_encoder; mini_encoder.PRETRAIN_STEPS = 120"


def rows_of(printed: str) -> dict[str, list[float]]:
    """The table at the end."""
    found = re.findall(r"^(\S+) +((?:0\.\d{3} *){7})$", printed, re.MULTILINE)
    return {name: list(map(float, values.split())) for name, values in found}


def test_demo(run, tmp_path):
    done = run("merginguriel/demo.py", "--dir", "demo", "--locales", *LOCALES, first=SHORTER, timeout=600)
    assert done.returncode == 0, done.stderr
    shown = rows_of(done.stdout)
    assert list(shown) == [*LOCALES, "mean"]
    for column, mean in enumerate(shown["mean"]):
        assert mean == pytest.approx(sum(shown[name][column] for name in LOCALES) / len(LOCALES), abs=0.001)

    of = {name: dict(zip(demo.SHOWN, values)) for name, values in shown.items()}
    results = collect.collect(tmp_path / "demo/results", None).long
    for name, method in (("average", "average"), ("vote", "ensemble_soft"), ("adapted", "regmean+vote")):
        made = results[results.method == method].set_index("target").accuracy
        assert {target: of[target][name] for target in LOCALES} == made.round(3).to_dict()
    assert all(row["mean"] <= row["best"] for row in of.values())
    # Chance is 1/12 over the corpus' intents; relatives must stand clear of it.
    assert of["af-ZA"]["nearest"] > 0.5 and of["af-ZA"]["average"] > 0.4
    assert done.stderr.count("Loading evaluation matrix") == 1
    assert "without a model" not in done.stderr  # those that are nearer have no data here
    lines = done.stdout.rpartition("report: demo")[2].splitlines()
    assert max(len(line) for line in lines if not line.startswith("$")) <= 80
    assert (tmp_path / "demo/report.html").is_file() and list((tmp_path / "demo/tables").iterdir())

    weights = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")}
    start = time.monotonic()
    again = run("merginguriel/demo.py", "--dir", "demo", "--locales", *LOCALES, first=SHORTER)
    assert again.returncode == 0 and rows_of(again.stdout) == shown and time.monotonic() - start < 90
    assert weights == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")}


def test_ctrl_c_is_told_once(begin, tmp_path):
    begun = begin("merginguriel/demo.py", "--dir", "demo", "--locales", *LOCALES)
    end = time.monotonic() + 60
    while not (tmp_path / "demo/haryos_model").exists() and time.monotonic() < end:
        time.sleep(0.05)
    begun.kill(signal.SIGINT, group=True)
    done = begun.end(60)
    assert done.returncode == 130 and done.stderr.count(INTERRUPTED.strip()) == 1, done.stderr
    assert "Traceback" not in done.stderr


def test_what_it_says_of_real_data_is_what_was_measured():
    with open(ROOT / "docs/results/languages/means.csv", encoding="utf-8", newline="") as lines:
        rows = [row for row in csv.DictReader(lines) if row["corpus"] == "massive"]
    chosen = [("best source", "all", "48", "0"), ("vote_soft", "cosine", "5", "0"), ("regmean", "cosine", "5", "2")]
    means = {(row["how"], row["by"], row["number"], row["rounds"]): row for row in rows}
    said = re.findall(r"0\.\d{3}", demo.REAL_DATA)
    assert said == [f"{float(means[one]['accuracy']):.3f}" for one in chosen]
    assert {means[one]["seeds"] for one in chosen} == {"42 43"} and {means[one]["targets"] for one in chosen} == {"49"}
