"""Tasks by name, from a YAML file, and from the flags that change one."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from auto_merge_llm.errors import InputError

from merginguriel.utils.data import massive
from merginguriel.utils.data.split import SPLITS
from merginguriel.utils.data.task import DEFAULT_TASK, MINI, SPLIT_NAMES, Task
from merginguriel.utils.storage.naming import LANGUAGE, TASK
from merginguriel.utils.storage.settings import setting

KEYS = {
    "name": "short name, which stands in the names of models",
    "data": "folder, file or Hub id; a path counts from the task's file",
    "text": "column of the text, or a list of two for pairs",
    "label": "column of the label",
    "labels": "all labels, a list; numbers in the data are places in it",
    "splits": "what the data call train, validation and test, where it is something else",
    "languages": "a list of codes, or own code: ISO 639-3",
    "metric": "accuracy or macro_f1: chooses epochs, ranks and reports",
    "max_tokens": "where texts are cut, special tokens included",
    "language_column": "of a table of several languages, where it is not language, lang or locale",
}
REQUIRED = ("name", "data", "text", "label", "labels")


@dataclass(frozen=True)
class TaskSettings:
    """Which task, by `task_of`."""

    task: str | Task = setting(
        DEFAULT_TASK,
        "massive, mini (shipped), or a YAML file of your own, see docs/tasks.md",
        "--task",
        metavar="NAME|FILE",
    )
    dataset_name: str | None = setting(
        None,
        "its data from elsewhere: Hub id, folder, file, or mini (default for massive: AmazonScience/massive)",
        "--dataset-name",
        metavar="NAME",
    )
    text_column: str | None = setting(
        None, "another column of the text (default: the task's)", "--text-column", metavar="NAME"
    )
    label_column: str | None = setting(
        None, "another column of the label (default: the task's)", "--label-column", metavar="NAME"
    )


def task_of(settings: TaskSettings) -> Task:
    """The task that is meant; InputError for an unknown name, and for what is wrong in a file."""
    # Python's callers may have made it themselves.
    task = settings.task if isinstance(settings.task, Task) else task_named(settings.task)
    if settings.dataset_name is not None:
        task = replace(task, data=settings.dataset_name)
        if settings.dataset_name == MINI:
            if task.name != massive.MASSIVE.name:
                raise InputError(f"--dataset-name mini is of task massive, not {task.name}; leave one of them out")
            task = massive.MINI_TASK
    if settings.text_column is not None:
        task = replace(task, text=(settings.text_column,))
    return task if settings.label_column is None else replace(task, label=settings.label_column)


def task_tokens(task: Task) -> list[str]:
    """The flags of a command line that mean `task`."""
    named = task_named(task.origin) if Path(task.origin).is_file() or task.origin == DEFAULT_TASK else task
    told = [] if task.origin == DEFAULT_TASK else ["--task", task.origin]
    if task.data != named.data:
        told += ["--dataset-name", task.data]
    if task.text != named.text:
        told += ["--text-column", *task.text]
    return told if task.label == named.label else [*told, "--label-column", task.label]


def task_named(name: str) -> Task:
    """The built-in task of this name, or that of a YAML file."""
    built_in = {massive.MASSIVE.name: massive.MASSIVE, MINI: massive.MINI_TASK}
    if name in built_in:
        return built_in[name]
    file = Path(name).expanduser()
    if file.is_file():
        return read_task_file(file)
    raise InputError(f"no task {name!r}: neither a file nor one of {', '.join(built_in)}; see docs/tasks.md")


def read_task_file(file: Path) -> Task:
    """The task of a YAML file with KEYS; InputError, naming the file and the key, for whatever is wrong in it."""
    content = _content(file)
    try:
        return replace(_task(content, file.parent), origin=str(file))
    except InputError as error:
        raise InputError(f"{file}: {error}") from None


def _content(file: Path) -> dict[str, Any]:
    import yaml

    try:
        # All values as they are written: no is Norwegian, not false, and 0 is a label.
        content = yaml.load(file.read_text(encoding="utf-8"), yaml.BaseLoader)  # noqa: S506 (makes texts alone)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"{file} is no YAML: {error}") from None
    if not isinstance(content, dict):
        raise InputError(f"{file} is no task: it does not map keys to values, as in name: topics")
    return content


def _task(content: Mapping[str, Any], folder: Path) -> Task:
    for key in content:
        if key not in KEYS:
            near = get_close_matches(str(key), KEYS, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(KEYS)}"
            raise InputError(f"no key {key!r}; {hint}")
    missing = [key for key in REQUIRED if key not in content]
    if missing:
        raise InputError(f"no {missing[0]}: {KEYS[missing[0]]}")
    name, text = _text(content, "name"), _texts(content, "text")
    if not re.fullmatch(TASK, name) or name == "LOLO":
        raise InputError(f"name {name!r} cannot stand in a folder's name; use letters, digits, - and .")
    if len(text) > 2:
        raise InputError(f"text has {len(text)} columns; give one, or two for pairs")
    labels = _texts(content, "labels")
    if len(labels) < 2:
        raise InputError("labels has one only; a classifier needs two")
    return Task(
        name,
        _place(_text(content, "data"), folder),
        text,
        _text(content, "label"),
        labels,
        languages=_languages(content),
        splits=_splits(content),
        metric=_text(content, "metric") if "metric" in content else Task.metric,
        max_tokens=_number(content, "max_tokens") if "max_tokens" in content else Task.max_tokens,
        language_column=_text(content, "language_column") if "language_column" in content else None,
    )


def _place(data: str, folder: Path) -> str:
    """A path from the task's file on, where there is something; else a Hub id or a path that reading will miss."""
    beside = (folder / Path(data).expanduser()).resolve()
    return str(beside) if data == "." or beside.exists() or data.startswith((".", "/", "~")) else data


