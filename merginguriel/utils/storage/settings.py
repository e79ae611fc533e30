"""Settings, each declared once: its flag, its default, its key in records and its word in folders' names.

A settings class is a frozen dataclass whose fields are made by `setting`. flags/setting_flags.py makes its flags,
`plain` its record, `words` what a folder's name says of it, and `tokens` the command line that gives it again.
"""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any


@dataclasses.dataclass(frozen=True)
class Setting:
    """How a field is said. `read` makes its value of a text; `word` is its part of a folder's name, as in "seed{}".

    A field without `word` is not told in names: it changes no result, or its class tells it in a way of its own.
    """

    help: str
    flags: tuple[str, ...] = ()
    read: Callable[[str], Any] | None = None
    choices: tuple[str, ...] | None = None
    metavar: str | None = None
    word: str | None = None


def setting(default: Any, text: str, *flags: str, **more: Any) -> Any:
    """A dataclass field of this default and Setting: `text` is its help, `more` are its other fields."""
    return dataclasses.field(default=default, metadata={"setting": Setting(text, flags, **more)})


def declared(kind: type) -> dict[str, Setting]:
    """The settings of a class by field, in the order in which they are declared."""
    return {field.name: field.metadata["setting"] for field in dataclasses.fields(kind) if "setting" in field.metadata}


def changed(settings: Any) -> dict[str, Any]:
    """Fields that have not their defaults, with their values."""
    defaults = {field.name: field.default for field in dataclasses.fields(settings)}
    values = {name: getattr(settings, name) for name in declared(type(settings))}
    return {name: value for name, value in values.items() if value != defaults[name]}


def words(settings: Any) -> dict[str, str]:
    """Field -> its word in a folder's name, of what has not its default."""
    told = declared(type(settings))
    return {name: pattern.format(value) for name, value in changed(settings).items() if (pattern := told[name].word)}


def tokens(settings: Any, without: Iterable[str] = (), always: Iterable[str] = ()) -> list[str]:
    """The flags of a command line that give what has not its default, and the fields `always` whatever they are."""
    said, wanted = [], (changed(settings).keys() | set(always)) - set(without)
    for name, told in declared(type(settings)).items():
        if name in wanted and told.flags:
            value = getattr(settings, name)
            said += [told.flags[0], *([] if value is True else [as_argument(value)])]
    return said


def as_argument(value: Any) -> str:
    """`value` as a command line has it: lists and weights with commas."""
    if isinstance(value, Mapping):
        return ",".join(f"{name}={part!r}" for name, part in value.items())
    if isinstance(value, (list, tuple)):
        return ",".join(map(str, value))
    if isinstance(value, float):
        return repr(value).removesuffix(".0")
    return str(value).lower() if isinstance(value, bool) else str(value)


def plain(settings: Any) -> dict[str, Any]:
    """A settings object, or a dict, as JSON can have it: paths as text, tuples as lists."""
    return _plain(settings if isinstance(settings, Mapping) else dataclasses.asdict(settings))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _plain(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    return str(value) if isinstance(value, Path) else value
