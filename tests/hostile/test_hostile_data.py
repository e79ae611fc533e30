"""Data, tasks and matrices that are damaged or odd, beside what a reader of a few lines makes of them."""

import csv
import json
import math
import re

import numpy as np
import oracles
import strategies
import verdicts
import worlds
from edits import Edit

MODEL = worlds.model("nl-NL")
DATA = "data/af-ZA.jsonl"


def sound_items(root, language="af-ZA", split="test"):
    """The items of a split; AssertionError where a number over them would be wrong."""
    items, seen = [], set()
    for number, line in enumerate((root / "data" / f"{language}.jsonl").read_bytes().split(b"\n")):
        text = line.decode("utf-8-sig" if number == 0 else "utf-8", "surrogateescape")
        try:
            row = json.loads(text) if text.strip() else None
        except ValueError:
            assert '"partition": "test"' not in text, "a damaged row of the split is passed over"
            continue
        if row is None:
            continue
        assert isinstance(row, dict)
        said = row.get("partition", row.get("split"))
        assert isinstance(said, str) and said not in ("", "tets"), "a row without a split, which is left out"
        if said != split:
            continue
        # Names and codes of somebody's own say nothing.
        assert row.get("locale") not in [one for one in worlds.LANGUAGES if one != language], (
            "a row of another language"
        )
        assert isinstance(row["utt"], str) and row["utt"].strip() and row["utt"].isprintable() or "\n" in row["utt"]
        row["utt"].encode()
        assert not isinstance(row["topic"], bool)
        row["topic"] = worlds.LABELS[int(row["topic"])] if str(row["topic"]).isdecimal() else row["topic"]
        assert row["topic"] in worlds.LABELS
        row["number"] = str(number)
        items.append(row)
    has_ids = all("id" in row for row in items)  # else all are known by their places
    for row in items:
        row["id"] = row["id"] if has_ids else row["number"]
        assert isinstance(row["id"], str | int | float) and row["id"] not in seen, "an id twice, or none"
        seen.add(row["id"])
    return items


def evaluated(root):
    flags = ["--task", "task.yaml", "--base-model", MODEL, "--locale", "af-ZA", "--results-dir", "out"]
    verdict = verdicts.judge(root, "evaluate_specific_model", flags)
    if not verdict.refused:
        items = sound_items(root)
        _, logits = oracles.plain_answers(root / MODEL, [row["utt"] for row in items])
        oracles.check_result(root / "out" / f"{MODEL[7:]}_af-ZA", items, logits)
    return verdict


def trained(root):
    flags = ["--task", "task.yaml", "--model-name-or-path", "tiny", "--models-root", "models", "--max-steps", 1]
    flags += ["--dataset-config-name", "af-ZA", "--output-dir", "out/new", "--do-train", "--do-predict"]
    verdict = verdicts.judge(root, "training_bert", flags)
    if not verdict.refused:
        told = json.loads((root / "out" / "new" / "all_results.json").read_text())
        assert sound_items(root, split="train")
        items = sound_items(root)
        logits = oracles.PlainModel(root / "out" / "new").logits([row["utt"] for row in items])
        right = [worlds.LABELS[answer] == row["topic"] for answer, row in zip(logits.argmax(-1), items)]
        near = np.ptp(np.sort(logits, -1)[:, -2:], -1) < oracles.NEAR
        assert abs(told["predict_accuracy"] - np.mean(right)) <= near.mean() + 1e-9
    return verdict


def similar(root):
    """The weights of a merge by similarity are the target's row of the matrix, scaled to sum to 1."""
    flags = ["--mode", "similarity", "--target-lang", "af-ZA", "--num-languages", 3, "--output-dir", "out/new"]
    flags += [*worlds.STORE, "--similarity-matrix", worlds.MATRIX, "--no-eval"]
    verdict = verdicts.judge(root, "run_merging_pipeline_refactored", flags)
    if not verdict.refused:
        with open(root / worlds.MATRIX, encoding="utf-8-sig", newline="") as file:
            header, *rows = [row for row in csv.reader(file) if row]
        (row,) = (row for row in rows if row[0].strip() == "af-ZA")
        values = {column.strip(): float(value or 0) for column, value in zip(header[1:], row[1:], strict=True)}
        assert len(values) == len(header) - 1 and all(map(math.isfinite, values.values()))
        sources = json.loads((root / "out" / "new" / "merge_details.json").read_text())["plan"]["sources"]
        told = {source["locale"]: source["weight"] for source in sources}
        assert len(told) == 3 and all(values[language] > 0 for language in told)
        total = sum(values[language] for language in told)
        assert all(abs(weight - values[language] / total) < 1e-9 for language, weight in told.items())
        oracles.check_average(root, root / "out" / "new", told)
    return verdict


def listed(root):
    """The task is what its file says: labels in their order, the languages."""
    flags = ["--task", "task.yaml", "--base-model", MODEL, "--locale", "af-ZA", "--results-dir", "out"]
    verdict = verdicts.judge(root, "evaluate_specific_model", flags)
    if not verdict.refused:
        (folder,) = (root / "out").iterdir()
        told, found = json.loads((folder / "results.json").read_text()), oracles.kept(folder)
        oracles.check_numbers(told, found)
        names = found["intents"].tolist()
        assert f"labels: [{', '.join(names)}]".encode() in (root / "task.yaml").read_bytes()
        named = re.search(rb"splits: {test: (\w+)}", (root / "task.yaml").read_bytes())
        items = oracles.rows(root, "af-ZA", named[1].decode() if named else "test")
        assert [names[label] for label in found["labels"]] == [row["topic"] for row in items]
    return verdict


def test_data_evaluated(world, hold):
    known = [
        [Edit("copy_line", DATA, (20, 20, 50))],
        [Edit("set_cell", DATA, ((20,), "partition", "tets"))],
        [Edit("set_cell", DATA, ((20,), "utt", "\ud800"))],
        [Edit("recode", DATA, ("utf-8-sig",))],
        [Edit("end_lines", DATA, (b"\r\n",))],
        [Edit("set_cell", DATA, ((20, 21), "locale", "train"))],
        [Edit("drop_cell", DATA, ((18,), "id"))],
        [Edit("insert_line", DATA, (33, '{"id": 1e999, "partition": "test", "utt": "w1", "topic": "alarm"}'))],
    ]
    hold(world, 60, strategies.of_data("af-ZA"), evaluated, known)


def test_data_trained_on(world, hold):
    hold(world, 20, strategies.of_data("af-ZA"), trained)


def test_tasks(world, hold):
    hold(world, 50, strategies.of_task(), listed)


def test_matrices(world, hold):
    loop = Edit("become_link_to_own", worlds.MATRIX)
    hold(world, 50, strategies.of_matrix(), similar, [[loop, loop]])
