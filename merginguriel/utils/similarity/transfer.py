"""How well models of one language do on another, as measured by run_nxn_evaluation.py."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
from auto_merge_llm.errors import InputError

from merginguriel.utils.data.split import SPLITS
from merginguriel.utils.similarity.matrix import LanguageMatrix, read_table
from merginguriel.utils.storage.atomic import read_json

# Of a run's folder.
RUN_JSON = "run.json"
MATRIX_CSV = "evaluation_matrix.csv"
SUMMARY_JSON = "evaluation_summary.json"
MEASURE = "measure it with run_nxn_evaluation.py --split validation"


@dataclass(frozen=True)
class TransferMatrix(LanguageMatrix):
    """Accuracies: row = source model, column = target locale, in the file too; NaN = not measured.

    A model that is never right can have no weight, and is left out as what is not measured. `weights_sha256`: of the
    model of each source, where a run's summary tells it.
    """

    remedy: ClassVar[str] = MEASURE
    split: str | None = None
    weights_sha256: Mapping[str, str | None] = field(default_factory=dict)

    def check_models(self, weights_sha256: Mapping[str, str]) -> None:
        """InputError where one of these sources is another model than the one that was measured."""
        others = [source for source, sha256 in weights_sha256.items() if self.weights_sha256.get(source) != sha256]
        if others:
            raise InputError(
                f"{self.origin} was measured with other models of {', '.join(others)} than those that are "
                f"there now; {MEASURE}"
            )


def finished_runs(folder: Path) -> list[Path]:
    """The folders of the N×N runs below `folder` that are finished, the newest last."""
    return [file.parent for file in sorted(folder.glob(f"nxn_eval_*/{SUMMARY_JSON}"))]


def read_csv(path: Path) -> TransferMatrix:
    """Raises InputError where it is no matrix of accuracies from 0 to 1 with unique sources and targets."""
    sources, targets, values = read_table(path, "transfer matrix", MEASURE)
    if not (np.isnan(values) | ((values >= 0) & (values <= 1))).all():
        raise InputError(f"{path} is no matrix of accuracies from 0 to 1; {MEASURE}")
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
