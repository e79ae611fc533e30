"""Forward and backward passes as CUDA graphs: one launch in place of about a thousand.

A small model's step is bound by launching kernels, not by arithmetic. Batches of one size, padded to a few lengths,
need one graph a length; whatever has another size runs as ever.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from auto_merge_llm.errors import InputError

PAD_TO_MULTIPLE_OF = 8
_WARM_UP = 2  # passes before capture, in which libraries make their handles and choose their kernels


class GraphedPasses:
    """Adds the gradients of `loss(inputs)` to those of `parameters`, from one graph for each shape of the inputs.

    Gradients stay at fixed addresses. All graphs share one pool of memory.
    """

    def __init__(self, loss: Callable[[dict[str, torch.Tensor]], torch.Tensor], parameters: Iterable[Any]):
        self._loss = loss
        self._parameters = [parameter for parameter in parameters if parameter.requires_grad]
        self._gradients = [torch.zeros_like(parameter) for parameter in self._parameters]
        self._graphs: dict[tuple, tuple] = {}
        self._pool = None

    def __call__(self, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        """The loss, detached."""
        self.hold_gradients()
        shape = tuple((name, tuple(values.shape)) for name, values in sorted(inputs.items()))
        if shape not in self._graphs:
            self._graphs[shape] = self._capture({name: values.clone() for name, values in inputs.items()})
        replay, static, loss = self._graphs[shape]
        for name, values in inputs.items():
            static[name].copy_(values, non_blocking=True)
        replay()
        return loss.clone()

    def hold_gradients(self) -> None:
        """Put the gradients in their places, at 0 where an optimizer step has cleared them."""
        if self._parameters[0].grad is not self._gradients[0]:
            torch._foreach_zero_(self._gradients)
            for parameter, gradient in zip(self._parameters, self._gradients):
                parameter.grad = gradient

    def _capture(self, static: dict[str, torch.Tensor]) -> tuple:
        """(replay, its inputs, its loss). The gradients are afterwards what they were before."""
        before = [gradient.clone() for gradient in self._gradients]
        loss = torch.zeros((), device=self._gradients[0].device)

        def passes():
            value = self._loss(static)
            value.backward()
            loss.copy_(value.detach())

        replay, self._pool = capture(passes, self._pool)
        torch._foreach_copy_(self._gradients, before)
        return replay, static, loss


def capture(passes: Callable[[], Any], pool: Any) -> tuple[Callable[[], Any], Any]:
    """(a function that runs what `passes` launches, the pool of memory of its graph)

    Raises InputError where `passes` does what depends on values that only the GPU knows, or copies from the CPU.
    """
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(_WARM_UP):
            passes()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    try:
        with torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"):
            passes()
    except torch.cuda.OutOfMemoryError:
        raise
    except RuntimeError as error:
        # Leaving the block raises once more, over what was raised in it.
        reason = str(error.__context__ or error).strip().partition("\n")[0]
        raise InputError(
            f"--cuda-graphs: the passes of this kind of model cannot be captured ({reason}); leave the flag out"
        ) from error
    return graph.replay, graph.pool()
