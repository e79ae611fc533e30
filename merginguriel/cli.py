"""`merginguriel <command> …` runs any of the scripts of this folder; a script's file name is a command, too."""

import importlib
import os
import sys
from collections.abc import Sequence

from merginguriel import __version__
from merginguriel.utils.flags.command import write_whatever_the_encoding
from merginguriel.utils.flags.parser import ArgumentParser, complete, did_you_mean
from merginguriel.utils.storage.command_lines import COMMANDS, PROGRAM

LINES = "\n".join(f"  {name:<16}{text}" for name, (_, text) in COMMANDS.items())
_COMPLETED = "_ARGCOMPLETE"  # the word, from 1, that the arguments to complete follow


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; its exit code."""
    write_whatever_the_encoding()
    arguments = list(sys.argv[1:] if argv is None else argv)
    if _COMPLETED in os.environ:
        arguments = _of_shell()
    if not arguments or arguments[0] in ("-h", "--help"):
        print(f"usage: {PROGRAM} COMMAND [--help] …\n       {PROGRAM} --version\n\ncommands:\n{LINES}")
        return 0
    if arguments[0] == "--version":
        print(PROGRAM, __version__)
        return 0
    by_name = {word: module for name, (module, _) in COMMANDS.items() for word in (name, f"{module}.py")}
    if arguments[0] not in by_name:
        near = did_you_mean(arguments[0], by_name) or f"one of {', '.join(COMMANDS)}"
        print(f"error: unknown command {arguments[0]!r}; {near}", file=sys.stderr)
        return 2
    return importlib.import_module(f"{PROGRAM}.{by_name[arguments[0]]}").main(arguments[1:])


def _of_shell() -> list[str]:
    """The command whose arguments a shell wants to complete; where it wants the command itself, the answer and end."""
    word, *others = os.environ["COMP_LINE"][: int(os.environ["COMP_POINT"])].split()[1:] or [""]
    if others or os.environ["COMP_LINE"].endswith(" ") and word in COMMANDS:
        os.environ[_COMPLETED] = "2"
        return [word]
    commands = ArgumentParser()
    commands.add_argument("command", choices=list(COMMANDS))
    commands.add_argument("--version", action="store_true")
    complete(commands)
    return []


if __name__ == "__main__":
    raise SystemExit(main())
