"""The executor: hand the pieces of a merge to its method in several threads, in an order that decides nothing."""

import functools
import math
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch

from auto_merge_llm.checks import DTYPES
from auto_merge_llm.errors import InputError
from auto_merge_llm.methods.base import Piece, check_number
from auto_merge_llm.pieces import Pieces, Span
from auto_merge_llm.safetensors_writer import Layout

# 1 MiB of float32: a piece of every source stays in the processor's cache from read to write.
CHUNK_ELEMENTS = 1 << 18
# Of the pieces that sums are made of; part of the result's definition, so not an option.
_SCAN_ELEMENTS = 1 << 18
# A GPU wants few, large launches.
_GPU_CHUNK_ELEMENTS = 1 << 24
# Reading from the page cache and writing saturate memory with few threads; each holds one piece a source.
_MAX_WORKERS = 4
# Spans that a thread may be ahead: so many that no thread waits for another's long one. Their results are small.
_AHEAD = 24
_REUSED_BYTES = 1 << 24

# Called with the numbers of elements merged and to be merged.
Progress = Callable[[int, int], None]
# Takes the merged values of a tensor from a flat element on.
Put = Callable[[str, int, torch.Tensor], None]
Result = TypeVar("Result")


@dataclass(frozen=True)
class Stretch:
    """`base` as the start of a merge that goes `length` times as far: θ₀ + length·(θ − θ₀), θ what the method makes.

    Of any method, whether it reads the base or not. A length of 1 changes no bit. Raises InputError for one below 0.
    """

    base: Any
    length: float

    def __post_init__(self) -> None:
        check_number("length", self.length, 0)


class Executor:
    """One merge of `pieces` by their method, into tensors of `dtype`, by default the sources'; InputError for another.

    `length`: how many times as far from the base as the method goes, as `Stretch` has it; other than 1, `pieces` have
    a base. `names`: the tensors that are not empty; `total`: elements of all; `counts`: what the method counted.
    """

    def __init__(self, pieces: Pieces, dtype: str | None, length: float = 1.0):
        if dtype is not None and dtype not in DTYPES:
            raise InputError(f"no output dtype {dtype!r}; choose one of {', '.join(DTYPES)}")
        self._method, self._pieces, self._length = pieces.method, pieces, length
        self._dtypes = pieces.dtypes if dtype is None else dict.fromkeys(pieces.dtypes, DTYPES[dtype])
        self.names: Sequence[str] = tuple(name for name, tensor in pieces.tensors.items() if tensor.numel)
        self.total = sum(tensor.numel for tensor in pieces.tensors.values())
        self.counts: Mapping[str, int] = {}

    @property
    def layout(self) -> Layout:
        """Shape and dtype of every merged tensor."""
        return {name: (tensor.shape, self._dtypes[name]) for name, tensor in self._pieces.tensors.items()}

    @property
    def dtype_names(self) -> tuple[str, ...]:
        """The dtypes of the merged tensors."""
        return tuple(sorted({str(dtype).removeprefix("torch.") for dtype in self._dtypes.values()}))

    def to_memory(self, progress: Progress | None) -> dict[str, torch.Tensor]:
        """The merged state dict, on the sources' device."""
        merged = {
            name: torch.empty(tensor.shape, dtype=self._dtypes[name], device=tensor.device)
            for name, tensor in self._pieces.tensors.items()
        }

        def put(name: str, start: int, values: torch.Tensor) -> None:
            merged[name].view(-1)[start : start + values.numel()] = values.reshape(-1)

        self.run(put, progress)
        return merged

    def run(self, put: Put, progress: Progress | None) -> None:
        """Merge everything and `put` it, piece by piece. First passes of the method do not count as progress."""
        # Freeing one large block teaches glibc to keep freed blocks of up to its size. Otherwise it gives the memory of
        # every piece back to the system, which hands it out again page by page: a third of the time of a linear merge.
        torch.empty(_REUSED_BYTES, dtype=torch.uint8)
        on_gpu = any(tensor.device.type != "cpu" for tensor in self._pieces.tensors.values())
        with _single_threaded() as threads:
            # On a GPU all threads would queue in one stream, and torch.linalg fails when several start it at once.
            self._workers = 1 if on_gpu else min(_MAX_WORKERS, threads)
            statistics = self._method.statistics(self) if self.total else None

            spans: Iterable[Span] = self._pieces.spans(self.names, _GPU_CHUNK_ELEMENTS if on_gpu else CHUNK_ELEMENTS)
            counts: Counter[str] = Counter()
            totals, done = None, 0
            while spans:
                postponed = []
                work = functools.partial(self._merge, put, statistics, totals)
                for span, is_done, counted in self._each(work, spans):
                    counts.update(counted)
                    if not is_done:
                        postponed.append(span)
                        continue
                    done += span.stop - span.start
                    if progress is not None:
                        progress(done, self.total)
                spans, totals = postponed, dict(counts)
        self.counts = {name: count for name, count in counts.items() if not name.startswith("_")}

    def __call__(self, measure: Callable[[Piece], torch.Tensor], names: Sequence[str] | None = None) -> torch.Tensor:
        """What `methods.base.Scan` promises."""
        spans = self._pieces.spans(self.names if names is None else names, _SCAN_ELEMENTS)
        return sum(self._each(lambda span: measure(self._pieces.piece(span)), spans), start=torch.tensor(0))

    def _merge(
        self, put: Put, statistics: Any, totals: Mapping[str, int] | None, span: Span
    ) -> tuple[Span, bool, Counter[str]]:
        """Merge and `put` a span, unless it is postponed; the span, whether it was merged, and what was counted."""
        piece = self._pieces.piece(span, statistics, totals)
        merged = self._method.merge(piece)
        if merged is None:
            return span, False, piece.counts
        if self._length != 1:
            base = self._pieces.base(span)
            merged = (merged - base).mul_(self._length).add_(base)
        # A sum shows every NaN and infinity in one pass; it can overflow by itself, hence the second look.
        if not math.isfinite(merged.sum().item()) and not merged.isfinite().all():
            raise self._pieces.not_finite(span)
        values = merged.to(self._dtypes[span.name])
        if values.dtype != merged.dtype and not values.isfinite().all():
            raise InputError(f"tensor {span.name} has values too large for {values.dtype}; choose bfloat16 or float32")
        put(span.name, span.start, values)
        return span, True, piece.counts

    def _each(self, work: Callable[[Span], Result], spans: Iterable[Span]) -> Iterator[Result]:
        """The results of `work` on every span, in order."""
        pending: deque[Future[Result]] = deque()
        # Threads of its own, so that a piece may start a scan.
        with ThreadPoolExecutor(self._workers) as pool:
            try:
                for span in spans:
                    pending.append(pool.submit(work, span))
                    if len(pending) > _AHEAD * self._workers:
                        yield pending.popleft().result()
                while pending:
                    yield pending.popleft().result()
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)
                raise


@contextmanager
def _single_threaded() -> Iterator[int]:
    """torch computes every piece in one thread, so that no sum depends on their number; yields how many there were."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield threads
    finally:
        torch.set_num_threads(threads)
