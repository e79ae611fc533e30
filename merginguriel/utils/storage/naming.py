"""Every folder name in one place.

The number in a merged model's name is the number of sources that took part, all of them.
"""

import hashlib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

MODELS_ROOT = Path("haryos_model")
MERGED_ROOT = Path("merged_models")
RESULTS_ROOT = Path("results")
NXN_ROOT = Path("nxn_results")
CHECKPOINTS_ROOT = Path("checkpoint_results")
RESULTS_JSON = "results.json"
ADAPTERS = ".adapters"  # folder of models that adapters were merged into, in that of the models
LONGEST_NAME = 99  # of a folder with its settings
LONGEST_LIST = 40  # characters of languages in it
# The code of a language, and the name of a task, as they can stand in a folder's name.
LANGUAGE = r"[A-Za-z0-9]+(?:[-_][A-Za-z0-9]+)*"
TASK = r"[A-Za-z0-9]+(?:[-.][A-Za-z0-9]+)*"


def base_slug(base_model: str) -> str:
    """Folder-safe name of a base model: the last part of a Hub id or of a path."""
    return str(base_model).rstrip("/").rsplit("/", 1)[-1]


def model_name(base_model: str, task: str, language: str) -> str:
    return f"{base_slug(base_model)}_{task}_k_{language}"


def leave_one_out_name(base_model: str, task: str, excluded: str | None) -> str:
    """Of a model of many languages: all but `excluded`, or all of them."""
    which = f"without_{excluded.replace('-', '_')}" if excluded else "all_languages"
    return f"{base_slug(base_model)}_{task}_LOLO_{which}"


def baseline_name(language: str, told: Iterable[str] = ()) -> str:
    """Of the result of a language's own model on its own items; `told`: words for what has not its default."""
    return with_words(f"baseline_{language}", told)


def initial_name(base_model: str, seed: int, told: str = "") -> str:
    """`told`: what has not its default, the task."""
    return f"init/{base_slug(base_model)}{f'_{told}' if told else ''}_seed{seed}"


def merge_name(mode: str, target: str, num_sources: int, told: Iterable[str] = ()) -> str:
    """`told`: words for what has not its default, so that another setting gets another folder."""
    return with_words(f"{mode}_merge_{target}_{num_sources}merged", told)


def adapted_name(model: str, target: str, told: Iterable[str]) -> str:
    """Of the model of this name, adapted to `target`; `told`: as of a merge."""
    return with_words(model if f"_{target}_" in f"_{model}_" else f"{model}_{target}", told)


def with_words(name: str, told: Iterable[str]) -> str:
    """`name` and the words, or a hash of them where both are longer than LONGEST_NAME."""
    words = [word(one) for one in told]
    whole = "_".join([name, *words])
    return whole if len(whole) <= LONGEST_NAME else f"{name}_{short_hash(whole)}"


def short_hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def listed(codes: Iterable[str]) -> str:
    """Languages as a folder's name has them, a hash of them where the list is longer than LONGEST_LIST."""
    told = ",".join(codes)
    return told if len(told) <= LONGEST_LIST else short_hash(told)


def word(text: str) -> str:
    """`text` as it can stand in a folder's name."""
    return re.sub(r"[^A-Za-z0-9.=,_-]+", ".", text).strip(".")


def evaluation_name(prefix: str, language: str, split: str = "test", num_items: int | None = None) -> str:
    """Of a result; `num_items` where only so many of the split's items were drawn."""
    drawn = f"_{num_items}items" if num_items else ""
    return f"{prefix}_{language}{drawn}" if split == "test" else f"{prefix}_{language}_{split}{drawn}"


def ensemble_name(method: str, target: str, num_sources: int, split: str = "test", num_items: int | None = None) -> str:
    """ensemble_{method}_{target}, as published results have it, and the number of sources where it is not their 5."""
    name = evaluation_name(f"ensemble_{method}", target, split, num_items)
    return name if num_sources == 5 else f"{name}_{num_sources}lang"


def training_run_name(base_model: str, task: str, languages: Sequence[str], learning_rate: float, epochs: float) -> str:
    """Name of a training run that was given no --output_dir, e.g. xlm-roberta-base_massive_af-ZA_lr5e-5_ep15."""
    which = "-".join(languages) if len(languages) <= 3 else f"{len(languages)}langs-{languages[0]}"
    rate = re.sub(r"e([+-])0*(\d)", lambda m: f"e{m[1].replace('+', '')}{m[2]}", f"{learning_rate:.0e}")
    return f"{base_slug(base_model)}_{task}_{which}_lr{rate}_ep{epochs:g}"


def parse_model(name: str) -> tuple[str, str, str] | None:
    """(base model, task, language) of the model of one language, by its folder's name."""
    match = re.fullmatch(rf"(.+)_({TASK})_k_({LANGUAGE})", name)
    return (match[1], match[2], match[3]) if match else None


def source_name(language: str, model: Path) -> str:
    """Of a source's results: its folder's name where that tells the language, else both."""
    parsed = parse_model(model.name)
    return model.name if parsed and parsed[2] == language else f"{language}_{model.name}"


def parse_cell(name: str) -> tuple[str, str] | None:
    """(source, target) of a cell of an N×N; older cells have the model's whole name for the source."""
    match = re.fullmatch(rf"(?:.+_{TASK}_k_)?({LANGUAGE})_on_({LANGUAGE})", name)
    return (match[1], match[2]) if match else None


def find_models(models_root: Path, base_model: str, task: str) -> dict[str, Path]:
    """Language -> folder of every `{base}_{task}_k_{language}` under `models_root`, sorted by language."""
    pattern = re.compile(re.escape(model_name(base_model, task, "")) + rf"({LANGUAGE})")
    folders = sorted(models_root.iterdir()) if models_root.is_dir() else []
    return {match[1]: folder for folder in folders if folder.is_dir() and (match := pattern.fullmatch(folder.name))}
