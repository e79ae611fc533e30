"""The files that make weights a model folder: configuration and tokenizer."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from auto_merge_llm.checkpoint import Checkpoint
from auto_merge_llm.safetensors_writer import explain_write_errors

_TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "sentencepiece.bpe.model",
    "spiece.model",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
)


def copy_model_files(
    source: Checkpoint,
    output: Path,
    *,
    tokenizer_from: Checkpoint | None = None,
    initial_head: str | None = None,
    dtype: str | None = None,
) -> None:
    """Copy config.json, with `source`'s label order, and the tokenizer files into the folder `output`.

    `initial_head`: the fingerprint that all sources share; None leaves the key out. `dtype`: the name of the
    weights' dtype where it is not the source's. `tokenizer_from`: another folder to take the tokenizer from.
    Raises InputError where `output` cannot be written; none of these files is left then.
    """
    config = merged_config(source, initial_head, dtype)
    tokenizer = (tokenizer_from or source).path
    names = [name for name in _TOKENIZER_FILES if (tokenizer / name).is_file()]
    try:
        with explain_write_errors(output):
            text = json.dumps(config, indent=2, ensure_ascii=False) + "\n"
            (output / "config.json").write_text(text, encoding="utf-8")
            for name in names:
                shutil.copyfile(tokenizer / name, output / name)
    except BaseException:
        for name in ("config.json", *names):
            (output / name).unlink(missing_ok=True)
        raise


def merged_config(source: Checkpoint, initial_head: str | None, dtype: str | None) -> dict:
    """The config.json that `copy_model_files` writes."""
    dropped = ("_name_or_path", "initial_head")
    config = {key: value for key, value in source.config.items() if key not in dropped}
    if initial_head is not None:
        config["initial_head"] = initial_head
    for key in ("dtype", "torch_dtype"):
        if dtype is not None and key in config:
            config[key] = dtype
    return config
