"""The one evaluator: (model, texts) -> logits, in batches of similar length under a token budget."""

import functools
import hashlib
import itertools
import logging
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from auto_merge_llm.errors import InputError
from tqdm import tqdm

from merginguriel.utils import models, records

log = logging.getLogger(__name__)
# On a CPU the activations of a batch should stay in its caches; a GPU wants few, large launches.
TOKENS_PER_BATCH = {"cpu": 1536, "cuda": 16384}
MAX_TOKENS = 128


def default_device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def evaluation_dtype(device: str) -> torch.dtype:
    """One precision for every number of a machine: bfloat16 where matrix units have it, float32 elsewhere.

    They have it on CUDA devices and on CPUs with Intel's AMX.
    """
    # Releases of torch that cannot say what the CPU has score in float32.
    fast = device.startswith("cuda") or getattr(torch.cpu, "get_capabilities", dict)().get("amx_bf16", False)
    return torch.bfloat16 if fast else torch.float32


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
        return self.ids[self.starts[text]:self.starts[text + 1]].tolist()


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
        self._folder, self._kept = folder, {}
        self._fingerprints = functools.cache(models.tokenizer_files_sha256)
        self._tokenizers = {}

    def tokens(self, model_path: Path, texts: list[str], max_tokens: int = MAX_TOKENS) -> Tokens:
        """Raises InputError where `model_path` has no tokenizer, or a damaged one."""
        fingerprint = self._fingerprints(model_path)
        key = hashlib.sha256(fingerprint.encode())
        key.update(f"{max_tokens}\0".encode() + "\0".join(texts).encode())
        key = key.hexdigest()
        if key not in self._kept:
            file = self._folder / f"{key[:32]}.npz" if self._folder else None
            kept = _read_tokens(file, len(texts)) if file and file.is_file() else None
            if kept is None:
                if fingerprint not in self._tokenizers:
                    self._tokenizers[fingerprint] = models.load_tokenizer(model_path)
                kept = tokenise(self._tokenizers[fingerprint], texts, max_tokens)
                if file:
                    with records.beside(file) as partial, open(partial, "wb") as out:
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


@dataclass(frozen=True)
class Batches:
    """Padded input on a device, ready for any number of models.

    `order` is the text of each row, over all batches; a mask is None where a batch has no padding.
    """

    order: np.ndarray
    inputs: list[tuple[torch.Tensor, torch.Tensor | None]]


def make_batches(tokens: Tokens, pad_id: int, device: str) -> Batches:
    """Sorted by length, a batch is padded only to its own longest text; the token budget bounds memory."""
    lengths = np.diff(tokens.starts)
    order = np.argsort(lengths, kind="stable")
    lengths = lengths[order]
    starts = np.concatenate([[0], np.cumsum(lengths)])
    # One gather puts all ids in the new order, so that a batch is a slice of them.
    ids = tokens.ids[np.repeat(tokens.starts[order] - starts[:-1], lengths) + np.arange(starts[-1])]
    inputs = []
    for first, last in _cuts(lengths, TOKENS_PER_BATCH[torch.device(device).type]):
        mask = np.arange(lengths[last - 1]) < lengths[first:last, None]
        padded = np.full(mask.shape, pad_id, np.int64)
        padded[mask] = ids[starts[first]:starts[last]]
        inputs.append((_on(device, padded), None if mask.all() else _on(device, mask.astype(np.int64))))
    return Batches(order, inputs)


def _cuts(lengths: np.ndarray, budget: int) -> list[tuple[int, int]]:
    """(first, last + 1) of every batch over ascending lengths: as many rows as the budget holds, one at least."""
    cuts, first = [], 0
    for row, length in enumerate(lengths.tolist()):
        if row > first and (row - first + 1) * length > budget:
            cuts.append((first, row))
            first = row
    return [*cuts, (first, len(lengths))]


def _on(device: str, values: np.ndarray) -> torch.Tensor:
    tensor = torch.from_numpy(values)
    # From pinned memory the copy runs beside the computation.
    return tensor.pin_memory().to(device, non_blocking=True) if torch.device(device).type == "cuda" else tensor


def logits(model, tokens: Tokens, pad_id: int, description: str = "scoring") -> np.ndarray:
    """Logits (texts, labels), float32, in the order of `tokens`. Raises InputError where one is not finite."""
    with tqdm(total=len(tokens), desc=description, unit=" items", leave=False, disable=None) as bar:
        return batch_logits(model, make_batches(tokens, pad_id, str(model.device)), description, bar.update)


@torch.inference_mode()
def batch_logits(model, batches: Batches, description: str = "scoring", progress=lambda rows: None) -> np.ndarray:
    """The same from batches that are on the model's device already."""
    scores = []
    for ids, mask in batches.inputs:
        scores.append(model(input_ids=ids, attention_mask=mask).logits)
        progress(len(ids))
    result = np.empty((len(batches.order), model.config.num_labels), np.float32)
    # The one copy, and so the one wait for a GPU.
    result[batches.order] = torch.cat(scores).float().cpu().numpy()
    if not np.isfinite(result).all():
        raise InputError(f"{description}: the model gives NaN or infinite scores; train or merge it again")
    return result
