"""Gram matrices of the inputs of linear layers, over real tokens only."""

import contextlib
import functools
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from auto_merge_llm.errors import InputError
from auto_merge_llm.forward import Batch, evaluating, inputs_of


@torch.no_grad()
def input_grams(
    model: nn.Module, batches: Iterable[Batch], *, autocast: torch.dtype | None = None
) -> tuple[dict[str, Tensor], int]:
    """Σ xxᵀ over the inputs x of every Linear layer, by the name of its weight, and the examples seen.

    `batches` hold `input_ids` and `attention_mask` (n, t); padded positions are left out, and a layer that sees one
    vector an example, as the head does, counts all of them. Results are float32 of shape (in, in) on the model's
    device, whatever `autocast` runs the model in. Raises InputError where there is no example.
    """
    device = next(model.parameters()).device
    grams: dict[str, Tensor] = {}
    real, seen = torch.empty(0), 0

    def add(gram: Tensor, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        rows = inputs[0].float()
        rows = rows[real] if rows.dim() == 3 else rows
        gram.addmm_(rows.T, rows)

    with contextlib.ExitStack() as stack:
        for name, module in model.named_modules():
            if isinstance(module, nn.Linear):
                gram = grams[f"{name}.weight"] = torch.zeros(module.in_features, module.in_features, device=device)
                stack.callback(module.register_forward_pre_hook(functools.partial(add, gram)).remove)
        stack.enter_context(evaluating(model))
        # One block for all batches: it keeps the weights that it has cast.
        stack.enter_context(torch.autocast(device.type, autocast, enabled=autocast is not None))
        for batch in batches:
            inputs = inputs_of(model, batch)
            real = inputs["attention_mask"].bool()
            model(**inputs)
            seen += len(real)
    if not seen:
        raise InputError("the Gram matrices need examples and got none; check the dataset")
    return grams, seen
