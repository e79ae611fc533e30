"""Models that were made elsewhere, as folders that every command can read."""

from collections.abc import Sequence
from pathlib import Path

from auto_merge_llm.errors import InputError

from merginguriel.utils.models import adapter_merge, adapters, hub


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
    folder = Path(source)
    if str(source) and folder.is_dir():
        name = folder.resolve().name
    elif folder.exists() or not hub.is_hub_id(str(source)):
        raise InputError(f"{source} is no folder of a model, and no id of the Hub (owner/name); check it")
    else:
        folder, name = hub.snapshot(str(source)), str(source).rpartition("/")[2]
    if not adapters.is_adapter(folder):
        return folder
    adapter = adapters.Adapter(folder, base)
    return adapter_merge.merged(adapter, name, cache, adapter.labels(labels))
