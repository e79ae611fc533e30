"""What a merging method is: a pure function on tensors, with its hyper-parameters and its needs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Piece:
    """One tensor, or a range of its flat elements, in all sources.

    `sources` are in canonical order (sorted by name), float32 (float64 where a source is), of one shape: the
    tensor's, or 1-D ranges for an elementwise method. They belong to the method, which may overwrite them.
    `weights` go with `sources`: positive, of sum 1; sources of weight 0 are left out. `base` is None unless
    the method needs it.
    """

    name: str
    sources: tuple[torch.Tensor, ...]
    weights: tuple[float, ...]
    base: torch.Tensor | None = None


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

    @abstractmethod
    def merge(self, piece: Piece) -> torch.Tensor:
        """The merged values, in the shape and dtype of `piece.sources`, whatever the threads or device."""
