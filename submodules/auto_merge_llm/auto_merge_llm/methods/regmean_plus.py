"""RegMean++: RegMean from the bottom up, on what the merged layers below make of the texts."""

import itertools
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from auto_merge_llm.errors import InputError
from auto_merge_llm.forward import Batch, check_untied, evaluating, inputs_of
from auto_merge_llm.input_grams import Grams, gathering, linear_layers
from auto_merge_llm.layer_stack import LayerStack, Passage
from auto_merge_llm.methods.base import Piece, SolvingMethod, check_number
from auto_merge_llm.methods.linear import weighted_sum
from auto_merge_llm.methods.regmean import RegMean
from auto_merge_llm.tensors import Source


@dataclass(frozen=True)
class RegMeanPlus(SolvingMethod):
    """`regmean` with other Gram matrices (Nguyen et al. 2025, arXiv 2508.03121).

    Those of layer l in source i are of the inputs that its linear layers have when the source's own layer l reads what
    the merged layers below it have made of the texts. So layers are merged one after another: first the embeddings,
    which are averaged, then the encoder's layers, last what follows on them. `alpha` and `ridge` are `regmean`'s.
    `solved`: the merged weights of linear layers by name, as `solve` finds them.
    """

    alpha: float = 0.9
    ridge: float = 1e-6
    solved: Mapping[str, Tensor] | None = field(default=None, repr=False, compare=False)

    granularity = "element"

    def __post_init__(self) -> None:
        check_number("alpha", self.alpha, 0, 1)
        check_number("ridge", self.ridge, 0)

    def merge(self, piece: Piece) -> Tensor:
        if self.solved is None:
            raise InputError("RegMeanPlus merges what `solve` has found on texts; call it first")
        found = self.solved.get(piece.name)
        if len(piece.sources) == 1 or found is None:
            return weighted_sum(piece.sources, piece.weights)
        stop = piece.start + piece.sources[0].numel()
        return piece.sources[0].copy_(found.reshape(-1)[piece.start : stop].view(piece.sources[0].shape))

    @torch.no_grad()
    def solve(
        self,
        model: nn.Module,
        sources: Sequence[Source],
        weights: Sequence[float],
        batches: Sequence[Sequence[Batch]],
        *,
        autocast: torch.dtype | None = None,
        own_texts: bool = False,
        progress: Callable[[int, int], None] | None = None,
    ) -> "RegMeanPlus":
        """What `SolvingMethod.solve` promises."""
        taken = [number for number, weight in enumerate(weights) if weight]
        if len(taken) == 1:
            return replace(self, solved={})
        team = [(sources[number], weights[number], batches[number]) for number in taken]
        with evaluating(model):
            ascent = _Ascent(RegMean(self.alpha, self.ridge), model, team, autocast, own_texts)
            return replace(self, solved=ascent.run(progress or (lambda step, steps: None)))


