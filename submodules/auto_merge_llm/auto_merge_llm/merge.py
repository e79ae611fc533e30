"""Merge model folders, into a folder or into memory, or state dicts."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from auto_merge_llm.checkpoint import Checkpoint
from auto_merge_llm.checks import check_measurements, check_tensors, check_weights
from auto_merge_llm.compatibility import check_checkpoints
from auto_merge_llm.errors import InputError
from auto_merge_llm.executor import Executor, Progress, Stretch
from auto_merge_llm.folder_checks import check_model_folder
from auto_merge_llm.heads import align_labels
from auto_merge_llm.merged_model import MergedModel, MergeReport
from auto_merge_llm.methods.base import Method
from auto_merge_llm.output_folder import ModelFiles, OutputFolder
from auto_merge_llm.pieces import Pieces
from auto_merge_llm.tensors import Source, identities, loaded_source
from auto_merge_llm.weight_files import open_file


def merge_checkpoints(
    method: Method,
    sources: Sequence[str | Path | Checkpoint],
    weights: Sequence[float],
    output: str | Path | OutputFolder,
    *,
    base: str | Path | Checkpoint | Stretch | None = None,
    measurements: Sequence[str | Path | Source] = (),
    allow_mismatched_heads: bool = False,
    progress: Progress | None = None,
) -> MergeReport:
    """Merge model folders into `output`, an existing folder without weights, and make it a complete model.

    `weights[i]` belongs to `sources[i]`; they sum to 1. `measurements[i]` is the safetensors file of what was
    measured of `sources[i]`, where the method takes that. A `Stretch` in the place of the base goes so many times as
    far from it, whatever the method. An `OutputFolder` says which dtype the weights get, and how many files.
    `progress(done, total)` is called with element counts. Arithmetic is in float32 (float64 where a source is). Memory
    is bounded by pieces, for a method that takes whole tensors by the largest tensor of all sources. The result depends
    neither on the order of the sources nor on threads, piece size or shard size.

    Raises InputError for everything that a user can correct; no weight file is left behind then.
    """
    folder = output if isinstance(output, OutputFolder) else OutputFolder(Path(output))
    executor, files, report = _prepare(
        method, sources, weights, base, measurements, folder.dtype, allow_mismatched_heads
    )
    written = folder.write(executor.layout, lambda put: executor.run(put, progress), files)
    return replace(report, files=written, counts=executor.counts)


def merge_to_memory(
    method: Method,
    sources: Sequence[str | Path | Checkpoint],
    weights: Sequence[float],
    *,
    base: str | Path | Checkpoint | Stretch | None = None,
    measurements: Sequence[str | Path | Source] = (),
    dtype: str | None = None,
    allow_mismatched_heads: bool = False,
    progress: Progress | None = None,
) -> MergedModel:
    """`merge_checkpoints` without an output: the same checks and, on the CPU, the same bits.

    Sources, base and measurements must be on one device: files count as the CPU, `Checkpoint.load` and
    `tensors.loaded_source` put them elsewhere. Raises InputError as `merge_checkpoints` does.
    """
    executor, files, report = _prepare(method, sources, weights, base, measurements, dtype, allow_mismatched_heads)
    state = executor.to_memory(progress)
    return MergedModel(state, replace(report, files=("model.safetensors",), counts=executor.counts), files)


def merge_state_dicts(
    method: Method,
    state_dicts: Mapping[str, Mapping[str, torch.Tensor]],
    weights: Mapping[str, float],
    *,
    base: Mapping[str, torch.Tensor] | Stretch | None = None,
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
    origin, length = _unstretched(base)
    check_weights(method, names, shares, origin is not None, length)
    sources = [loaded_source(name, state_dicts[name]) for name in names]
    start = None if origin is None else loaded_source("base", origin)
    check_tensors([*sources, start] if start else sources)
    measured = [loaded_source(f"measurement of {name}", measurements[name]) for name in names] if measurements else []
    check_measurements(method, sources, measured)
    return Executor(Pieces(method, sources, shares, start, measured), dtype, length).to_memory(progress)


def _unstretched(base: Any) -> tuple[Any, float]:
    """(the base itself, how many times as far from it the merge goes)"""
    return (base.base, base.length) if isinstance(base, Stretch) else (base, 1.0)


def _prepare(
    method: Method,
    sources: Sequence[str | Path | Checkpoint],
    weights: Sequence[float],
    base: str | Path | Checkpoint | Stretch | None,
    measurements: Sequence[str | Path | Source],
    dtype: str | None,
    allow_mismatched_heads: bool,
) -> tuple[Executor, ModelFiles, MergeReport]:
    """Open and check everything; the report has neither files nor counts yet."""
    opened = [check_model_folder(source) for source in sources]
    origin, length = _unstretched(base)
    start = None if origin is None else check_model_folder(origin)
    check_weights(method, [checkpoint.name for checkpoint in opened], weights, start is not None, length)
    # Folder names first: the result is the same wherever the models are stored.
    names = identities([checkpoint.name for checkpoint in opened])
    order = sorted(range(len(opened)), key=lambda i: (names[i], opened[i].name, weights[i]))
    checkpoints, shares = [opened[i] for i in order], tuple(weights[i] for i in order)
    aligned, aligned_start, findings = check_checkpoints(checkpoints, start, allow_mismatched_heads)
    measured = [one if isinstance(one, Source) else Source(str(one), open_file(Path(one))) for one in measurements]
    check_measurements(method, aligned, measured)
    measured = [measured[i] for i in order] if measured else []
    if method.measurement == "fisher" and findings.labels:
        measured = [
            align_labels(source, checkpoint.labels, findings.labels)
            for source, checkpoint in zip(measured, checkpoints)
        ]
    executor = Executor(Pieces(method, aligned, shares, aligned_start, measured), dtype, length)
    dtypes = executor.dtype_names
    files = ModelFiles(
        config_from=checkpoints[0],
        tokenizer_from=next((one for one in checkpoints if one.vocabulary_file), checkpoints[0]),
        initial_head=findings.initial_head,
        dtype=dtypes[0] if len(dtypes) == 1 else None,
    )
    sorted_names = tuple(checkpoint.name for checkpoint in checkpoints)
    return executor, files, MergeReport(sorted_names, shares, findings, (), executor.total, dtypes, {})
