"""Every contract of a merge, checked before the first tensor is merged."""

from __future__ import annotations

import logging
import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from auto_merge_llm.checkpoint import Checkpoint
from auto_merge_llm.errors import InputError
from auto_merge_llm.heads import align_labels, lowest_cosine
from auto_merge_llm.methods.base import Method
from auto_merge_llm.tensors import Source

log = logging.getLogger(__name__)

WEIGHT_SUM_TOLERANCE = 1e-6
LOWEST_HEAD_COSINE = 0.5
COST_OF_MISMATCHED_HEADS = (
    "on 24 MASSIVE locales, five-source averages fell from 0.648 to 0.486 accuracy, "
    "below the best single source (0.628)"
)
MERGEABLE_DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64)

# What the arithmetic of the network depends on. Only two stated values can contradict each other: a missing
# key means a default of the transformers version that wrote the file.
_CONFIG_KEYS = (
    "model_type",
    "architectures",
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "max_position_embeddings",
    "type_vocab_size",
    "hidden_act",
    "pad_token_id",
    "position_embedding_type",
    "layer_norm_eps",
)


@dataclass(frozen=True)
class Findings:
    """What the checks learnt, for the file that describes the merge.

    `labels`: class names in the order of the merged head, None where one source needs no labels.
    `reordered`: sources whose head rows were put into that order.
    `initial_head`: the fingerprint that all sources share, else None.
    `head_evidence`: how the common start of the heads was established: "one source", "fingerprint", "cosine",
    "mismatch allowed" or "none" (the models have no head matrix).
    `head_cosine`: the lowest pairwise cosine of the heads, where it was needed.
    """

    labels: tuple[str, ...] | None
    reordered: tuple[str, ...]
    initial_head: str | None
    head_evidence: str
    head_cosine: float | None


def check_weights(method: Method, names: Sequence[str], weights: Sequence[float], has_base: bool) -> None:
    """The number of sources, their weights, and a base where the method takes one."""
    kind = type(method).__name__
    if not names:
        raise InputError("there is no source to merge; name at least one model")
    if len(weights) != len(names):
        raise InputError(f"{len(names)} sources have {len(weights)} weights; give one weight a source")
    if len(names) < method.min_sources or (method.max_sources and len(names) > method.max_sources):
        takes = (
            f"exactly {method.min_sources}"
            if method.min_sources == method.max_sources
            else f"at least {method.min_sources}"
            if not method.max_sources
            else f"{method.min_sources} to {method.max_sources}"
        )
        raise InputError(f"{kind} takes {takes} source(s), not {len(names)}; change the sources or the method")
    for name, weight in zip(names, weights):
        if not math.isfinite(weight) or weight < 0:
            raise InputError(f"the weight {weight} of {name} is not a number from 0 to 1; correct it")
    total = math.fsum(weights)
    if abs(total - 1) > WEIGHT_SUM_TOLERANCE:
        raise InputError(
            f"the weights sum to {total:.8g}, not to 1; "
            + ("divide each by their sum" if total else "give at least one source weight")
        )
    if method.needs_base and not has_base:
        raise InputError(f"{kind} needs the base model; name it")
    if has_base and not method.needs_base:
        raise InputError(f"{kind} takes no base model; leave it out")


def check_tensors(sources: Sequence[Source]) -> None:
    """The same tensor names and shapes in all sources, in dtypes that can be merged, on one device."""
    reference = sources[0]
    for source in sources:
        differing = sorted(reference.tensors.keys() ^ source.tensors.keys())
        if differing:
            raise InputError(
                f"{reference.name} and {source.name} have different tensors "
                f"({_few(differing)}); merge models of one architecture"
            )
        differing = sorted(
            name for name, tensor in source.tensors.items() if tensor.shape != reference.tensors[name].shape
        )
        if differing:
            shapes = [
                f"{name} {list(reference.tensors[name].shape)} and {list(source.tensors[name].shape)}"
                for name in differing
            ]
            raise InputError(
                f"{reference.name} and {source.name} have different shapes ({_few(shapes)}); merge models of one size"
            )
        for name, tensor in sorted(source.tensors.items()):
            if tensor.dtype not in MERGEABLE_DTYPES:
                raise InputError(
                    f"{source.name}: tensor {name} is {tensor.dtype}; save the model as float32, float16 or bfloat16"
                )
            if tensor.device != reference.tensors[name].device:
                raise InputError(
                    f"{reference.name} and {source.name} are on different devices ({name}); move them to one"
                )


def check_measurements(method: Method, sources: Sequence[Source], measurements: Sequence[Source]) -> None:
    """Where the method takes them, one measurement a source, with tensors that belong to the source's."""
    kind = type(method).__name__
    if method.measurement is None:
        if measurements:
            raise InputError(f"{kind} takes no measurements; leave them out")
        return
    if len(measurements) != len(sources):
        raise InputError(
            f"{kind} needs the measured {method.measurement} of every source ({len(sources)}) and got "
            f"{len(measurements)}; measure them first"
        )
    shapes = {name: tensor.shape for name, tensor in sources[0].tensors.items()}
    if method.measurement == "gram":
        shapes = {name: (shape[1], shape[1]) for name, shape in shapes.items() if len(shape) == 2}
    for measured in measurements:
        found = {name: tensor.shape for name, tensor in measured.tensors.items()}
        wrong = sorted(name for name, shape in found.items() if shapes.get(name) != shape)
        missing = sorted(
            shapes.keys() - found.keys()
            if method.measurement == "fisher"
            else measurements[0].tensors.keys() ^ found.keys()
        )
        if wrong or missing:
            raise InputError(
                f"{measured.name} does not belong to the sources ({_few(wrong or missing)}); measure again"
            )


