"""The folder that a merged model is written to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from auto_merge_llm.checks import check_free_space
from auto_merge_llm.errors import InputError
from auto_merge_llm.executor import Put
from auto_merge_llm.model_files import ModelFiles
from auto_merge_llm.safetensors_writer import Layout, SafetensorsWriter
from auto_merge_llm.weight_files import find_weights


@dataclass(frozen=True)
class OutputFolder:
    """An existing folder without weights, and in what form they are to be written.

    `dtype`: "float32", "float16", "bfloat16" or "float64", by default the sources'. `shard_size`: bytes of tensor data
    in one file, by default all. Raises InputError for a folder or a size that will not do.
    """

    path: Path
    dtype: str | None = None
    shard_size: int | None = None

    def __post_init__(self) -> None:
        if not self.path.is_dir():
            raise InputError(f"no output folder {self.path}; make it first")
        present = find_weights(self.path)
        if present is not None:
            raise InputError(f"{present} exists already; choose an output folder without a model")
        if self.shard_size is not None and self.shard_size < 1:
            raise InputError(f"the shard size {self.shard_size} is not a positive number of bytes; correct it")

    def write(self, layout: Layout, fill: Callable[[Put], None], files: ModelFiles) -> tuple[str, ...]:
        """Make the folder a whole model, whose weights `fill` puts; return the names of the weight files.

        Raises InputError where the disk is full; no weight file is left behind after an error.
        """
        writer = SafetensorsWriter(self.path, layout, self.shard_size)
        check_free_space(self.path, writer.size)
        with writer:
            fill(writer.write)
            files.write(self.path)
            writer.commit()
        return tuple(path.name for path in writer.files)
