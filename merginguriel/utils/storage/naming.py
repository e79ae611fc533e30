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
LONGEST_NAME = 99  # of a folder with its settings
_LOCALE = r"[a-z]{2}-[A-Z]{2}"
# The code of a language, as it can stand in a folder's name.
LANGUAGE = r"[A-Za-z0-9]+(?:[-_][A-Za-z0-9]+)*"


def base_slug(base_model: str) -> str:
    """Folder-safe name of a base model: the last part of a Hub id or of a path."""
    return str(base_model).rstrip("/").rsplit("/", 1)[-1]


def model_name(base_model: str, locale: str) -> str:
    return f"{base_slug(base_model)}_massive_k_{locale}"


def leave_one_out_name(base_model: str, excluded: str | None) -> str:
    """Of a model of many locales: all but `excluded`, or all of them."""
    which = f"without_{excluded.replace('-', '_')}" if excluded else "all_languages"
    return f"{base_slug(base_model)}_massive_LOLO_{which}"


def baseline_name(locale: str) -> str:
    """Of the result of a locale's own model on its own items."""
    return f"baseline_{locale}"


def initial_name(base_model: str, seed: int) -> str:
    return f"init/{base_slug(base_model)}_seed{seed}"


def merge_name(mode: str, target: str, num_sources: int, told: Iterable[str] = ()) -> str:
    """`told`: words for what has not its default, so that another setting gets another folder."""
    return with_words(f"{mode}_merge_{target}_{num_sources}merged", told)


def with_words(name: str, told: Iterable[str]) -> str:
    """`name` and the words, or a hash of them where both are longer than LONGEST_NAME."""
    words = [word(one) for one in told]
    whole = "_".join([name, *words])
    return whole if len(whole) <= LONGEST_NAME else f"{name}_{short_hash(whole)}"


def short_hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def word(text: str) -> str:
    """`text` as it can stand in a folder's name."""
    return re.sub(r"[^A-Za-z0-9.=,_-]+", ".", text).strip(".")


def evaluation_name(prefix: str, locale: str, split: str = "test", num_items: int | None = None) -> str:
    """Of a result; `num_items` where only so many of the split's items were drawn."""
    drawn = f"_{num_items}items" if num_items else ""
    return f"{prefix}_{locale}{drawn}" if split == "test" else f"{prefix}_{locale}_{split}{drawn}"


def ensemble_name(method: str, target: str, num_sources: int, split: str = "test", num_items: int | None = None) -> str:
    """ensemble_{method}_{target}, as published results have it, and the number of sources where it is not their 5."""
    name = evaluation_name(f"ensemble_{method}", target, split, num_items)
    return name if num_sources == 5 else f"{name}_{num_sources}lang"


def training_run_name(base_model: str, locales: Sequence[str], learning_rate: float, epochs: float) -> str:
    """Name of a training run that was given no --output_dir, e.g. xlm-roberta-base_massive_af-ZA_lr5e-5_ep15."""
    which = "-".join(locales) if len(locales) <= 3 else f"{len(locales)}langs-{locales[0]}"
    rate = re.sub(r"e([+-])0*(\d)", lambda m: f"e{m[1].replace('+', '')}{m[2]}", f"{learning_rate:.0e}")
    return f"{base_slug(base_model)}_massive_{which}_lr{rate}_ep{epochs:g}"


def parse_training_run(name: str) -> tuple[str, str] | None:
    """(base model, locale) of a run of one locale, e.g. xlm-roberta-base_massive_af-ZA_lr5e-05_ep15_compile."""
    match = re.fullmatch(rf"(.+)_massive_({_LOCALE})_lr\d(?:\.\d+)?e-?\d+_ep[\d.]+(?:_compile)?", name)
    return (match[1], match[2]) if match else None


def parse_model(name: str) -> tuple[str, str] | None:
    """(base model, locale) of the model of one locale, wherever it was trained."""
    match = re.fullmatch(rf"(.+)_massive_k_({_LOCALE})", name)
    return (match[1], match[2]) if match else parse_training_run(name)


def parse_result(name: str) -> tuple[str, str, int | None] | None:
    """(mode, locale, number of sources) of a result of a merge, an ensemble or a baseline; None for what is unsaid.

    All the patterns that results have had: similarity_merge_af-ZA, similarity_4lang_af-ZA,
    similarity_merge_af-ZA_4merged, ensemble_soft_af-ZA, ensemble_soft_af-ZA_4lang, baseline_af-ZA.
    """
    for pattern in (
        rf"(?P<mode>.+?)_merge_(?P<locale>{_LOCALE})(?:_(?P<number>\d+)merged)?(?:_.+)?",
        rf"(?P<mode>.+?)_(?P<number>\d+)lang_(?P<locale>{_LOCALE})(?:_.+)?",
        rf"(?P<mode>ensemble_.+?)_(?P<locale>{_LOCALE})(?:_.*?(?P<number>\d+)lang)?(?:_.+)?",
        rf"(?P<mode>baseline)_(?P<locale>{_LOCALE})(?P<number>)",
    ):
        if match := re.fullmatch(pattern, name):
            return match["mode"], match["locale"], int(match["number"]) if match["number"] else None
    return None


def parse_cell(name: str) -> tuple[str, str] | None:
    """(source, target) of a cell of an N×N; older cells have the model's whole name for the source."""
    match = re.fullmatch(rf"(?:.+_massive_k_)?({_LOCALE})_on_({_LOCALE})", name)
    return (match[1], match[2]) if match else None


def find_models(models_root: Path, base_model: str) -> dict[str, Path]:
    """Locale -> folder of every `{base}_massive_k_{locale}` under `models_root`, sorted by locale."""
    pattern = re.compile(re.escape(base_slug(base_model)) + rf"_massive_k_({_LOCALE})")
    folders = sorted(models_root.iterdir()) if models_root.is_dir() else []
    return {match[1]: folder for folder in folders if folder.is_dir() and (match := pattern.fullmatch(folder.name))}


RESULTS_JSON = "results.json"
