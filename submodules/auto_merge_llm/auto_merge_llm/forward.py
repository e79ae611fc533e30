"""A classifier on batches of text: what it gets, and the state that it is left in."""

import contextlib
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from auto_merge_llm.errors import InputError

# `input_ids`, `attention_mask` and what else the model reads (n, t); `labels` (n,) where they are needed.
Batch = Mapping[str, Tensor]


def inputs_of(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
    """The part of `batch` that the model reads, on its device."""
    device = next(model.parameters()).device
    return {name: values.to(device) for name, values in batch.items() if name != "labels"}


def log_probabilities(model: nn.Module, batch: Batch, autocast: torch.dtype | None) -> Tensor:
    """(n, classes) in float32 or better; `autocast` runs the model itself in that dtype."""
    inputs = inputs_of(model, batch)
    with torch.autocast(inputs["input_ids"].device.type, autocast, enabled=autocast is not None):
        logits = model(**inputs).logits
    log_p: Tensor = logits.to(torch.promote_types(logits.dtype, torch.float32)).log_softmax(-1)
    return log_p


def check_untied(model: nn.Module, purpose: str) -> None:
    """Raise InputError where layers share a parameter, or a layer has two places."""
    if len(list(model.named_parameters(remove_duplicate=False))) > len(list(model.parameters())):
        raise InputError(
            f"the model ties parameters between layers, which {purpose} does not support; use an untied classifier"
        )


@contextlib.contextmanager
def evaluating(model: nn.Module, requires_grad: bool | None = None) -> Iterator[None]:
    """Dropout is off while the block lasts, and all parameters get gradients or none; None leaves that to each."""
    flags = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    if requires_grad is not None:
        model.requires_grad_(requires_grad)
    try:
        yield
    finally:
        for parameter, flag in flags:
            parameter.requires_grad_(flag)
        # One by one: a part of the model may have been in another mode than the whole.
        for module, training in modes:
            module.training = training