class _Ascent:
    """One solution. `model` has the merged parameters of all that is below, and in the end those of the whole merge.

    `team`: every source with its weight and its batches.
    """

    def __init__(
        self,
        method: RegMean,
        model: nn.Module,
        team: Sequence[tuple[Source, float, Sequence[Batch]]],
        autocast: torch.dtype | None,
        own_texts: bool,
    ):
        self._method, self._model, self._autocast, self._own_texts = method, model, autocast, own_texts
        self._sources, self._weights = [source for source, _, _ in team], tuple(weight for _, weight, _ in team)
        # Sources that share their batches share what becomes of these.
        corpora = {id(each): [Passage(inputs_of(model, batch)) for batch in each] for _, _, each in team}
        self._passages = [corpora[id(each)] for _, _, each in team]
        self._all_passages = list(itertools.chain.from_iterable(corpora.values()))
        self._parameters, self._solved = dict(model.named_parameters()), dict[str, Tensor]()
        self._check()

    def run(self, progress: Callable[[int, int], None]) -> dict[str, Tensor]:
        """The merged weights of linear layers, by name."""
        stack, linear = LayerStack(self._model), linear_layers(self._model)
        inside = [f"{stack.prefix}.{number}." for number in range(len(stack.layers))]
        outside = {name: layer for name, layer in linear.items() if not name.startswith(tuple(inside))}
        self._average(self._parameters)
        self._merge(outside, (), stack.approach)
        self._each(self._all_passages, stack.enter)
        for number, prefix in enumerate(inside):
            progress(number, len(inside) + 1)
            layers = {name: layer for name, layer in linear.items() if name.startswith(prefix)}
            own = [name for name in self._parameters if name.startswith(prefix)]
            self._merge(layers, own, partial(stack.through, number))
            self._each(self._all_passages, partial(stack.advance, number))
        progress(len(inside), len(inside) + 1)
        after = {name: layer for name, layer in outside.items() if name not in self._solved}
        places = {_module(name) for name in after}
        self._merge(after, [name for name in self._parameters if _module(name) in places], stack.leave)
        progress(len(inside) + 1, len(inside) + 1)
        return self._solved

    def _check(self) -> None:
        check_untied(self._model, "RegMean++")
        if not all(self._passages):
            raise InputError("RegMean++ needs examples and got none; check the dataset")
        for source in self._sources:
            missing = [name for name in self._parameters if name not in source.tensors]
            if missing:
                raise InputError(
                    f"{source.name} has no tensor {missing[0]}, which the model has; merge models of one architecture"
                )

    def _merge(self, layers: Mapping[str, nn.Linear], own: Collection[str], run: Callable[[Passage], Any]) -> None:
        """Merge those of `layers` that `run` reaches with each source's texts, in its `own` of the parameters."""
        measured = []
        for source, passages in zip(self._sources, self._passages):
            for name in own:
                self._parameters[name].copy_(source.tensors[name].whole(self._parameters[name].dtype))
            with gathering(layers) as grams:
                self._each(passages, run, grams)
            measured.append(grams)
        self._average(own)
        for name in layers:
            if any(grams.counts[name] for grams in measured):
                self._solve(name, [grams.sums[name] for grams in measured], [grams.counts[name] for grams in measured])

    def _each(self, passages: Sequence[Passage], run: Callable[[Passage], Any], grams: Grams | None = None) -> None:
        # A block of its own: autocast keeps the weights that it has cast, and the next block runs on others.
        device = next(self._model.parameters()).device.type
        with torch.autocast(device, self._autocast, enabled=self._autocast is not None):
            for passage in passages:
                if grams is not None:
                    grams.real = passage.inputs["attention_mask"].bool()
                run(passage)

    def _values(self, name: str) -> Iterator[Tensor]:
        """A parameter in one source after another, in the model's dtype and on its device."""
        parameter = self._parameters[name]
        return (source.tensors[name].whole(parameter.dtype).to(parameter.device) for source in self._sources)

    def _average(self, names: Collection[str]) -> None:
        for name in names:
            total = torch.zeros_like(self._parameters[name])
            for values, weight in zip(self._values(name), self._weights):
                total.add_(values.mul_(weight))
            self._parameters[name].copy_(total)

    def _solve(self, name: str, sums: Sequence[Tensor], counts: Sequence[int]) -> None:
        parts = [gram.double() for gram in sums]
        if self._own_texts:
            parts = [gram.div_(max(1, count)) for gram, count in zip(parts, counts)]
        merged = self._method.merge(Piece(name, tuple(self._values(name)), self._weights, measurements=tuple(parts)))
        if not merged.isfinite().all():
            raise InputError(f"tensor {name} cannot be merged: a source, or what it makes of the texts, is not finite")
        self._solved[name] = merged
        self._parameters[name].copy_(merged)


def _module(name: str) -> str:
    """The name of the module of a parameter."""
    return name.rpartition(".")[0]


METHOD = RegMeanPlus
