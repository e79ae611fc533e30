"""Messages to people: how much is said, one reason once, one warning once."""

import contextlib
import logging
import sys
from collections import Counter
from collections.abc import Iterator, Sequence

from merginguriel.utils.storage.command_lines import as_called

# Scripts that are run by path log as __main__.
OURS = ("merginguriel", "auto_merge_llm", "__main__")
log = logging.getLogger(__name__)
QUIET, USUAL, VERBOSE = logging.WARNING, logging.INFO, logging.DEBUG


def in_one_line(message: object) -> str:
    """For people: commands as this process was called, and spaces for breaks.

    Signs that a terminal would obey or not show, such as those that colour it, are told as \\x1b; a name may hold any.
    """
    line = " ".join(as_called(str(message)).split())
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in line)


@contextlib.contextmanager
def heard(level: int = USUAL) -> Iterator[None]:
    """Inside, our messages from `level` on go to stderr, and warnings alone of what others wrote.

    A command that another one runs is heard as that one is.
    """
    if _level():
        yield
        return
    logging.basicConfig(format="%(message)s", stream=sys.stderr)
    for handler in logging.getLogger().handlers:
        handler.addFilter(_named_as_called)  # once, however often
    logging.captureWarnings(True)
    before = [(name, logging.getLogger(name).level) for name in (*OURS, "")]
    set_level(level)
    try:
        yield
    finally:
        for name, earlier in before:
            logging.getLogger(name).setLevel(earlier)


def _named_as_called(record: logging.LogRecord) -> bool:
    """Messages name commands by their scripts, or as files do; people have called them by one name or the other."""
    record.msg, record.args = as_called(record.getMessage()), ()
    return True


def is_quiet() -> bool:
    """Whether warnings alone were asked for; what Python's callers set up themselves is no such wish."""
    return _level() == QUIET


def _level() -> int:
    return logging.getLogger(OURS[0]).level


def set_level(level: int) -> None:
    """How much is heard from now on: QUIET, USUAL or VERBOSE, which is the only one to hear of others' work."""
    for name in OURS:
        logging.getLogger(name).setLevel(level)
    logging.getLogger().setLevel(logging.INFO if level == VERBOSE else logging.WARNING)


def by_reason(failures: dict[str, str]) -> list[str]:
    """A line for each reason, after the names of what failed for it, or some of them."""
    names: dict[str, list[str]] = {}
    for name, reason in failures.items():
        names.setdefault(reason, []).append(name)
    return [f"{some(failed)}: {reason}" for reason, failed in names.items()]


def some(things: Sequence[str], shown: int = 8) -> str:
    return ", ".join(things[:shown]) + (f" and {len(things) - shown} more" if len(things) > shown else "")


@contextlib.contextmanager
def said_once(*loggers: logging.Logger, shown: int = 5) -> Iterator[None]:
    """Drop messages that were said before, and of those that differ in names alone all but the first few.

    Many plans of one target have the same warnings, and those of many targets have warnings of one kind.
    """
    seen: set[str] = set()
    kinds: Counter[str] = Counter()

    def is_new(record: logging.LogRecord) -> bool:
        message = record.getMessage()
        if message in seen:
            return False
        seen.add(message)
        kinds[record.msg] += 1
        return kinds[record.msg] <= shown or _level() == VERBOSE

    for logger in loggers:
        logger.addFilter(is_new)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeFilter(is_new)
        dropped = sum(max(0, count - shown) for count in kinds.values())
        if dropped and _level() != VERBOSE:
            log.warning("and %d more warnings like these; -v shows all", dropped)
