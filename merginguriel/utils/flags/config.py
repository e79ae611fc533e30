"""Flags from a YAML or JSON file, and back."""

import argparse
import sys
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from auto_merge_llm.errors import InputError

from merginguriel.utils.data.language_arguments import locale_weights
from merginguriel.utils.flags.parser import ArgumentParser, kebab
from merginguriel.utils.flags.yaml_texts import read_yaml
from merginguriel.utils.storage.settings import plain

NOT_IN_FILES = {"--config", "--config-file", "--help", "-h"}


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


def as_record(args: argparse.Namespace) -> dict[str, Any]:
    """All arguments as JSON has them."""
    return plain(
        {
            name: value
            for name, value in vars(args).items()
            if name not in ("explicit", "settings", "tokens", "language_flags")
        }
    )


def _flags_of(parser: ArgumentParser, file: Path) -> list[str]:
    """The flags in a YAML file as a command line has them."""
    content = read_yaml(file) or {}
    if not isinstance(content, dict):
        raise InputError(f"{file} does not map flags to values, as in num_languages: 3")
    return tokens_of(parser, content, str(file))


def tokens_of(parser: ArgumentParser, content: Mapping[str, Any], where: str) -> list[str]:
    """Values by the names of flags, as a command line has them; `sources` that map languages to models are --source.

    InputError, beginning with `where` they stand, for a name that is no flag's, or a value that cannot be one.
    """
    tokens: list[str] = []
    for name, value in content.items():
        flag = kebab(f"--{name}")
        if flag == "--sources" and isinstance(value, Mapping):
            flag, value = "--source", [f"{code}={model}" for code, model in value.items()]
        action = parser._option_string_actions.get(flag)
        if action is None or flag in NOT_IN_FILES:
            near = get_close_matches(flag, sorted(parser._option_string_actions.keys() - NOT_IN_FILES), n=1)
            raise InputError(f"{where}: no flag {flag}; {f'did you mean {near[0]}?' if near else 'see --help'}")
        is_switch = action.nargs == 0 or isinstance(action.const, bool)
        if isinstance(value, bool) != is_switch:
            raise InputError(f"{where}: {name} is {value!r}; a switch, and only that, is true or false")
        if isinstance(value, Mapping) and action.type is locale_weights:
            value = ",".join(f"{code}={weight}" for code, weight in value.items())
        if isinstance(value, Mapping) or value is None:
            raise InputError(f"{where}: {name} is {value!r}, not a value or a list of values")
        if isinstance(value, bool):
            tokens += [flag] * value or ([flag, "false"] if action.nargs == "?" else [])
        else:
            tokens += _said(flag, action, list(map(str, value)) if isinstance(value, (list, tuple)) else [str(value)])
    return tokens


def _said(flag: str, action: argparse.Action, values: list[str]) -> list[str]:
    """A flag with its values: words where it takes several, else a comma list, or the flag over and over."""
    if action.nargs is not None:
        return [flag, *values]
    if isinstance(action, argparse._AppendAction):
        return [token for value in values for token in (flag, value)]
    return [flag, ",".join(values)]
