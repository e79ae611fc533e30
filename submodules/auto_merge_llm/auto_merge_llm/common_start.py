"""Whether models grew from one start, by what their configurations claim and by their tensors.

Near 0 is the cosine of matrices that were drawn independently; fine-tuning from one start leaves it far above 0.5.
"""

import itertools
import logging
from collections.abc import Sequence

import torch

from auto_merge_llm.checkpoint import Checkpoint
from auto_merge_llm.errors import InputError
from auto_merge_llm.folder_checks import EMBEDDINGS
from auto_merge_llm.heads import head_of, label_layer
from auto_merge_llm.tensors import Source

log = logging.getLogger(__name__)

LOWEST_COSINE = 0.5
CLEARLY = 0.3
COST_OF_MISMATCHED_HEADS = (
    "on 24 MASSIVE locales, five-source averages fell from 0.648 to 0.486 accuracy, "
    "below the best single source (0.628)"
)


def check_common_start(
    checkpoints: Sequence[Checkpoint], sources: Sequence[Source], labels: Sequence[str], allow_mismatched_heads: bool
) -> tuple[str | None, str, float | None]:
    """(fingerprint, evidence, cosine) of the head that all models were trained from, as `Findings` has them.

    `sources` are the checkpoints with their heads aligned to `labels`. A fingerprint is a claim: the tensors of heads
    and encoders must not contradict it. Raises InputError for models of different origin unless that is allowed, which
    is a warning.
    """
    known = {checkpoint.initial_head: checkpoint for checkpoint in checkpoints if checkpoint.initial_head}
    is_claimed = len(known) == 1 and all(checkpoint.initial_head for checkpoint in checkpoints)
    cosine = lowest_cosine(sources)
    problem, remedy = None, "train the sources from one initial checkpoint"
    if len(known) > 1:
        one, other, *_ = known.values()
        problem = f"{one.name} and {other.name} were trained from different initial heads"
    elif problem := _other_rows(sources, labels):
        remedy = "correct id2label and label2id in its config.json"
    else:
        problem = _different_heads(is_claimed, cosine) or _different_bodies(sources)
    if problem:
        if not allow_mismatched_heads:
            raise InputError(
                f"{problem}: {COST_OF_MISMATCHED_HEADS}; {remedy}, or allow mismatched heads explicitly "
                "(--allow-mismatched-heads)"
            )
        log.warning("%s; merging all the same costs accuracy: %s", problem, COST_OF_MISMATCHED_HEADS)
        return None, "mismatch allowed", cosine
    if is_claimed:
        return checkpoints[0].initial_head, "fingerprint", cosine
    if cosine is None:
        log.info("the models have no head matrix and no initial_head: a common start cannot be checked")
        return None, "none", None
    log.info("initial_head is missing in some config.json; the lowest cosine of two heads is %.3f", cosine)
    return None, "cosine", cosine


def lowest_cosine(sources: Sequence[Source]) -> float | None:
    """The lowest pairwise cosine between matrices of the heads, each flattened into one float32 vector.

    Matrix by matrix, because some come from pre-training, as ModernBERT's, and are alike whatever the last one grew
    from. None where the models have no head matrix.
    """
    names = [name for name, tensor in sorted(head_of(sources[0]).items()) if len(tensor.shape) == 2]
    cosines = []
    for name in names:
        flat = [_flat(source, name) for source in sources]
        cosines += [torch.cosine_similarity(*pair, dim=0).item() for pair in itertools.combinations(flat, 2)]
    return min(cosines, default=None)


def _different_heads(is_claimed: bool, cosine: float | None) -> str | None:
    if cosine is None or not cosine < LOWEST_COSINE:
        return None
    told = f"the lowest cosine between two of them is {cosine:.3f}"
    if is_claimed:
        return (
            f"all models have one initial_head in config.json, and their heads have not grown from one ({told}); one "
            "has it from another model"
        )
    return f"the sources do not seem to share an initial head ({told})"


def _different_bodies(sources: Sequence[Source]) -> str | None:
    """A few large matrices of the encoders are looked at, of each model beside the first."""
    first = sources[0]
    outside = head_of(first).keys()
    shapes = {name: tensor.shape for name, tensor in first.tensors.items() if name not in outside}
    matrices = [name for name, shape in shapes.items() if len(shape) == 2 and not EMBEDDINGS.search(name)]
    size = max((first.tensors[name].numel for name in matrices), default=0)
    largest = sorted(name for name in matrices if first.tensors[name].numel == size)
    for name in {largest[0], largest[len(largest) // 2], largest[-1]} if largest else ():
        one = _flat(first, name)
        for other in sources[1:]:
            cosine = _cosine(one, _flat(other, name))
            if cosine < LOWEST_COSINE:
                return f"{first.name} and {other.name} do not seem to share a base model ({name}: cosine {cosine:.3f})"
    return None


def _other_rows(sources: Sequence[Source], labels: Sequence[str]) -> str | None:
    """Whether a label's row is like that of another label of the first model, and not like its own: a swapped name.

    The other label's row must be lost too, and far better found: rows of small models are alike by chance.
    """
    weights = [source.tensors[f"{label_layer(source, labels)}.weight"].whole(torch.float32) for source in sources]
    first, *others = (torch.nn.functional.normalize(weight, dim=1) for weight in weights)
    for source, other in zip(sources[1:], others):
        alike = first @ other.T
        own, (best, place) = alike.diagonal(), alike.max(1)
        lost = own < LOWEST_COSINE
        mixed = torch.nonzero(lost & lost[place] & (best >= LOWEST_COSINE) & (best > own + CLEARLY))
        if len(mixed):
            row = int(mixed[0])
            return (
                f"the row of {labels[row]} in {sources[0].name} is like that of {labels[int(place[row])]} in "
                f"{source.name}: id2label of one of them has its labels in another order"
            )
    return None


def _flat(source: Source, name: str) -> torch.Tensor:
    return source.tensors[name].whole(torch.float32).view(-1)


def _cosine(one: torch.Tensor, other: torch.Tensor) -> float:
    """1 where one of them is 0, which has no direction."""
    if not one.any() or not other.any():
        return 1.0
    return torch.cosine_similarity(one, other, dim=0).item()
