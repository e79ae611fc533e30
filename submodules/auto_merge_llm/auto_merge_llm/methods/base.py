"""What a merging method is: a pure function on tensors, with its hyper-parameters and its needs."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from auto_merge_llm.errors import InputError

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Piece:
    """One tensor, or a range of its flat elements, in all sources.

    `sources` are in canonical order (sorted by name), float32 (float64 where a source is), of one shape: the
    tensor's, or 1-D ranges for an elementwise method. They belong to the method, which may overwrite them.
    `weights` go with `sources`: positive, of sum 1; sources of weight 0 are left out. `base` is None unless
    the method needs it; it belongs to the method too. `identities` go with `sources`: their folders' names.
    `start` is the flat offset of the first element in the tensor `name`. `statistics` is what the method's
    own `statistics` returned. What `merge` adds to `counts` is summed over all pieces for the report.
    """

    name: str
    sources: tuple[torch.Tensor, ...]
    weights: tuple[float, ...]
    base: torch.Tensor | None = None
    identities: tuple[str, ...] = ()
    start: int = 0
    statistics: Any = None
    counts: Counter[str] = field(default_factory=Counter)


# Calls a function on every piece of the model and returns the sum of what it gave. The function returns
# integers in a tensor of one shape, so that the order of the pieces cannot change the sum.
Scan = Callable[[Callable[[Piece], "torch.Tensor"]], "torch.Tensor"]


class Method(ABC):
    """A frozen dataclass whose fields are the hyper-parameters.

    `__post_init__` raises InputError for a value out of its range.
    `elementwise` promises that each output element depends on the same element of the inputs only, so that
    the executor may cut tensors anywhere. Other methods get whole tensors in their own shape.
    """

    elementwise: ClassVar[bool] = False
    needs_base: ClassVar[bool] = False
    min_sources: ClassVar[int] = 1
    max_sources: ClassVar[int | None] = None

    def statistics(self, scan: Scan) -> Any:
        """What `merge` must know of the whole model before its first piece; `scan` may be called repeatedly."""
        return None

    @abstractmethod
    def merge(self, piece: Piece) -> torch.Tensor:
        """The merged values, in the shape and dtype of `piece.sources`, whatever the threads or device."""


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