def _text(content: Mapping[str, Any], key: str) -> str:
    value = content[key]
    if not isinstance(value, str) or not value:
        raise InputError(f"{key} is {value!r}, not a text; it is the {KEYS[key]}")
    return value


def _texts(content: Mapping[str, Any], key: str) -> tuple[str, ...]:
    value = content[key]
    values = [value] if isinstance(value, str) and key == "text" else value
    if not isinstance(values, list) or not values or not all(isinstance(one, str) and one for one in values):
        raise InputError(f"{key} is {value!r}, not a list of texts; it is: {KEYS[key]}")
    twice = sorted({one for one in values if values.count(one) > 1})
    if twice:
        raise InputError(f"{key} has {', '.join(twice)} twice")
    return tuple(values)


def _number(content: Mapping[str, Any], key: str) -> int:
    value = content[key]
    if not isinstance(value, str) or not value.isdecimal() or int(value) < 1:
        raise InputError(f"{key} is {value!r}, not a number from 1 on")
    return int(value)


def _splits(content: Mapping[str, Any]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    value = content.get("splits")
    if value is None:
        return SPLIT_NAMES
    if not isinstance(value, dict):
        raise InputError(f"splits is {value!r}, not split: own name, as in validation: eval")
    own = {}
    for split in value:
        if split not in SPLITS:
            raise InputError(f"splits has {split!r}, which is none of train, validation (or dev), test")
        own[SPLITS[split]] = (_text(value | {"splits": value[split]}, "splits"),)
    # What is not named is not there, rather than guessed.
    return tuple(own.items())


def _languages(content: Mapping[str, Any]) -> tuple[tuple[str, str | None], ...]:
    value = content.get("languages")
    if value is None:
        return ()
    codes: dict[str, str | None] = dict(value) if isinstance(value, dict) else {}
    if not codes:
        codes = dict.fromkeys(_texts(content, "languages"))
    for code, iso in codes.items():
        if not re.fullmatch(LANGUAGE, code):
            raise InputError(f"languages has {code!r}, which is no code; use letters, digits, - and _")
        if iso and not (isinstance(iso, str) and re.fullmatch(r"[a-z]{3}", iso)):
            raise InputError(f"languages has {iso!r} for {code}, which is no ISO 639-3 code of three letters")
    return tuple((code, iso or None) for code, iso in codes.items())
