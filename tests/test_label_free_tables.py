"""Tables of the study without labels, from made archives whose every item is known."""

import csv
import json
import shutil
import sys
import tarfile

import numpy as np
import pytest
from running import ROOT
from safetensors.numpy import save_file
from scipy.stats import wilcoxon

from merginguriel.utils.evaluation.statistics import bootstrap_interval

sys.path.insert(0, str(ROOT / "benchmarks"))
import label_free_tables as tables

LOCALES = ["af-ZA", "cy-GB", "de-DE", "nl-NL", "tr-TR"]  # cy-GB and tr-TR chose the defaults
ITEMS, NUMBER = 60, 2
IDS = np.array([f"i{item}" for item in range(ITEMS)])


class Archive:
    """Writes what `label_free.py` collects of a corpus and seed, and remembers which items were right."""

    def __init__(self, folder, corpus, seed):
        self.root, self.file = folder / f"{corpus}{seed}", folder / f"{corpus}{seed}.tar.xz"
        self.generator = np.random.default_rng(seed)
        self.values = self.generator.integers(10, 50, (5, 5)) / ITEMS  # (sources, targets)
        self.right = {}
        run = self.root / "nxn_test/nxn_eval_1"
        run.mkdir(parents=True)
        lines = [",".join(["", *LOCALES]), *(",".join(map(str, [one, *row])) for one, row in zip(LOCALES, self.values))]
        (run / "evaluation_summary.json").write_text("{}")
        (run / "evaluation_matrix.csv").write_text("\n".join(lines) + "\n")

    def add(self, how, by, number, target, *, rounds=0, examples=None, ids=IDS):
        """One result, its items in an order of its own."""
        right = self.generator.random(ITEMS) < self.generator.uniform(0.3, 0.9)
        self.right[how, by, number, rounds, examples, target] = right
        others = [one for one in LOCALES if one != target]
        places = {one: place for place, one in enumerate(others)}
        parts = {
            one: {"accuracy": self.accuracy(one, target), "cosine": 0.5 + place / 10, "score": -place}
            for one, place in places.items()
        }
        similarity = {"selection": by} | ({"consensus": parts, "uriel_deserves": 0.25} if by == "consensus" else {})
        sources = [{"locale": one} for one in others[:number]]
        experiment = {"mode": how, "target": target, "num_sources": number}
        experiment |= {"similarity": similarity, "sources": sources}
        name = f"{how}_{target}_{number}_{by}_{rounds}_{examples}"
        folder = self.root / ("votes" if how.startswith("ensemble") else "results") / name
        folder.mkdir(parents=True)
        if rounds:
            experiment["adapt"] = {"rounds": rounds, "examples": examples}
            told = {"rounds": [{"seconds": 2.0}] * rounds, "environment": {"device": "made"}}
            (folder / "adaptation.json").write_text(json.dumps(told))
        order = self.generator.permutation(ITEMS)
        told = {"evaluation_info": {}, "experiment": experiment, "performance": {"accuracy": right.mean()}}
        (folder / "results.json").write_text(json.dumps(told))
        answers = {"ids": ids[order], "labels": np.ones(ITEMS, int), "predictions": right[order].astype(int)}
        np.savez(folder / "predictions.npz", **answers)

    def accuracy(self, source, target):
        return self.values[LOCALES.index(source), LOCALES.index(target)]

    def pack(self):
        with tarfile.open(self.file, "w:xz") as tar:
            tar.add(self.root, self.root.name)
        shutil.rmtree(self.root)


