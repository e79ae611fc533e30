"""Classifiers on disk: the initial checkpoint that sources share, discovery, loading."""

import contextlib
import functools
import hashlib
import logging
import tempfile
from pathlib import Path

from auto_merge_llm.errors import InputError

from merginguriel.utils import naming
from merginguriel.utils.massive import INTENTS, LABEL_OF
from merginguriel.utils.records import read_json, whole_folder, write_json

log = logging.getLogger(__name__)
INITIAL_JSON = "initial.json"


def initial_checkpoint(base_model: str, seed: int, models_root: Path) -> Path:
    """The one folder that every training run of `base_model` and `seed` starts from, head included.

    Sources whose heads start from different random numbers do not average: over 24 MASSIVE locales,
    five-source averages fall from 0.648 to 0.486. The classifier's fingerprint is written into
    config.json as `initial_head`, so every save_pretrained carries it on, and merging checks it.
    Made once, under a lock, by whoever comes first.
    """
    from filelock import FileLock

    folder = models_root / naming.initial_name(base_model, seed)
    if folder.exists():
        _check_base(folder, base_model)
        return folder
    if base_model != "mini" and Path(base_model).exists() and not (Path(base_model) / "config.json").is_file():
        raise InputError(f"{base_model} is no model folder: it has no config.json")
    new_parents = [parent for parent in folder.parents if not parent.exists()]
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = folder.parent / f".{folder.name}.lock"
    try:
        with FileLock(lock):
            if not folder.exists():
                log.info("making the initial checkpoint %s", folder)
                with whole_folder(folder) as partial:
                    _make_initial(base_model, seed, partial)
    except InputError:
        lock.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # somebody else's work is in it by now
            for parent in new_parents:
                parent.rmdir()
        raise
    return folder


def _base_identity(base_model: str) -> str:
    """What tells two base models of one name apart: a folder's weights, a Hub id."""
    if base_model != "mini" and Path(base_model).is_dir():
        from auto_merge_llm.checkpoint import Checkpoint

        return Checkpoint(base_model).weights_fingerprint
    return base_model.removeprefix("FacebookAI/")


def _check_base(folder: Path, base_model: str) -> None:
    made_from = read_json(folder / INITIAL_JSON)["base"]
    if made_from != _base_identity(base_model):
        raise InputError(f"{folder} was made from another base model of that name than {base_model}; use another "
                         "--models-root for it")


def _make_initial(base_model: str, seed: int, folder: Path) -> None:
    _quiet_loading()
    if base_model == "mini":
        from merginguriel.utils.mini_model import build_base

        with tempfile.TemporaryDirectory() as encoder:
            build_base(Path(encoder), seed)
            return _add_head(encoder, base_model, seed, folder)
    _add_head(base_model, base_model, seed, folder)


def _add_head(encoder: str, base_model: str, seed: int, folder: Path) -> None:
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer
    from transformers import logging as hf_logging

    # "Newly initialised: classifier" is what happens here on purpose.
    verbosity = hf_logging.get_verbosity()
    hf_logging.set_verbosity_error()
    try:
        tokenizer = AutoTokenizer.from_pretrained(encoder)
        torch.manual_seed(seed)
        model = AutoModelForSequenceClassification.from_pretrained(
            encoder, num_labels=len(INTENTS), id2label=dict(enumerate(INTENTS)), label2id=LABEL_OF,
            dtype=torch.float32)
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"cannot load the base model {base_model}: {reason}") from None
    finally:
        hf_logging.set_verbosity(verbosity)
    model.config.initial_head = head_fingerprint(model)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    write_json(folder / INITIAL_JSON, {"base_model": base_model, "base": _base_identity(base_model), "seed": seed})


def head_fingerprint(model) -> str:
    """sha256 of the classification head's float32 values, by parameter name."""
    digest = hashlib.sha256()
    encoder = model.base_model_prefix + "."
    for name, values in sorted(model.state_dict().items()):
        if not name.startswith(encoder):
            digest.update(name.encode())
            digest.update(values.float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def available_models(models_root: Path, base_model: str) -> dict[str, Path]:
    """Locale -> folder; InputError naming the training command where there is none."""
    models = naming.find_models(models_root, base_model)
    if not models:
        folder = models_root / naming.model_name(base_model, "af-ZA")
        raise InputError(f"no models {naming.model_name(base_model, '<locale>')} in {models_root}; train one "
                         f"with python merginguriel/training_bert.py --model-name-or-path {base_model} "
                         f"--dataset-config-name af-ZA --output-dir {folder}")
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
        raise InputError(f"{path}/config.json: {unknown[0]!r} in id2label is none of MASSIVE's intents; train with "
                         "training_bert.py or correct id2label and label2id")
    return labels


def _quiet_loading() -> None:
    """Loading takes a second; its progress bars would push the commands' own off the screen."""
    from transformers.utils import logging as hf_logging

    hf_logging.disable_progress_bar()


# Everything that decides how a text is tokenised.
TOKENIZER_FILES = ("tokenizer.json", "sentencepiece.bpe.model", "vocab.json", "merges.txt", "added_tokens.json",
                    "tokenizer_config.json", "special_tokens_map.json")


def tokenizer_files_sha256(path: Path) -> str:
    """sha256 over the names and bytes of a model folder's tokenizer files."""
    files = [file for file in (Path(path) / name for name in TOKENIZER_FILES) if file.is_file()]
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
            path, dtype=dtype, local_files_only=True, output_loading_info=True)
    if report["missing_keys"]:
        raise InputError(f"{path} lacks weights, {sorted(report['missing_keys'])[0]} among them; "
                         "it is no fine-tuned classifier or half-written")
    return model.to(device).eval()


def load_tokenizer(path: Path):
    from transformers import AutoTokenizer

    _check_has_tokenizer(path)
    with _explained(path):
        return AutoTokenizer.from_pretrained(path, local_files_only=True)


def _check_has_tokenizer(path: Path) -> None:
    if not (Path(path) / "config.json").is_file():
        raise InputError(f"{path} is no model folder: it has no config.json")
    if not any((Path(path) / name).is_file() for name in ("tokenizer.json", "sentencepiece.bpe.model", "vocab.json")):
        raise InputError(f"{path} has no tokenizer files; copy those of its base model into it")


@contextlib.contextmanager
def _explained(path: Path):
    """What transformers raises over a damaged folder, as one line."""
    from safetensors import SafetensorError

    _quiet_loading()
    try:
        yield
    except (OSError, ValueError, SafetensorError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:160]
        raise InputError(f"cannot load {path}: {reason}; it is damaged or half-written, "
                         "train or copy it again") from None


def longest_input(model, wanted: int) -> int:
    """`wanted` tokens, or as many as the model has positions for (RoBERTa counts them from pad_token_id + 1)."""
    return min(wanted, model.config.max_position_embeddings - model.config.pad_token_id - 1)
