"""The task: which data, columns and languages, and the base model that belongs to them."""

from pathlib import Path

from auto_merge_llm.errors import InputError

from merginguriel.utils.data import mini
from merginguriel.utils.data.languages import DEFAULT_LOCALES, check_locale
from merginguriel.utils.data.massive import LABEL_OF
from merginguriel.utils.data.readers import locales_in, partitions, read_folder, read_hub
from merginguriel.utils.data.split import SPLITS, Split

DEFAULT_DATASET = "AmazonScience/massive"
DEFAULT_BASE_MODEL = "xlm-roberta-base"


def base_model_of(base_model: str | None, dataset_name: str) -> str:
    """The base model that was asked for, else the one that belongs to the dataset."""
    return base_model or ("mini" if dataset_name == "mini" else DEFAULT_BASE_MODEL)


def default_locales(dataset_name: str) -> tuple[str, ...]:
    """Those of the mini corpus, or the project's 49."""
    return mini.LOCALES if dataset_name == "mini" else DEFAULT_LOCALES


def find_locales(dataset_name: str) -> tuple[str, ...]:
    """The locales that a folder has; of other names the default ones."""
    folder = Path(dataset_name).expanduser()
    return tuple(locales_in(folder)) if dataset_name != "mini" and folder.is_dir() else default_locales(dataset_name)


def load_split(
    dataset_name: str, locale: str, split: str, text_column: str = "utt", label_column: str = "intent"
) -> Split:
    """Read one split of one locale.

    `dataset_name` is ``mini``, a folder with ``<locale>.jsonl`` (MASSIVE's own files) or
    ``<locale>/<split>/*.parquet``, or a Hub id whose parquet branch has the latter layout.
    Raises InputError for an unknown split or locale, a missing column, an unknown intent, damaged lines.
    """
    if split not in SPLITS:
        raise InputError(f"unknown split {split!r}; one of train, validation (or dev), test")
    if dataset_name == "mini":
        rows, where = enumerate(mini.records(locale)), "the mini corpus"
    else:
        check_locale(locale)
        folder = Path(dataset_name).expanduser()
        if folder.is_dir():
            rows, where = read_folder(folder, locale, split)
        elif dataset_name.startswith((".", "/", "~")) or dataset_name.count("/") != 1:
            raise InputError(
                f"no dataset folder {dataset_name}; give a folder of <locale>.jsonl files, "
                "a Hub id such as AmazonScience/massive, or mini"
            )
        else:
            rows, where = read_hub(dataset_name, locale, split)
    return _select(rows, locale, split, text_column, label_column, where)


class Fingerprints(dict):
    """The arguments of `load_split` -> that split's fingerprint, read when first asked for."""

    def __missing__(self, split: tuple) -> str:
        self[split] = load_split(*split).fingerprint()
        return self[split]


def _select(rows, locale, split, text_column, label_column, where) -> Split:
    ids, texts, labels = [], [], []
    wanted = partitions(split)
    for number, row in rows:
        for column in (text_column, label_column):
            if column not in row:
                raise InputError(
                    f"no column {column!r} in {where}: it has {', '.join(row)}; "
                    "choose with --text-column and --label-column"
                )
        # Parquet files hold one split each and may lack the column.
        if row.get("partition", split) not in wanted:
            continue
        intent = row[label_column]
        if intent not in LABEL_OF:
            raise InputError(
                f"unknown intent {intent!r} in {where}, row {number + 1}; only MASSIVE's 60 intents can be read"
            )
        if not isinstance(row[text_column], str):
            raise InputError(f"no text in column {text_column!r} of {where}, row {number + 1}; the file is damaged")
        ids.append(str(row.get("id", number)))
        texts.append(row[text_column])
        labels.append(LABEL_OF[intent])
    if not ids:
        raise InputError(f"no {split} items in {where}; check the file's partition column")
    return Split(locale, split, ids, texts, labels)
