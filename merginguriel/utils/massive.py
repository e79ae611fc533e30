"""MASSIVE's utterances and intents: from its JSONL files, parquet, the Hub, or the shipped mini corpus.

FitzGerald et al. 2022, arXiv 2204.08582. Items are parallel: one id is one meaning in every locale.
"""

import hashlib
import json
import random
from dataclasses import dataclass
from pathlib import Path

from auto_merge_llm.errors import InputError

from merginguriel.utils import mini
from merginguriel.utils.locales import DEFAULT_LOCALES, check_locale

# The Hub's ClassLabel order. Never derived from a split: the test split has 59 of the 60.
INTENTS = tuple("""
    datetime_query iot_hue_lightchange transport_ticket takeaway_query qa_stock general_greet
    recommendation_events music_dislikeness iot_wemo_off cooking_recipe qa_currency transport_traffic
    general_quirky weather_query audio_volume_up email_addcontact takeaway_order email_querycontact
    iot_hue_lightup recommendation_locations play_audiobook lists_createoradd news_query alarm_query
    iot_wemo_on general_joke qa_definition social_query music_settings audio_volume_other
    calendar_remove iot_hue_lightdim calendar_query email_sendemail iot_cleaning audio_volume_down
    play_radio cooking_query datetime_convert qa_maths iot_hue_lightoff iot_hue_lighton
    transport_query music_likeness email_query play_music audio_volume_mute social_post alarm_set
    qa_factoid calendar_set play_game alarm_remove lists_remove transport_taxi recommendation_movies
    iot_coffee music_query play_podcasts lists_query
""".split())
LABEL_OF = {name: index for index, name in enumerate(INTENTS)}

# MASSIVE's files say dev where the Hub says validation; both are accepted everywhere.
SPLITS = {"train": "train", "validation": "dev", "dev": "dev", "test": "test"}
PARQUET_BRANCH = "refs/convert/parquet"


@dataclass(frozen=True)
class Split:
    """The items of one locale and split, in file order; `labels` index INTENTS."""

    locale: str
    name: str
    ids: list[str]
    texts: list[str]
    labels: list[int]

    def __len__(self) -> int:
        return len(self.ids)

    def fingerprint(self) -> str:
        """sha256 over ids, texts and labels: two results rest on the same data if it is equal."""
        rows = json.dumps([self.ids, self.texts, self.labels], ensure_ascii=False)
        return hashlib.sha256(rows.encode()).hexdigest()

    def draw(self, count: int, seed: int) -> "Split":
        """`count` of the items, drawn by `seed` and in file order: the same ids in every locale.

        Not the first ones: MASSIVE's neighbours share topics. Raises InputError where there are fewer.
        """
        if count > len(self):
            raise InputError(f"{count} examples asked for, but the {self.name} split of {self.locale} has "
                             f"{len(self)}; ask for fewer")
        chosen = set(random.Random(seed).sample(sorted(self.ids), count))
        kept = [item for item, id_ in enumerate(self.ids) if id_ in chosen]
        return Split(self.locale, self.name, *([values[item] for item in kept]
                                               for values in (self.ids, self.texts, self.labels)))


def default_locales(dataset_name: str) -> tuple[str, ...]:
    """Those of the mini corpus, or the project's 49."""
    return mini.LOCALES if dataset_name == "mini" else DEFAULT_LOCALES


def find_locales(dataset_name: str) -> tuple[str, ...]:
    """The locales that a folder has; of other names the default ones."""
    folder = Path(dataset_name).expanduser()
    return tuple(_locales_in(folder)) if dataset_name != "mini" and folder.is_dir() else default_locales(dataset_name)


def load_split(dataset_name: str, locale: str, split: str, text_column: str = "utt",
               label_column: str = "intent") -> Split:
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
            rows, where = _read_folder(folder, locale, split)
        elif dataset_name.startswith((".", "/", "~")) or dataset_name.count("/") != 1:
            raise InputError(f"no dataset folder {dataset_name}; give a folder of <locale>.jsonl files, "
                             "a Hub id such as AmazonScience/massive, or mini")
        else:
            rows, where = _read_hub(dataset_name, locale, split)
    return _select(rows, locale, split, text_column, label_column, where)


