"""Messages to people, shortened: one reason once, one warning once."""

import contextlib
from collections.abc import Sequence


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
