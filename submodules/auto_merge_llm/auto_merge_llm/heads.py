"""Classification heads: aligned by the names of their labels, checked for a common start."""

import itertools
import logging
from collections import Counter
from collections.abc import Mapping, Sequence

import torch

from auto_merge_llm.checkpoint import Checkpoint
from auto_merge_llm.errors import InputError
from auto_merge_llm.tensors import ReorderedRows, Source, TensorReader

log = logging.getLogger(__name__)

LOWEST_HEAD_COSINE = 0.5
COST_OF_MISMATCHED_HEADS = (
    "on 24 MASSIVE locales, five-source averages fell from 0.648 to 0.486 accuracy, "
    "below the best single source (0.628)"
)


# The last layers of transformers' heads, of which one in another than its last place is none.
_LAST_LAYERS = ("classifier.out_proj", "classifier", "score")
_OTHER_TASKS = ("regression", "multi_label_classification")


def check_is_classifier(checkpoint: Checkpoint) -> None:
    """Raise InputError for a model of another task than one label a text, as far as its config.json says."""
    named = checkpoint.config.get("architectures")
    architecture = str(named[0]) if isinstance(named, list) and named else ""
    problem = checkpoint.config.get("problem_type")
    if architecture and not architecture.endswith("ForSequenceClassification"):
        raise InputError(f"{checkpoint.name} is a {architecture}, not a model for sequence classification; train one")
    if problem in _OTHER_TASKS:
        raise InputError(f"{checkpoint.name} was trained for {problem}, not for one label a text; train another model")


def head_of(source: Source) -> Mapping[str, TensorReader]:
    """The tensors that are not the encoder's: those outside the module that has most of all."""
    modules = Counter(name.partition(".")[0] for name in source.tensors)
    encoder = modules.most_common(1)[0][0] if modules else ""
    return {name: tensor for name, tensor in source.tensors.items() if name.partition(".")[0] != encoder}


def label_layer(source: Source, labels: Sequence[str]) -> str:
    """The name of the linear layer that has a row a label.

    Raises InputError where there is none, or its number of rows is another.
    """
    matrices = {
        name.removesuffix(".weight"): tensor.shape[0]
        for name, tensor in head_of(source).items()
        if name.endswith(".weight") and len(tensor.shape) == 2
    }
    fitting = [layer for layer, rows in matrices.items() if rows == len(labels)]
    known = [layer for layer in _LAST_LAYERS if layer in matrices]
    if known and matrices[known[0]] != len(labels):
        raise InputError(
            f"{source.name}: {known[0]}.weight has {matrices[known[0]]} rows and id2label {len(labels)} names; "
            "correct config.json"
        )
    if known or len(fitting) == 1:
        return (known or fitting)[0]
    raise InputError(
        f"{source.name} has no classifier or score layer, so its labels cannot be aligned; "
        "give models for sequence classification with a linear head"
    )


def align_labels(source: Source, labels: Sequence[str], reference: Sequence[str]) -> Source:
    """`source` with its class rows in the order of `reference`, which has the same names as `labels`.

    Raises InputError where no layer has a row a label.
    """
    layer = label_layer(source, labels)
    if tuple(labels) == tuple(reference):
        return source
    rows = [labels.index(label) for label in reference]
    names = [name for name in (f"{layer}.weight", f"{layer}.bias") if name in source.tensors]
    return Source(
        source.name, {**source.tensors, **{name: ReorderedRows(source.tensors[name], rows) for name in names}}
    )


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
            "checkpoint, or allow mismatched heads explicitly (--allow-mismatched-heads)"
        )
    log.warning("%s; merging all the same costs accuracy: %s", problem, COST_OF_MISMATCHED_HEADS)
    return None, "mismatch allowed", cosine


def lowest_cosine(sources: Sequence[Source]) -> float | None:
    """The lowest pairwise cosine between matrices of the heads, each flattened into one float32 vector.

    Near 0 for matrices drawn independently; fine-tuning from one start leaves it far above 0.5. Matrix by matrix,
    because some come from pre-training, as ModernBERT's, and are alike whatever the last one grew from. None where the
    models have no head matrix.
    """
    names = [name for name, tensor in sorted(head_of(sources[0]).items()) if len(tensor.shape) == 2]
    cosines = []
    for name in names:
        flat = [source.tensors[name].whole(torch.float32).view(-1) for source in sources]
        cosines += [torch.cosine_similarity(*pair, dim=0).item() for pair in itertools.combinations(flat, 2)]
    return min(cosines, default=None)
