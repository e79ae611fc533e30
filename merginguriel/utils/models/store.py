"""Folders of classifiers: which there are, whether they are whole, what their outputs mean."""

from pathlib import Path

from auto_merge_llm.errors import InputError
from auto_merge_llm.tokenizer_files import tokenizer_files

from merginguriel.utils.data.massive import LABEL_OF
from merginguriel.utils.storage import naming


def available_models(models_root: Path, base_model: str) -> dict[str, Path]:
    """Locale -> folder; InputError naming the training command where there is none."""
    models = naming.find_models(models_root, base_model)
    if not models:
        folder = models_root / naming.model_name(base_model, "af-ZA")
        raise InputError(
            f"no models {naming.model_name(base_model, '<locale>')} in {models_root}; train one "
            f"with python merginguriel/training_bert.py --model-name-or-path {base_model} "
            f"--dataset-config-name af-ZA --output-dir {folder}"
        )
    return models


def is_whole(folder: Path) -> bool:
    """Whether a training run has finished here and its weights can be opened."""
    from auto_merge_llm.checkpoint import Checkpoint

    if not (folder / "training.json").is_file():
        return False
    try:
        Checkpoint(folder)
    except InputError:
        return False
    return True


def read_labels(path: Path) -> list[str]:
    """The intent of every output of a classifier folder, checked to be MASSIVE's by name."""
    from auto_merge_llm.checkpoint import Checkpoint

    labels = list(Checkpoint(path).labels)
    unknown = [name for name in labels if name not in LABEL_OF]
    if unknown:
        raise InputError(
            f"{path}/config.json: {unknown[0]!r} in id2label is none of MASSIVE's intents; train with "
            "training_bert.py or correct id2label and label2id"
        )
    return labels


def files_of(folder: Path) -> dict[str, list[int]]:
    """Size and time of a model's weights, configuration and tokenizer, by name: enough to see that it was replaced."""
    from auto_merge_llm.weight_files import weight_files

    config = folder / "config.json"
    return {
        path.name: [path.stat().st_size, path.stat().st_mtime_ns]
        for path in (*weight_files(folder), *([config] if config.is_file() else []), *tokenizer_files(folder))
    }
