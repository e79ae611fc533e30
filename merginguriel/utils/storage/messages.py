"""Messages to people: how much is said, one reason once, one warning once."""

import contextlib
import logging
import sys
from collections.abc import Iterator, Sequence

# Scripts that are run by path log as __main__.
OURS = ("merginguriel", "auto_merge_llm", "__main__")
QUIET, USUAL, VERBOSE = logging.WARNING, logging.INFO, logging.DEBUG


@contextlib.contextmanager
def heard(level: int = USUAL) -> Iterator[None]:
    """Inside, our messages from `level` on go to stderr, and warnings alone of what others wrote.

    A command that another one runs is heard as that one is.
    """
    if logging.getLogger(OURS[0]).level:
        yield
        return
    logging.basicConfig(format="%(message)s", stream=sys.stderr)
    logging.captureWarnings(True)
    before = [(name, logging.getLogger(name).level) for name in (*OURS, "")]
    set_level(level)
    try:
        yield
    finally:
        for name, earlier in before:
            logging.getLogger(name).setLevel(earlier)


def is_quiet() -> bool:
    """Whether warnings alone were asked for; what Python's callers set up themselves is no such wish."""
    return logging.getLogger(OURS[0]).level == QUIET


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
def said_once(*loggers):
    """Drop messages that were said before: many plans of one target have the same warnings."""
    seen: set[str] = set()

    def is_new(record) -> bool:
        message = record.getMessage()
        is_known = message in seen
        seen.add(message)
        return not is_known

    for logger in loggers:
        logger.addFilter(is_new)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeFilter(is_new)
