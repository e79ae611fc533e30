"""A classifier folder opened lazily: configuration, labels, tensors and fingerprints."""

import functools
import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch

from auto_merge_llm import tokenizer_files
from auto_merge_llm.errors import InputError
from auto_merge_llm.tensors import LoadedTensor, TensorReader, is_parameter
from auto_merge_llm.weight_files import open_weights, weight_files


class Checkpoint:
    """The model folder `path`; `name` is that path as messages give it.

    `config` is config.json as a dict, `tensors` maps names to readers, `initial_head` is the sha256 of the head that
    training started from, or None.
    Raises InputError naming the file that is missing, damaged or only partly written.
    """

    def __init__(self, path: str | Path):
        path = Path(path)
        if not path.is_dir():
            raise InputError(f"no model folder {path}; check the path")
        self.path, self.name = path, str(path)
        self.config = _read_json_object(path / "config.json")
        self.initial_head = self.config.get("initial_head")
        if self.initial_head is not None and not re.fullmatch(r"[0-9a-f]{64}", str(self.initial_head)):
            raise InputError(f"{path / 'config.json'}: initial_head is not a sha256; remove it or train again")
        self.tensors: Mapping[str, TensorReader] = {
            name: tensor for name, tensor in open_weights(path).items() if is_parameter(name)
        }

    def load(self, device: torch.device | str) -> None:
        """Read all tensors into the memory of `device`: from now on `tensors` are there."""
        self.tensors = {
            name: LoadedTensor(tensor.whole(tensor.dtype).to(device)) for name, tensor in self.tensors.items()
        }

    def state_dict(self) -> dict[str, torch.Tensor]:
        """The tensors that `load` has read, which must not be changed."""
        return {name: cast(LoadedTensor, tensor).values for name, tensor in self.tensors.items()}

    @functools.cached_property
    def labels(self) -> tuple[str, ...]:
        """Class names in index order. Raises InputError where config.json gives none or only LABEL_0…"""
        where = self.path / "config.json"
        named = self.config.get("id2label")
        remedy = "write the names of the classes, in training order, into id2label"
        if not isinstance(named, dict) or not named:
            raise InputError(f"{where} has no id2label; {remedy}")
        try:
            labels = tuple(named[str(index)] for index in range(len(named)))
        except KeyError as error:
            raise InputError(f"{where}: id2label has no entry {error.args[0]}; {remedy}") from None
        if not all(isinstance(label, str) for label in labels) or len(set(labels)) != len(labels):
            raise InputError(f"{where}: id2label needs one different name a class; {remedy}")
        if labels == tuple(f"LABEL_{index}" for index in range(len(labels))):
            raise InputError(f"{where}: id2label has only the default names LABEL_0…; {remedy}")
        return labels

    @property
    def vocabulary_file(self) -> Path | None:
        """The file that holds the tokenizer's vocabulary; None where the folder has no tokenizer."""
        return tokenizer_files.vocabulary_file(self.path)

    @functools.cached_property
    def vocabulary_file_sha256(self) -> str | None:
        """sha256 of the file's bytes: quick, but it changes with settings such as truncation."""
        return _sha256([self.vocabulary_file]) if self.vocabulary_file else None

    @functools.cached_property
    def tokenizer_fingerprint(self) -> str | None:
        """sha256 of the vocabulary alone, whatever else the file says; None where there is no such file."""
        path, digest = self.vocabulary_file, self.vocabulary_file_sha256
        if path is None or digest is None or path.name != "tokenizer.json":
            return digest
        # XLM-R's file takes a second to parse, and the models of one sweep have the same.
        if digest not in _FINGERPRINTS:
            _FINGERPRINTS[digest] = _vocabulary_sha256(path)
        return _FINGERPRINTS[digest]

    @functools.cached_property
    def weights_fingerprint(self) -> str:
        """sha256 over the content of the weight files, by file name; reads all of them."""
        return _sha256(weight_files(self.path))


# Of a tokenizer.json: sha256 of its bytes -> that of its vocabulary.
_FINGERPRINTS: dict[str, str] = {}


def _vocabulary_sha256(path: Path) -> str:
    tokenizer = _read_json_object(path)
    try:
        vocabulary = tokenizer["model"]["vocab"]
        # Unigram lists [piece, score] by id; the other models map pieces to ids.
        pieces = (
            [entry[0] for entry in vocabulary]
            if isinstance(vocabulary, list)
            else sorted(vocabulary, key=vocabulary.get)
        )
        added = [[token["id"], token["content"]] for token in tokenizer.get("added_tokens") or []]
    except (KeyError, TypeError, IndexError):
        raise InputError(f"{path} has no vocabulary; copy the tokenizer again") from None
    return hashlib.sha256(json.dumps([pieces, added]).encode()).hexdigest()


def _sha256(paths: list[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        with open(path, "rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def _read_json_object(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(
            f"no {path.name} in {path.parent}; the folder is no complete model, copy or train it again"
        ) from None
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise InputError(f"{path} is not valid JSON; it is damaged or only partly written, copy it again")
    return content
