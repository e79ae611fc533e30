"""The squared gradients of single examples, summed, of every parameter of any model.

Autograd gives the gradient of a whole batch. Of a layer that `fisher_layers` has a formula for, the gradients of single
examples are put together from what it saw and what came back, without a loop over examples. Any other parameter needs
passes over one example at a time, and so does a layer that sees something once for the whole batch.
"""

import contextlib
import functools
import logging
from collections import Counter, defaultdict
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from auto_merge_llm.fisher_layers import FORMULAS
from auto_merge_llm.forward import Batch, check_untied, evaluating, inputs_of, log_probabilities

log = logging.getLogger(__name__)
_PROBE = 3  # copies of an example; no model has a dimension of 3 besides


class SquaredGradients:
    """Hooks on `model` that add to `sums`, by parameter name, what `backward` finds.

    `plain`: parameters whose gradients autograd gives. They are squared as they come, so a pass must be over one
    example then. `per_example` false: the squares are of the gradients of whole batches.
    """

    def __init__(self, model: nn.Module, plain: frozenset[str], per_example: bool):
        self.plain, self._per_example = plain, per_example
        self.sums = {name: torch.zeros_like(values, dtype=torch.float32) for name, values in model.named_parameters()}
        self._calls: Counter[nn.Module] = Counter()
        self._came_back: dict[nn.Module, list[tuple[Tensor, Tensor]]] = defaultdict(list)
        self._sums_of: dict[nn.Module, dict[str, Tensor]] = {}

    def watch(self, model: nn.Module, stack: contextlib.ExitStack) -> None:
        """Put the hooks on; `stack` takes them off again. Parameters have no gradients wanted before."""
        for prefix, module in model.named_modules():
            own = {name: values for name, values in module.named_parameters(prefix, recurse=False)}
            for name in own.keys() & self.plain:
                own[name].grad = None
                own[name].requires_grad_(True)
                square = functools.partial(self._square, name)
                stack.callback(own[name].register_post_accumulate_grad_hook(square).remove)
            if type(module) in FORMULAS and own.keys() - self.plain:
                self._sums_of[module] = {name.rpartition(".")[2]: self.sums[name] for name in own.keys() - self.plain}
                stack.callback(module.register_forward_hook(self._see).remove)

    def log_probabilities(self, model: nn.Module, batch: Batch, autocast: torch.dtype | None) -> Tensor:
        """(n, classes); a pass whose backward follows."""
        self._calls.clear()
        self._examples = len(batch["input_ids"])
        return log_probabilities(model, batch, autocast)

    def backward(self, objective: Tensor, retain_graph: bool) -> None:
        """Add the squares of the gradients of `objective`, a sum over the pass's examples."""
        torch.autograd.backward(objective, retain_graph=retain_graph)
        for module in list(self._came_back):  # some of their calls had no part in the objective
            self._add(module)

    @torch.no_grad()
    def _square(self, name: str, parameter: Tensor) -> None:
        assert parameter.grad is not None
        gradient = parameter.grad.float()
        self.sums[name].addcmul_(gradient, gradient)
        parameter.grad = None

    def _see(self, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        if not output.numel():  # an adapter of another language
            return output
        if not output.requires_grad:
            # The graph starts at the outputs of the embeddings; a copy, because the model may write into it.
            output = _of_each(module, output.detach(), self._examples).requires_grad_().clone()
        self._calls[module] += 1
        seen = inputs[0].detach()
        if isinstance(module, nn.Embedding):  # one row of ids may be for all
            seen = seen.expand(output.shape[:-1])[..., None]
        output.register_hook(functools.partial(self._gather, module, seen))
        return output

    def _gather(self, module: nn.Module, seen: Tensor, gradient: Tensor) -> None:
        examples = self._examples if self._per_example else 1
        self._came_back[module].append((_rows(seen, examples), _rows(gradient, examples).float()))
        if len(self._came_back[module]) == self._calls[module]:
            self._add(module)

    @torch.no_grad()
    def _add(self, module: nn.Module) -> None:
        """An example's gradient is the sum over all that the layer saw of it, in each of its calls."""
        seen, gradients = zip(*self._came_back.pop(module))
        one = len(seen) == 1
        FORMULAS[type(module)](
            module,
            seen[0] if one else torch.cat(seen, 1),
            gradients[0] if one else torch.cat(gradients, 1),
            self._sums_of[module],
        )


def _rows(values: Tensor, examples: int) -> Tensor:
    """(examples, everything that is of one, width)"""
    return values.reshape(examples, -1, values.shape[-1])


def _of_each(module: nn.Module, output: Tensor, examples: int) -> Tensor:
    """Embeddings of positions may come as one row for the whole batch: a row for each example."""
    return output.expand(examples, *output.shape[1:]) if isinstance(module, nn.Embedding) else output


@contextlib.contextmanager
def squared_gradients(model: nn.Module, first: Batch, per_example: bool) -> Iterator[SquaredGradients]:
    """Hooks while the block lasts; `first` is any batch. Gradients that the model had are dropped."""
    check_untied(model, "the Fisher information")
    with contextlib.ExitStack() as stack:
        stack.enter_context(evaluating(model, requires_grad=False))
        plain = plain_parameters(model, first)
        if plain and per_example:
            log.info("one example at a time, because of %s: its layer has no formula for many at once", min(plain))
        squares = SquaredGradients(model, plain, per_example)
        squares.watch(model, stack)
        yield squares


def plain_parameters(model: nn.Module, batch: Batch) -> frozenset[str]:
    """The parameters whose gradients of single examples the formulas cannot tell, though the output depends on them.

    Their layer is of another kind, sees something once for all examples, or is passed over: its weight is used by the
    code around it. Found by two passes over copies of the first example; no parameter wants a gradient before or after.
    """
    copies = {name: values[:1].expand(_PROBE, *values.shape[1:]) for name, values in batch.items()}
    lengths: dict[nn.Module, set[int]] = defaultdict(set)

    def see(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if output.numel():
            lengths[module].add(len(output))
        else:
            lengths[module]

    with contextlib.ExitStack() as stack, torch.no_grad():
        for module in model.modules():
            if type(module) in FORMULAS:
                stack.callback(module.register_forward_hook(see).remove)
        model(**inputs_of(model, copies))
    suspects = {
        name: values
        for prefix, module in model.named_modules()
        if not _is_told(module, lengths)
        for name, values in module.named_parameters(prefix, recurse=False)
    }
    if not suspects:
        return frozenset()
    for values in suspects.values():
        values.requires_grad_(True)
    with torch.enable_grad():
        score = log_probabilities(model, copies, None).sum()
    gradients: tuple[Tensor | None, ...] = ()  # where the output depends on none of them
    if score.requires_grad:
        gradients = torch.autograd.grad(score, list(suspects.values()), allow_unused=True)
    for values in suspects.values():
        values.requires_grad_(False)
    return frozenset(name for name, gradient in zip(suspects, gradients) if gradient is not None)


def _is_told(module: nn.Module, lengths: dict[nn.Module, set[int]]) -> bool:
    """Whether a formula tells the gradients of single examples."""
    if module not in lengths:
        return False
    fitting = {_PROBE, 1} if isinstance(module, nn.Embedding) else {_PROBE}
    return lengths[module] <= fitting
