"""The executor: cut tensors into pieces, hand them to a method, put the results into files or memory."""

from __future__ import annotations

import functools
import math
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from auto_merge_llm.checkpoint import Checkpoint
from auto_merge_llm.checks import (MERGEABLE_DTYPES, Findings, check_checkpoints, check_free_space,
                                   check_tensors, check_weights)
from auto_merge_llm.errors import InputError
from auto_merge_llm.methods.base import Method, Piece
from auto_merge_llm.model_files import copy_model_files
from auto_merge_llm.safetensors_writer import SafetensorsWriter
from auto_merge_llm.tensors import LoadedTensor, Source, is_parameter
from auto_merge_llm.weight_files import find_weights

# 1 MiB of float32: a piece of every source stays in the processor's cache from read to write.
CHUNK_ELEMENTS = 1 << 18
# Reading from the page cache and writing saturate memory with few threads; each holds one piece a source.
_MAX_WORKERS = 4

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class MergeReport:
    """What was merged: sources and weights in canonical order, what the checks found, the files written.

    `parameters` counts elements; `dtypes` are the names of the dtypes in the files; `counts` is what the
    method counted, such as the tensors for which it took another formula (see its docstring).
    """

    sources: tuple[str, ...]
    weights: tuple[float, ...]
    findings: Findings
    files: tuple[str, ...]
    parameters: int
    dtypes: tuple[str, ...]
    counts: Mapping[str, int]


def merge_checkpoints(method: Method, sources: Sequence[str | Path | Checkpoint], weights: Sequence[float],
                      output: str | Path, *, base: str | Path | Checkpoint | None = None,
                      dtype: str | None = None, shard_size: int | None = None,
                      allow_mismatched_heads: bool = False, progress: Progress | None = None) -> MergeReport:
    """Merge model folders into `output`, an existing folder without weights, and make it a complete model.

    `weights[i]` belongs to `sources[i]`; they sum to 1. `dtype`: "float32", "float16", "bfloat16" or
    "float64", default the sources'. `shard_size`: bytes of tensor data in one file. `progress(done, total)`
    is called with element counts. Arithmetic is in float32 (float64 where a source is). Memory is bounded by
    pieces for elementwise methods, by the largest tensor of all sources for others. The result depends
    neither on the order of the sources nor on threads, piece size or shard size.

    Raises InputError for everything that a user can correct; no weight file is left behind then.
    """
    output = Path(output)
    _check_output(output, shard_size)
    if len(weights) != len(sources):
        raise InputError(f"{len(sources)} sources have {len(weights)} weights; give one weight a source")
    # Folder names first: the result is the same wherever the models are stored.
    ranked = sorted(((_open(source), weight) for source, weight in zip(sources, weights)),
                    key=lambda pair: (pair[0].path.name, pair[0].name, pair[1]))
    checkpoints, weights = [checkpoint for checkpoint, _ in ranked], [weight for _, weight in ranked]
    base = None if base is None else _open(base)
    check_weights(method, [checkpoint.name for checkpoint in checkpoints], weights, base is not None)
    aligned, aligned_base, findings = check_checkpoints(checkpoints, base=base,
                                                        allow_mismatched_heads=allow_mismatched_heads)
    job = _Job(method, aligned, weights, aligned_base, dtype)
    layout = {name: (tensor.shape, job.dtypes[name]) for name, tensor in aligned[0].tensors.items()}
    dtypes = tuple(sorted({str(kind).removeprefix("torch.") for kind in job.dtypes.values()}))
    writer = SafetensorsWriter(output, layout, shard_size)
    check_free_space(output, writer.size)
    with writer:
        job.run(writer.write, progress)
        tokenizer_from = next((one for one in checkpoints if one.vocabulary_file), None)
        copy_model_files(checkpoints[0], output, tokenizer_from=tokenizer_from,
                         initial_head=findings.initial_head, dtype=dtypes[0] if len(dtypes) == 1 else None)
        writer.commit()
    return MergeReport(tuple(checkpoint.name for checkpoint in checkpoints), tuple(weights), findings,
                       tuple(path.name for path in writer.files), job.total, dtypes, dict(job.counts))


def merge_state_dicts(method: Method, state_dicts: Mapping[str, Mapping[str, torch.Tensor]],
                      weights: Mapping[str, float], *, base: Mapping[str, torch.Tensor] | None = None,
                      dtype: str | None = None, progress: Progress | None = None) -> dict[str, torch.Tensor]:
    """Merge state dicts, by source name, on the device they are on; the inputs stay as they are.

    The same numbers as `merge_checkpoints`, bit for bit, where the names sort as the folders' names do.
    Labels and initial heads cannot be seen here: the caller has checked them. Raises InputError as it does.
    """
    if weights.keys() != state_dicts.keys():
        differing = sorted(weights.keys() ^ state_dicts.keys())
        raise InputError(f"weights and state dicts name different sources ({', '.join(differing)}); give "
                         "both for each")
    names = sorted(state_dicts)
    shares = [weights[name] for name in names]
    check_weights(method, names, shares, base is not None)
    loaded = [_loaded(name, state_dicts[name]) for name in names]
    loaded_base = None if base is None else _loaded("base", base)
    check_tensors([*loaded, loaded_base] if loaded_base else loaded)
    job = _Job(method, loaded, shares, loaded_base, dtype)
    merged = {name: torch.empty(tensor.shape, dtype=job.dtypes[name], device=tensor.device)
              for name, tensor in loaded[0].tensors.items()}

    def put(name: str, start: int, values: torch.Tensor) -> None:
        merged[name].view(-1)[start:start + values.numel()] = values.reshape(-1)

    job.run(put, progress)
    return merged


