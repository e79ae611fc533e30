"""The sources of a merge, cut into the pieces that its method works on."""

import functools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from auto_merge_llm.errors import InputError
from auto_merge_llm.methods.base import Method, Piece
from auto_merge_llm.tensors import Source, identities


@dataclass(frozen=True)
class Span:
    """The flat elements [start, stop) of a tensor, and the shape in which the method sees them."""

    name: str
    start: int
    stop: int
    shape: tuple[int, ...]


class Pieces:
    """Checked sources in canonical order, what belongs to them, and how `method` sees them: a base, if it needs one.

    `tensors`: the tensors of the result, by name in alphabetical order, of whose readers only shapes and devices
    matter; `dtypes`: their dtypes, the widest of the sources'. Sources of weight 0 count for these, and take no part.
    """

    def __init__(
        self,
        method: Method,
        sources: Sequence[Source],
        weights: Sequence[float],
        base: Source | None,
        measurements: Sequence[Source],
    ):
        self.method, self._base = method, base
        active = [index for index, weight in enumerate(weights) if weight]
        self._sources = [sources[index] for index in active]
        names = identities([source.name for source in sources])
        self._identities = tuple(names[index] for index in active)
        self._weights = tuple(float(weights[index]) for index in active)
        self._measurements = [measurements[index] for index in active] if measurements else []
        self.tensors = dict(sorted(sources[0].tensors.items()))
        self.dtypes = {
            name: functools.reduce(torch.promote_types, (source.tensors[name].dtype for source in sources))
            for name in self.tensors
        }

    def spans(self, names: Iterable[str], elements: int) -> Iterator[Span]:
        """The tensors `names` in spans of at most `elements`, or one row; whole where the method sees them whole."""
        for name in names:
            tensor, granularity = self.tensors[name], self.method.granularity
            if granularity == "tensor" or self._has_gram(name) or (granularity == "row" and len(tensor.shape) < 2):
                yield from [Span(name, 0, tensor.numel, tensor.shape)] if tensor.numel else ()
                continue
            # What a span is made of: rows, or single elements.
            part = tensor.shape[1:] if granularity == "row" else ()
            size = max(1, math.prod(part))
            step = max(1, elements // size) * size
            for start in range(0, tensor.numel, step):
                stop = min(start + step, tensor.numel)
                yield Span(name, start, stop, ((stop - start) // size, *part))

    def piece(self, span: Span, statistics: Any = None, totals: Mapping[str, int] | None = None) -> Piece:
        """The values of `span` in all sources, read anew."""
        return Piece(
            span.name,
            tuple(self._read(source, span) for source in self._sources),
            self._weights,
            self.base(span) if self.method.needs_base else None,
            self._identities,
            span.start,
            tuple(self._measured(source, span) for source in self._measurements),
            statistics,
            totals=totals,
        )

    def base(self, span: Span) -> torch.Tensor:
        """The values of `span` in the base, which there must be, read anew."""
        assert self._base is not None, "the checks have asked for a base"
        return self._read(self._base, span)

    def not_finite(self, span: Span) -> InputError:
        """The error of a merged `span` with NaN or infinite values: it names the model, file or method at fault."""
        for source in (*self._sources, *([self._base] if self._base else [])):
            bad = int((~self._read(source, span).isfinite()).sum())
            if bad:
                return InputError(
                    f"{source.name}: tensor {span.name} has {bad} NaN or infinite values; "
                    "train or copy that model again, or leave it out"
                )
        for source in self._measurements:
            if not self._measured(source, span).isfinite().all():
                return InputError(
                    f"{source.name}: what was measured for {span.name} has NaN or infinite values; "
                    "remove the file and measure again"
                )
        return InputError(
            f"{type(self.method).__name__} made NaN or infinite values in tensor {span.name} "
            "from finite ones; change its hyper-parameters or weights"
        )

    def _has_gram(self, name: str) -> bool:
        return self.method.measurement == "gram" and name in self._measurements[0].tensors

    def _read(self, source: Source, span: Span) -> torch.Tensor:
        working = torch.promote_types(self.dtypes[span.name], torch.float32)
        return source.tensors[span.name].read(span.start, span.stop, working).view(span.shape)

    def _measured(self, source: Source, span: Span) -> torch.Tensor:
        if self.method.measurement == "fisher":
            return self._read(source, span)
        if span.name not in source.tensors:
            return torch.empty(0)
        gram = source.tensors[span.name]
        return gram.whole(torch.promote_types(gram.dtype, torch.float32))
