"""Attention over short texts on a GPU: several share a row, in which each sees itself alone.

A kernel works on tiles of 64 tokens. A text of a dozen leaves most of its tile empty, and attention then takes more
time than everything else. Rows of several texts and a mask that parts them give the same sums.
"""

import functools
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention
from torch.overrides import TorchFunctionMode

TILE = 64  # tokens of queries that the kernel takes at a time


class PackedAttention(TorchFunctionMode):
    """While it is entered, what models ask of scaled_dot_product_attention is done so wherever that is possible."""

    def __init__(self, devices: tuple[str, ...] = ("cuda",)):
        super().__init__()
        self._devices = devices
        self._masks: tuple[torch.Tensor, list[torch.Tensor]] | None = None  # of the last call, which its layers share

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function is scaled_dot_product_attention:
            return self._attend(*args, **(kwargs or {}))
        return function(*args, **(kwargs or {}))

    def _attend(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        attn_mask: torch.Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        **more: Any,
    ) -> torch.Tensor:
        alike = query.dim() == 4 and query.shape == key.shape == value.shape and not is_causal
        if alike and query.device.type in self._devices and query.shape[2] * 2 <= TILE:
            masks = self._rows_of(attn_mask, query)
            if masks is not None:
                return _packed(query, key, value, masks, dropout_p=dropout_p, **more)
        return scaled_dot_product_attention(query, key, value, attn_mask, dropout_p, is_causal, **more)

    def _rows_of(self, mask: torch.Tensor | None, query: torch.Tensor) -> list[torch.Tensor] | None:
        """For every kind of row what may see what; None where the mask is no matter of texts."""
        texts, _, tokens, _ = query.shape
        if mask is None:
            return [_apart(tokens, count, query.device) for _, count in _parts(texts, tokens)]
        if mask.dtype != torch.bool or mask.shape != (texts, 1, tokens, tokens):
            return None
        if self._masks is None or self._masks[0] is not mask:
            self._masks = mask, _of_texts(mask)
        return self._masks[1]


def _parts(texts: int, tokens: int) -> list[tuple[slice, int]]:
    """(which texts, how many a row): as many as a tile takes, and the rest in one row more."""
    together = TILE // tokens
    whole = texts - texts % together
    return [(slice(0, whole), together)] * (whole > 0) + [(slice(whole, texts), texts - whole)] * (whole < texts)


def _packed(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, masks: list[torch.Tensor], **more: Any
) -> torch.Tensor:
    """(texts, heads, tokens, size) as each of the three."""
    texts, heads, tokens, size = query.shape
    done = []
    for (part, count), mask in zip(_parts(texts, tokens), masks):
        # Models have the heads of a token side by side, so that these are views.
        queries, keys, values = (
            one[part].transpose(1, 2).reshape(-1, count * tokens, heads, size).transpose(1, 2)
            for one in (query, key, value)
        )
        with sdpa_kernel([SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]):
            out = scaled_dot_product_attention(queries, keys, values, attn_mask=mask, **more)
        done.append(out.transpose(1, 2).reshape(-1, tokens, heads, size))
    return (done[0] if len(done) == 1 else torch.cat(done)).transpose(1, 2)


@functools.cache
def _apart(tokens: int, texts: int, device: torch.device) -> torch.Tensor:
    """(tokens of all, tokens of all): whether both are of one text."""
    of = torch.arange(texts * tokens, device=device) // tokens
    return of[:, None] == of


def _of_texts(mask: torch.Tensor) -> list[torch.Tensor]:
    """The masks of texts (texts, 1, tokens, tokens) as blocks of those of rows, (rows, 1, tokens of all, the same)."""
    texts, _, tokens, _ = mask.shape
    made = []
    for part, count in _parts(texts, tokens):
        blocks = mask[part].view(-1, count, tokens, tokens)
        whole = mask.new_zeros(len(blocks), count, tokens, count, tokens)
        at = torch.arange(count, device=mask.device)
        whole[:, at, :, at] = blocks.transpose(0, 1)
        made.append(whole.view(-1, 1, count * tokens, count * tokens))
    return made
