"""The task: which data, columns and languages, and the base model that belongs to them."""

from dataclasses import dataclass
from pathlib import Path

from auto_merge_llm.errors import InputError

from merginguriel.utils.data import mini
from merginguriel.utils.data.languages import check_locale
from merginguriel.utils.data.massive import LABEL_OF
from merginguriel.utils.data.massive_languages import DEFAULT_LOCALES, LOCALES
from merginguriel.utils.data.readers import locales_in, partitions, read_folder, read_hub
from merginguriel.utils.data.split import SPLITS, Split
from merginguriel.utils.storage.settings import setting

DEFAULT_BASE_MODEL = "xlm-roberta-base"


@dataclass(frozen=True)
class Task:
    """Which data, and which of its columns are text and label."""

    dataset_name: str = setting(
        "AmazonScience/massive",
        "Hub id, folder of MASSIVE's JSONL or parquet files, or 'mini' (shipped)",
        "--dataset-name",
        metavar="NAME",
    )
    text_column: str = setting("utt", "column with the utterance", "--text-column", metavar="NAME")
    label_column: str = setting("intent", "column with the intent", "--label-column", metavar="NAME")

    def load(self, locale: str, split: str) -> Split:
        return load_split(self.dataset_name, locale, split, self.text_column, self.label_column)

    @property
    def default_locales(self) -> tuple[str, ...]:
        """Those of the mini corpus, or the project's 49."""
        return mini.LOCALES if self.dataset_name == "mini" else DEFAULT_LOCALES

    @property
    def locales(self) -> tuple[str, ...]:
        """The locales that a folder has; of other names the default ones."""
        folder = Path(self.dataset_name).expanduser()
        is_folder = self.dataset_name != "mini" and folder.is_dir()
        return tuple(locales_in(folder)) if is_folder else self.default_locales

    def base_model(self, asked: str | None = None) -> str:
        """The base model that was asked for, else the one that belongs to the data."""
        return asked or ("mini" if self.dataset_name == "mini" else DEFAULT_BASE_MODEL)


class Fingerprints(dict[tuple[str, str], str]):
    """(locale, split) -> fingerprint of that split of a task, read when first asked for."""

    def __init__(self, task: Task):
        super().__init__()
        self._task = task

    def __missing__(self, split: tuple[str, str]) -> str:
        self[split] = self._task.load(*split).fingerprint()
        return self[split]


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
        check_locale(locale, LOCALES, "MASSIVE")
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
