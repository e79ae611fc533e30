"""Pack the results of an experiment into the files of kept.py, one folder a corpus and seed.

python experiments/collect.py work --output docs/results/languages
"""

import argparse
import re
from pathlib import Path

import numpy as np
from kept import OWN_MODEL, Kept, Row, write_array, write_kept

from merginguriel.utils.evaluation.nxn_logits import Logits, open_logits
from merginguriel.utils.evaluation.predictions import PREDICTIONS, read_predictions
from merginguriel.utils.similarity.transfer import MATRIX_CSV, SUMMARY_JSON, read_csv
from merginguriel.utils.storage import atomic
from merginguriel.utils.storage.naming import RESULTS_JSON


class Items:
    """The items of a corpus: the same ids and labels in every language, or an error."""

    def __init__(self) -> None:
        self.labels: np.ndarray | None = None
        self._ids: np.ndarray | None = None

    def in_order(self, ids: np.ndarray, labels: np.ndarray, answers: np.ndarray, where: Path) -> np.ndarray:
        order = np.argsort(ids)
        if self._ids is None or self.labels is None:
            self._ids, self.labels = ids[order], labels[order]
        if not (np.array_equal(ids[order], self._ids) and np.array_equal(labels[order], self.labels)):
            raise SystemExit(f"{where} is on other items than the rest")
        return answers[order]


def kept_of(root: Path, items: Items) -> Kept:
    """What the folder of a corpus and seed holds."""
    found = []
    for file in sorted(root.glob(f"*/*/{RESULTS_JSON}")):
        experiment = atomic.read_json(file)["experiment"]
        if experiment:  # what sources do alone, the N×N has
            of = read_predictions(file.with_name(PREDICTIONS), ("ids", "labels", "predictions"))
            answers = items.in_order(of["ids"], of["labels"], of["predictions"], file)
            found.append((_row(file.parent, experiment), answers))
    if (root / "nxn_own").is_dir():
        found += _own_models(open_logits(_finished(root / "nxn_own")), items)
    found.sort(key=lambda one: (one[0].target, one[0].part, one[0].name))  # alike beside alike, which packs better
    logits = open_logits(_finished(root / "nxn_test"))
    transfer = [[_answers(logits, source, target, items) for target in logits.targets] for source in logits.sources]
    matrix = read_csv(_finished(root / "nxn_test") / MATRIX_CSV)
    return Kept([row for row, _ in found], np.array([of for _, of in found]), matrix, np.array(transfer))


def _row(folder: Path, experiment: dict) -> Row:
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
        " ".join(sources),
    )


def _own_models(logits: Logits, items: Items) -> list[tuple[Row, np.ndarray]]:
    """Of targets that are no sources."""
    return [
        (Row("nxn_own", target, target, OWN_MODEL, "", 1, 0, target), _answers(logits, target, target, items))
        for target in logits.targets
    ]


def _answers(logits: Logits, source: str, target: str, items: Items) -> np.ndarray:
    of = logits.logits(source, target).argmax(-1)
    return items.in_order(logits.ids(target), logits.labels(target), of, logits.path)


def _finished(folder: Path) -> Path:
    runs = sorted(folder.glob(f"nxn_eval_*/{SUMMARY_JSON}"))
    if not runs:
        raise SystemExit(f"no finished N×N in {folder}")
    return runs[-1].parent


def main(argv=None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path, help="working folder of run.py")
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args(argv)
    roots = [root for root in sorted(args.work.iterdir()) if (root / "nxn_test").is_dir()]
    corpora: dict[str, Items] = {}
    for root in roots:
        corpus = root.name.rpartition("_")[0]
        write_kept(args.output / root.name, kept_of(root, corpora.setdefault(corpus, Items())))
    for corpus, items in corpora.items():
        write_array(args.output / f"{corpus}_labels.npy.xz", items.labels)


if __name__ == "__main__":
    main()