@dataclass(frozen=True)
class _Span:
    """The flat elements [start, stop) of a tensor."""

    name: str
    start: int
    stop: int


class _Job:
    """One merge of checked sources in canonical order."""

    def __init__(self, method: Method, sources: Sequence[Source], weights: Sequence[float],
                 base: Source | None, dtype: str | None):
        self._method, self._base = method, base
        active = [(source, float(weight)) for source, weight in zip(sources, weights) if weight]
        self._sources, self._weights = zip(*active)
        self.counts: Counter[str] = Counter()
        self._sizes = {name: tensor.numel for name, tensor in sources[0].tensors.items()}
        self.total = sum(self._sizes.values())
        common = {name: _common_dtype(name, sources) for name in self._sizes}
        self._working = {name: torch.promote_types(kind, torch.float32) for name, kind in common.items()}
        self.dtypes = common if dtype is None else dict.fromkeys(common, _dtype_named(dtype))

    def run(self, put: Callable[[str, int, torch.Tensor], None], progress: Progress | None) -> None:
        """Merge every span and `put` it. First passes of the method do not count as progress."""
        statistics = self._method.statistics(self._scan) if self.total else None

        def work(span: _Span) -> tuple[int, Counter[str]]:
            piece = self._piece(span, statistics)
            put(span.name, span.start, self._merge(piece, span))
            return span.stop - span.start, piece.counts

        done = 0

        def finished(result: tuple[int, Counter[str]]) -> None:
            nonlocal done
            elements, counts = result
            self.counts.update(counts)
            done += elements
            if progress is not None:
                progress(done, self.total)

        self._each_span(work, finished)

    def _scan(self, measure: Callable[[Piece], torch.Tensor]) -> torch.Tensor:
        total, lock = 0, threading.Lock()

        def work(span: _Span) -> None:
            nonlocal total
            measured = measure(self._piece(span))
            # Added here and not by the caller of the threads, where results would wait in memory.
            with lock:
                total = total + measured

        self._each_span(work)
        return total

    def _each_span(self, work: Callable[[_Span], Any], finished: Callable[[Any], None] | None = None) -> None:
        """Do `work` on every span, in several threads where spans are small; `finished` gets the results."""
        # Whole tensors are large: torch's own threads share one, and only one set of them is in memory.
        workers = min(_MAX_WORKERS, torch.get_num_threads()) if self._method.elementwise else 1
        with ThreadPoolExecutor(workers) as pool:
            try:
                for result in pool.map(work, self._spans()):
                    if finished is not None:
                        finished(result)
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)
                raise

    def _spans(self) -> Iterator[_Span]:
        for name, size in sorted(self._sizes.items()):
            step = CHUNK_ELEMENTS if self._method.elementwise else max(size, 1)
            for start in range(0, size, step):
                yield _Span(name, start, min(start + step, size))

    def _piece(self, span: _Span, statistics: Any = None) -> Piece:
        return Piece(span.name, tuple(self._read(source, span) for source in self._sources), self._weights,
                     None if self._base is None else self._read(self._base, span),
                     tuple(source.identity for source in self._sources), span.start, statistics)

    def _merge(self, piece: Piece, span: _Span) -> torch.Tensor:
        merged = self._method.merge(piece)
        # A sum shows every NaN and infinity in one pass; it can overflow by itself, hence the second look.
        if not math.isfinite(merged.sum().item()) and not merged.isfinite().all():
            raise self._not_finite(span)
        values = merged.to(self.dtypes[span.name])
        if values.dtype != merged.dtype and not values.isfinite().all():
            raise InputError(f"tensor {span.name} has values too large for {values.dtype}; choose bfloat16 "
                             "or float32")
        return values

    def _read(self, source: Source, span: _Span) -> torch.Tensor:
        tensor = source.tensors[span.name]
        values = tensor.read(span.start, span.stop, self._working[span.name])
        return values if self._method.elementwise else values.view(tensor.shape)

    def _not_finite(self, span: _Span) -> InputError:
        for source in (*self._sources, *([self._base] if self._base else [])):
            bad = int((~self._read(source, span).isfinite()).sum())
            if bad:
                return InputError(f"{source.name}: tensor {span.name} has {bad} NaN or infinite values; "
                                  "train or copy that model again, or leave it out")
        return InputError(f"{type(self._method).__name__} made NaN or infinite values in tensor {span.name} "
                          "from finite ones; change its hyper-parameters or weights")


def _open(source: str | Path | Checkpoint) -> Checkpoint:
    return source if isinstance(source, Checkpoint) else Checkpoint(source)


def _loaded(name: str, state_dict: Mapping[str, torch.Tensor]) -> Source:
    return Source(name, {key: LoadedTensor(value) for key, value in state_dict.items() if is_parameter(key)})


def _check_output(output: Path, shard_size: int | None) -> None:
    if not output.is_dir():
        raise InputError(f"no output folder {output}; make it first")
    present = find_weights(output)
    if present is not None:
        raise InputError(f"{present} exists already; choose an output folder without a model")
    if shard_size is not None and shard_size < 1:
        raise InputError(f"the shard size {shard_size} is not a positive number of bytes; correct it")


def _common_dtype(name: str, sources: Sequence[Source]) -> torch.dtype:
    return functools.reduce(torch.promote_types, (source.tensors[name].dtype for source in sources))


def _dtype_named(name: str) -> torch.dtype:
    known = {str(dtype).removeprefix("torch."): dtype for dtype in MERGEABLE_DTYPES}
    if name not in known:
        raise InputError(f"no output dtype {name!r}; choose one of {', '.join(known)}")
    return known[name]
