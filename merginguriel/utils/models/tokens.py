"""Texts as token ids, kept in memory and in a folder."""

import functools
import hashlib
import itertools
import logging
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from merginguriel.utils.models import loading
from merginguriel.utils.storage import atomic

log = logging.getLogger(__name__)
MAX_TOKENS = 128


@dataclass(frozen=True)
class Tokens:
    """Token ids of several texts: those of text i are ids[starts[i]:starts[i + 1]], special tokens included."""

    ids: np.ndarray  # (tokens,) int32
    starts: np.ndarray  # (texts + 1,) int64

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, text: int) -> list[int]:
        if not 0 <= text < len(self):
            raise IndexError(text)
        return self.ids[self.starts[text] : self.starts[text + 1]].tolist()


def tokenise(tokenizer, texts: list[str], max_tokens: int = MAX_TOKENS) -> Tokens:
    token_ids = tokenizer(texts, truncation=True, max_length=max_tokens, return_attention_mask=False)["input_ids"]
    starts = np.cumsum([0, *map(len, token_ids)])
    return Tokens(np.fromiter(itertools.chain.from_iterable(token_ids), np.int32, starts[-1]), starts)


class TokenCache:
    """Tokens by content, the tokenizer's files, the texts and the longest input: kept in memory and in `folder`.

    A tokenizer is loaded only for texts that are not there yet, and once for all models that have it. Processes may
    share `folder`; a file in it is no result, so a damaged one is made again.
    """

    def __init__(self, folder: Path | None = None):
        self._folder = folder
        self._kept: dict[str, Tokens] = {}
        self._fingerprints = functools.cache(loading.tokenizer_files_sha256)
        self._tokenizers: dict[str, Any] = {}

    def tokens(self, model_path: Path, texts: list[str], max_tokens: int = MAX_TOKENS) -> Tokens:
        """Raises InputError where `model_path` has no tokenizer, or a damaged one."""
        fingerprint = self._fingerprints(model_path)
        content = f"{fingerprint}{max_tokens}\0".encode() + "\0".join(texts).encode()
        key = hashlib.sha256(content).hexdigest()
        if key not in self._kept:
            file = self._folder / f"{key[:32]}.npz" if self._folder else None
            kept = _read_tokens(file, len(texts)) if file and file.is_file() else None
            if kept is None:
                if fingerprint not in self._tokenizers:
                    self._tokenizers[fingerprint] = loading.load_tokenizer(model_path)
                kept = tokenise(self._tokenizers[fingerprint], texts, max_tokens)
                if file:
                    with atomic.beside(file) as partial, open(partial, "wb") as out:
                        np.savez(out, ids=kept.ids, starts=kept.starts)
            self._kept[key] = kept
        return self._kept[key]


# Of this process: a locale is tokenised once for all models of one tokenizer.
TOKENS = TokenCache()


def _read_tokens(file: Path, count: int) -> Tokens | None:
    try:
        with np.load(file, allow_pickle=False) as arrays:
            tokens = Tokens(arrays["ids"], arrays["starts"])
        if len(tokens) == count and tokens.starts[-1] == len(tokens.ids):
            return tokens
    except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile):
        pass
    log.warning("warning: %s is damaged; tokenising again", file)
    return None
