"""The logits of an N×N run: of every cell in one file, read when they are asked for, for ensembles and paired tests."""

from pathlib import Path

import numpy as np
from auto_merge_llm.errors import InputError

from merginguriel.utils.similarity.transfer import RUN_JSON, SUMMARY_JSON
from merginguriel.utils.storage import atomic

LOGITS = "logits.safetensors"
CELL_LOGITS = "logits.npy"  # of one cell, until all are in LOGITS


class Logits:
    """The kept logits of an N×N run; every cell is read when it is asked for.

    `weights_sha256` of the model of each source; None of one that could not be read. `data_sha256` of the ids, texts
    and labels of each target; `texts_sha256` of all but the labels, empty where an earlier version made the run.
    """

    def __init__(self, folder: Path):
        from safetensors import SafetensorError, safe_open

        self.path = Path(folder) / LOGITS
        settings = atomic.read_json(Path(folder) / RUN_JSON)
        self.sources, self.targets = tuple(settings["sources"]), tuple(settings["data"])
        self.split, self.precision = settings["split"], settings["precision"]
        self.weights_sha256 = {source: (model or {}).get("model") for source, model in settings["sources"].items()}
        self.data_sha256: dict[str, str] = settings["data"]
        self.texts_sha256: dict[str, str] = settings.get("texts", {})
        if not self.path.is_file():
            raise InputError(f"no {LOGITS} in {folder} any more; evaluate again with run_nxn_evaluation.py --anew")
        try:
            self._file = safe_open(self.path, "numpy")
        except SafetensorError as error:
            raise InputError(
                f"{self.path} is damaged ({error}); evaluate again with run_nxn_evaluation.py --anew"
            ) from None
        self._names = set(self._file.keys())

    def paths(self) -> dict[str, Path]:
        """Source -> folder of the model that was evaluated."""
        return {
            source: Path(model["path"])
            for source, model in atomic.read_json(self.path.with_name(SUMMARY_JSON))["models"].items()
        }

    def logits(self, source: str, target: str) -> np.ndarray:
        """(items, labels) float16, columns in the order of the task's labels; InputError where the cell is missing."""
        return self._read(f"{source}/{target}")

    def labels(self, target: str) -> np.ndarray:
        """(items,) int16, indices of the task's labels."""
        return self._read(f"labels/{target}")

    def ids(self, target: str) -> np.ndarray:
        """(items,) str, in the order of the logits' rows."""
        return np.array(self._read(f"ids/{target}").tobytes().decode().split("\n"))

    def _read(self, name: str) -> np.ndarray:
        if name not in self._names:
            raise InputError(f"no {name} in {self.path}; evaluate it with run_nxn_evaluation.py")
        return self._file.get_tensor(name)


def open_logits(folder: Path) -> Logits:
    """Of a finished run; InputError for any other folder."""
    if not (Path(folder) / SUMMARY_JSON).is_file():
        raise InputError(
            f"no finished N×N evaluation in {folder}; give the folder of one, or finish it with "
            "the same run_nxn_evaluation.py command"
        )
    return Logits(folder)


def halved(logits: np.ndarray) -> np.ndarray:
    """(items, labels) in float16 with the same argmax: where rounding makes a tie, the winner goes one step up."""
    half = logits.astype(np.float16)
    items, winner = np.arange(len(logits)), logits.argmax(-1)
    tied = half.argmax(-1) != winner
    half[items[tied], winner[tied]] = np.nextafter(half[tied].max(-1), np.float16(np.inf))
    return half
