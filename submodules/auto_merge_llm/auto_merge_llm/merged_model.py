"""What a merge of folders gives: a report, and a model in memory unless it was written to a folder."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from auto_merge_llm.checkpoint import Checkpoint
from auto_merge_llm.compatibility import Findings
from auto_merge_llm.executor import Put
from auto_merge_llm.output_folder import ModelFiles, OutputFolder
from auto_merge_llm.safetensors_writer import file_sha256, layout_of


@dataclass(frozen=True)
class MergeReport:
    """What was merged: sources and weights in canonical order, what the checks found, the files written.

    `parameters` counts elements; `dtypes` are the names of the dtypes in the files; `counts` is what the
    method counted, such as the tensors for which it took another formula (see its docstring).
    """

    sources: tuple[str, ...]
    weights: tuple[float, ...]
    findings: Findings
    files: tuple[str, ...]
    parameters: int
    dtypes: tuple[str, ...]
    counts: Mapping[str, int]


@dataclass(frozen=True)
class MergedModel:
    """A merged model in memory: `state` is its state dict, `files` are those that `save` puts beside the weights."""

    state: Mapping[str, torch.Tensor]
    report: MergeReport
    files: ModelFiles

    @property
    def config_from(self) -> Checkpoint:
        """The source whose configuration, and order of labels, are the merged model's."""
        return self.files.config_from

    @property
    def config(self) -> dict[str, Any]:
        """The content of config.json."""
        return self.files.config

    @property
    def tokenizer_from(self) -> Checkpoint:
        """The source whose tokenizer is the merged model's."""
        return self.files.tokenizer_from

    @functools.cached_property
    def weights_fingerprint(self) -> str:
        """The Checkpoint's `weights_fingerprint` once it is saved."""
        return file_sha256(self.state)

    def save(self, output: str | Path) -> None:
        """Make the existing folder `output`, without weights yet, what `merge_checkpoints` makes it.

        Raises InputError where it has weights, or the disk is full.
        """

        def fill(put: Put) -> None:
            for name, values in self.state.items():
                put(name, 0, values.cpu())

        OutputFolder(Path(output)).write(layout_of(self.state), fill, self.files)
