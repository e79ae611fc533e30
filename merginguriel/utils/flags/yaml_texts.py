"""YAML as flags need it: values are the texts that were written, and only true, false and null are none."""

import re
from pathlib import Path
from typing import Any

from auto_merge_llm.errors import InputError


def read_yaml(file: Path) -> Any:
    """The content of a YAML or JSON file; InputError where there is none, or it is none.

    YAML 1.1 makes a truth value of no, which is Norwegian, of on, off and yes, and a number of 1:30.
    """
    import yaml

    class Loader(yaml.SafeLoader):
        yaml_implicit_resolvers: dict[str, list] = {}

    for tag, pattern, first in (
        ("bool", "true|True|TRUE|false|False|FALSE", "tTfF"),
        ("null", "~|null|Null|NULL|", ["~", "n", "N", ""]),
        ("merge", "<<", "<"),
    ):
        Loader.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(f"^(?:{pattern})$"), list(first))
    try:
        return yaml.load(file.read_text(encoding="utf-8"), Loader)  # noqa: S506 (a SafeLoader)
    except FileNotFoundError:
        raise InputError(f"no file {file}; check the path") from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"{file} is no YAML: {error}") from None
