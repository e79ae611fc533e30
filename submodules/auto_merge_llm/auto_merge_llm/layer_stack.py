"""The layers of an encoder, run one at a time: what goes into a layer may come from layers that were changed since."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from auto_merge_llm.errors import InputError

Forward = Callable[..., Any]


@dataclass(frozen=True)
class Call:
    """How the model calls a layer, but for the hidden states: they come first, or are named so."""

    by_position: bool
    args: tuple[Any, ...]
    named: Mapping[str, Any]
    beside: tuple[Any, ...] | None  # what the layer returns beside them, None where it returns no tuple

    def returned(self, hidden: Tensor) -> Any:
        """What the model expects of the layer."""
        return hidden if self.beside is None else (hidden, *self.beside)


@dataclass
class Passage:
    """A batch on its way through the layers: `hidden` (n, t, d) goes into the next one."""

    inputs: Mapping[str, Tensor]
    calls: list[Call] = field(default_factory=list)
    hidden: Tensor = field(init=False)


class _Reached(Exception):  # noqa: N818  # It says that there is no more to do.
    """The first layer has been reached."""


class LayerStack:
    """The layers of `model`: of all its lists of modules the one with most parameters.

    `prefix`: what the names of their parameters begin with, before their number. Raises InputError where there is none.
    """

    def __init__(self, model: nn.Module):
        lists = {place: part for place, part in model.named_modules() if isinstance(part, nn.ModuleList) and len(part)}
        sizes = {place: sum(weights.numel() for weights in part.parameters()) for place, part in lists.items()}
        if not sizes:
            raise self._refusal(model, "it keeps its layers in no list")
        self.prefix = max(sizes, key=lambda place: sizes[place])
        self._model, self.layers = model, list(lists[self.prefix])

    def approach(self, passage: Passage) -> None:
        """Run what comes before the layers."""

        def stop(*args: Any, **named: Any) -> None:
            raise _Reached

        with self._replaced({0: stop}), contextlib.suppress(_Reached):
            self._model(**passage.inputs)

    def enter(self, passage: Passage) -> None:
        """Bring it to the first layer. InputError unless each layer runs once, on what the one before returns."""
        last: Tensor | None = None

        def recorded(number: int, forward: Forward) -> Forward:
            def call(*args: Any, **named: Any) -> Any:
                nonlocal last
                hidden = args[0] if args else named.pop("hidden_states", None)
                if number != len(passage.calls) or not isinstance(hidden, Tensor):
                    raise self._refusal(self._model, "its layers do not run once each, in order, on hidden states")
                if last is None:
                    passage.hidden = hidden
                elif hidden is not last and not hidden.equal(last):
                    raise self._refusal(self._model, f"something stands between its layers {number} and {number + 1}")
                output = forward(*args, **named) if args else forward(hidden_states=hidden, **named)
                last, beside = (output[0], tuple(output[1:])) if isinstance(output, tuple) else (output, None)
                # A decoder's cache, under whatever name, has grown by this call, and would by every other.
                named = {key: None if hasattr(value, "get_seq_length") else value for key, value in named.items()}
                passage.calls.append(Call(bool(args), args[1:], named, beside))
                return output

            return call

        with self._replaced({number: recorded(number, layer.forward) for number, layer in enumerate(self.layers)}):
            self._model(**passage.inputs)
        if len(passage.calls) < len(self.layers):
            raise self._refusal(self._model, "some of its layers do not run")

    def through(self, number: int, passage: Passage) -> Tensor:
        """What layer `number` makes of the passage's hidden states."""
        call, layer = passage.calls[number], self.layers[number]
        if call.by_position:
            output = layer(passage.hidden, *call.args, **call.named)
        else:
            output = layer(hidden_states=passage.hidden, **call.named)
        hidden: Tensor = output if call.beside is None else output[0]
        return hidden

    def advance(self, number: int, passage: Passage) -> None:
        """Take the passage through layer `number`."""
        passage.hidden = self.through(number, passage)

    def leave(self, passage: Passage) -> None:
        """Run what follows on the layers, on the passage's hidden states."""
        skipped = {number: self._returning(call, passage) for number, call in enumerate(passage.calls)}
        with self._replaced(skipped):
            self._model(**passage.inputs)

    @staticmethod
    def _returning(call: Call, passage: Passage) -> Forward:
        return lambda *args, **named: call.returned(passage.hidden)

    @contextlib.contextmanager
    def _replaced(self, forwards: Mapping[int, Forward]) -> Iterator[None]:
        """These layers do something else while the block lasts."""
        try:
            for number, forward in forwards.items():
                self.layers[number].forward = forward
            yield
        finally:
            for number in forwards:
                del self.layers[number].forward

    @staticmethod
    def _refusal(model: nn.Module, why: str) -> InputError:
        return InputError(f"{type(model).__name__} cannot be merged layer by layer: {why}; use regmean for it")
