"""Classifiers and tokenizers from a folder; nothing is fetched, no code is run."""

import contextlib
import functools
import hashlib
import importlib.util
import json
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from auto_merge_llm.checkpoint import Checkpoint
from auto_merge_llm.errors import InputError
from auto_merge_llm.folder_checks import check_model_folder
from auto_merge_llm.json_objects import read_json_object
from auto_merge_llm.tokenizer_files import VOCABULARY_FILES, tokenizer_files, vocabulary_file

from merginguriel.utils.models.library_errors import one_line

log = logging.getLogger(__name__)
TOKENIZER_CONFIG = "tokenizer_config.json"
NAMED_BY_5 = "TokenizersBackend"  # what transformers 5 calls PreTrainedTokenizerFast, and 4 does not know


def quiet_loading() -> None:
    """Loading takes a second; its progress bars would push the commands' own off the screen."""
    from transformers.utils import logging as hf_logging

    hf_logging.disable_progress_bar()


def tokenizer_files_sha256(path: Path) -> str:
    """sha256 over the names and bytes of a model folder's tokenizer files."""
    files = tokenizer_files(Path(path))
    return _files_sha256(tuple((file, file.stat().st_size, file.stat().st_mtime_ns) for file in files))


@functools.cache  # size and time are in the key: reading XLM-R's again for every cell takes as long as a GPU's scoring
def _files_sha256(files: tuple[tuple[Path, int, int], ...]) -> str:
    digest = hashlib.sha256()
    for file, _, _ in files:
        content = file.read_bytes()
        digest.update(f"{file.name} {len(content)} ".encode() + content)
    return digest.hexdigest()


def load_classifier(path: Path, device: str, dtype):
    """(model in eval mode on `device`, tokenizer) of a folder; nothing is fetched, no code is run."""
    _check_has_tokenizer(path)
    model = load_model(path, device, dtype)
    return model, load_tokenizer(path)


def load_model(path: Path, device: str, dtype):
    """The model alone, in eval mode on `device`.

    Raises InputError for a folder that is no whole classifier, before a tensor is read as far as headers tell.
    """
    model, report = read_model(check_model_folder(path), dtype)
    missing, surplus = (sorted(report[kind]) for kind in ("missing_keys", "unexpected_keys"))
    if missing:
        raise InputError(
            f"{path} lacks weights, {missing[0]} among them; it is no fine-tuned classifier or half-written"
        )
    encoder = [name for name in surplus if name.startswith(f"{model.base_model_prefix}.")]
    if encoder:
        raise InputError(
            f"{path} holds weights that a model of its config.json has no place for, {encoder[0]} among them; copy the "
            "model's own config.json again"
        )
    check_padding(model, path)
    if surplus:
        log.warning("%s: weights that no classifier has are left out, %s among them", path, surplus[0])
    model = model.to(device).eval()
    _check_answers(model, path)
    return model


def _check_answers(model: Any, path: Path) -> None:
    """Many values of config.json are first read when a text passes through: now, not in the middle of the work."""
    # Decoders of a pair of stacks answer at the end of a text.
    end, rows = getattr(model.config, "eos_token_id", None), model.get_input_embeddings().num_embeddings
    last = end if type(end) is int and 0 <= end < rows else 0
    with explained(path), torch.inference_mode():
        scores = model(input_ids=torch.tensor([[0, last]], device=model.device)).logits
        if scores.shape != (1, model.config.num_labels):
            raise ValueError(f"it answers a text with scores of shape {tuple(scores.shape)}")


def check_padding(model, name: str | Path) -> None:
    """InputError where the model has no padding token, which batches need, or one without a row."""
    pad_id, rows = model.config.pad_token_id, model.get_input_embeddings().num_embeddings
    if pad_id is None:
        raise InputError(
            f"{name} has no padding token, which batches need; name one as pad_token in its tokenizer_config.json, and "
            "its number as pad_token_id in its config.json"
        )
    if not 0 <= pad_id < rows:
        raise InputError(
            f"{name}: the padding token {pad_id} has no row in the {rows} embeddings; name one of the vocabulary"
        )


