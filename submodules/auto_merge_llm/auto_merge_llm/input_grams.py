"""Gram matrices of the inputs of linear layers, over real tokens only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from auto_merge_llm.errors import InputError


@torch.no_grad()
def input_grams(
    model: nn.Module, batches: Iterable[Mapping[str, Tensor]], *, autocast: torch.dtype | None = None
) -> tuple[dict[str, Tensor], int]:
    """Σ xxᵀ over the inputs x of every Linear layer, by the name of its weight, and the examples seen.

    `batches` hold `input_ids` and `attention_mask` (n, t); padded positions are left out, and a layer that sees one
    vector an example, as the head does, counts all of them. Results are float32 of shape (in, in) on the model's
    device, whatever `autocast` runs the model in. Raises InputError where there is no example.
    """
    device = next(model.parameters()).device
    layers = {module: f"{name}.weight" for name, module in model.named_modules() if isinstance(module, nn.Linear)}
    grams = {
        name: torch.zeros(module.in_features, module.in_features, device=device) for module, name in layers.items()
    }
    real, seen, training = None, 0, model.training

    def add(module, inputs):
        rows = inputs[0].float()
        rows = rows[real] if rows.dim() == 3 else rows
        grams[layers[module]].addmm_(rows.T, rows)

    handles = [module.register_forward_pre_hook(add) for module in layers]
    model.eval()
    try:
        # One block for all batches: it keeps the weights that it has cast.
        with torch.autocast(device.type, autocast, enabled=autocast is not None):
            for batch in batches:
                inputs = {name: batch[name].to(device) for name in ("input_ids", "attention_mask")}
                real = inputs["attention_mask"].bool()
                model(**inputs)
                seen += len(real)
    finally:
        for handle in handles:
            handle.remove()
        model.train(training)
    if not seen:
        raise InputError("the Gram matrices need examples and got none; check the dataset")
    return grams, seen
