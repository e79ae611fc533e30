"""What a merging method is: a pure function on tensors, with its hyper-parameters and its needs."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from auto_merge_llm.errors import InputError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    StateDict = Mapping[str, Tensor]


@dataclass(frozen=True)
class Piece:
    """One tensor, or a part of it, in all sources.

    `sources` are in canonical order (sorted by name), float32 (float64 where a source is), of one shape: what
    the method's `granularity` says. They belong to the method, which may overwrite them. `weights` go with
    `sources`: positive, of sum 1; sources of weight 0 are left out. `origin` is the base, None unless the method needs
    it; it belongs to the method too. `identities` go with `sources`: their folders' names, made distinct. `start` is
    the flat offset of the first element in the tensor `name`. `measurements` go with `sources` where the method takes
    them: Fisher information in the sources' shape, or the Gram matrix (in, in) of the tensor's inputs (empty for a
    tensor that has none). `statistics` is what the method's own `statistics` returned. What `merge` adds to
    `counts` is summed over all pieces for the report, but for names that begin with an underscore. `totals` are
    these sums, of a piece that was postponed; None before.
    """

    name: str
    sources: tuple[Tensor, ...]
    weights: tuple[float, ...]
    origin: Tensor | None = None
    identities: tuple[str, ...] = ()
    start: int = 0
    measurements: tuple[Tensor, ...] = ()
    statistics: Any = None
    counts: Counter[str] = field(default_factory=Counter)
    totals: Mapping[str, int] | None = None

    @property
    def base(self) -> Tensor:
        """`origin`, in a method with `needs_base`."""
        assert self.origin is not None, "a method that reads the base has needs_base = True"
        return self.origin

    def task_vectors(self) -> list[Tensor]:
        """θᵢ − θ₀ of all sources; overwrites `sources`."""
        return [source.sub_(self.base) for source in self.sources]


class Scan(Protocol):
    """Calls `measure` on every piece, of the tensors `names` or of the whole model, and returns the results' sum.

    `measure` returns a tensor of one shape. Pieces and the order of the additions depend on the model alone.
    """

    names: Sequence[str]  # of all tensors that are not empty

    def __call__(self, measure: Callable[[Piece], Tensor], names: Sequence[str] | None = None) -> Tensor: ...


@dataclass(frozen=True)
class Method(ABC):
    """A frozen dataclass whose fields are the hyper-parameters.

    `__post_init__` raises InputError for a value out of its range.
    `granularity`: what the executor may cut tensors into. "element": each output element depends on the same
    element of the inputs only, and pieces are 1-D ranges. "row": pieces are some rows (first dimension) of a tensor
    in its other dimensions; a vector is one row. "tensor": pieces are whole tensors in their own shape.
    `measurement`: what must have been measured of every source on data, "fisher" or "gram"; `measure` does it, and
    `measured_by` names the hyper-parameters that it rests on. A tensor with a Gram matrix comes whole, whatever the
    granularity.
    """

    granularity: ClassVar[str] = "tensor"
    measurement: ClassVar[str | None] = None
    measured_by: ClassVar[tuple[str, ...]] = ()
    needs_base: ClassVar[bool] = False
    min_sources: ClassVar[int] = 1
    max_sources: ClassVar[int | None] = None

    @property
    def reads_labels(self) -> bool:
        """Whether `measure` reads the gold `labels` of its batches."""
        return False

    def measure(
        self,
        model: torch.nn.Module,
        batches: Iterable[Mapping[str, Tensor]],
        *,
        autocast: torch.dtype | None = None,
        own_texts: bool = False,
    ) -> dict[str, Tensor]:
        """What `merge` needs to know of one source, by tensor name, from `input_ids` and `attention_mask` (n, t).

        `own_texts`: other sources are measured on other texts, so that nothing may grow with their number or length.
        """
        raise NotImplementedError(f"{type(self).__name__} measures nothing")

    def statistics(self, scan: Scan) -> Any:
        """What `merge` must know of the whole model before its first piece; `scan` may be called repeatedly."""
        return None

    @abstractmethod
    def merge(self, piece: Piece) -> Tensor | None:
        """The merged values, in the shape and dtype of `piece.sources`, whatever the device.

        None postpones a piece that needs to know how all others went: it comes again, with `totals`.
        """


class LearningMethod(Method):
    """A method that finds its `coefficients` on data, in `epochs` passes over it."""

    epochs: int
    coefficients: Mapping[str, Mapping[str, float]] | None

    @abstractmethod
    def learn(
        self,
        model: torch.nn.Module,
        sources: Mapping[str, StateDict],
        base: StateDict,
        batches: Iterable[Mapping[str, Tensor]],
        weights: Mapping[str, float],
        *,
        autocast: torch.dtype | None = None,
        progress: Callable[[int, int | None, float], None] | None = None,
    ) -> LearningMethod:
        """This method with the `coefficients` that it finds on `batches`.

        `model` maps `input_ids` and `attention_mask` (n, t) to `.logits` (n, classes). Its parameters are
        overwritten and end as the merged ones; gradients it had are dropped. `sources`, by identity, and `base` are
        state dicts on its device, in memory of their own. `batches` is iterated once an epoch. `weights`, by
        identity, are the start; as in a merge, a source of weight 0 takes no part. `autocast` runs the model in that
        dtype. `progress(step, steps, loss)` follows every step; `steps` is None where `batches` has no length.
        """


def check_number(name: str, value: Any, low: float, high: float = math.inf, *, below: bool = False) -> None:
    """Raise InputError unless `value` is a finite number from `low` to `high`, or below `high`."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if not number or not low <= value <= high or (below and value == high):
        limit = "" if high == math.inf else f" to below {high}" if below else f" to {high}"
        raise InputError(f"{name} is {value!r}, not a number from {low}{limit}; correct it")


def check_choice(name: str, value: Any, choices: tuple[str, ...]) -> None:
    """Raise InputError unless `value` is one of `choices`."""
    if value not in choices:
        raise InputError(f"{name} is {value!r}; choose one of {', '.join(choices)}")


def check_whole(name: str, value: Any) -> None:
    """Raise InputError unless `value` is an integer from 0."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise InputError(f"{name} is {value!r}, not a whole number from 0; correct it")
