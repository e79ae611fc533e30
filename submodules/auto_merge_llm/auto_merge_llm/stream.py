"""The executor: cut tensors into pieces, hand them to a method, put the results into files or memory."""

from __future__ import annotations

import functools
import math
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from auto_merge_llm.checkpoint import Checkpoint
from auto_merge_llm.checks import (
    MERGEABLE_DTYPES,
    Findings,
    check_checkpoints,
    check_free_space,
    check_measurements,
    check_tensors,
    check_weights,
)
from auto_merge_llm.errors import InputError
from auto_merge_llm.heads import align_labels
from auto_merge_llm.methods.base import Method, Piece
from auto_merge_llm.model_files import copy_model_files, merged_config
from auto_merge_llm.safetensors_writer import SafetensorsWriter, file_sha256
from auto_merge_llm.tensors import LoadedTensor, Source, identities, is_parameter
from auto_merge_llm.weight_files import find_weights, open_file

# 1 MiB of float32: a piece of every source stays in the processor's cache from read to write.
CHUNK_ELEMENTS = 1 << 18
# Of the pieces that sums are made of; part of the result's definition, so not an option.
_SCAN_ELEMENTS = 1 << 18
# A GPU wants few, large launches.
_GPU_CHUNK_ELEMENTS = 1 << 24
# Reading from the page cache and writing saturate memory with few threads; each holds one piece a source.
_MAX_WORKERS = 4
_REUSED_BYTES = 1 << 24

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


def merge_checkpoints(
    method: Method,
    sources: Sequence[str | Path | Checkpoint],
    weights: Sequence[float],
    output: str | Path,
    *,
    base: str | Path | Checkpoint | None = None,
    measurements: Sequence[str | Path] = (),
    dtype: str | None = None,
    shard_size: int | None = None,
    allow_mismatched_heads: bool = False,
    progress: Progress | None = None,
) -> MergeReport:
    """Merge model folders into `output`, an existing folder without weights, and make it a complete model.

    `weights[i]` belongs to `sources[i]`; they sum to 1. `measurements[i]` is the safetensors file of what was
    measured of `sources[i]`, where the method takes that. `dtype`: "float32", "float16", "bfloat16" or "float64",
    default the sources'. `shard_size`: bytes of tensor data in one file. `progress(done, total)` is called with
    element counts. Arithmetic is in float32 (float64 where a source is). Memory is bounded by pieces, for a method
    that takes whole tensors by the largest tensor of all sources. The result depends neither on the order of the
    sources nor on threads, piece size or shard size.

    Raises InputError for everything that a user can correct; no weight file is left behind then.
    """
    output = Path(output)
    _check_output(output, shard_size)
    prepared = _prepare(method, sources, weights, base, measurements, dtype, allow_mismatched_heads)
    job = prepared.job
    writer = SafetensorsWriter(output, job.layout, shard_size)
    check_free_space(output, writer.size)
    with writer:
        job.run(writer.write, progress)
        copy_model_files(prepared.config_from, output, **prepared.model_files)
        writer.commit()
    return prepared.report(path.name for path in writer.files)


def merge_to_memory(
    method: Method,
    sources: Sequence[str | Path | Checkpoint],
    weights: Sequence[float],
    *,
    base: str | Path | Checkpoint | None = None,
    measurements: Sequence[str | Path | Source] = (),
    dtype: str | None = None,
    allow_mismatched_heads: bool = False,
    progress: Progress | None = None,
) -> MergedModel:
    """`merge_checkpoints` without an output: the same checks and, on the CPU, the same bits.

    Sources, base and measurements must be on one device: files count as the CPU, `Checkpoint.load` and
    `measured_source` put them elsewhere.
    """
    prepared = _prepare(method, sources, weights, base, measurements, dtype, allow_mismatched_heads)
    merged, put = prepared.job.in_memory()
    prepared.job.run(put, progress)
    return MergedModel(merged, prepared)


def measured_source(name: str, tensors: Mapping[str, torch.Tensor]) -> Source:
    """What was measured of a source, in memory, to be given as its measurement; messages call it `name`."""
    return _loaded(name, tensors)


