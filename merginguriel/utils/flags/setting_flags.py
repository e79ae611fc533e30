"""The flags of declared settings (storage/settings.py), and the settings that arguments give."""

import dataclasses
from argparse import Namespace
from collections.abc import Collection, Iterable, Mapping
from typing import Any, TypeVar

from auto_merge_llm.errors import InputError

from merginguriel.utils.storage.settings import Setting, declared

Kind = TypeVar("Kind")


def add_settings(
    group: Any,
    kind: type,
    only: Collection[str] | None = None,
    *,
    renamed: Mapping[str, str] | None = None,
    defaults: Mapping[str, Any] | None = None,
    several: Collection[str] = (),
) -> None:
    """A flag for every setting of the class `kind`, or for the fields `only`.

    `renamed`: field -> its flag in this command, with other names after spaces. `defaults`: field -> its default here.
    `several`: fields that take a list, whose default is then a list of one.
    """
    fields = {field.name: field for field in dataclasses.fields(kind)}
    for name, told in declared(kind).items():
        flags = renamed[name].split() if renamed and name in renamed else told.flags
        if flags and (only is None or name in only):
            default = (defaults or {}).get(name, fields[name].default)
            action = group.add_argument(*flags, **options_of(told, default, name in several))
            action.setting = kind.__name__, name


def options_of(told: Setting, default: Any, several: bool = False) -> dict[str, Any]:
    """The keywords of `add_argument`. A switch that has `read` takes true or false too, as Hugging Face's do."""
    if isinstance(default, bool):
        switch = {"type": told.read, "nargs": "?", "const": True, "metavar": "true|false"}
        return {"help": told.help, "default": default, **(switch if told.read else {"action": "store_true"})}
    more = {"type": told.read, "choices": told.choices, "metavar": told.metavar, "nargs": "+" if several else None}
    help_text = told.help
    if several and default is not None:
        help_text, default = f"{told.help} (default: {default})", [default]
    return {"help": help_text, "default": default, **{name: value for name, value in more.items() if value}}


def read_settings(kind: type[Kind], args: Namespace, **given: Any) -> Kind:
    """An object of the class `kind`: `given` fields, the others from the arguments, the rest at their defaults."""
    read = {name: getattr(args, dest) for (owner, name), dest in args.settings.items() if owner == kind.__name__}
    return kind(**{**read, **given})


def given_fields(kind: type, args: Namespace) -> set[str]:
    """The fields of `kind` that the user gave."""
    return {name for (owner, name), dest in args.settings.items() if owner == kind.__name__ and dest in args.explicit}


def refuse_idle(args: Namespace, idle: Iterable[str], where: str = "") -> None:
    """InputError naming those of `idle` that the user gave: a flag without effect is an error, not ignored."""
    given = sorted({f"--{name.replace('_', '-')}" for name in idle if name in args.explicit})
    if given:
        raise InputError(f"{', '.join(given)} has no effect {where}with the other flags given; leave it out")


def refuse_unused(args: Namespace, used: Collection[tuple[str, str]], where: str = "") -> None:
    """The same of every setting, as (name of its class, field), that is not `used`."""
    refuse_idle(args, (dest for setting, dest in args.settings.items() if setting not in used), where)
