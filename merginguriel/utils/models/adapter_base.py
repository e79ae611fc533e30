"""The base model that an adapter was trained on: adapter_config.json names it."""

from pathlib import Path
from typing import Any

from auto_merge_llm.adapter_files import ADAPTER_CONFIG
from auto_merge_llm.checkpoint import Checkpoint
from auto_merge_llm.errors import InputError

from merginguriel.utils.models import hub


def find_base(folder: Path, own: Any, given: str | Path | None) -> Path:
    """The folder of the base that adapter_config.json in `folder` calls `own`; `given` where that is not there.

    Raises InputError where there is none, or `given` is another one.
    """
    where = folder / ADAPTER_CONFIG
    if not isinstance(own, str) or not own:
        raise InputError(f"{where} names no base (base_model_name_or_path); write it there")
    found = _find(own, folder)
    if given is None:
        if found is None:
            raise InputError(
                f"{where}: its base {own} is no folder here and not in the Hub's cache; fetch it with hf download "
                f"{own}, or write the path of its folder into base_model_name_or_path"
            )
        return found
    wanted = _find(str(given))
    if wanted is None:
        raise InputError(f"the base {given} of the adapter {folder} is no folder and not in the Hub's cache; check it")
    same = (
        Path(own).name == Path(given).name
        if found is None
        else Checkpoint(found).weights_fingerprint == Checkpoint(wanted).weights_fingerprint
    )
    if not same:
        raise InputError(
            f"{folder} is an adapter of {own}, not of {given}; give an adapter of that base, or correct "
            f"base_model_name_or_path in {where}"
        )
    return wanted


def _find(name: str, beside: Path | None = None) -> Path | None:
    """The folder `name`, from `beside` or from here, or of that id in the Hub's cache. Nothing is fetched."""
    for folder in (beside / name, Path(name)) if beside else (Path(name),):
        if folder.is_dir():
            return folder
    return hub.cached(name)
