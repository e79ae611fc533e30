"""The one evaluator: (model, texts) -> logits, in batches of similar length under a token budget."""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from auto_merge_llm.errors import InputError

from merginguriel.utils.data.split import Text
from merginguriel.utils.models.loading import longest_input
from merginguriel.utils.models.packed_attention import PackedAttention
from merginguriel.utils.models.tokens import TokenCache, Tokens, concatenate
from merginguriel.utils.storage.progress import Progress

# On a CPU the activations of a batch should stay in its caches; a GPU wants few, large launches, here of so many
# features of a layer: 2**17 tokens of a model with 384.
TOKENS_PER_BATCH = {"cpu": 1536}
FEATURES_PER_BATCH = 3 * 2**24
# Of token pairs, in all heads, where a model holds a value for each, as DeBERTa does: 2**16 tokens of 170, by 12 heads.
PAIRS_PER_BATCH = 2**27
# The share of what a batch may hold from which a batch ends where texts get longer: without padding it needs no mask.
ENOUGH = {"cpu": 0.25, "cuda": 0.1}
SPREAD = 11  # neighbouring processes are so many sets of texts apart


@dataclass(frozen=True)
class Batches:
    """Padded input on a device, ready for any number of models.

    `order` is the text of each row, over all batches; an input is what a model takes, without a mask where a batch has
    no padding.
    """

    order: np.ndarray
    inputs: list[dict[str, torch.Tensor]]


def make_batches(tokens: Tokens, config: Any, device: Any) -> Batches:
    """For models with the configuration `config`, on `device`.

    Sorted by length, a batch is padded only to its own longest text; a budget of tokens bounds memory.
    """
    lengths = np.diff(tokens.starts)
    order = np.argsort(lengths, kind="stable")
    lengths = lengths[order]
    starts = np.concatenate([[0], np.cumsum(lengths)])
    # One gather puts all ids in the new order, so that a batch is a slice of them.
    places = np.repeat(tokens.starts[order] - starts[:-1], lengths) + np.arange(starts[-1])
    values = {"input_ids": (tokens.ids[places], config.pad_token_id)}
    if tokens.types is not None:
        values["token_type_ids"] = tokens.types[places], 0
    inputs = []
    kind = torch.device(device).type
    for first, last in _cuts(lengths, Limits.of(config, kind), ENOUGH[kind]):
        mask = np.arange(max(lengths[last - 1], 1)) < lengths[first:last, None]
        batch = {} if mask.all() else {"attention_mask": _on(device, mask.astype(np.int64))}
        for name, (flat, padding) in values.items():
            padded = np.full(mask.shape, padding, np.int64)
            padded[mask] = flat[starts[first] : starts[last]]
            batch[name] = _on(device, padded)
        inputs.append(batch)
    return Batches(order, inputs)


class BatchCache:
    """Texts as batches on a device, made once for all models of one tokenizer, which share the very same tokens."""

    def __init__(self, tokens: TokenCache):
        self._tokens = tokens
        self._batches: dict[tuple[int, ...], Batches] = {}

    def batches(self, path: Path, model: Any, texts: Sequence[Sequence[Text]], max_tokens: int) -> Batches:
        """Of several sets of texts in one row, for the model of the folder `path`, on its device.

        Texts end after `max_tokens`, or where the model must.
        """
        longest = longest_input(model, max_tokens)
        # Processes that share a folder of tokens begin at different places, so that each makes a part of them.
        first = os.getpid() * SPREAD % len(texts)
        made = {at: self._tokens.tokens(path, texts[at], longest) for at in (*range(first, len(texts)), *range(first))}
        tokens = [made[at] for at in range(len(texts))]
        device = model.device
        key = (*map(id, tokens), model.config.pad_token_id, Limits.of(model.config, device.type))
        if key not in self._batches:
            self._batches[key] = make_batches(concatenate(tokens), model.config, device)
        return self._batches[key]


@dataclass(frozen=True)
class Limits:
    """What a batch may have: `tokens`, and `squares`, the squared lengths of its texts."""

    tokens: int
    squares: float = math.inf

    @classmethod
    def of(cls, config: Any, kind: str) -> "Limits":
        """For models with this configuration on that kind of device."""
        if kind in TOKENS_PER_BATCH:
            return cls(TOKENS_PER_BATCH[kind])
        tokens, heads = FEATURES_PER_BATCH // config.hidden_size, getattr(config, "num_attention_heads", None)
        if heads is None or getattr(config, "_attn_implementation", None) != "eager":  # FNet has no heads
            return cls(tokens)
        return cls(tokens, PAIRS_PER_BATCH / heads)

    def rows(self, length: int) -> float:
        """How many texts of `length` tokens; of empty ones, to which some tokenizers add nothing, any number."""
        return min(self.tokens / length, self.squares / length**2) if length else math.inf


def _cuts(lengths: np.ndarray, limits: Limits, enough: float) -> list[tuple[int, int]]:
    """(first, last + 1) of every batch over ascending lengths: as many rows as the limits allow, one at least.

    From the share `enough` of these on, a batch ends where texts get longer.
    """
    cuts, first = [], 0
    for row, length in enumerate(lengths.tolist()):
        rows, before = row - first, lengths[row - 1]
        is_full = rows + 1 > limits.rows(length)
        if rows and (is_full or (length > before and rows >= enough * limits.rows(before))):
            cuts.append((first, row))
            first = row
    return [*cuts, (first, len(lengths))]


def _on(device: Any, values: np.ndarray) -> torch.Tensor:
    tensor = torch.from_numpy(values)
    # From pinned memory the copy runs beside the computation.
    return tensor.pin_memory().to(device, non_blocking=True) if torch.device(device).type == "cuda" else tensor


def logits(model, tokens: Tokens, description: str = "scoring") -> np.ndarray:
    """Logits (texts, labels), float32, in the order of `tokens`. Raises InputError where one is not finite."""
    with Progress(description, len(tokens)) as bar:
        return batch_logits(model, make_batches(tokens, model.config, model.device), description, bar.moved)


@torch.inference_mode()
def batch_logits(model, batches: Batches, description: str = "scoring", progress=lambda rows: None) -> np.ndarray:
    """The same from batches that are on the model's device already."""
    scores = []
    with PackedAttention():
        for batch in batches.inputs:
            scores.append(model(**batch).logits)
            progress(len(batch["input_ids"]))
    result = np.empty((len(batches.order), model.config.num_labels), np.float32)
    # The one copy, and so the one wait for a GPU.
    result[batches.order] = torch.cat(scores).float().cpu().numpy()
    if not np.isfinite(result).all():
        raise InputError(f"{description}: the model gives NaN or infinite scores; train or merge it again")
    return result
