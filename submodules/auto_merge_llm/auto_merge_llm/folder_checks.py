"""What config.json, the headers of the weights and the tokenizer's files tell of a model before a tensor is read."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from auto_merge_llm.checkpoint import Checkpoint
from auto_merge_llm.errors import InputError
from auto_merge_llm.label_names import check_label_numbers
from auto_merge_llm.tensors import TensorReader
from auto_merge_llm.tokenizer_files import TOKENIZER_FILES
from auto_merge_llm.vocabulary_size import vocabulary_size

# The layer with a row a label, by model family; `classifier` is it only where it has no out_proj below it.
HEADS = ("classifier.out_proj", "classification_head.out_proj", "classifier", "score", "logits_proj")
_LAYER = re.compile(r"((?:.*?\.)?(?:layers?|h))\.(\d+)\.")
_LAYER_COUNTS = ("num_hidden_layers", "n_layers", "n_layer", "num_layers")
# Configurations of more than one stack of layers, whose numbers these keys share out.
_MANY_STACKS = ("decoder_layers", "num_decoder_layers", "text_config")
EMBEDDINGS = re.compile(r"(?:^|\.)(?:word_embeddings?|embed_tokens|tok_embeddings|wte|shared)\.weight$")
# What Trainer needs to go on, and no finished model has.
_UNFINISHED = ("optimizer.pt", "optimizer.bin", "scheduler.pt")


def check_model_folder(model: str | Path | Checkpoint) -> Checkpoint:
    """The model folder, opened, after all that can be known of it without a tensor was found to agree.

    The number of layers, the labels' names and the head's rows, the tokenizer and the embeddings' rows. Raises
    InputError for what would give wrong answers or none.
    """
    checkpoint = model if isinstance(model, Checkpoint) else Checkpoint(model)
    _check_layers(checkpoint)
    _check_files(checkpoint.path)
    _check_embeddings(checkpoint)
    _check_labels(checkpoint)
    return checkpoint


def head(tensors: Mapping[str, TensorReader]) -> str | None:
    """The name of the matrix with a row a label; None where there is none of a known name."""
    names = (f"{layer}.weight" for layer in HEADS)
    return next((name for name in names if name in tensors and len(tensors[name].shape) == 2), None)


def _check_layers(checkpoint: Checkpoint) -> None:
    """Models with too few layers answer, and wrongly; those with too many get random ones."""
    where, config = checkpoint.path / "config.json", checkpoint.config
    for size in ("hidden_size", "num_attention_heads"):
        if isinstance(config.get(size), (int, float)) and config[size] < 1:
            raise InputError(f"{where}: {size} is {config[size]!r}; copy the model's own config.json again")
    key = next((key for key in _LAYER_COUNTS if config.get(key) is not None), None)
    if key is None or any(other in config for other in _MANY_STACKS):
        return
    count, stacks = config[key], _layers(checkpoint.tensors)
    if type(count) is not int or count < 1:
        raise InputError(f"{where}: {key} is {count!r}, not a number of layers; copy the model's own config.json again")
    for stack, numbers in stacks.items():
        missing = set(range(max(numbers))) - numbers
        if missing:
            raise InputError(f"{checkpoint.name} lacks the weights of {stack}.{min(missing)}; copy the model again")
    # Some models have short stacks beside the long one.
    held = max(map(len, stacks.values()), default=count)
    if held != count:
        raise InputError(
            f"{where}: {key} is {count} and the weights hold {held} layers; copy the model's own config.json or "
            "weights again"
        )


def _layers(tensors: Mapping[str, Any]) -> dict[str, set[int]]:
    """Name of a stack of layers -> their numbers; stacks inside a layer are left out."""
    stacks: dict[str, set[int]] = {}
    for match in filter(None, map(_LAYER.match, tensors)):
        stacks.setdefault(match[1], set()).add(int(match[2]))
    return stacks


def _check_files(folder: Path) -> None:
    """A link to a file that has gone is otherwise as good as no tokenizer."""
    for path in (folder / name for name in TOKENIZER_FILES):
        if os.path.lexists(path) and not path.is_file():
            raise InputError(f"{path} is no file that can be read, such as a link to one that has gone; copy it again")


def _check_embeddings(checkpoint: Checkpoint) -> None:
    """A token without a row is an IndexError in the middle of the work."""
    stated, file = checkpoint.config.get("vocab_size"), checkpoint.vocabulary_file
    shapes = [tensor.shape for name, tensor in checkpoint.tensors.items() if EMBEDDINGS.search(name)]
    rows = next((shape[0] for shape in shapes if len(shape) == 2), stated)
    if stated is not None and stated != rows:
        raise InputError(
            f"{checkpoint.path / 'config.json'}: vocab_size is {stated} and the embeddings have {rows} rows; copy the "
            "model's own config.json or weights again"
        )
    tokens = vocabulary_size(checkpoint.path)
    if file is None or tokens is None or type(rows) is not int or tokens <= rows:
        return
    if any((checkpoint.path / name).is_file() for name in _UNFINISHED):
        raise InputError(
            f"{checkpoint.name} is a checkpoint of a training, with {rows} of its tokenizer's {tokens} tokens, and no "
            "model; let the training end and take the model that it writes"
        )
    raise InputError(
        f"{file} has {tokens} tokens and the embeddings of {checkpoint.name} {rows} rows; copy the tokenizer that the "
        "model was trained with into its folder"
    )


def _check_labels(checkpoint: Checkpoint) -> None:
    named, name = checkpoint.config.get("id2label"), head(checkpoint.tensors)
    if isinstance(named, dict) and named and name:
        rows = checkpoint.tensors[name].shape[0]
        if rows != len(named):
            raise InputError(
                f"{checkpoint.name}: {name} has {rows} rows and id2label {len(named)} names; correct config.json"
            )
    check_label_numbers(checkpoint.config, checkpoint.path / "config.json")
