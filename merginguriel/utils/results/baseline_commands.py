"""The commands that measure the single models which merges and ensembles are compared with."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from merginguriel.utils.merging.recipe import source_flags
from merginguriel.utils.results import reproduction
from merginguriel.utils.storage import atomic
from merginguriel.utils.storage.command_lines import recorded_line
from merginguriel.utils.storage.naming import RESULTS_JSON


@dataclass
class _Nxn:
    """One N×N: its flags, the models that they do not find, and what they are to be measured on."""

    flags: tuple[str, ...]
    given: dict[str, str] = field(default_factory=dict)
    targets: set[str] = field(default_factory=set)
    finds_targets: bool = True  # each has its own model among those that the flags find

    def takes(self, flags: tuple[str, ...], given: Mapping[str, str]) -> bool:
        """Whether these models can be measured by it too: no language has another model here."""
        same = all(self.given.get(language, model) == model for language, model in given.items())
        return self.flags == flags and bool(self.given) == bool(given) and same

    def __str__(self) -> str:
        targets = [] if self.finds_targets and not self.given else ["--targets", *sorted(self.targets)]
        return recorded_line("run_nxn_evaluation.py", *self.flags, *source_flags(self.given), *targets)


def baseline_commands(frame: pd.DataFrame) -> list[str]:
    """One for each base model, folder of models, data and split of a comparison's rows, each on all of their targets.

    None for rows that do not tell their models, or have models of several kinds.
    """
    runs: list[_Nxn] = []
    for row in frame.to_dict("records"):
        for flags, given in _models_of(row):
            run = next((run for run in runs if run.takes(flags, given)), None)
            if run is None:
                runs.append(run := _Nxn(flags))
            run.given |= given
            run.targets.add(row["locale"])
            run.finds_targets &= pd.notna(row["native_score"])
    return sorted(map(str, runs))


def remedy(frame: pd.DataFrame) -> str:
    """What to run where baselines of a comparison's rows are missing."""
    splits = sorted(set(frame.split.dropna())) or ["test"]
    lines = baseline_commands(frame) or [recorded_line("run_nxn_evaluation.py", "--split", split) for split in splits]
    return "; ".join(lines)


def _models_of(row: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], dict[str, str]]]:
    """(flags of the models, data and split that a result rests on; its models that these flags do not find)"""
    info = {name: row[name] for name in ("task", "task_origin", "dataset") if pd.notna(row[name])}
    shared = () if row["split"] == "test" else ("--split", row["split"])
    given = reproduction.given_models(_experiment(row["folder"]))
    base, root = row["base_model"], row["models_root"]
    if given:
        yield (*shared, *reproduction.task_flags(info)), given
    elif pd.notna(base) and pd.notna(root) and " " not in base and os.pathsep not in root:
        store = reproduction.model_flags(info, base, Path(root))
        yield (*shared, *reproduction.task_flags(info), *map(str, store)), {}


def _experiment(folder: Any) -> dict[str, Any]:
    file = Path(folder) / RESULTS_JSON if isinstance(folder, str) else None
    return (atomic.read_json(file).get("experiment") or {}) if file and file.is_file() else {}
