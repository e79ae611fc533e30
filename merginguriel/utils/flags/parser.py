"""argparse with both spellings of every flag, no abbreviations, and errors in one line."""

import argparse
import sys

from merginguriel.utils.data import language_arguments
from merginguriel.utils.storage.settings import shell_line


class ArgumentParser(argparse.ArgumentParser):
    """argparse, with `--a_b` read as `--a-b`, no abbreviations and one-line errors.

    After parsing, `args.explicit` is the set of the destinations that the user gave, so that a command can tell a
    default from a choice (presets, flags without effect in a mode), `args.settings` maps declared settings, as (class,
    field), to their destinations, `args.tokens` are the arguments and `args.command` a line for a shell that gives
    them, `args.language_flags` are the destinations whose values name languages, and `args.parser` is this parser.
    """

    def __init__(self, **kwargs):
        kwargs.setdefault("formatter_class", HelpFormatter)
        kwargs.setdefault("usage", "%(prog)s [options]")
        super().__init__(allow_abbrev=False, **kwargs)

    def add_argument(self, *names, **kwargs):
        # The destination stays the long flag's, whichever spelling it was declared in.
        return super().add_argument(*(kebab(name) for name in names), **kwargs)

    def parse_args(self, argv=None, namespace=None):
        argv = [kebab(str(token)) for token in (sys.argv[1:] if argv is None else argv)]
        if "" in argv:
            self.error("an argument is empty; give it a value or leave its flag out")
        unset = object()
        actions = [action for action in self._actions if action.dest not in ("help", argparse.SUPPRESS)]
        # A flag that may be repeated begins with a list of its own where there is none.
        before = {action.dest: None if isinstance(action, argparse._AppendAction) else unset for action in actions}
        args = super().parse_args(argv, argparse.Namespace(**before))
        args.explicit = {action.dest for action in actions if getattr(args, action.dest) is not before[action.dest]}
        for action in actions:
            if action.dest not in args.explicit:
                setattr(args, action.dest, action.default)
        args.settings = {action.setting: action.dest for action in actions if hasattr(action, "setting")}
        args.tokens, args.command, args.parser = argv, shell_line(self.prog, *argv), self
        args.language_flags = [action.dest for action in actions if action.type in language_arguments.READERS]
        return args

    def take_back(self, args, dest):
        """Make the parsed arguments what they are without the flag of `dest`; the flag as it was given."""
        action = next(action for action in self._actions if action.dest == dest)
        flags, kept, is_kept = [], [], True
        for place, token in enumerate(args.tokens):
            if token.startswith("--"):  # values stay with their flag
                flag = token.partition("=")[0]
                is_kept = flag not in action.option_strings
                flags += [] if is_kept else [flag]
                if self._takes_the_rest(flag):
                    kept += args.tokens[place:]
                    break
            kept += [token] * is_kept
        args.tokens, args.command = kept, shell_line(self.prog, *kept)
        args.explicit.discard(dest)
        setattr(args, dest, action.default)
        return [*flags, action.option_strings[0]][0]

    def _takes_the_rest(self, flag):
        return getattr(self._option_string_actions.get(flag), "nargs", None) == argparse.REMAINDER

    def error(self, message):
        self.exit(2, f"error: {message}; see --help\n")


class PrintAndStop(argparse.Action):
    """A flag that prints `text` and ends the command, whatever else is required."""

    def __init__(self, option_strings, dest, text, **kwargs):
        super().__init__(option_strings, argparse.SUPPRESS, nargs=0, **kwargs)
        self.text = text

    def __call__(self, parser, namespace, values, option_string=None):
        print(self.text)
        parser.exit()


class HelpFormatter(argparse.HelpFormatter):
    """Shows defaults, where there is one to show, and keeps paragraphs and indented lines apart."""

    def _fill_text(self, text, width, indent):
        paragraphs = text.strip().split("\n\n")
        return "\n\n".join(
            part if "\n  " in part else super(HelpFormatter, self)._fill_text(part, width, indent)
            for part in paragraphs
        )

    def _get_help_string(self, action):
        shown = action.help or ""
        unsaid = action.default in (None, [], argparse.SUPPRESS) or isinstance(action.default, bool)
        if unsaid or "default" in shown:
            return shown
        default = " ".join(action.default) if isinstance(action.default, list) else "%(default)s"
        return f"{shown} (default: {default})".lstrip()


def kebab(token: str) -> str:
    if not token.startswith("--"):
        return token
    flag, equals, value = token.partition("=")
    return flag.replace("_", "-") + equals + value


ArgumentTypeError = argparse.ArgumentTypeError
