"""The folder that a merged model is written to: weights, configuration and tokenizer."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from auto_merge_llm.checkpoint import Checkpoint
from auto_merge_llm.checks import check_free_space
from auto_merge_llm.errors import InputError
from auto_merge_llm.executor import Put
from auto_merge_llm.safetensors_writer import Layout, SafetensorsWriter, explain_write_errors
from auto_merge_llm.tokenizer_files import tokenizer_files
from auto_merge_llm.weight_files import find_weights


@dataclass(frozen=True)
class ModelFiles:
    """The files beside the weights of a merged model.

    `config_from`: the source whose configuration, and order of labels, are the merged model's. `tokenizer_from`: the
    one whose tokenizer is. `initial_head`: the fingerprint that all sources share; None leaves the key out.
    `dtype`: the name of the weights' dtype where it is one.
    """

    config_from: Checkpoint
    tokenizer_from: Checkpoint
    initial_head: str | None
    dtype: str | None

    @property
    def config(self) -> dict[str, Any]:
        """The content of config.json."""
        dropped = ("_name_or_path", "initial_head")
        config = {key: value for key, value in self.config_from.config.items() if key not in dropped}
        if self.initial_head is not None:
            config["initial_head"] = self.initial_head
        for key in ("dtype", "torch_dtype"):
            if self.dtype is not None and key in config:
                config[key] = self.dtype
        return config

    def write(self, output: Path) -> None:
        """Write config.json and the tokenizer files into the folder `output`.

        Raises InputError where `output` cannot be written; none of these files is left then.
        """
        tokenizer = tokenizer_files(self.tokenizer_from.path)
        try:
            with explain_write_errors(output):
                text = json.dumps(self.config, indent=2, ensure_ascii=False) + "\n"
                (output / "config.json").write_text(text, encoding="utf-8")
                for path in tokenizer:
                    shutil.copyfile(path, output / path.name)
        except BaseException:
            for name in ("config.json", *(path.name for path in tokenizer)):
                (output / name).unlink(missing_ok=True)
            raise


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
