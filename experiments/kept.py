"""The files of an experiment in the repository: who answered what on which item, small enough to be kept.

Of each corpus `labels.npy.xz`, (items,); of each of its seeds `results.csv`, a line a merge, vote or adapted merge on a
target, and `results.npy.xz`, (lines, items), what it answered; `nxn_test.csv`, accuracies of sources on targets, and
`nxn_test.npy.xz`, (sources, targets, items). Answers and labels are numbers of the task's labels; items are in the
order of their ids, and the same ones in every language.
"""

import csv
import io
import lzma
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import numpy as np

from merginguriel.utils.similarity.transfer import TransferMatrix, read_csv
from merginguriel.utils.storage import atomic

OWN_MODEL = "own model"  # in the place of a mode
NUMBERS = ("number", "rounds", "examples")  # of a row


@dataclass(frozen=True)
class Row:
    """One result of a folder, which is the `part`.

    `mode`: of the merge; of a vote ensemble_soft and its like. `rounds`: 0 of what is not adapted. `examples`: texts
    that it adapted on, 0 for all. `sources`: codes. `seconds`: of its job, beside whatever else ran; "" where nothing
    tells them.
    """

    part: str
    name: str
    target: str
    mode: str
    selection: str
    number: int
    rounds: int
    examples: int
    sources: str
    seconds: str = ""


@dataclass(frozen=True)
class Kept:
    """Of one corpus and seed: rows and what they answered, (rows, items); every source on every target."""

    rows: list[Row]
    answers: np.ndarray
    transfer: TransferMatrix
    transfer_answers: np.ndarray


def joined(parts: Sequence[Kept], name: str) -> Kept:
    """All results of parts whose sources answered alike, alike results side by side, which packs better.

    Ends the script where sources differ, or two results of one name.
    """
    first, found = parts[0], {}
    for part in parts:
        same = (part.transfer.sources, part.transfer.targets) == (first.transfer.sources, first.transfer.targets)
        if not same or not np.array_equal(part.transfer_answers, first.transfer_answers):
            raise SystemExit(f"{name}: the sources of the parts do not answer alike; they must be the same models")
        for row, answers in zip(part.rows, part.answers):
            told, before = found.setdefault((row.target, row.part, row.name), (row, answers))
            if not np.array_equal(before, answers) or replace(told, seconds="") != replace(row, seconds=""):
                raise SystemExit(f"{name}: two parts have different answers of {row.part}/{row.name}")
            if not told.seconds:
                found[row.target, row.part, row.name] = row, answers
    of = [found[key] for key in sorted(found)]
    return replace(first, rows=[row for row, _ in of], answers=np.array([answers for _, answers in of]))


def write_kept(folder: Path, kept: Kept) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    out = io.StringIO()
    writer = csv.DictWriter(out, [field.name for field in fields(Row)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(map(asdict, kept.rows))
    atomic.write_text(folder / "results.csv", out.getvalue())
    write_array(folder / "results.npy.xz", kept.answers)
    kept.transfer.to_csv(folder / "nxn_test.csv")
    write_array(folder / "nxn_test.npy.xz", kept.transfer_answers)


def read_kept(folder: Path) -> Kept:
    with open(folder / "results.csv", encoding="utf-8", newline="") as file:
        rows = [Row(**row | {name: int(row[name]) for name in NUMBERS}) for row in csv.DictReader(file)]
    answers, transfer_answers = (read_array(folder / f"{name}.npy.xz") for name in ("results", "nxn_test"))
    return Kept(rows, answers, read_csv(folder / "nxn_test.csv"), transfer_answers)


def write_array(file: Path, values: np.ndarray) -> None:
    """As uint8; what does not fit is an error."""
    if values.size and (values.min() < 0 or values.max() > 255):
        raise ValueError(f"{file}: values from {values.min()} to {values.max()} do not fit a byte")
    raw = io.BytesIO()
    np.save(raw, values.astype(np.uint8))
    with atomic.beside(file) as partial:
        partial.write_bytes(lzma.compress(raw.getvalue(), preset=9 | lzma.PRESET_EXTREME))


def read_array(file: Path) -> np.ndarray:
    with lzma.open(file) as raw:
        return np.load(io.BytesIO(raw.read()))
