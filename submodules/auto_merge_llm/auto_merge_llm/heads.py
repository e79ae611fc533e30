"""Classification heads: aligned by the names of their labels, checked for a common start."""

import itertools
import logging
from collections.abc import Sequence

import torch

from auto_merge_llm.checkpoint import Checkpoint
from auto_merge_llm.errors import InputError
from auto_merge_llm.tensors import ReorderedRows, Source

log = logging.getLogger(__name__)

LOWEST_HEAD_COSINE = 0.5
COST_OF_MISMATCHED_HEADS = (
    "on 24 MASSIVE locales, five-source averages fell from 0.648 to 0.486 accuracy, "
    "below the best single source (0.628)"
)


def align_labels(source: Source, labels: Sequence[str], reference: Sequence[str]) -> Source:
    """`source` with its class rows in the order of `reference`, which has the same names as `labels`.

    Raises InputError where no tensor has a row a label.
    """
    # `classifier` is the last layer only where it has no out_proj below it.
    last = "classifier.out_proj" if "classifier.out_proj.weight" in source.tensors else "classifier"
    names = [f"{layer}.{kind}" for layer in (last, "score") for kind in ("weight", "bias")]
    by_label = {name: source.tensors[name] for name in names if name in source.tensors}
    if not by_label:
        raise InputError(
            f"{source.name} has no classifier or score layer, so its labels cannot be aligned; "
            "give models for sequence classification"
        )
    for name, tensor in by_label.items():
        if tensor.shape[0] != len(labels):
            raise InputError(
                f"{source.name}: {name} has {tensor.shape[0]} rows and id2label {len(labels)} names; "
                "correct config.json"
            )
    if tuple(labels) == tuple(reference):
        return source
    rows = [labels.index(label) for label in reference]
    reordered = {name: ReorderedRows(tensor, rows) for name, tensor in by_label.items()}
    return Source(source.name, {**source.tensors, **reordered})


def check_common_start(
    checkpoints: Sequence[Checkpoint], sources: Sequence[Source], allow_mismatched_heads: bool
) -> tuple[str | None, str, float | None]:
    """(fingerprint, evidence, cosine) of the head that all models were trained from, as `Findings` has them.

    `sources` are the checkpoints with their heads aligned. Fingerprints decide where all models have one, else the
    lowest cosine. Raises InputError for heads of different origin unless they are allowed, which is a warning.
    """
    known = {checkpoint.initial_head: checkpoint for checkpoint in checkpoints if checkpoint.initial_head}
    cosine = None
    if len(known) > 1:
        one, other, *_ = known.values()
        problem = f"{one.name} and {other.name} were trained from different initial heads"
    elif all(checkpoint.initial_head for checkpoint in checkpoints):
        return checkpoints[0].initial_head, "fingerprint", None
    else:
        cosine = lowest_cosine(sources)
        if cosine is None:
            log.info("the models have no head matrix and no initial_head: a common start cannot be checked")
            return None, "none", None
        if cosine >= LOWEST_HEAD_COSINE:
            log.info(
                "initial_head is missing in some config.json; the lowest cosine of two heads, %.3f, "
                "shows a common start",
                cosine,
            )
            return None, "cosine", cosine
        problem = (
            f"the sources do not seem to share an initial head (the lowest cosine between two of them is {cosine:.3f})"
        )
    if not allow_mismatched_heads:
        raise InputError(
            f"{problem}: {COST_OF_MISMATCHED_HEADS}; train the sources from one initial "
            "checkpoint, or allow mismatched heads explicitly"
        )
    log.warning("%s; merging all the same costs accuracy: %s", problem, COST_OF_MISMATCHED_HEADS)
    return None, "mismatch allowed", cosine


def lowest_cosine(sources: Sequence[Source]) -> float | None:
    """The lowest pairwise cosine between the heads' matrices, each head flattened into one float32 vector.

    Near 0 for heads drawn independently; fine-tuning from one start leaves it far above 0.5 (measured on
    XLM-R: .97 with one start, within .03 of 0 without). None where the models have no head matrix.
    """
    heads = [
        [
            tensor.whole(torch.float32).view(-1)
            for name, tensor in sorted(source.tensors.items())
            if name.startswith(("classifier.", "score.")) and len(tensor.shape) == 2
        ]
        for source in sources
    ]
    if not all(heads):
        return None
    flat = map(torch.cat, heads)
    return min(torch.cosine_similarity(one, other, dim=0).item() for one, other in itertools.combinations(flat, 2))
