"""How well models of one language do on another, as measured by run_nxn_evaluation.py."""

import csv
import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
from auto_merge_llm.errors import InputError

from merginguriel.utils.data.languages import check_locale
from merginguriel.utils.data.split import SPLITS
from merginguriel.utils.storage.atomic import read_json, write_text

# Of a run's folder.
RUN_JSON = "run.json"
MATRIX_CSV = "evaluation_matrix.csv"
SUMMARY_JSON = "evaluation_summary.json"
MEASURE = "measure it with run_nxn_evaluation.py --split validation"


@dataclass(frozen=True)
class TransferMatrix:
    """Accuracies. `values` is (sources, targets): row = source model, column = target locale; NaN = not measured.

    The other way round than similarity.SimilarityMatrix, whose rows are targets. `weights_sha256`: of the model of
    each source, where a run's summary tells it.
    """

    remedy: ClassVar[str] = MEASURE
    sources: tuple[str, ...]
    targets: tuple[str, ...]
    values: np.ndarray
    origin: str
    split: str | None = None
    weights_sha256: Mapping[str, str | None] = field(default_factory=dict)

    def for_target(self, target: str) -> dict[str, float]:
        """Source -> accuracy on the target, best first.

        Left out: the target's own model, what is not measured, and what is never right, which can have no weight.
        """
        check_locale(target, self.targets, self.origin)
        column = self.values[:, self.targets.index(target)]
        scores = {
            source: float(score) for source, score in zip(self.sources, column) if source != target and score > 0
        }  # false of NaN too
        return dict(sorted(scores.items(), key=lambda item: (-item[1], item[0])))

    @property
    def own_language(self) -> np.ndarray:
        """(sources, targets) bool: whether the model was trained on the target itself."""
        return np.array([[source == target for target in self.targets] for source in self.sources])

    def check_models(self, weights_sha256: Mapping[str, str]) -> None:
        """InputError where one of these sources is another model than the one that was measured."""
        others = [source for source, sha256 in weights_sha256.items() if self.weights_sha256.get(source) != sha256]
        if others:
            raise InputError(
                f"{self.origin} was measured with other models of {', '.join(others)} than those that are "
                f"there now; {MEASURE}"
            )

    def fingerprint(self) -> str:
        return hashlib.sha256(repr((self.sources, self.targets, self.values.tolist())).encode()).hexdigest()

    def to_csv(self, path: Path) -> None:
        """First column unnamed; a cell that was not measured is empty."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(["", *self.targets])
        for source, row in zip(self.sources, self.values):
            writer.writerow([source, *("" if np.isnan(value) else repr(float(value)) for value in row)])
        write_text(path, out.getvalue())


def read_csv(path: Path) -> TransferMatrix:
    """Raises InputError where it is no matrix of accuracies from 0 to 1 with unique sources and targets."""
    try:
        with open(path, newline="", encoding="utf-8") as lines:
            header, *rows = [row for row in csv.reader(lines) if row]
        values = np.array([[float(cell or "nan") for cell in row[1:]] for row in rows], ndmin=2)
    except FileNotFoundError:
        raise InputError(f"no transfer matrix {path}; {MEASURE}") from None
    except (ValueError, UnicodeDecodeError):
        raise InputError(f"{path} is no CSV matrix of numbers; {MEASURE}") from None
    sources, targets = tuple(row[0] for row in rows), tuple(header[1:])
    inside = np.isnan(values) | ((values >= 0) & (values <= 1))
    if (
        values.shape != (len(sources), len(targets))
        or not inside.all()
        or len(set(sources)) < len(sources)
        or len(set(targets)) < len(targets)
    ):
        raise InputError(f"{path} is no matrix of accuracies with every source and target once; {MEASURE}")
    return TransferMatrix(sources, targets, values, str(path))


def read_transfer_matrix(path: Path) -> TransferMatrix:
    """The matrix of an N×N run, its folder or evaluation_matrix.csv, to choose sources by.

    Raises InputError for one that was computed on test, or whose summary does not say on what.
    """
    file = path / MATRIX_CSV if path.is_dir() else path
    matrix, summary = read_csv(file), file.with_name(SUMMARY_JSON)
    if not summary.is_file():
        raise InputError(f"no {SUMMARY_JSON} beside {file}, so it is unknown on which split it was computed; {MEASURE}")
    content = read_json(summary)
    split = content.get("split", "")
    if SPLITS.get(split) != "dev":
        raise InputError(
            f"{file} was computed on the {split or 'unknown'} split, which sources must not be chosen by; {MEASURE}"
        )
    return replace(
        matrix,
        split=split,
        weights_sha256={source: model["weights_sha256"] for source, model in content.get("models", {}).items()},
    )
