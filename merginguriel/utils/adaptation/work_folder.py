"""The folder of an adaptation that is not finished: what teachers and finished rounds have said, the round in progress.

Files appear whole. Each carries the hash of what it rests on, and one that rests on something else is made again.
"""

import json
import logging
import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from auto_merge_llm.errors import InputError

from merginguriel.utils.storage import atomic

log = logging.getLogger(__name__)
_SETTINGS = "settings.json"


def unfinished(output: Path) -> Path:
    """Where an adaptation stands until its model is whole."""
    return output.with_name(f"{output.name}.adapting")


class WorkFolder:
    """`unfinished(output)`, claimed for the adaptation that `record` tells of.

    InputError where another one has left it and `overwrite` is false, or where it is nothing that this toolkit made.
    """

    def __init__(self, output: Path, record: Mapping[str, Any], overwrite: bool):
        self.path = unfinished(output)
        settings = self.path / _SETTINGS
        if self.path.exists() and not settings.is_file() and any(self.path.iterdir()):
            raise InputError(f"{self.path} is nothing that this toolkit made; remove it or choose another --output-dir")
        if settings.is_file() and atomic.read_json(settings) != record:
            if not overwrite:
                raise InputError(
                    f"{self.path} holds an unfinished adaptation with other settings, texts or models; repeat those to "
                    "finish it, or use --overwrite to start again"
                )
            shutil.rmtree(self.path)
        atomic.write_json(settings, record)

    def keep(self, name: str, rests_on: str, opinion: np.ndarray, told: Mapping[str, Any]) -> None:
        """`opinion` (texts, classes), and what is `told` of it, as JSON has it."""
        with atomic.beside(self._file(name)) as partial, open(partial, "wb") as out:
            np.savez(out, opinion=opinion, rests_on=np.array(rests_on), told=np.array(atomic.as_json(told)))

    def kept(self, name: str, rests_on: str) -> tuple[np.ndarray, dict[str, Any]] | None:
        """What was kept by that name and rests on the same."""
        file = self._file(name)
        if not file.is_file():
            return None
        try:
            with np.load(file, allow_pickle=False) as arrays:
                if str(arrays["rests_on"]) == rests_on:
                    return arrays["opinion"], json.loads(str(arrays["told"]))
        except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile):
            log.warning("warning: %s is damaged; made again", file)
        return None

    def of_round(self, number: int) -> Path:
        """Where Trainer keeps the checkpoints of a round."""
        return self.path / f"round{number}"

    def _file(self, name: str) -> Path:
        return self.path / f"{name}.npz"

    def remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
