"""Flags from a YAML or JSON file, and back."""

import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

from auto_merge_llm.errors import InputError

from merginguriel.utils.flags.parser import ArgumentParser, kebab
from merginguriel.utils.storage.settings import plain


def parse_with_config(parser: ArgumentParser, argv=None):
    """The arguments, with those of a YAML file of flags, `--config FILE`, before the ones on the command line."""
    parser.add_argument(
        "--config",
        type=Path,
        metavar="YAML",
        help="flags by name, e.g. num_languages: [3, 5]; those of the command line count more",
    )
    return parser.parse_args(with_config(parser, argv, "--config"))


def with_config(parser: ArgumentParser, argv, flag: str) -> list[str]:
    """`argv` after the flags in the YAML or JSON file that `flag` names there, if it does."""
    argv = [kebab(str(token)) for token in (sys.argv[1:] if argv is None else argv)]
    files = [
        argv[place + 1] if token == flag else token.partition("=")[2]
        for place, token in enumerate(argv)
        if token.startswith(f"{flag}=") or (token == flag and place + 1 < len(argv))
    ]
    return (_flags_of(parser, Path(files[-1])) if files else []) + argv


def flags_given(tokens: list[str]) -> dict:
    """What a command line says, as `with_config` can read it from a file: the last value of every flag."""
    given = {}
    for token in tokens:
        if token.startswith("--"):
            name, equals, value = token[2:].partition("=")
            name = name.replace("-", "_")
            given[name] = [value] if equals else []
        else:
            given[name].append(token)
    return {name: values[0] if len(values) == 1 else values or True for name, values in given.items()}


def as_record(args: Namespace) -> dict[str, Any]:
    """All arguments as JSON has them."""
    return plain(
        {name: value for name, value in vars(args).items() if name not in ("explicit", "settings", "language_flags")}
    )


def _flags_of(parser: ArgumentParser, file: Path) -> list[str]:
    """The flags in a YAML file as a command line has them."""
    import yaml

    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    except FileNotFoundError:
        raise InputError(f"no file {file}; check the path") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{file} is no YAML: {error}") from None
    if not isinstance(content, dict):
        raise InputError(f"{file} does not map flags to values, as in num_languages: 3")
    tokens = []
    for name, value in content.items():
        flag = "--" + str(name).replace("_", "-")
        action = parser._option_string_actions.get(flag)
        if action is None or flag in ("--config", "--config-file", "--help"):
            raise InputError(f"{file}: no flag {flag}; see --help")
        is_switch = action.nargs == 0 or isinstance(action.const, bool)
        if isinstance(value, bool) != is_switch:
            raise InputError(f"{file}: {name} is {value!r}; a switch, and only that, is true or false")
        if isinstance(value, dict) or value is None:
            raise InputError(f"{file}: {name} is {value!r}, not a value or a list of values")
        values = value if isinstance(value, list) else [value]
        if value is True:
            tokens.append(flag)
        elif value is False:
            tokens += [flag, "false"] if action.nargs == "?" else []
        else:
            tokens += [flag, *map(str, values)]
    return tokens
