"""Texts as token ids, kept in memory and in a folder."""

import hashlib
import itertools
import logging
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from auto_merge_llm.errors import InputError
from auto_merge_llm.json_objects import read_json_object

from merginguriel.utils.data.split import Text
from merginguriel.utils.models import loading
from merginguriel.utils.storage import atomic

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Tokens:
    """Token ids of several texts: those of text i are ids[starts[i]:starts[i + 1]], special tokens included.

    `types` tells the first of a pair (0) from the second (1), where the tokenizer does.
    """

    ids: np.ndarray  # (tokens,) int32
    starts: np.ndarray  # (texts + 1,) int64
    types: np.ndarray | None = None  # (tokens,) int32

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, text: int) -> list[int]:
        if not 0 <= text < len(self):
            raise IndexError(text)
        return self.ids[self.starts[text] : self.starts[text + 1]].tolist()


def encode(tokenizer: Any, texts: Sequence[Text], max_tokens: int) -> dict[str, list[list[int]]]:
    """What `tokenizer` makes of texts or pairs: input_ids, attention_mask and, of pairs, token_type_ids if it has them.

    Cut after `max_tokens`, of a pair from the longer text.
    """
    pairs = bool(texts) and not isinstance(texts[0], str)
    sides = [list(side) for side in zip(*texts)] if pairs else [list(texts)]
    encoded = dict(tokenizer(*sides, truncation=True, max_length=max_tokens))
    if not pairs:  # all 0, as models take them where there are none
        encoded.pop("token_type_ids", None)
    return encoded


def tokenise(tokenizer: Any, texts: Sequence[Text], max_tokens: int) -> Tokens:
    encoded = encode(tokenizer, texts, max_tokens)
    starts = np.cumsum([0, *map(len, encoded["input_ids"])])
    ids, types = (
        np.fromiter(itertools.chain.from_iterable(encoded[name]), np.int32, starts[-1]) if name in encoded else None
        for name in ("input_ids", "token_type_ids")
    )
    assert ids is not None
    return Tokens(ids, starts, types)


def check_rows(texts: Iterable[Sequence[int]], rows: object, path: Path | str) -> None:
    """InputError where ids of `texts` have no embedding: the model in `path` has `rows` of them, if that is known."""
    highest = max((max(ids, default=-1) for ids in texts), default=-1)
    if isinstance(rows, int) and highest >= rows:
        raise InputError(
            f"{path}: its tokenizer makes tokens up to {highest}, and the model has embeddings for {rows}; copy the "
            "tokenizer that the model was trained with into its folder"
        )


def concatenate(parts: Sequence[Tokens]) -> Tokens:
    """The texts of all parts in one row."""
    if len(parts) == 1:
        return parts[0]
    lengths = np.concatenate([np.diff(part.starts) for part in parts])
    types = [part.types for part in parts if part.types is not None]
    ids = np.concatenate([part.ids for part in parts])
    return Tokens(ids, np.concatenate([[0], np.cumsum(lengths)]), np.concatenate(types) if types else None)


class TokenCache:
    """Tokens by content, the tokenizer's files, the texts and the longest input: kept in memory and in `folder`.

    A tokenizer is loaded only for texts that are not there yet, and once for all models that have it. Processes may
    share `folder`; a file in it is no result, so a damaged one is made again.
    """

    def __init__(self, folder: Path | None = None):
        self._folder = folder
        self._kept: dict[str, Tokens] = {}
        self._tokenizers: dict[str, Any] = {}

    def tokens(self, model_path: Path, texts: Sequence[Text], max_tokens: int) -> Tokens:
        """Raises InputError where `model_path` has no tokenizer, or a damaged one."""
        fingerprint = loading.tokenizer_files_sha256(model_path)
        joined = [text if isinstance(text, str) else "\1".join(text) for text in texts]
        content = f"{fingerprint}{max_tokens}\0".encode() + "\0".join(joined).encode()
        key = hashlib.sha256(content).hexdigest()
        if key not in self._kept:
            file = self._folder / f"{key[:32]}.npz" if self._folder else None
            kept = _read_tokens(file, len(texts)) if file and file.is_file() else None
            if kept is None:
                kept = tokenise(self.tokenizer(model_path), texts, max_tokens)
                if file:
                    with atomic.beside(file) as partial, open(partial, "wb") as out:
                        np.savez(out, **{name: values for name, values in vars(kept).items() if values is not None})
            self._kept[key] = kept
        found = self._kept[key]
        rows = read_json_object(model_path / "config.json").get("vocab_size")
        check_rows([[int(found.ids.max(initial=-1))]], rows, model_path)
        return found

    def tokenizer(self, model_path: Path) -> Any:
        """The model's, loaded once for all models that have it; InputError where there is none, or a damaged one."""
        fingerprint = loading.tokenizer_files_sha256(model_path)
        if fingerprint not in self._tokenizers:
            self._tokenizers[fingerprint] = loading.load_tokenizer(model_path)
        return self._tokenizers[fingerprint]


# Of this process: a locale is tokenised once for all models of one tokenizer.
TOKENS = TokenCache()


def _read_tokens(file: Path, count: int) -> Tokens | None:
    try:
        with np.load(file, allow_pickle=False) as arrays:
            tokens = Tokens(arrays["ids"], arrays["starts"], arrays["types"] if "types" in arrays else None)
        if len(tokens) == count and tokens.starts[-1] == len(tokens.ids):
            return tokens
    except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile):
        pass
    log.warning("warning: %s is damaged; tokenising again", file)
    return None
