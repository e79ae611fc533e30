"""The flags of declared settings (storage/settings.py), and the settings that arguments give."""

import dataclasses
import logging
from argparse import Namespace
from collections.abc import Collection, Iterable, Mapping
from typing import Any, TypeVar

from merginguriel.utils.storage.settings import Setting, declared

log = logging.getLogger(__name__)
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


def ignore_idle(args: Namespace, idle: Iterable[str], where: str) -> None:
    """Warn of those destinations of `idle` that the user gave, and make `args` what they are without them.

    A flag without effect never changes what counts as the same result. Settings that were read before are read again.
    """
    for dest in sorted(args.explicit.intersection(idle)):
        log.warning("warning: %s has no effect %s: ignored", args.parser.take_back(args, dest), where)


def ignore_unused(args: Namespace, used: Collection[tuple[str, str]], where: str) -> None:
    """The same of every setting, as (name of its class, field), that is not `used`."""
    ignore_idle(args, (dest for setting, dest in args.settings.items() if setting not in used), where)
