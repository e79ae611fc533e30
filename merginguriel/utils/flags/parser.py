"""argparse with both spellings of every flag, no abbreviations, errors in one line, and -v and --quiet."""

import argparse
import os
import sys
from difflib import get_close_matches

from merginguriel.utils.data import language_arguments
from merginguriel.utils.storage import command_lines, messages

LEVELS = {"-v": messages.VERBOSE, "--verbose": messages.VERBOSE, "--quiet": messages.QUIET}


class ArgumentParser(argparse.ArgumentParser):
    """argparse, with `--a_b` read as `--a-b`, no abbreviations and one-line errors, which name what may be meant.

    `script`: the command that it reads for, if it is one of the toolkit's. How much a command says is no setting: -v
    and --quiet have an effect at once and leave no trace in what is read.

    After parsing, `args.explicit` is the set of the destinations that the user gave, so that a command can tell a
    default from a choice (presets, flags without effect in a mode), `args.settings` maps declared settings, as (class,
    field), to their destinations, `args.tokens` are the arguments and `args.command` a line for a shell that gives
    them, `args.language_flags` are the destinations whose values name languages, and `args.parser` is this parser.
    """

    def __init__(self, script: str = "", **kwargs):
        kwargs.setdefault("formatter_class", HelpFormatter)
        kwargs.setdefault("usage", "%(prog)s [options]")
        if script:
            kwargs.setdefault("prog", command_lines.title(script))
        super().__init__(allow_abbrev=False, **kwargs)
        self.script = script
        self._given: list[str] = []
        if script:
            said = self.add_mutually_exclusive_group()
            said.add_argument("-v", "--verbose", action=SetLevel, help="say more, of what other libraries do as well")
            said.add_argument("--quiet", action=SetLevel, help="say warnings and errors only, and show no progress")

    def add_argument(self, *names, **kwargs):
        # The destination stays the long flag's, whichever spelling it was declared in.
        return super().add_argument(*(kebab(name) for name in names), **kwargs)

    def parse_args(self, argv=None, namespace=None):
        complete(self)
        self._given = argv = [kebab(str(token)) for token in (sys.argv[1:] if argv is None else argv)]
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
        args.tokens, args.parser = self._without_levels(argv), self
        args.command = command_lines.recorded_line(self.script, *args.tokens)
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
        args.tokens, args.command = kept, command_lines.recorded_line(self.script, *kept)
        args.explicit.discard(dest)
        setattr(args, dest, action.default)
        return [*flags, action.option_strings[0]][0]

    def _takes_the_rest(self, flag):
        return getattr(self._option_string_actions.get(flag), "nargs", None) == argparse.REMAINDER

    def error(self, message):
        """In one line; a flag that is not there, and what it may have been meant for, before all else."""
        before = self._before_rest(self._given)
        flags = {token.partition("=")[0] for token in before if token.startswith("--")} - {"--"}
        for flag in sorted(flags - self._option_string_actions.keys()):
            near = did_you_mean(flag, self._option_string_actions)
            if near:
                message = f"no flag {flag}; {near}"
        hint = "" if message.endswith("?") else "; see --help"
        self.exit(2, f"error: {messages.in_one_line(message)}{hint}\n")

    def _check_value(self, action, value):
        try:
            super()._check_value(action, value)
        except argparse.ArgumentError:
            near = did_you_mean(str(value), map(str, action.choices)) or f"one of {', '.join(map(str, action.choices))}"
            raise argparse.ArgumentError(action, f"invalid choice: {value!r}; {near}") from None

    def _before_rest(self, argv):
        """What stands before a flag that takes all that follows."""
        last = {flag for flag, action in self._option_string_actions.items() if action.nargs == argparse.REMAINDER}
        return argv[: next((place for place, token in enumerate(argv) if token in last), len(argv))]

    def _without_levels(self, argv):
        before = self._before_rest(argv)
        return [*(token for token in before if not (self.script and token in LEVELS)), *argv[len(before) :]]


def did_you_mean(word: str, offered) -> str:
    """A question after the word that is offered and nearest, or nothing where none is near."""
    near = get_close_matches(word, list(offered), n=1)
    return f"did you mean {near[0]}?" if near else ""


def complete(parser: argparse.ArgumentParser) -> None:
    """Where a shell asks what may follow, answer it and stop."""
    if "_ARGCOMPLETE" in os.environ:
        import argcomplete

        argcomplete.autocomplete(parser)


class SetLevel(argparse.Action):
    """A flag that says how much a command says."""

    def __init__(self, option_strings, dest, **kwargs):
        super().__init__(option_strings, argparse.SUPPRESS, nargs=0, **kwargs)

    def __call__(self, parser, namespace, values, option_string=None):
        messages.set_level(LEVELS[option_string])


class PrintAndStop(argparse.Action):
    """A flag that prints `text` and ends the command, whatever else is required."""

    def __init__(self, option_strings, dest, text, **kwargs):
        super().__init__(option_strings, argparse.SUPPRESS, nargs=0, **kwargs)
        self.text = text

    def __call__(self, parser, namespace, values, option_string=None):
        print(self.text)
        parser.exit()


class HelpFormatter(argparse.HelpFormatter):
    """Shows defaults, where there is one to show, keeps paragraphs and indented lines apart.

    Commands are named as this process was called, before lines are broken: that name may be the longer one.
    """

    def _split_lines(self, text, width):
        return super()._split_lines(command_lines.as_called(text), width)

    def _fill_text(self, text, width, indent):
        paragraphs = command_lines.as_called(text).strip().split("\n\n")
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