def check_checkpoints(
    checkpoints: Sequence[Checkpoint], *, base: Checkpoint | None = None, allow_mismatched_heads: bool = False
) -> tuple[list[Source], Source | None, Findings]:
    """Check that the models belong together; return them, and the base, with heads in one label order.

    The first checkpoint's label order is the reference. Raises InputError naming two models that differ in
    architecture, sizes, vocabulary, tensors, labels or initial head.
    """
    everyone = [*checkpoints, base] if base else list(checkpoints)
    for other in everyone[1:]:
        _check_config(everyone[0], other)
        _check_vocabulary(everyone[0], other)
    sources = [Source(checkpoint.name, checkpoint.tensors) for checkpoint in everyone]
    check_tensors(sources)
    if len(everyone) == 1:
        return sources, None, Findings(None, (), checkpoints[0].initial_head, "one source", None)
    labels = everyone[0].labels
    for other in everyone[1:]:
        if set(other.labels) != set(labels):
            differing = sorted(set(other.labels) ^ set(labels))
            raise InputError(
                f"{everyone[0].name} and {other.name} have different labels "
                f"({_few(differing)}); merge models of one label set"
            )
    reordered = tuple(checkpoint.name for checkpoint in everyone if checkpoint.labels != labels)
    sources = [align_labels(source, checkpoint.labels, labels) for source, checkpoint in zip(sources, everyone)]
    shared, evidence, cosine = _check_heads(everyone, sources, allow_mismatched_heads)
    findings = Findings(labels, reordered, shared, evidence, cosine)
    return sources[: len(checkpoints)], sources[-1] if base else None, findings


def check_free_space(folder: Path, needed: int) -> None:
    """`needed` bytes are free where `folder` is."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise InputError(
            f"{folder} has {free / 1e9:.2f} GB free and the merged model takes "
            f"{needed / 1e9:.2f} GB; free space there or choose another output folder"
        )


def _check_config(one: Checkpoint, other: Checkpoint) -> None:
    for key in _CONFIG_KEYS:
        left, right = one.config.get(key), other.config.get(key)
        if left is not None and right is not None and left != right:
            raise InputError(
                f"{one.name} and {other.name} differ in {key} ({left} and {right}); "
                "merge models of one architecture and size"
            )


def _check_vocabulary(one: Checkpoint, other: Checkpoint) -> None:
    if one.vocabulary_file is None or other.vocabulary_file is None:
        missing = one if one.vocabulary_file is None else other
        log.info("%s has no tokenizer file: its vocabulary is known by its size only", missing.name)
    elif one.vocabulary_file.name != other.vocabulary_file.name:
        log.info(
            "%s and %s keep their vocabularies in different formats: only the sizes were compared", one.name, other.name
        )
    elif (
        one.vocabulary_file_sha256 != other.vocabulary_file_sha256
        and one.tokenizer_fingerprint != other.tokenizer_fingerprint
    ):
        raise InputError(
            f"{one.name} and {other.name} have different vocabularies "
            f"({one.vocabulary_file.name}); merge models that share one tokenizer"
        )


def _check_heads(
    checkpoints: Sequence[Checkpoint], sources: Sequence[Source], allowed: bool
) -> tuple[str | None, str, float | None]:
    known = {checkpoint.initial_head: checkpoint for checkpoint in checkpoints if checkpoint.initial_head}
    if len(known) > 1:
        one, other, *_ = known.values()
        what = f"{one.name} and {other.name} were trained from different initial heads"
        return _mismatch(what, None, allowed)
    if all(checkpoint.initial_head for checkpoint in checkpoints):
        return next(iter(known)), "fingerprint", None
    cosine = lowest_cosine(sources)
    if cosine is None:
        log.info("the models have no head matrix and no initial_head: a common start cannot be checked")
        return None, "none", None
    if cosine < LOWEST_HEAD_COSINE:
        return _mismatch(
            f"the sources do not seem to share an initial head (the lowest cosine between two of them is {cosine:.3f})",
            cosine,
            allowed,
        )
    log.info(
        "initial_head is missing in some config.json; the lowest cosine of two heads, %.3f, shows a common start",
        cosine,
    )
    return None, "cosine", cosine


def _mismatch(what: str, cosine: float | None, allowed: bool) -> tuple[None, str, float | None]:
    if not allowed:
        raise InputError(
            f"{what}: {COST_OF_MISMATCHED_HEADS}; train the sources from one initial "
            "checkpoint, or allow mismatched heads explicitly"
        )
    log.warning("%s; merging all the same costs accuracy: %s", what, COST_OF_MISMATCHED_HEADS)
    return None, "mismatch allowed", cosine


def _few(items: Sequence[str]) -> str:
    return ", ".join(items[:3]) + (f" and {len(items) - 3} more" if len(items) > 3 else "")