@dataclass(frozen=True)
class MergedModel:
    """A merged model in memory: `state` is its state dict, `save` makes the folder that `merge_checkpoints` makes."""

    state: Mapping[str, torch.Tensor]
    _prepared: _Prepared

    @property
    def report(self) -> MergeReport:
        return self._prepared.report(("model.safetensors",))

    @property
    def config_from(self) -> Checkpoint:
        """The source whose configuration, and order of labels, are the merged model's."""
        return self._prepared.config_from

    @functools.cached_property
    def config(self) -> dict:
        """The content of config.json."""
        return merged_config(
            self.config_from, **{name: self._prepared.model_files[name] for name in ("initial_head", "dtype")}
        )

    @property
    def tokenizer_from(self) -> Checkpoint:
        """The source whose tokenizer is the merged model's."""
        return self._prepared.model_files["tokenizer_from"] or self.config_from

    @functools.cached_property
    def weights_fingerprint(self) -> str:
        """The Checkpoint's `weights_fingerprint` once it is saved."""
        return file_sha256(self.state)

    def save(self, output: str | Path) -> None:
        """Make the existing folder `output`, without weights yet, a whole model. Raises InputError on a full disk."""
        output = Path(output)
        _check_output(output, None)
        writer = SafetensorsWriter(output, self._prepared.job.layout)
        check_free_space(output, writer.size)
        with writer:
            for name, values in self.state.items():
                writer.write(name, 0, values.cpu())
            copy_model_files(self.config_from, output, **self._prepared.model_files)
            writer.commit()


@dataclass(frozen=True)
class _Prepared:
    """A merge of checked folders; `model_files` are the keywords of `copy_model_files`."""

    job: _Job
    names: tuple[str, ...]
    weights: tuple[float, ...]
    findings: Findings
    config_from: Checkpoint
    model_files: Mapping[str, Any]

    def report(self, files: Iterable[str]) -> MergeReport:
        return MergeReport(
            self.names,
            self.weights,
            self.findings,
            tuple(files),
            self.job.total,
            self.job.dtype_names,
            dict(self.job.counts),
        )


def _prepare(
    method: Method,
    sources,
    weights: Sequence[float],
    base,
    measurements,
    dtype: str | None,
    allow_mismatched_heads: bool,
) -> _Prepared:
    if len(weights) != len(sources):
        raise InputError(f"{len(sources)} sources have {len(weights)} weights; give one weight a source")
    opened = [_open(source) for source in sources]
    # Folder names first: the result is the same wherever the models are stored.
    names = identities([checkpoint.name for checkpoint in opened])
    order = sorted(range(len(opened)), key=lambda i: (names[i], opened[i].name, weights[i]))
    checkpoints, weights = [opened[i] for i in order], [weights[i] for i in order]
    measured = [
        measurement if isinstance(measurement, Source) else Source(str(measurement), open_file(Path(measurement)))
        for measurement in measurements
    ]
    base = None if base is None else _open(base)
    check_weights(method, [checkpoint.name for checkpoint in checkpoints], weights, base is not None)
    aligned, aligned_base, findings = check_checkpoints(
        checkpoints, base=base, allow_mismatched_heads=allow_mismatched_heads
    )
    check_measurements(method, aligned, measured)
    measured = [measured[i] for i in order] if measured else []
    if method.measurement == "fisher" and findings.labels:
        measured = [
            align_labels(source, checkpoint.labels, findings.labels)
            for source, checkpoint in zip(measured, checkpoints)
        ]
    job = _Job(method, aligned, weights, aligned_base, dtype, measured)
    tokenizer_from = next((one for one in checkpoints if one.vocabulary_file), None)
    return _Prepared(
        job,
        tuple(checkpoint.name for checkpoint in checkpoints),
        tuple(weights),
        findings,
        checkpoints[0],
        {
            "tokenizer_from": tokenizer_from,
            "initial_head": findings.initial_head,
            "dtype": job.dtype_names[0] if len(job.dtype_names) == 1 else None,
        },
    )


def merge_state_dicts(
    method: Method,
    state_dicts: Mapping[str, Mapping[str, torch.Tensor]],
    weights: Mapping[str, float],
    *,
    base: Mapping[str, torch.Tensor] | None = None,
    measurements: Mapping[str, Mapping[str, torch.Tensor]] | None = None,
    dtype: str | None = None,
    progress: Progress | None = None,
) -> dict[str, torch.Tensor]:
    """Merge state dicts, by source name, on the device they are on; the inputs stay as they are.

    The same numbers as `merge_checkpoints`, bit for bit, where the names sort as the folders' names do.
    Labels and initial heads cannot be seen here: the caller has checked them. Raises InputError as it does.
    """
    for given in (weights, measurements or weights):
        differing = sorted(given.keys() ^ state_dicts.keys())
        if differing:
            raise InputError(
                f"weights, measurements and state dicts name different sources ({', '.join(differing)}); "
                "give each for all"
            )
    names = sorted(state_dicts)
    shares = [weights[name] for name in names]
    check_weights(method, names, shares, base is not None)
    loaded = [_loaded(name, state_dicts[name]) for name in names]
    loaded_base = None if base is None else _loaded("base", base)
    check_tensors([*loaded, loaded_base] if loaded_base else loaded)
    measured = [_loaded(f"measurement of {name}", measurements[name]) for name in names] if measurements else []
    check_measurements(method, loaded, measured)
    job = _Job(method, loaded, shares, loaded_base, dtype, measured)
    merged, put = job.in_memory()
    job.run(put, progress)
    return merged


