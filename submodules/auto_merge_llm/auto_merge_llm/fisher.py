"""Per-example diagonal Fisher information of a classifier, at about the cost of one batched backward.

Fisher merging (Matena & Raffel 2022, arXiv 2111.09832) needs E_x E_y (∂ log p(y|x) / ∂θ)². The square is taken
per example: squaring the gradient of a whole batch adds cross terms. Autograd gives only that sum, so the
gradients of single examples are put together from what a layer saw (its input a) and what came back (the
gradient g of its output), without a loop over examples:

    Linear     Σₙ (Σₜ gₙₜ aₙₜᵀ)²     LayerNorm  Σₙ (Σₜ gₙₜ x̂ₙₜ)²     Embedding  Σₙ (Σ over equal tokens of gₙₜ)²

n counts examples, t tokens; padded positions have g = 0 and drop out.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from auto_merge_llm.errors import InputError
from auto_merge_llm.forward import Batch, check_untied, evaluating, log_probabilities

# What the estimators square: one label drawn from the model, all labels weighted by their probability,
# the gold label, or (for comparison only) the sum over a batch as MergeLM does it.
ESTIMATORS = ("sampled", "expected", "empirical", "batch")
# Adds to the sums of a layer what its input and the gradient of its output, (n, t, out), tell.
Observer = Callable[[Any, Tensor, Tensor, dict[str, Tensor]], None]
# float32 elements that a layer may hold beside its sums: what a CPU's cache holds, 256 MiB on a GPU.
_WORKSPACE = {"cpu": 1 << 21, "cuda": 1 << 26}


def diagonal_fisher(
    model: nn.Module,
    batches: Iterable[Batch],
    estimator: str = "sampled",
    *,
    seed: int = 0,
    autocast: torch.dtype | None = None,
) -> tuple[dict[str, Tensor], int]:
    """Sum the diagonal Fisher of `model` over `batches`; return it by parameter name, and the examples seen.

    `model` maps `input_ids` and `attention_mask` (n, t) to `.logits` (n, classes) and consists of Linear,
    LayerNorm and Embedding layers. `labels` (n,) in a batch are read by "empirical" alone. Results are float32 on the
    model's device, in the parameters' shapes: one copy of the model, whatever the number of examples. `autocast` runs
    the model in that dtype; sums stay float32. The labels of "sampled" depend on `seed` and on the order of the
    examples, not on the batches. Divide by the examples for the mean.

    Raises InputError for an unknown estimator, a parameter in another kind of layer or in two, or no examples.
    """
    if estimator not in ESTIMATORS:
        raise InputError(f"no Fisher estimator {estimator!r}; choose one of {', '.join(ESTIMATORS)}")
    uniform = torch.Generator().manual_seed(seed)
    seen = 0
    with _observed(model, per_example=estimator != "batch") as sums:
        for batch in batches:
            log_p = log_probabilities(model, batch, autocast)
            seen += len(log_p)
            for last, objective in _objectives(estimator, log_p, batch, uniform):
                torch.autograd.backward(objective, retain_graph=not last)
    if not seen:
        raise InputError("the Fisher information needs examples and got none; check the dataset")
    return sums, seen


def _objectives(estimator: str, log_p: Tensor, batch: Batch, uniform: torch.Generator) -> Iterator[tuple[bool, Tensor]]:
    """(is it the last, scalar) pairs whose gradients, squared and summed, make the estimate."""
    if estimator == "expected":
        root_p = log_p.detach().div(2).exp()
        for label in range(log_p.shape[1]):
            yield label == log_p.shape[1] - 1, (root_p[:, label] * log_p[:, label]).sum()
        return
    if estimator == "batch":
        yield True, (log_p.detach().div(2).exp() * log_p).sum()
        return
    if estimator == "empirical":
        labels = batch["labels"].to(log_p.device)
    else:
        # One number an example, drawn on the CPU: the labels are the same on every device and in every batching.
        draws = torch.rand(len(log_p), 1, generator=uniform).to(log_p.device)
        below = log_p.detach().exp().cumsum(-1) < draws
        labels = below.sum(-1).clamp_max(log_p.shape[1] - 1)
    yield True, log_p.gather(1, labels[:, None]).sum()


@contextlib.contextmanager
def _observed(model: nn.Module, per_example: bool) -> Iterator[dict[str, Tensor]]:
    """Hooks that add the squared gradients of every backward to the yielded sums, while the block lasts."""
    check_untied(model, "the Fisher information")
    sums = {name: torch.zeros_like(parameter, dtype=torch.float32) for name, parameter in model.named_parameters()}
    with contextlib.ExitStack() as stack:
        for prefix, module in model.named_modules():
            names = [name for name, _ in module.named_parameters(prefix, recurse=False)]
            if not names:
                continue
            observe = _OBSERVERS.get(type(module))
            if observe is None:
                raise InputError(
                    f"the Fisher information of {type(module).__name__} layers ({names[0]}) "
                    "is not implemented; add a formula to fisher.py"
                )
            mine = {name.rpartition(".")[2]: sums[name] for name in names}
            stack.callback(module.register_forward_hook(_hook(observe, mine, per_example)).remove)
        # Gradients of the parameters are not needed: the graph starts at the outputs of the embeddings.
        stack.enter_context(evaluating(model, requires_grad=False))
        yield sums


def _hook(observe: Observer, sums: dict[str, Tensor], per_example: bool) -> Callable[[Any, Any, Tensor], Tensor]:
    def forward_hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        if not output.requires_grad:
            output = output.detach().requires_grad_()
        seen = inputs[0].detach()

        def add(gradient: Tensor) -> None:
            examples = len(gradient)
            tokens = gradient.reshape(examples, -1, gradient.shape[-1]).float()
            if not per_example:
                tokens = tokens.reshape(1, -1, tokens.shape[-1])
            with torch.no_grad():
                observe(module, seen, tokens, sums)

        output.register_hook(add)
        return output

    return forward_hook


def _linear(module: nn.Linear, seen: Tensor, gradient: Tensor, sums: dict[str, Tensor]) -> None:
    inputs = seen.float().reshape(*gradient.shape[:2], -1)
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
    sums["weight"].add_((gradient * normalised.reshape(gradient.shape)).sum(1).square().sum(0))
    if "bias" in sums:
        sums["bias"].add_(gradient.sum(1).square().sum(0))


def _embedding(module: nn.Embedding, seen: Tensor, gradient: Tensor, sums: dict[str, Tensor]) -> None:
    examples, tokens, width = gradient.shape
    # Position and token type ids come as one row for the whole batch.
    ids = seen.expand(examples * tokens // seen.shape[-1], seen.shape[-1]).reshape(examples, tokens)
    if module.padding_idx is not None:
        gradient = gradient * (ids != module.padding_idx)[..., None]
    # A token that stands twice in an example has one gradient there: add before squaring.
    row = torch.arange(examples, device=ids.device)[:, None] * module.num_embeddings + ids
    unique, inverse = row.reshape(-1).unique(return_inverse=True)
    each = gradient.new_zeros(len(unique), width).index_add_(0, inverse, gradient.reshape(-1, width))
    sums["weight"].index_add_(0, unique % module.num_embeddings, each.square_())


_OBSERVERS: dict[type[nn.Module], Observer] = {nn.Linear: _linear, nn.LayerNorm: _layer_norm, nn.Embedding: _embedding}
