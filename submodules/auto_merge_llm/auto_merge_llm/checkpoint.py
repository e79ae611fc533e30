"""A classifier folder opened lazily: configuration, labels, tensors and fingerprints."""

import functools
import hashlib
import re
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import torch

from auto_merge_llm import tokenizer_files, tokenizer_rules
from auto_merge_llm.adapter_files import ADAPTER_CONFIG
from auto_merge_llm.errors import InputError
from auto_merge_llm.json_objects import read_json_object
from auto_merge_llm.label_names import label_names
from auto_merge_llm.tensors import LoadedTensor, TensorReader, is_parameter
from auto_merge_llm.weight_files import find_weights, open_weights, weight_files, wrapper_prefix


class Checkpoint:
    """The model folder `path`; `name` is that path as messages give it.

    `config` is config.json as a dict, `tensors` maps names to readers, `initial_head` is the sha256 of the head that
    training started from, or None. `wrapper` is what torch.compile or DataParallel has put before all names of the
    files, and `tensors` has no more.
    Raises InputError naming the file that is missing, damaged or only partly written, and for adapters.
    """

    def __init__(self, path: str | Path):
        path = Path(path)
        if not path.is_dir():
            raise InputError(f"no model folder {path}; check the path")
        self.path, self.name = path, str(path)
        _refuse_adapter(path)
        self.config = read_json_object(path / "config.json")
        self.initial_head = self.config.get("initial_head")
        if self.initial_head is not None and not re.fullmatch(r"[0-9a-f]{64}", str(self.initial_head)):
            raise InputError(f"{path / 'config.json'}: initial_head is not a sha256; remove it or train again")
        opened = open_weights(path)
        self.wrapper = wrapper_prefix(opened, path)
        self.tensors: Mapping[str, TensorReader] = {
            name.removeprefix(self.wrapper): tensor for name, tensor in opened.items() if is_parameter(name)
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
        """Class names in index order.

        Raises InputError where config.json gives none or only LABEL_0…, or gives them twice and differently.
        """
        return label_names(self.config, self.path / "config.json")

    @property
    def vocabulary_file(self) -> Path | None:
        """The file that holds the tokenizer's vocabulary; None where the folder has no tokenizer."""
        return tokenizer_files.vocabulary_file(self.path)

    @property
    def tokenizer_fingerprint(self) -> str | None:
        """sha256 of all that decides which tokens a text becomes; None where there is no vocabulary."""
        file = self.vocabulary_file
        if file is None:
            return None
        # XLM-R's file takes a second to parse, and the models of one sweep have the same.
        content = tuple(_sha256([one]) for one in (file, *tokenizer_rules.settings_files(file.parent)))
        with _PARSING:  # one thread parses it, and the others wait
            if content not in _FINGERPRINTS:
                _FINGERPRINTS[content] = tokenizer_rules.fingerprint(file)
        return _FINGERPRINTS[content]

    @property  # not cached here: before Python 3.12 a cached one lets only one thread of all compute
    def weights_fingerprint(self) -> str:
        """sha256 over the content of the weight files, by file name; reads all of them, once."""
        return _sha256(weight_files(self.path))


def _refuse_adapter(path: Path) -> None:
    if (path / ADAPTER_CONFIG).is_file():
        weights = find_weights(path)
        if weights is None:
            raise InputError(f"{path} is a PEFT adapter and no whole model; merge it into its base model first")
        raise InputError(
            f"{path} holds a whole model ({weights.name}) and a PEFT adapter ({ADAPTER_CONFIG}), and it cannot be "
            "known which is meant; move one of them to a folder of its own"
        )


# sha256 of the bytes of a vocabulary file, and of the settings beside it -> fingerprint.
_FINGERPRINTS: dict[tuple[str, ...], str] = {}
_PARSING = threading.Lock()


def _sha256(paths: list[Path]) -> str:
    return _content_sha256(tuple(map(_identity, paths)))


def _identity(path: Path) -> tuple[Path, int, int, int, int, int]:
    """What tells that a file is the very one of before: times alone can be set."""
    told = path.stat()
    return path.resolve(), told.st_dev, told.st_ino, told.st_size, told.st_mtime_ns, told.st_ctime_ns


@functools.cache  # a sweep meets its sources again with every target, and a model takes half a second
def _content_sha256(files: tuple[tuple[Path, int, int, int, int, int], ...]) -> str:
    digest = hashlib.sha256()
    for path, *_ in files:
        with open(path, "rb") as file:
            # In large blocks: after each one this thread waits until others let Python go on.
            while block := file.read(1 << 24):
                digest.update(block)
    return digest.hexdigest()
