"""Models that were made elsewhere, as folders that every command can read."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from merginguriel.utils.models import adapter_merge, adapters, hub
from merginguriel.utils.models.model_folder import TRAINING_JSON
from merginguriel.utils.storage import atomic, naming


def as_model_folder(
    source: str | Path, cache: Path, *, labels: Sequence[str] | None = None, base: str | Path | None = None
) -> Path:
    """A folder that every command can read as a whole classifier.

    `source` itself where it is a folder with one; the Hub's snapshot where it is an id of the Hub; of a PEFT adapter,
    from either, its base with the adapter merged into it: written once into `cache` and found there the next time.
    Of an adapter, `labels` are the task's, for a head whose labels nobody has named, and `base` is the model it was
    trained on, where its own adapter_config.json names one that is not there.
    Raises InputError where there is no such model, or it cannot be read as one.
    """
    folder = hub.located(source)
    name = (hub.hub_id_of(folder) or folder.resolve().name).rpartition("/")[2]
    if not adapters.is_adapter(folder):
        return folder
    adapter = adapters.Adapter(folder, base)
    return adapter_merge.merged(adapter, name, cache, adapter.labels(labels))


def base_of(models: Sequence[Path]) -> str | None:
    """What these models were fine-tuned from: what all of them tell, else their kind, as in xlm-roberta; None unknown.

    Our own tell it in training.json, where that was copied with them, or by the names of their folders; others may in
    config.json.
    """
    files = [model / "config.json" for model in models]
    configs = [atomic.read_json(file) if file.is_file() else {} for file in files]
    told = [_told_base(model, config) for model, config in zip(models, configs)]
    agreed = len({naming.base_slug(base or "") for base in told}) == 1
    return (told[0] if agreed else None) or configs[0].get("model_type")


def _told_base(model: Path, config: Mapping[str, Any]) -> str | None:
    training, named = model / TRAINING_JSON, naming.parse_model(model.name)
    if training.is_file() and (base := atomic.read_json(training).get("settings", {}).get("base_model")):
        return base
    loaded = config.get("_name_or_path")  # of a training on somebody's disk it is no name
    return (
        named[0]
        if named
        else None
        if not isinstance(loaded, str) or not loaded or Path(loaded).is_absolute()
        else loaded
    )