class Fingerprints(dict):
    """The arguments of `load_split` -> that split's fingerprint, read when first asked for."""

    def __missing__(self, split: tuple) -> str:
        self[split] = load_split(*split).fingerprint()
        return self[split]


def _read_folder(folder: Path, locale: str, split: str):
    jsonl = folder / f"{locale}.jsonl"
    if jsonl.is_file():
        return _read_jsonl(jsonl, split), str(jsonl)
    hub_split = "validation" if split == "dev" else split
    parquet = sorted((folder / locale / hub_split).glob("*.parquet"))
    if parquet:
        return enumerate(_read_parquet([str(path) for path in parquet])), str(folder / locale / hub_split)
    raise InputError(f"no {locale} in {folder}: it has {_listing(_locales_in(folder))}; expected {locale}.jsonl "
                     f"or {locale}/{hub_split}/*.parquet")


def _locales_in(folder: Path) -> list[str]:
    return sorted({path.stem for path in folder.glob("*-*.jsonl")}
                  | {path.parent.name for path in folder.glob("*-*/*") if path.is_dir()})


def _listing(names: list[str]) -> str:
    if not names:
        return "no locale at all"
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")


def _read_jsonl(path: Path, split: str):
    """(number, row) of the lines that may be of `split`, from 0; the others are not parsed."""
    named = [json.dumps(name).encode() for name in _partitions(split)]
    with path.open("rb") as lines:
        for number, line in enumerate(lines):
            is_other = b'"partition"' in line and not any(name in line for name in named)
            if is_other and line.rstrip().endswith(b"}"):
                continue
            try:
                row = json.loads(line)
            except ValueError:
                row = None
            if not isinstance(row, dict):
                raise InputError(f"line {number + 1} of {path} is not JSON in UTF-8; the file is damaged, copy it "
                                 "again")
            if "partition" not in row:
                raise InputError(f"line {number + 1} of {path} has no partition; without it train and test would mix")
            yield number, row


def _partitions(split: str) -> set[str]:
    """What a file may call it."""
    return {SPLITS[split], split}


def _read_hub(dataset_name: str, locale: str, split: str):
    hub_split = "validation" if split == "dev" else split
    pattern = f"hf://datasets/{dataset_name}@{PARQUET_BRANCH.replace('/', '%2F')}/{locale}/{hub_split}/*.parquet"
    try:
        return enumerate(_read_parquet([pattern])), f"{dataset_name} ({locale}, {hub_split})"
    except Exception as error:  # datasets, huggingface_hub and its HTTP client share no base class
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"cannot read {pattern}: {reason}; check the name and the network, or give "
                         "--dataset-name a folder of MASSIVE's <locale>.jsonl files") from None


def _read_parquet(files: list[str]):
    from datasets import ClassLabel, load_dataset

    table = load_dataset("parquet", data_files={"rows": files}, split="rows")
    names = {column: feature.names for column, feature in table.features.items()
             if isinstance(feature, ClassLabel)}
    return [{column: names[column][value] if column in names else value for column, value in row.items()}
            for row in table]


def _select(rows, locale, split, text_column, label_column, where) -> Split:
    ids, texts, labels = [], [], []
    wanted = _partitions(split)
    for number, row in rows:
        for column in (text_column, label_column):
            if column not in row:
                raise InputError(f"no column {column!r} in {where}: it has {', '.join(row)}; "
                                 "choose with --text-column and --label-column")
        # Parquet files hold one split each and may lack the column.
        if row.get("partition", split) not in wanted:
            continue
        intent = row[label_column]
        if intent not in LABEL_OF:
            raise InputError(f"unknown intent {intent!r} in {where}, row {number + 1}; "
                             "only MASSIVE's 60 intents can be read")
        if not isinstance(row[text_column], str):
            raise InputError(f"no text in column {text_column!r} of {where}, row {number + 1}; the file is damaged")
        ids.append(str(row.get("id", number)))
        texts.append(row[text_column])
        labels.append(LABEL_OF[intent])
    if not ids:
        raise InputError(f"no {split} items in {where}; check the file's partition column")
    return Split(locale, split, ids, texts, labels)