def read_model(
    checkpoint: Checkpoint, dtype, labels: Sequence[str] | None = None, *, ignore_mismatched_sizes: bool = False
) -> tuple[Any, dict[str, Any]]:
    """(classifier, what transformers reports as missing or surplus).

    What torch.compile or DataParallel put before the names is taken away, as it is from `checkpoint.tensors`. `labels`:
    the head's rows, by default those of config.json.
    """
    from transformers import AutoConfig, AutoModelForSequenceClassification

    _tell_foreign_code(checkpoint)
    own_labels: dict[str, Any] = {}
    if labels is not None:
        numbered = dict(enumerate(labels))
        own_labels = {"id2label": numbered, "label2id": {label: number for number, label in numbered.items()}}
    with explained(checkpoint.path):
        config = AutoConfig.from_pretrained(
            checkpoint.path, local_files_only=True, trust_remote_code=False, **own_labels
        )
        kind: Any = AutoModelForSequenceClassification
        path: Path | None = checkpoint.path
        state = None
        if checkpoint.wrapper:
            # A state dict goes without a path, and without a path the class has to be known.
            with torch.device("meta"):
                kind = type(kind.from_config(config, trust_remote_code=False))
            path, state = None, {name: tensor.whole(tensor.dtype) for name, tensor in checkpoint.tensors.items()}
        return kind.from_pretrained(
            path,
            config=config,
            state_dict=state,
            dtype=dtype,
            output_loading_info=True,
            ignore_mismatched_sizes=ignore_mismatched_sizes,
            local_files_only=True,
            trust_remote_code=False,
        )


def name_portable_tokenizer(folder: Path) -> None:
    """Let a tokenizer that was just saved be of a class that transformers 4 and 5 have."""
    file = folder / TOKENIZER_CONFIG
    settings = read_json_object(file)
    if settings.get("tokenizer_class") == NAMED_BY_5:
        settings["tokenizer_class"] = "PreTrainedTokenizerFast"
        file.write_text(json.dumps(settings, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def load_tokenizer(path: Path):
    """Raises InputError where transformers would read another vocabulary than the folder's, or none."""
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    _check_has_tokenizer(path)
    settings = Path(path) / TOKENIZER_CONFIG
    named = read_json_object(settings).get("tokenizer_class") if settings.is_file() else None
    kind: Any = PreTrainedTokenizerFast if named == NAMED_BY_5 else AutoTokenizer
    vocabulary = vocabulary_file(Path(path))
    if vocabulary is not None and vocabulary.suffix == ".model" and importlib.util.find_spec("sentencepiece") is None:
        raise InputError(f"{vocabulary} needs the library sentencepiece; pip install sentencepiece")
    with explained(path):
        tokenizer = kind.from_pretrained(path, local_files_only=True, trust_remote_code=False)
    # Without a file that its class knows, transformers 5 makes a tokenizer of a handful of special tokens.
    known = [name for name in type(tokenizer).vocab_files_names.values() if name in VOCABULARY_FILES]
    if known and not any((Path(path) / name).is_file() for name in known):
        raise InputError(
            f"{path} has none of {', '.join(known)}, which a {type(tokenizer).__name__} is read from; copy them from "
            "its base model, or name another tokenizer_class in tokenizer_config.json"
        )
    rows = read_json_object(Path(path) / "config.json").get("vocab_size")
    for token in ("cls_token", "sep_token", "pad_token", "unk_token", "bos_token", "eos_token"):
        number = getattr(tokenizer, f"{token}_id")
        if type(rows) is int and number is not None and number >= rows:
            raise InputError(
                f"{path}: the vocabulary lacks {getattr(tokenizer, token)} ({token}), and the model a row for it; copy "
                "the tokenizer that the model was trained with into its folder"
            )
    return tokenizer


def _check_has_tokenizer(path: Path) -> None:
    if not (Path(path) / "config.json").is_file():
        raise InputError(f"{path} is no model folder: it has no config.json")
    # Tokenizers of bytes and characters need no vocabulary.
    if not tokenizer_files(Path(path)):
        raise InputError(f"{path} has no tokenizer files; copy those of its base model into it")


def _tell_foreign_code(checkpoint: Checkpoint) -> None:
    """Warn where config.json names code beside a kind of model that transformers has by itself, which is taken."""
    if checkpoint.config.get("auto_map"):
        log.warning("warning: %s wants code of its own (auto_map in config.json), which is never run", checkpoint.name)


@contextlib.contextmanager
def explained(path: Path) -> Iterator[None]:
    """What a library raises over the model in `path`, as one line.

    Of weights that were opened before, only the smaller files can be damaged.
    """
    quiet_loading()
    try:
        yield
    except (InputError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # configurations and tokenizers from elsewhere raise anything, bare Exception too
        for file in (Path(path) / "config.json", *tokenizer_files(Path(path))):
            if file.suffix == ".json":
                read_json_object(file)
        raise InputError(f"transformers cannot load {path}: {one_line(error)}; correct or replace that") from None


def longest_input(model, wanted: int) -> int:
    """`wanted` tokens, or as many as the model has positions for, where its configuration names a number of them."""
    positions = getattr(model.config, "max_position_embeddings", None)
    if not isinstance(positions, int) or positions < 1:
        return wanted
    return min(wanted, positions - counts_positions_from(model))


def counts_positions_from(model) -> int:
    """The first position: RoBERTa and its kin count from the padding's id + 1, and only they have one for padding."""
    tables = [part for name, part in model.named_modules() if name.endswith(".position_embeddings")]
    return max(
        (table.padding_idx + 1 for table in tables if getattr(table, "padding_idx", None) is not None), default=0
    )
