"""Gram matrices of the inputs of linear layers, over real tokens only."""

import contextlib
import functools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from auto_merge_llm.errors import InputError
from auto_merge_llm.forward import Batch, evaluating, inputs_of


@dataclass
class Grams:
    """Σ xxᵀ by the name of a weight, and how many x these are."""

    sums: dict[str, Tensor]
    counts: dict[str, int]
    tokens: "_Tokens | None" = None  # of the batch now running

    def means(self) -> dict[str, Tensor]:
        """The mean xxᵀ in the place of the sums; 0 where nothing was seen."""
        return {name: total.div_(max(1, self.counts[name])) for name, total in self.sums.items()}


class _Tokens:
    """Where the tokens of a batch with this mask (n, t) are, found once for all layers: on a GPU that is a wait."""

    def __init__(self, mask: Tensor):
        self.examples, self.length = mask.shape
        self._places = mask.flatten().nonzero().flatten()

    def __len__(self) -> int:
        return len(self._places)

    def of(self, values: Tensor) -> Tensor:
        """Those of `values` (n·t, …) that are no padding."""
        return values if len(self) == len(values) else values.index_select(0, self._places)


@contextlib.contextmanager
def gathering(layers: Mapping[str, nn.Linear]) -> Iterator[Grams]:
    """While the block lasts, sum up what goes into these layers, which are given by the names of their weights."""
    grams = Grams({}, dict.fromkeys(layers, 0))

    def add(name: str, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert grams.tokens is not None, "a batch is running"
        rows, times = _real_rows(name, inputs[0], grams.tokens)
        grams.sums[name].addmm_(rows.T, rows, alpha=times)
        grams.counts[name] += times * len(rows)

    with contextlib.ExitStack() as stack:
        for name, layer in layers.items():
            grams.sums[name] = torch.zeros(layer.in_features, layer.in_features, device=layer.weight.device)
            stack.callback(layer.register_forward_pre_hook(functools.partial(add, name)).remove)
        yield grams


def linear_layers(model: nn.Module) -> dict[str, nn.Linear]:
    """All Linear layers of a model by the names of their weights."""
    return {f"{place}.weight": module for place, module in model.named_modules() if isinstance(module, nn.Linear)}


@torch.no_grad()
def input_grams(
    model: nn.Module, batches: Iterable[Batch], *, autocast: torch.dtype | None = None, mean: bool = False
) -> tuple[dict[str, Tensor], int]:
    """Σ xxᵀ over the inputs x of every Linear layer, by the name of its weight, and the examples seen.

    `batches` hold `input_ids` and `attention_mask` (n, t). The sums are those of forward passes over one example at a
    time, without padding: padded positions are left out, a layer that sees one vector an example, as the head does,
    counts all of them, and what a layer sees once for a whole batch, as DeBERTa's relative positions, counts once an
    example. A layer that is called several times, as ALBERT's, has the sum over its calls. `mean` divides each sum by
    the number of its vectors. Results are float32 of shape (in, in) on the model's device, whatever `autocast` runs the
    model in. Raises InputError where there is no
    example, or a layer's inputs are neither of these.
    """
    device, seen = next(model.parameters()).device, 0
    # One block of autocast for all batches: it keeps the weights that it has cast.
    with (
        gathering(linear_layers(model)) as grams,
        evaluating(model),
        torch.autocast(device.type, autocast, enabled=autocast is not None),
    ):
        for batch in batches:
            inputs = inputs_of(model, batch)
            grams.tokens = _Tokens(inputs["attention_mask"])
            model(**inputs)
            seen += grams.tokens.examples
    if not seen:
        raise InputError("the Gram matrices need examples and got none; check the dataset")
    return grams.means() if mean else grams.sums, seen


def _real_rows(name: str, values: Tensor, tokens: _Tokens) -> tuple[Tensor, int]:
    """(the vectors of `values` (…, d) that are no padding, (k, d) float32; how often each counts)

    `values` may be of n examples of t tokens, in one dimension too, with the padding or without; of n examples; of none
    (an adapter of another language); or the same for all n.
    """
    examples, length = tokens.examples, tokens.length
    places, times = tuple(values.shape[:-1]), 1
    if places[:2] == (examples, length):
        values = tokens.of(values.flatten(0, 1))
    elif places == (examples * length,):
        values = tokens.of(values)
    elif places[:1] == (1,) and examples > 1:
        times = examples
    elif places[:1] != (examples,) and places != (len(tokens),) and values.numel():
        raise InputError(
            f"{name}: the layer's inputs of shape {list(values.shape)} belong neither to the {examples} examples of a "
            f"batch nor to their {length} tokens, so that regmean cannot match them; use another method for this model"
        )
    return values.reshape(-1, values.shape[-1]).float(), times
