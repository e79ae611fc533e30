"""Σₙ (∂/∂θ of example n)² of single layers, from what a layer saw and the gradient of what it gave.

    Linear     Σₙ (Σₜ gₙₜ aₙₜᵀ)²     LayerNorm  Σₙ (Σₜ gₙₜ x̂ₙₜ)²     Embedding  Σₙ (Σ over equal tokens of gₙₜ)²

n counts examples, t what a layer saw of an example: tokens, over all its calls in one pass. Padded positions have
g = 0 and drop out.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

# Adds to the sums of a layer, by parameter, what its inputs (n, t, …) and the gradient of its output (n, t, out) tell.
Formula = Callable[[Any, Tensor, Tensor, dict[str, Tensor]], None]
# float32 elements that a layer may hold beside its sums: what a CPU's cache holds, 256 MiB on a GPU.
_WORKSPACE = {"cpu": 1 << 21, "cuda": 1 << 26}


def _linear(module: nn.Linear, seen: Tensor, gradient: Tensor, sums: dict[str, Tensor]) -> None:
    inputs = seen.float()
    examples, _, out = gradient.shape
    width = inputs.shape[-1]
    if "bias" in sums:
        sums["bias"].add_(gradient.sum(1).square().sum(0))
    # A few examples' matrices at a time. The identity (Σₜ gₜaₜᵀ)² = Σₜₛ (gₜ∘gₛ)(aₜ∘aₛ)ᵀ would avoid making them, at
    # (t+1)/2 times the arithmetic; measured at 3 to 24 tokens it is no faster on a CPU and slower on an H100.
    step = max(1, _WORKSPACE[gradient.device.type] // (out * width))
    for start in range(0, examples, step):
        each = torch.bmm(gradient[start : start + step].transpose(1, 2), inputs[start : start + step])
        if step == 1:
            sums["weight"].addcmul_(each[0], each[0])
        else:
            sums["weight"].add_(each.square_().sum(0))


def _layer_norm(module: nn.LayerNorm, seen: Tensor, gradient: Tensor, sums: dict[str, Tensor]) -> None:
    normalised = nn.functional.layer_norm(seen.float(), module.normalized_shape, eps=module.eps)
    sums["weight"].add_((gradient * normalised).sum(1).square().sum(0))
    if "bias" in sums:
        sums["bias"].add_(gradient.sum(1).square().sum(0))


def _embedding(module: nn.Embedding, seen: Tensor, gradient: Tensor, sums: dict[str, Tensor]) -> None:
    examples, _, width = gradient.shape
    ids = seen[..., 0]
    if module.padding_idx is not None:
        gradient = gradient * (ids != module.padding_idx)[..., None]
    # A token that stands twice in an example has one gradient there: add before squaring.
    row = torch.arange(examples, device=ids.device)[:, None] * module.num_embeddings + ids
    unique, inverse = row.reshape(-1).unique(return_inverse=True)
    each = gradient.new_zeros(len(unique), width).index_add_(0, inverse, gradient.reshape(-1, width))
    sums["weight"].index_add_(0, unique % module.num_embeddings, each.square_())


# Of these very classes: a class that derives from one may compute otherwise.
FORMULAS: dict[type[nn.Module], Formula] = {nn.Linear: _linear, nn.LayerNorm: _layer_norm, nn.Embedding: _embedding}
