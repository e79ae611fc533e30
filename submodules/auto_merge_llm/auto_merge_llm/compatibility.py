"""Whether models belong together: architecture, vocabulary, tensors, labels and the start of their heads."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from auto_merge_llm import tokenizer_rules
from auto_merge_llm.checkpoint import Checkpoint
from auto_merge_llm.checks import check_equal, check_tensors
from auto_merge_llm.common_start import check_common_start
from auto_merge_llm.errors import InputError
from auto_merge_llm.heads import align_labels, check_is_classifier
from auto_merge_llm.tensors import Source

log = logging.getLogger(__name__)

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
    `head_evidence`: how the common start of the heads was established: "one source", "fingerprint" (which the
    tensors do not contradict), "cosine", "mismatch allowed" or "none" (the models have no head matrix).
    `head_cosine`: the lowest pairwise cosine of the heads.
    """

    labels: tuple[str, ...] | None
    reordered: tuple[str, ...]
    initial_head: str | None
    head_evidence: str
    head_cosine: float | None


def check_checkpoints(
    checkpoints: Sequence[Checkpoint], base: Checkpoint | None, allow_mismatched_heads: bool
) -> tuple[list[Source], Source | None, Findings]:
    """Check that the models belong together; return them, and the base, with heads in one label order.

    The first checkpoint's label order is the reference. Raises InputError naming two models that differ in
    architecture, sizes, vocabulary, tensors, labels or initial head.
    """
    everyone = [*checkpoints, base] if base else list(checkpoints)
    for each in everyone:
        check_is_classifier(each)
    for other in everyone[1:]:
        _check_config(everyone[0], other)
    _check_vocabularies(everyone)
    sources = [Source(checkpoint.name, checkpoint.tensors) for checkpoint in everyone]
    check_tensors(sources)
    if len(everyone) == 1:
        return sources, None, Findings(None, (), checkpoints[0].initial_head, "one source", None)
    labels = everyone[0].labels
    for other in everyone[1:]:
        check_equal(everyone[0], other, "labels", set(labels) ^ set(other.labels), "of one label set")
    reordered = tuple(checkpoint.name for checkpoint in everyone if checkpoint.labels != labels)
    sources = [align_labels(source, checkpoint.labels, labels) for source, checkpoint in zip(sources, everyone)]
    shared, evidence, cosine = check_common_start(everyone, sources, labels, allow_mismatched_heads)
    findings = Findings(labels, reordered, shared, evidence, cosine)
    return sources[: len(checkpoints)], sources[-1] if base else None, findings


def _check_config(one: Checkpoint, other: Checkpoint) -> None:
    for key in _CONFIG_KEYS:
        left, right = one.config.get(key), other.config.get(key)
        if left is not None and right is not None and left != right:
            raise InputError(
                f"{one.name} and {other.name} differ in {key} ({left} and {right}); "
                "merge models of one architecture and size"
            )


def _check_vocabularies(everyone: Sequence[Checkpoint]) -> None:
    known = [(each, file) for each in everyone if (file := each.vocabulary_file)]
    if len(known) < len(everyone):
        missing = ", ".join(each.name for each in everyone if each.vocabulary_file is None)
        log.warning("warning: no tokenizer file in %s: of its vocabulary only the size was compared", missing)
    for other, others in known[1:]:
        one, file = known[0]
        if file.name != others.name:
            log.info(
                "%s and %s keep their vocabularies in different formats: only the sizes were compared",
                one.name,
                other.name,
            )
        elif one.tokenizer_fingerprint != other.tokenizer_fingerprint:
            check_equal(one, other, "tokenizers", tokenizer_rules.differences(file, others), "that share one tokenizer")
