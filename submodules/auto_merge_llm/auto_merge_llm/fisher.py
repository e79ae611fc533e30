"""Per-example diagonal Fisher information of a classifier, at about the cost of one batched backward.

Fisher merging (Matena & Raffel 2022, arXiv 2111.09832) needs E_x E_y (∂ log p(y|x) / ∂θ)². The square is taken
per example: squaring the gradient of a whole batch adds cross terms. `example_gradients` does that for the layers that
encoders are made of without a loop over examples, and for everything else with one.
"""

import itertools
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn

from auto_merge_llm.errors import InputError
from auto_merge_llm.example_gradients import SquaredGradients, squared_gradients
from auto_merge_llm.forward import Batch

# What the estimators square: one label drawn from the model, all labels weighted by their probability,
# the gold label, or (for comparison only) the sum over a batch as MergeLM does it.
ESTIMATORS = ("sampled", "expected", "empirical", "batch")


def diagonal_fisher(
    model: nn.Module,
    batches: Iterable[Batch],
    estimator: str = "sampled",
    *,
    seed: int = 0,
    autocast: torch.dtype | None = None,
) -> tuple[dict[str, Tensor], int]:
    """Sum the diagonal Fisher of `model` over `batches`; return it by parameter name, and the examples seen.

    `model` maps `input_ids` and `attention_mask` (n, t) to `.logits` (n, classes). `labels` (n,) in a batch are read by
    "empirical" alone. Results are float32 on the model's device, in the parameters' shapes: one copy of the model,
    whatever the number of examples. `autocast` runs the model in that dtype; sums stay float32. The labels of "sampled"
    depend on `seed` and on the order of the examples, not on the batches. Divide by the examples for the mean. A model
    of Linear, LayerNorm and Embedding layers that see each example for itself takes one pass a batch, any other one an
    example. Gradients that the model had are dropped.

    Raises InputError for an unknown estimator, tied parameters, or no examples.
    """
    if estimator not in ESTIMATORS:
        raise InputError(f"no Fisher estimator {estimator!r}; choose one of {', '.join(ESTIMATORS)}")
    uniform = torch.Generator().manual_seed(seed)
    seen, remaining = 0, iter(batches)
    first = next(remaining, None)
    if first is None:
        raise InputError("the Fisher information needs examples and got none; check the dataset")
    with squared_gradients(model, first, per_example=estimator != "batch") as squares:
        for batch in itertools.chain([first], remaining):
            for part in _parts(batch, squares, estimator):
                log_p = squares.log_probabilities(model, part, autocast)
                seen += len(log_p)
                for last, objective in _objectives(estimator, log_p, part, uniform):
                    squares.backward(objective, retain_graph=not last)
    return squares.sums, seen


def _parts(batch: Batch, squares: SquaredGradients, estimator: str) -> Iterator[Batch]:
    """The batch, or each of its examples where autograd's own gradients are to be squared."""
    if not squares.plain or estimator == "batch":
        yield batch
        return
    for row in range(len(batch["input_ids"])):
        yield {name: values[row : row + 1] for name, values in batch.items()}


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
