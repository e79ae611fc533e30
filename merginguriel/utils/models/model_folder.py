"""A folder of a classifier: whether it is whole, what its outputs mean, which files decide what it answers."""

from collections.abc import Mapping
from pathlib import Path

from auto_merge_llm.checkpoint import Checkpoint
from auto_merge_llm.errors import InputError
from auto_merge_llm.heads import check_is_classifier
from auto_merge_llm.tokenizer_files import tokenizer_files
from auto_merge_llm.weight_files import weight_files

from merginguriel.utils.data.massive import LABEL_OF

TRAINING_JSON = "training.json"  # the mark of a finished training


class WeightHashes(dict[str, str]):
    """Locale -> sha256 of its model's weights, read when first asked for."""

    def __init__(self, models: Mapping[str, Path]):
        super().__init__()
        self._models = models

    def __missing__(self, locale: str) -> str:
        self[locale] = Checkpoint(self._models[locale]).weights_fingerprint
        return self[locale]


def is_whole(folder: Path) -> bool:
    """Whether a training run has finished here and its weights can be opened."""
    if not (folder / TRAINING_JSON).is_file():
        return False
    try:
        Checkpoint(folder)
    except InputError:
        return False
    return True


def read_labels(path: Path) -> list[str]:
    """The intent of every output of a classifier folder, checked to be MASSIVE's by name."""
    checkpoint = Checkpoint(path)
    check_is_classifier(checkpoint)
    labels = list(checkpoint.labels)
    unknown = [name for name in labels if name not in LABEL_OF]
    if unknown:
        raise InputError(
            f"{path}/config.json: {unknown[0]!r} in id2label is none of MASSIVE's intents; train with "
            "training_bert.py or correct id2label and label2id"
        )
    return labels


def files_of(folder: Path) -> dict[str, list[int]]:
    """Size and time of a model's weights, configuration and tokenizer, by name: enough to see that it was replaced."""
    others = [folder / "config.json", *tokenizer_files(folder)]
    return {
        path.name: [path.stat().st_size, path.stat().st_mtime_ns]
        for path in (*weight_files(folder), *filter(Path.is_file, others))
    }


def bytes_of(folder: Path) -> int:
    """The size of these files."""
    return sum(size for size, _ in files_of(folder).values())
