"""A task: where its texts are, which labels they have, and in which languages.

A task is data: nothing outside this wing knows how many labels there are or what a language's code looks like.
"""

import functools
import hashlib
import json
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from auto_merge_llm.errors import InputError

from merginguriel.utils.data import mini
from merginguriel.utils.data.languages import Language, check_locale, language
from merginguriel.utils.data.readers import languages_in, read_rows
from merginguriel.utils.data.split import SPLITS, Split, Text, Texts
from merginguriel.utils.storage import naming

log = logging.getLogger(__name__)
DEFAULT_TASK = "massive"
DEFAULT_BASE_MODEL = "xlm-roberta-base"
MINI = "mini"  # the name of the shipped corpus, and of the encoder that is made for it
# Of others a folder's name tells which: results of two base models have two places.
USUAL_BASES = {DEFAULT_BASE_MODEL, MINI}
# What data call their splits where a task says nothing else.
SPLIT_NAMES = (("train", ("train",)), ("dev", ("dev", "validation", "valid", "val")), ("test", ("test",)))
MOST_REPEATED = 0.2  # of MASSIVE's texts at most 7 % stand twice
_ID_COLUMNS = ("id", "index_id", "guid", "idx")


@dataclass(frozen=True)
class Task:
    """What is classified. Made by `data/task_file.py` from a name or a file.

    `data`: a folder or file, a Hub id, or "mini". `text`: one column, or two for pairs. `splits`: what the data call
    train, dev and test. `languages`: own code -> ISO 639-3, or None where the code tells; empty where the folder tells
    them. `defaults`: those that batches take where none are named, empty for all. `similar_among`: those among which
    similarity is computed, where they hold the languages in question; empty for these alone.
    """

    name: str
    data: str
    text: tuple[str, ...]
    label: str
    labels: tuple[str, ...]
    languages: tuple[tuple[str, str | None], ...] = ()
    defaults: tuple[str, ...] = ()
    similar_among: tuple[str, ...] = ()
    splits: tuple[tuple[str, tuple[str, ...]], ...] = SPLIT_NAMES
    metric: str = "accuracy"
    max_tokens: int = 128
    language_column: str | None = None
    origin: str = ""  # the name or the file that --task takes
    # What `jobs.reading_ahead` has read.
    ahead: "dict[Wanted, Read]" = field(default_factory=dict, init=False, compare=False, repr=False)

    @property
    def model_hash(self) -> str:
        """What the models of one task share: the names of their labels, and whether they read one text or two.

        Not the languages, the metric or the place of the data, which change without making another model.
        """
        return hashlib.sha256(json.dumps([sorted(self.labels), len(self.text)]).encode()).hexdigest()[:16]

    def record(self) -> dict[str, Any]:
        """What records of trainings and merges tell of it; the items tell themselves, by the hash of a split."""
        return {"task": self.name, "task_hash": self.model_hash}

    @property
    def own_codes(self) -> dict[str, str]:
        """Code -> ISO 639-3 of the languages that are told by one."""
        return {code: iso for code, iso in self.languages if iso}

    @property
    def word(self) -> str:
        """What a folder's name says of it; nothing of the task that names have always been for."""
        return "" if self.name == DEFAULT_TASK else self.name

    def words(self, base_model: str) -> list[str]:
        """What a folder's name says of models of this task: nothing of those that names have always been for."""
        slug = naming.base_slug(base_model)
        return [*filter(None, [self.word]), *([] if slug in USUAL_BASES else [naming.word(slug)])]

    @functools.cached_property
    def codes(self) -> tuple[str, ...]:
        """The languages that there are; of a Hub id that does not declare them none, since only reading tells."""
        if self.languages:
            declared = tuple(code for code, _ in self.languages)
            folder = Path(self.data).expanduser()
            there = set(self._there()) if folder.exists() else set(declared)
            return tuple(code for code in declared if code in there) or declared
        return tuple(self._there()) if Path(self.data).expanduser().exists() else ()

    def _there(self) -> list[str]:
        """The languages that the folder or file has."""
        return languages_in(self.data, self.language_column, [name for _, names in self.splits for name in names])

    @property
    def default_codes(self) -> tuple[str, ...]:
        """The languages of a sweep or a batch of trainings where none are named."""
        return self.defaults or self.codes

    def check(self, codes: Iterable[str]) -> None:
        """InputError naming the nearest language for a code that the task has not."""
        known = tuple(code for code, _ in self.languages) or self.codes
        for code in codes if known else ():
            check_locale(code, known, "the mini corpus" if self.data == MINI else f"task {self.name}")

    def language(self, code: str) -> Language:
        return language(code, dict(self.languages).get(code))

    def neighbours(self, codes: Iterable[str]) -> list[Language]:
        """The languages among which the similarity of `codes` is computed: a share of Sinkhorn depends on all."""
        wanted = sorted(set(codes))
        names = self.similar_among if set(wanted) <= set(self.similar_among) else wanted
        return [self.language(code) for code in names]

    def base_model(self, asked: str | None = None) -> str:
        """The base model that was asked for, else the one that belongs to the data."""
        return asked or (MINI if self.data == MINI else DEFAULT_BASE_MODEL)

    def load(self, code: str, split: str) -> Split:
        """Read one split of one language.

        Raises InputError for an unknown split or language, a missing column, a label that is not declared, and damage.
        """
        before = self.ahead.get(Wanted(code, split))
        if before:
            return before.given()
        labels: list[int] = []
        read = self._read(code, split, (self.label,), lambda row: labels.append(self._label_of(row[self.label])))
        return Split(code, split, read.ids, read.texts, labels, self.labels)

    def texts(self, code: str, split: str) -> Texts:
        """The same without labels, which are not looked at and need not be there."""
        before = self.ahead.get(Wanted(code, split, labelled=False))
        return before.given() if before else self._read(code, split)

    def _rows(self, code: str, split: str) -> tuple[Iterable[tuple[int, Mapping[str, Any]]], str]:
        """(number and row of every item, where they lie)"""
        if split not in SPLITS:
            raise InputError(f"unknown split {split!r}; one of train, validation (or dev), test")
        self.check([code])
        names = dict(self.splits).get(SPLITS[split], ())
        if not names:
            raise InputError(f"task {self.name} has no {split} split; name it under splits in its file")
        if self.data == MINI:
            return mini.rows(code, SPLITS[split]), "the mini corpus"
        return read_rows(self.data, code, SPLITS[split], names, self.language_column)

    def _read(
        self,
        code: str,
        split: str,
        columns: tuple[str, ...] = (),
        look: Callable[[Mapping[str, Any]], None] = lambda row: None,
    ) -> Texts:
        """The texts of a split; `look` reads of each row what else is wanted, from `columns`."""
        rows, where = self._rows(code, split)
        ids: list[str] = []
        texts: list[Text] = []
        id_column = None
        for number, row in rows:
            if not ids:
                self._check_columns(row, (*self.text, *columns), where)
                id_column = next((name for name in _ID_COLUMNS if name in row), None)
            try:
                texts.append(self._text(row))
                look(row)
                ids.append(_id_of(row, id_column) if id_column else str(number))
            except (InputError, KeyError) as error:
                reason = f"it has no {error}; the file is damaged" if isinstance(error, KeyError) else error
                raise InputError(f"{where}, row {number + 1}: {reason}") from None
        if not ids:
            raise InputError(f"no {split} items of {code} in {where}; check the data, and splits in the task's file")
        _check_distinct(ids, texts, f"the {split} items of {code} in {where}", id_column)
        return Texts(code, split, ids, texts)

    def _check_columns(self, row: Mapping[str, Any], wanted: Iterable[str], where: str) -> None:
        for column in wanted:
            if column not in row:
                raise InputError(
                    f"no column {column!r} in {where}: it has {', '.join(map(str, row))}; choose with --text-column "
                    "and --label-column, or correct the task's file"
                )

    def _text(self, row: Mapping[str, Any]) -> Text:
        texts = [row[column] for column in self.text]
        for column, text in zip(self.text, texts):
            if not isinstance(text, str):
                raise InputError(f"no text in column {column!r} but {text!r}; the file is damaged")
        return texts[0] if len(texts) == 1 else (texts[0], texts[1])

    @functools.cached_property
    def _index(self) -> dict[str, int]:
        return {name: index for index, name in enumerate(self.labels)}

    def _label_of(self, value: Any) -> int:
        """A label by its name, or a number that is none as its place in the list, as a ClassLabel column has it."""
        index = self._index.get(value) if isinstance(value, str) else None
        if index is None and isinstance(value, (str, int)) and not isinstance(value, bool):
            index = self._index.get(str(value))
            if index is None and str(value).isdecimal() and int(value) < len(self.labels):
                index = int(value)
        if index is None:
            shown = ", ".join(self.labels[:8]) + (" …" if len(self.labels) > 8 else "")
            raise InputError(
                f"label {value!r} is none of the {len(self.labels)} of task {self.name} ({shown}); correct the data, "
                "or declare it under labels in the task's file"
            )
        return index


