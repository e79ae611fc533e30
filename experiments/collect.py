"""Pack the results of an experiment into the files of kept.py, one folder a corpus and seed.

    python experiments/collect.py work --output docs/results/languages

Parts that were run on several machines are joined, if their sources are the same to the last answer: several folders
may be given, and outputs of this script among them.
"""

import argparse
import re
from collections import defaultdict
from pathlib import Path

import numpy as np
from kept import OWN_MODEL, Kept, Row, joined, read_array, read_kept, write_array, write_kept

from merginguriel.utils.evaluation.nxn_logits import Logits, open_logits
from merginguriel.utils.evaluation.predictions import PREDICTIONS, read_predictions
from merginguriel.utils.flags.command import command
from merginguriel.utils.similarity.transfer import MATRIX_CSV, finished_runs, read_csv
from merginguriel.utils.storage import atomic
from merginguriel.utils.storage.naming import RESULTS_JSON


class Items:
    """The items of a corpus: the same ids and labels in every language, or an error."""

    def __init__(self) -> None:
        self.labels: np.ndarray | None = None
        self._ids: np.ndarray | None = None

    def in_order(self, ids: np.ndarray, labels: np.ndarray, answers: np.ndarray, where: Path) -> np.ndarray:
        order = np.argsort(ids)
        if self._ids is None:
            self._ids = ids[order]
        if not np.array_equal(ids[order], self._ids):
            raise SystemExit(f"{where} is on other items than the rest")
        self.check_labels(labels[order], where)
        return answers[order]

    def check_labels(self, labels: np.ndarray, where: Path) -> None:
        if self.labels is None:
            self.labels = labels
        if not np.array_equal(labels, self.labels):
            raise SystemExit(f"{where} has other labels than the rest")


def kept_of(root: Path, items: Items) -> Kept:
    """What the folder of a corpus and seed holds."""
    found, seconds = [], _seconds(root)
    for file in sorted(root.glob(f"*/*/{RESULTS_JSON}")):
        experiment = atomic.read_json(file)["experiment"]
        if experiment:  # what sources do alone, the N×N has
            of = read_predictions(file.with_name(PREDICTIONS), ("ids", "labels", "predictions"))
            answers = items.in_order(of["ids"], of["labels"], of["predictions"], file)
            found.append((_row(file.parent, experiment, seconds.get(file.parent, "")), answers))
    if (root / "nxn_own").is_dir():
        found += _own_models(open_logits(_finished(root / "nxn_own")), items)
    run = _finished(root / "nxn_test")
    logits = open_logits(run)
    transfer = [[_answers(logits, source, target, items) for target in logits.targets] for source in logits.sources]
    matrix = read_csv(run / MATRIX_CSV)
    answers = np.array([of for _, of in found]).reshape(len(found), -1)
    return Kept([row for row, _ in found], answers, matrix, np.array(transfer))


def _seconds(root: Path) -> dict[Path, str]:
    """Of the jobs by their folders, as the commands' own lists of progress tell them."""
    return {
        file.parent / name: f"{value:.2f}"
        for file in sorted(root.glob("*/*_progress_*.json"))
        for name, value in atomic.read_json(file).get("seconds", {}).items()
    }


def _row(folder: Path, experiment: dict, seconds: str) -> Row:
    sources = [source["locale"] for source in experiment["sources"]]
    adapted = experiment.get("adapt") or {}
    return Row(
        folder.parent.name,
        re.sub(r"_seed\d+", "", folder.name),  # the folder's folder tells it
        experiment["target"],
        experiment["mode"],
        experiment.get("similarity", {}).get("selection", ""),
        len(sources),
        adapted.get("rounds", 0),
        adapted.get("examples") or 0,
        " ".join(sources),
        seconds,
    )


def _own_models(logits: Logits, items: Items) -> list[tuple[Row, np.ndarray]]:
    """Of targets that are no sources."""
    return [
        (Row("nxn_own", target, target, OWN_MODEL, "", 1, 0, 0, target), _answers(logits, target, target, items))
        for target in logits.targets
    ]


def _answers(logits: Logits, source: str, target: str, items: Items) -> np.ndarray:
    of = logits.logits(source, target).argmax(-1)
    return items.in_order(logits.ids(target), logits.labels(target), of, logits.path)


def _finished(folder: Path) -> Path:
    runs = finished_runs(folder)
    if not runs:
        raise SystemExit(f"no finished N×N in {folder}")
    return runs[-1]


def read(folder: Path, corpora: dict[str, Items]) -> dict[str, Kept]:
    """By the name of corpus and seed, from a working folder of run.py or from an output of this script."""
    found = {}
    for root in sorted(path for path in folder.glob("*") if path.is_dir()):
        items = corpora.setdefault(root.name.rpartition("_")[0], Items())
        if (root / "nxn_test").is_dir():
            found[root.name] = kept_of(root, items)
        elif (root / "results.csv").is_file():
            items.check_labels(read_array(folder / f"{root.name.rpartition('_')[0]}_labels.npy.xz"), root)
            found[root.name] = read_kept(root)
    return found


def main(argv=None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+", help="working folders of run.py, outputs of this script")
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args(argv)
    corpora: dict[str, Items] = {}
    found: dict[str, list[Kept]] = defaultdict(list)
    for folder in args.folders:
        for name, kept in read(folder, corpora).items():
            found[name].append(kept)
    if not found:
        raise SystemExit(f"no N×N of test items and no kept results in {', '.join(map(str, args.folders))}")
    for name, parts in found.items():
        write_kept(args.output / name, joined(parts, name))
    for corpus in {name.rpartition("_")[0] for name in found}:
        write_array(args.output / f"{corpus}_labels.npy.xz", corpora[corpus].labels)


if __name__ == "__main__":
    raise SystemExit(command(main)())
