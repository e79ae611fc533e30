"""Messages to people, shortened: one reason once, one warning once."""

import contextlib
import errno
from collections.abc import Sequence


NO_SPACE = "no space left on the disk; free some and run the same command again"


def of_disk(error: Exception) -> str | None:
    """What to say of an error that a path or a full disk has caused; None for any other, which is a bug."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return NO_SPACE
    # A path that the user gave is a folder, a file, too long, forbidden, …
    if isinstance(error, OSError) and error.filename is not None:
        return f"cannot use {error.filename}: {error.strerror}; check the path and its rights"
    if isinstance(error, RuntimeError) and str(error).startswith(
        "Symlink loop from "
    ):  # of pathlib, before Python 3.13
        return f"cannot use {str(error).removeprefix('Symlink loop from ')}: a link that leads to itself; remove it"
    # safetensors and torch report a full disk as errors of their own.
    return NO_SPACE if "No space left on device" in str(error) else None


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