def _id_of(row: Mapping[str, Any], column: str) -> str:
    value = row[column]
    if isinstance(value, bool) or not isinstance(value, (str, int, float)) or value != value or not str(value).strip():
        raise InputError(f"{column} is {value!r}; give every item its own, or rename the column")
    return str(value)


def _check_distinct(ids: Sequence[str], texts: Sequence[Text], whose: str, id_column: str | None) -> None:
    """InputError where two items have one id: what counts items, or pairs them, would be wrong. Warns of repeats."""
    if len(set(ids)) < len(ids):
        twice, times = Counter(ids).most_common(1)[0]
        raise InputError(
            f"{whose}: {id_column} {twice} stands {times} times; remove the rows that are repeated, or rename the "
            "column where it does not tell items apart"
        )
    repeated = len(texts) - len(set(texts))
    if repeated > MOST_REPEATED * len(texts):
        log.warning(
            "warning: %s: %d of %d texts stand there before; intervals and tests take all for independent",
            whose,
            repeated,
            len(texts),
        )


class Wanted(NamedTuple):
    """A split of a task, with its labels or without."""

    code: str
    split: str
    labelled: bool = True

    def read(self, task: Task) -> Any:
        return (task.load if self.labelled else task.texts)(self.code, self.split)


class Read(NamedTuple):
    """What was read of a split before it was asked for, or why it could not be. `warnings`: logger, level, message."""

    found: Split | Texts | InputError | OSError
    warnings: list[tuple[str, int, str, Any]]

    def given(self) -> Any:
        for name, level, message, values in self.warnings:
            logging.getLogger(name).log(level, message, *values)
        if isinstance(self.found, Exception):
            raise self.found
        return self.found


class Fingerprints(dict[tuple[str, str], str]):
    """(language, split) -> fingerprint of that split of a task, read when first asked for."""

    def __init__(self, task: Task):
        super().__init__()
        self._task = task

    def __missing__(self, split: tuple[str, str]) -> str:
        self[split] = self._task.load(*split).fingerprint()
        return self[split]
