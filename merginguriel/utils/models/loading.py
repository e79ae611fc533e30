"""Classifiers and tokenizers from a folder; nothing is fetched, no code is run."""

import contextlib
import functools
import hashlib
from pathlib import Path

from auto_merge_llm.errors import InputError
from auto_merge_llm.tokenizer_files import tokenizer_files, vocabulary_file


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
    """The model alone, in eval mode on `device`."""
    from transformers import AutoModelForSequenceClassification

    if not (Path(path) / "config.json").is_file():
        raise InputError(f"{path} is no model folder: it has no config.json")
    with _explained(path):
        model, report = AutoModelForSequenceClassification.from_pretrained(
            path, dtype=dtype, local_files_only=True, output_loading_info=True
        )
    if report["missing_keys"]:
        raise InputError(
            f"{path} lacks weights, {sorted(report['missing_keys'])[0]} among them; "
            "it is no fine-tuned classifier or half-written"
        )
    return model.to(device).eval()


def load_tokenizer(path: Path):
    from transformers import AutoTokenizer

    _check_has_tokenizer(path)
    with _explained(path):
        return AutoTokenizer.from_pretrained(path, local_files_only=True)


def _check_has_tokenizer(path: Path) -> None:
    if not (Path(path) / "config.json").is_file():
        raise InputError(f"{path} is no model folder: it has no config.json")
    if vocabulary_file(Path(path)) is None:
        raise InputError(f"{path} has no tokenizer files; copy those of its base model into it")


@contextlib.contextmanager
def _explained(path: Path):
    """What transformers raises over a damaged folder, as one line."""
    from safetensors import SafetensorError

    quiet_loading()
    try:
        yield
    except (OSError, ValueError, SafetensorError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:160]
        raise InputError(
            f"cannot load {path}: {reason}; it is damaged or half-written, train or copy it again"
        ) from None


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
