"""The files that make weights a model folder: configuration and tokenizer."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from auto_merge_llm.checkpoint import Checkpoint
from auto_merge_llm.safetensors_writer import explain_write_errors
from auto_merge_llm.tokenizer_files import tokenizer_files


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
