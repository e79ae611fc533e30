"""Flags as keywords of a function: their names, ranges and errors are those of the commands."""

import argparse
import inspect
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from auto_merge_llm.errors import InputError

from merginguriel.utils.data.task import Task
from merginguriel.utils.flags.config import tokens_of
from merginguriel.utils.flags.parser import ArgumentParser

Function = TypeVar("Function", bound=Callable[..., Any])


class Keywords(ArgumentParser):
    """A parser for the keywords of `function`: what is wrong is an InputError, and its words are Python's."""

    def __init__(self, function: str):
        super().__init__(prog=f"{function}()", add_help=False)

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{self.prog}: {_in_python(message)}")

    def take_back(self, args: argparse.Namespace, dest: str) -> str:
        return _in_python(super().take_back(args, dest))

    def add_results(self) -> None:
        """Flags for `results_in`."""
        self.add_argument("--results-dir", type=Path, help="keep results there, as the command does (default: nowhere)")
        self.add_argument("--overwrite", action="store_true", help="replace what is there")

    def read(self, **settings: Any) -> argparse.Namespace:
        """The arguments that these settings mean, None being as good as none; `task` may be a Task."""
        given = {name: value for name, value in settings.items() if value is not None}
        task = given.pop("task") if isinstance(given.get("task"), Task) else None
        try:
            tokens = tokens_of(self, given, self.prog)
        except InputError as error:
            raise InputError(_in_python(str(error))) from None
        args = self.parse_args(tokens)
        if task is not None:
            args.task = task
        return args

    def describe(self, function: Function) -> Function:
        """Put the keywords into the signature and the documentation of `function`, in place of its **settings."""
        told: dict[str, tuple[Any, str]] = {}
        for action in self._actions:
            name, text = _in_python(action.option_strings[0]), (action.help or "") % {"default": action.default}
            if isinstance(action, argparse._AppendAction):
                told["sources"] = None, "language: model of your own, a folder, Hub id or LoRA adapter"
            elif name in told:
                told[name] = action.default, f"{text}; or {told[name][1]}"
            else:
                told[name] = False if action.nargs == 0 else action.default, text
        named = inspect.signature(function)
        own = [one for one in named.parameters.values() if one.kind is not inspect.Parameter.VAR_KEYWORD]
        more = told.keys() - named.parameters.keys()
        keywords = [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default)
            for name, (default, _) in told.items()
            if name in more
        ]
        lines = [f"    {name}: {_in_python(text)}" for name, (_, text) in told.items() if name in more]
        function.__doc__ = "\n".join([inspect.getdoc(function) or "", "", "Settings:", *lines])
        function.__signature__ = named.replace(parameters=[*own, *keywords])  # type: ignore[attr-defined]
        return function


def _in_python(text: str) -> str:
    """The names of flags in it as those of keywords."""
    return re.sub(r"--([a-z][a-z-]*)", lambda flag: flag[1].replace("-", "_"), text)


@contextmanager
def results_in(folder: Path | None) -> Iterator[Path]:
    """Where results go: `folder`, or one that is gone in the end."""
    if folder is not None:
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="merginguriel.") as made:
        yield Path(made)
