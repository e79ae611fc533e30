"""What config.json calls the outputs of a classifier: id2label, and label2id, its other way round."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from auto_merge_llm.errors import InputError

_REMEDY = "write the names of the classes, in training order, into id2label"


def label_names(config: Mapping[str, Any], where: Path) -> tuple[str, ...]:
    """Class names in index order, of the config.json at `where`.

    Raises InputError where it gives none or only LABEL_0…, or label2id contradicts them.
    """
    named = config.get("id2label")
    if not isinstance(named, dict) or not named:
        raise InputError(f"{where} has no id2label; {_REMEDY}")
    try:
        labels = tuple(named[str(index)] for index in range(len(named)))
    except KeyError as error:
        raise InputError(f"{where}: id2label has no entry {error.args[0]}; {_REMEDY}") from None
    if not all(isinstance(label, str) for label in labels) or len(set(labels)) != len(labels):
        raise InputError(f"{where}: id2label needs one different name a class; {_REMEDY}")
    if _are_defaults(labels):
        raise InputError(f"{where}: id2label has only the default names LABEL_0…; {_REMEDY}")
    check_label_numbers(config, where)
    return labels


def check_label_numbers(config: Mapping[str, Any], where: Path) -> None:
    """Raise InputError where label2id contradicts id2label in the config.json at `where`.

    transformers' default names contradict nothing: they stand in a file whose author has written the other half.
    """
    named, numbers = config.get("id2label"), config.get("label2id")
    if not (isinstance(named, dict) and isinstance(numbers, dict) and named and numbers):
        return
    if _are_defaults(named.values()) or _are_defaults(numbers):
        return
    by_number: dict[str, list[Any]] = {}
    for label, number in numbers.items():
        by_number.setdefault(str(number), []).append(label)
    for index in sorted({*named, *by_number}):
        labels = by_number.get(index, [])
        if labels != [named.get(index)]:
            raise InputError(
                f"{where}: output {index} is {named.get(index)} by id2label and {' and '.join(labels) or 'nothing'} by "
                "label2id; correct the one that is wrong"
            )


def _are_defaults(labels: Any) -> bool:
    return set(labels) == {f"LABEL_{index}" for index in range(len(labels))}
