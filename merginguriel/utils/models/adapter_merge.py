"""A LoRA adapter merged into its base, by the library peft: a whole model, written once."""

import contextlib
import hashlib
import logging
import shutil
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from auto_merge_llm.adapter_files import ADAPTER_CONFIG
from auto_merge_llm.errors import InputError
from auto_merge_llm.folder_checks import check_model_folder

from merginguriel.utils.models import hub, loading
from merginguriel.utils.models.adapters import PREFIX, Adapter
from merginguriel.utils.models.library_errors import one_line
from merginguriel.utils.storage.atomic import as_json, whole_folder, write_text

log = logging.getLogger(__name__)
ADAPTER_JSON = "adapter.json"  # in the merged folder: what it was made of


def merged(adapter: Adapter, name: str, cache: Path, labels: Sequence[str]) -> Path:
    """The folder of `adapter` merged into its base, in `cache` under `name` and a hash of all that it is made of.

    `labels`: names of the head's rows. Raises InputError, with nothing written, where the adapter does not fit.
    """
    tokenizer = adapter.tokenizer
    files = [adapter.folder / ADAPTER_CONFIG, adapter.folder / hub.ADAPTER_WEIGHTS, *tokenizer]
    made_of = as_json(
        {
            "labels": list(labels),
            "adapter": {file.name: _sha256(file) for file in files},
            "base": {
                "config.json": _sha256(adapter.base.path / "config.json"),
                "weights": adapter.base.weights_fingerprint,
            },
        }
    )
    folder = cache / f"{name[:100]}-{hashlib.sha256(made_of.encode()).hexdigest()[:16]}"
    if folder.exists():
        return folder
    log.info("merging the adapter %s into its base %s: %s", adapter.folder, adapter.base.name, folder)
    try:
        with whole_folder(folder) as partial:
            _merge(adapter, labels).save_pretrained(partial)
            for file in tokenizer:
                shutil.copyfile(file, partial / file.name)
            write_text(partial / ADAPTER_JSON, made_of)
            _check(partial, adapter)
    except (OSError, InputError):
        # Another process may have been quicker, with the same bytes.
        if not folder.exists():
            raise
    return folder


def _merge(adapter: Adapter, labels: Sequence[str]) -> Any:
    """On the CPU, in float32; the result in the base's dtype."""
    try:
        from peft import PeftModel
    except ImportError:
        raise InputError(
            f"{adapter.folder} is a PEFT adapter, and the library is not installed: pip install peft"
        ) from None

    # A head, and peft's matrices, are made of random numbers before they get their values.
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings(), _explained(adapter):
        warnings.simplefilter("ignore")  # that something is missing: it is refused below
        model = _base_model(adapter, labels)
        wrapped = PeftModel.from_pretrained(model, str(adapter.folder), torch_device="cpu")
        _check_places(adapter, wrapped)
        model = wrapped.merge_and_unload(safe_merge=True)
    dtypes = {tensor.dtype for tensor in adapter.base.tensors.values() if tensor.dtype.is_floating_point}
    return model.to(dtypes.pop() if len(dtypes) == 1 else torch.float32)


def _base_model(adapter: Adapter, labels: Sequence[str]) -> Any:
    """The base with a head for `labels`, which the adapter's takes the place of where it has one."""
    from transformers import logging as hf_logging

    # That a head is made of random numbers is what happens here on purpose.
    verbosity = hf_logging.get_verbosity()
    hf_logging.set_verbosity_error()
    try:
        model, report = loading.read_model(
            adapter.base, torch.float32, labels, ignore_mismatched_sizes=adapter.has_head
        )
    finally:
        hf_logging.set_verbosity(verbosity)
    mismatched = {item if isinstance(item, str) else item[0] for item in report["mismatched_keys"]}
    random = {*report["missing_keys"], *mismatched}
    lacking = sorted(random - adapter.tensors.keys())
    if lacking:
        raise InputError(
            f"neither {adapter.folder} nor its base {adapter.base.name} has {lacking[0]}; train the adapter with "
            "modules_to_save for what its base lacks"
        )
    if random and hasattr(model.config, "initial_head"):
        del model.config.initial_head  # the adapter's head has started elsewhere
    model.config._name_or_path = ""
    rows = adapter.embedding_rows
    if rows is not None and rows != model.get_input_embeddings().num_embeddings:
        model.resize_token_embeddings(rows, mean_resizing=False)  # all rows are the adapter's
    return model


def _check_places(adapter: Adapter, wrapped: Any) -> None:
    """Raise ValueError for a tensor of the adapter without a place in the base, or the reverse: peft goes on."""
    from peft import get_peft_model_state_dict

    places = {
        name.removeprefix(PREFIX): values
        for name, values in get_peft_model_state_dict(wrapped, save_embedding_layers=False).items()
    }
    missing = sorted(places.keys() - adapter.tensors.keys())
    # Embeddings that were enlarged lie in the adapter under their own names.
    whole = {name.removeprefix(PREFIX): values for name, values in wrapped.state_dict().items()}
    surplus = sorted(
        name
        for name, tensor in adapter.tensors.items()
        if name not in places and not (name in whole and torch.equal(whole[name], tensor.whole(torch.float32)))
    )
    if missing or surplus:
        what = f"the adapter lacks {missing[0]}" if missing else f"the base has no place for {surplus[0]}"
        raise ValueError(what)


@contextlib.contextmanager
def _explained(adapter: Adapter) -> Iterator[None]:
    try:
        yield
    except (MemoryError, InputError):
        raise
    except Exception as error:  # of peft: ValueError, KeyError, RuntimeError, … for an adapter of another base
        raise InputError(
            f"the adapter {adapter.folder} does not fit its base {adapter.base.name}: {one_line(error)}; give "
            "the base that it was trained on"
        ) from None


def _check(partial: Path, adapter: Adapter) -> None:
    try:
        check_model_folder(partial)
    except InputError as error:
        raise InputError(str(error).replace(str(partial), str(adapter.folder))) from None


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
