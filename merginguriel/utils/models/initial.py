"""The initial checkpoint that all sources of a base model and seed share, classification head included."""

import contextlib
import hashlib
import logging
import tempfile
from collections.abc import Iterable
from pathlib import Path

from auto_merge_llm.errors import InputError

from merginguriel.utils.data.task import MINI, Task
from merginguriel.utils.models import model_folder
from merginguriel.utils.models.base_model import settle
from merginguriel.utils.models.hub import keep_card
from merginguriel.utils.models.library_errors import one_line
from merginguriel.utils.models.loading import name_portable_tokenizer, quiet_loading
from merginguriel.utils.models.store import ModelStore
from merginguriel.utils.storage.atomic import read_json, whole_folder, write_json
from merginguriel.utils.storage.locks import locked

log = logging.getLogger(__name__)
INITIAL_JSON = "initial.json"


def initial_checkpoint(store: ModelStore, seed: int) -> Path:
    """The one folder that every training run of a base model, task and `seed` starts from, head included.

    Sources whose heads start from different random numbers do not average: over 24 MASSIVE locales,
    five-source averages fall from 0.648 to 0.486. The classifier's fingerprint is written into
    config.json as `initial_head`, so every save_pretrained carries it on, and merging checks it.
    Made once, under a lock, by whoever comes first.
    """
    base_model, folder = store.base_model, store.initial(seed)
    if folder.exists():
        _check_base(folder, base_model)
        model_folder.read_labels(folder, store.task)
        return folder
    if base_model != MINI and Path(base_model).exists() and not (Path(base_model) / "config.json").is_file():
        raise InputError(f"{base_model} is no model folder: it has no config.json")
    new_parents = [parent for parent in folder.parents if not parent.exists()]
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = folder.parent / f".{folder.name}.lock"
    try:
        with locked(lock):
            if not folder.exists():
                log.info("making the initial checkpoint %s", folder)
                with whole_folder(folder) as partial:
                    _make_initial(base_model, store.task, seed, partial)
    except InputError:
        lock.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # somebody else's work is in it by now
            for parent in new_parents:
                parent.rmdir()
        raise
    return folder


def _base_identity(base_model: str) -> str:
    """What tells two base models of one name apart: a folder's weights, a Hub id."""
    if base_model != MINI and Path(base_model).is_dir():
        from auto_merge_llm.checkpoint import Checkpoint

        return Checkpoint(base_model).weights_fingerprint
    return base_model.removeprefix("FacebookAI/")


def _check_base(folder: Path, base_model: str) -> None:
    made_from = read_json(folder / INITIAL_JSON)["base"]
    if made_from != _base_identity(base_model):
        raise InputError(
            f"{folder} was made from another base model of that name than {base_model}; use another "
            "--models-root for it"
        )


def _make_initial(base_model: str, task: Task, seed: int, folder: Path) -> None:
    quiet_loading()
    if base_model == MINI:
        from merginguriel.utils.models.mini_encoder import build_base

        with tempfile.TemporaryDirectory() as encoder:
            build_base(Path(encoder), seed)
            _add_head(encoder, base_model, task, seed, folder)
    else:
        _add_head(base_model, base_model, task, seed, folder)
        if not Path(base_model).exists():
            keep_card(base_model)


def _add_head(encoder: str, base_model: str, task: Task, seed: int, folder: Path) -> None:
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer
    from transformers import logging as hf_logging

    # "Newly initialised: classifier" is what happens here on purpose.
    verbosity = hf_logging.get_verbosity()
    hf_logging.set_verbosity_error()
    try:
        tokenizer = AutoTokenizer.from_pretrained(encoder, trust_remote_code=False)
        torch.manual_seed(seed)
        model, found = AutoModelForSequenceClassification.from_pretrained(
            encoder,
            num_labels=len(task.labels),
            id2label=dict(enumerate(task.labels)),
            label2id={label: index for index, label in enumerate(task.labels)},
            problem_type="single_label_classification",
            dtype=torch.float32,
            trust_remote_code=False,
            output_loading_info=True,
        )
    except (OSError, ValueError) as error:
        raise InputError(f"cannot load the base model {base_model}: {one_line(error)}") from None
    finally:
        hf_logging.set_verbosity(verbosity)
    _check_encoder(model, found["missing_keys"], base_model)
    settle(model, tokenizer, base_model)
    model.config.initial_head = head_fingerprint(model)
    model_folder.tell_task(model.config, task, task.max_tokens)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    name_portable_tokenizer(folder)
    write_json(folder / INITIAL_JSON, {"base_model": base_model, "base": _base_identity(base_model), "seed": seed})


def _check_encoder(model, missing: Iterable[str], base_model: str) -> None:
    """InputError where the base lacks weights of the encoder, which would start from random numbers."""
    # A pooler is part of the head, and many bases are saved without it.
    lost = sorted(name for name in missing if name.startswith(model.base_model_prefix) and ".pooler." not in name)
    if lost:
        raise InputError(
            f"the base model {base_model} has no {lost[0]} under the name that transformers looks for; save it again "
            "with save_pretrained"
        )


def head_fingerprint(model) -> str:
    """sha256 of the classification head's float32 values, by parameter name."""
    digest = hashlib.sha256()
    encoder = model.base_model_prefix + "."
    for name, values in sorted(model.state_dict().items()):
        if not name.startswith(encoder):
            digest.update(name.encode())
            digest.update(values.float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