def read(file):
    with open(file, newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """(folder of everything, archives by seed)."""
    folder, archives = tmp_path_factory.mktemp("made"), {}
    for seed in (42, 43):
        collected = folder / f"collected{seed}"
        collected.mkdir()
        archives[seed] = archive = Archive(collected, "massive", seed)
        for target in LOCALES:
            for by in ("cosine", "consensus"):
                archive.add("average", by, NUMBER, target)
                archive.add("regmean", by, NUMBER, target)
                archive.add("ensemble_soft", by, NUMBER, target)
                archive.add("regmean", by, NUMBER, target, rounds=2)
            archive.add("ensemble_soft", "consensus", 4, target)
            if seed == 43 and target == "nl-NL":
                archive.add("regmean", "consensus", NUMBER, target, rounds=3)  # stopped after one target
        archive.pack()
        run = {"parts": {"train": {"seconds": 1.5, "workers": 7, "gpus": 1}}, "failures": []}
        (collected / "run.json").write_text(json.dumps(run))
    shutil.copy(ROOT / "docs/label-free.md", folder)
    tables.main([*map(str, folder.glob("collected*")), "--dir", str(folder / "unpacked"), *places(folder)])
    return folder, archives


def places(folder):
    return ["--output", str(folder / "csv"), "--page", str(folder / "label-free.md")]


def row_of(rows, **chosen):
    found = [row for row in rows if all(row[name] == str(value) for name, value in chosen.items())]
    assert len(found) == 1, found
    return found[0]


ADAPTED = {"method": "adapted", "sources_by": "consensus", "number": NUMBER, "rounds": 2, "texts": "all"}


def test_gains_are_of_the_same_items_and_of_the_mean_of_seeds(made):
    folder, archives = made

    def items(how, by, rounds):
        of = [[archives[seed].right[how, by, NUMBER, rounds, None, one] for seed in (42, 43)] for one in LOCALES]
        return np.mean(of, axis=1)

    ours = items("regmean", "consensus", 2)
    row = row_of(read(folder / "csv/means.csv"), **ADAPTED)
    assert (row["seeds"], row["targets"]) == ("42 43", str(len(LOCALES)))
    assert float(row["accuracy"]) == pytest.approx(ours.mean(), abs=1e-4)
    comparisons = read(folder / "csv/comparisons.csv")
    for baseline, by in (("vote of the same", "consensus"), ("vote by cosine", "cosine")):
        theirs = items("ensemble_soft", by, 0)
        row, gains = row_of(comparisons, baseline=baseline, **ADAPTED), (ours - theirs).mean(1)
        assert float(row["gain"]) == pytest.approx(gains.mean(), abs=1e-4)
        assert (int(row["above"]), int(row["below"])) == ((gains > 0).sum(), (gains < 0).sum())
        assert float(row["p"]) == pytest.approx(wilcoxon(gains).pvalue, rel=0.01)
        expected = bootstrap_interval(ours - theirs, resample_locales=True)
        assert (float(row["low"]), float(row["high"])) == pytest.approx(expected, abs=0.03)


def test_the_best_sources_are_those_of_the_matrix(made):
    folder, archives = made
    own, best, best_of_five = [], [], []
    for target in LOCALES:
        others = [one for one in LOCALES if one != target]
        for archive in archives.values():
            own.append(archive.accuracy(target, target))
            best.append(max(archive.accuracy(one, target) for one in others))
            best_of_five.append(max(archive.accuracy(one, target) for one in others[:NUMBER]))
    means = read(folder / "csv/means.csv")
    found = [
        row_of(means, method="own model"),
        row_of(means, method="best source", sources_by="all"),
        row_of(means, method="best source", sources_by="cosine"),
    ]
    expected = [np.mean(values) for values in (own, best, best_of_five)]
    assert [float(row["accuracy"]) for row in found] == pytest.approx(expected, abs=1e-4)
    assert {row["drawn"] for row in found} == {"targets"}  # no items of them were kept


def test_a_method_with_few_of_a_seeds_targets_is_left_out(made):
    folder, _ = made
    assert not [row for row in read(folder / "csv/massive_targets.csv") if row["rounds"] == "3"]


def test_a_score_that_is_the_accuracy_correlates_fully(made):
    rows = read(made[0] / "csv/choice.csv")
    assert float(row_of(rows, score="consensus alone")["correlation"]) == 1
    scores = {score: float(row_of(rows, score=score)["correlation"]) for score in ("cosine", "consensus")}
    assert scores["cosine"] == pytest.approx(-scores["consensus"], abs=1e-3) != 0


def test_the_page_follows_from_the_csv_files(made):
    folder, _ = made
    page = folder / "label-free.md"
    first = page.read_text()
    assert "mean over the targets: MASSIVE 0.25." in first and "| train | 42 | 1 | 7 | 1.5 |" in first
    shutil.copy(ROOT / "docs/label-free.md", page)
    tables.main(places(folder))
    assert page.read_text() == first


def test_results_of_other_items_are_refused(tmp_path):
    archive = Archive(tmp_path, "massive", 42)
    archive.add("average", "cosine", NUMBER, "af-ZA")
    archive.add("average", "cosine", NUMBER, "cy-GB", ids=np.array([f"x{item}" for item in range(ITEMS)]))
    with pytest.raises(SystemExit, match="different items"):
        tables.Measured(tmp_path, "massive")


def test_votes_of_kept_logits_are_of_the_best_by_each_score(tmp_path):
    """Logits such that the sources that agree are not those that are near."""
    archive = Archive(tmp_path, "sib200", 42)
    generator, labels = np.random.default_rng(0), np.arange(ITEMS) % 3
    skill = dict(zip(LOCALES, (0.0, 0.95, 0.9, 0.3, 0.2)))
    for split in ("train", "test"):
        run = archive.root / f"nxn_{split}/nxn_eval_1"
        run.mkdir(parents=True, exist_ok=True)
        sources = dict.fromkeys(LOCALES, {"model": "made"})
        settings = {"split": split, "precision": "float32", "data": sources, "sources": sources}
        (run / "run.json").write_text(json.dumps(settings))
        (run / "evaluation_summary.json").write_text("{}")
        kept = {}
        for target in LOCALES:
            kept[f"labels/{target}"] = labels.astype(np.int16)
            kept[f"ids/{target}"] = np.frombuffer("\n".join(IDS).encode(), np.uint8)
            for source in LOCALES:
                said = np.where(generator.random(ITEMS) < skill[source], labels, generator.integers(0, 3, ITEMS))
                kept[f"{source}/{target}"] = (4 * np.eye(3)[said]).astype(np.float16)
        save_file(kept, run / "logits.safetensors")
    for by in ("cosine", "consensus"):
        archive.add("average", by, NUMBER, "af-ZA")
    measured = tables.Measured(tmp_path, "sib200")
    said = {one: kept[f"{one}/af-ZA"].astype(float) for one in LOCALES}
    for by, names in (("cosine", ("nl-NL", "tr-TR")), ("consensus alone", ("cy-GB", "de-DE"))):
        chances = np.mean([np.exp(said[one]) / np.exp(said[one]).sum(1, keepdims=True) for one in names], axis=0)
        cell = measured.cells[tables.Method("vote", by, NUMBER)]["af-ZA", 42]
        assert cell.accuracy == pytest.approx((chances.argmax(1) == labels).mean())
        assert cell.right is not None