@dataclass(frozen=True)
class _Span:
    """The flat elements [start, stop) of a tensor, and the shape in which the method sees them."""

    name: str
    start: int
    stop: int
    shape: tuple[int, ...]


class _Job:
    """One merge of checked sources in canonical order."""

    def __init__(
        self,
        method: Method,
        sources: Sequence[Source],
        weights: Sequence[float],
        base: Source | None,
        dtype: str | None,
        measurements: Sequence[Source] = (),
    ):
        self._method, self._base = method, base
        active = [index for index, weight in enumerate(weights) if weight]
        self._sources = [sources[index] for index in active]
        names = identities([source.name for source in sources])
        self._identities = tuple(names[index] for index in active)
        self._weights = tuple(float(weights[index]) for index in active)
        self._measurements = [measurements[index] for index in active] if measurements else []
        self.counts: Counter[str] = Counter()
        self._tensors = dict(sorted(sources[0].tensors.items()))
        self.total = sum(tensor.numel for tensor in self._tensors.values())
        common = {name: _common_dtype(name, sources) for name in self._tensors}
        self._working = {name: torch.promote_types(kind, torch.float32) for name, kind in common.items()}
        self.dtypes = common if dtype is None else dict.fromkeys(common, _dtype_named(dtype))
        self.names = tuple(name for name, tensor in self._tensors.items() if tensor.numel)
        self._on_gpu = any(tensor.device.type != "cpu" for tensor in self._tensors.values())

    @property
    def layout(self) -> dict[str, tuple[Sequence[int], torch.dtype]]:
        return {name: (tensor.shape, self.dtypes[name]) for name, tensor in self._tensors.items()}

    @property
    def dtype_names(self) -> tuple[str, ...]:
        return tuple(sorted({str(kind).removeprefix("torch.") for kind in self.dtypes.values()}))

    def in_memory(self) -> tuple[dict[str, torch.Tensor], Callable[[str, int, torch.Tensor], None]]:
        """A state dict without values, and the `put` of `run` that fills it."""
        merged = {
            name: torch.empty(tensor.shape, dtype=self.dtypes[name], device=tensor.device)
            for name, tensor in self._tensors.items()
        }

        def put(name: str, start: int, values: torch.Tensor) -> None:
            merged[name].view(-1)[start : start + values.numel()] = values.reshape(-1)

        return merged, put

    def run(self, put: Callable[[str, int, torch.Tensor], None], progress: Progress | None) -> None:
        """Merge every span and `put` it. First passes of the method do not count as progress."""
        # Freeing one large block teaches glibc to keep freed blocks of up to its size. Otherwise it gives the memory of
        # every piece back to the system, which hands it out again page by page: a third of the time of a linear merge.
        torch.empty(_REUSED_BYTES, dtype=torch.uint8)
        with _single_threaded() as threads:
            # On a GPU all threads would queue in one stream, and torch.linalg fails when several start it at once.
            self._workers = 1 if self._on_gpu else min(_MAX_WORKERS, threads)
            statistics = self._method.statistics(self) if self.total else None

            spans = self._spans(self.names, _GPU_CHUNK_ELEMENTS if self._on_gpu else CHUNK_ELEMENTS)
            counts, totals, done = Counter(), None, 0
            while spans:
                postponed = []
                work = functools.partial(self._merge_span, put, statistics, totals)
                for span, is_done, counted in self._each_span(work, spans):
                    counts.update(counted)
                    if not is_done:
                        postponed.append(span)
                        continue
                    done += span.stop - span.start
                    if progress is not None:
                        progress(done, self.total)
                spans, totals = postponed, dict(counts)
        self.counts.update({name: count for name, count in counts.items() if not name.startswith("_")})

    def _merge_span(
        self,
        put: Callable[[str, int, torch.Tensor], None],
        statistics: Any,
        totals: Mapping[str, int] | None,
        span: _Span,
    ) -> tuple[_Span, bool, Counter[str]]:
        """Merge and `put` a span, unless it is postponed; the span, whether it was merged, and what was counted."""
        piece = self._piece(span, statistics, totals)
        merged = self._merge(piece, span)
        if merged is not None:
            put(span.name, span.start, merged)
        return span, merged is not None, piece.counts

    def __call__(self, measure: Callable[[Piece], torch.Tensor], names: Sequence[str] | None = None) -> torch.Tensor:
        """What `methods.base.Scan` promises."""
        spans = self._spans(self.names if names is None else names, _SCAN_ELEMENTS)
        return sum(self._each_span(lambda span: measure(self._piece(span)), spans))

    def _each_span(self, work: Callable[[_Span], Any], spans: Iterable[_Span]) -> Iterator[Any]:
        """The results of `work` on every span, in order; the threads are at most a few spans ahead."""
        pending: deque[Future] = deque()
        # Threads of its own, so that a piece may start a scan.
        with ThreadPoolExecutor(self._workers) as pool:
            try:
                for span in spans:
                    pending.append(pool.submit(work, span))
                    if len(pending) > 2 * self._workers:
                        yield pending.popleft().result()
                while pending:
                    yield pending.popleft().result()
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)
                raise

    def _spans(self, names: Iterable[str], elements: int) -> Iterator[_Span]:
        for name in names:
            tensor = self._tensors[name]
            size, shape = tensor.numel, tuple(tensor.shape)
            is_whole = self._method.granularity == "tensor" or self._has_gram(name)
            by_rows = self._method.granularity == "row" and not is_whole
            if is_whole or (by_rows and len(shape) < 2):
                yield from [_Span(name, 0, size, shape)] if size else ()
                continue
            row = math.prod(shape[1:]) if by_rows else 1
            step = max(1, elements // row) * row if row else 1
            for start in range(0, size, step):
                stop = min(start + step, size)
                yield _Span(name, start, stop, ((stop - start) // row, *shape[1:]) if by_rows else (stop - start,))

    def _has_gram(self, name: str) -> bool:
        return self._method.measurement == "gram" and name in self._measurements[0].tensors

    def _piece(self, span: _Span, statistics: Any = None, totals: Mapping[str, int] | None = None) -> Piece:
        return Piece(
            span.name,
            tuple(self._read(source, span) for source in self._sources),
            self._weights,
            None if self._base is None else self._read(self._base, span),
            self._identities,
            span.start,
            tuple(self._measured(source, span) for source in self._measurements),
            statistics,
            totals=totals,
        )

    def _merge(self, piece: Piece, span: _Span) -> torch.Tensor | None:
        merged = self._method.merge(piece)
        if merged is None:
            return None
        # A sum shows every NaN and infinity in one pass; it can overflow by itself, hence the second look.
        if not math.isfinite(merged.sum().item()) and not merged.isfinite().all():
            raise self._not_finite(span)
        values = merged.to(self.dtypes[span.name])
        if values.dtype != merged.dtype and not values.isfinite().all():
            raise InputError(f"tensor {span.name} has values too large for {values.dtype}; choose bfloat16 or float32")
        return values

    def _read(self, source: Source, span: _Span) -> torch.Tensor:
        return source.tensors[span.name].read(span.start, span.stop, self._working[span.name]).view(span.shape)

    def _measured(self, source: Source, span: _Span) -> torch.Tensor:
        if self._method.measurement == "fisher":
            return self._read(source, span)
        if span.name not in source.tensors:
            return torch.empty(0)
        matrix = source.tensors[span.name]
        return matrix.read(0, matrix.numel, torch.float64).view(matrix.shape)

    def _not_finite(self, span: _Span) -> InputError:
        for source in (*self._sources, *([self._base] if self._base else [])):
            bad = int((~self._read(source, span).isfinite()).sum())
            if bad:
                return InputError(
                    f"{source.name}: tensor {span.name} has {bad} NaN or infinite values; "
                    "train or copy that model again, or leave it out"
                )
        for source in self._measurements:
            if source.tensors.get(span.name) is not None and not self._measured(source, span).isfinite().all():
                return InputError(
                    f"{source.name}: what was measured for {span.name} has NaN or infinite values; "
                    "remove the file and measure again"
                )
        return InputError(
            f"{type(self._method).__name__} made NaN or infinite values in tensor {span.name} "
            "from finite ones; change its hyper-parameters or weights"
        )


@contextmanager
def _single_threaded() -> Iterator[int]:
    """torch computes every piece in one thread, so that no sum depends on their number; yields how many there were."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield threads
    finally:
        torch.set_num_threads(threads)


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
