"""How the text of an argument is read: numbers in their ranges, switches, shards."""

import argparse
from collections.abc import Callable


def positive_int(text: str) -> int:
    return _whole_number(text, 1)


def whole_number(text: str) -> int:
    return _whole_number(text, 0)


def positive_ints(text: str) -> list[int]:
    """A comma list, e.g. 3,5."""
    return [positive_int(part.strip()) for part in text.split(",")]


def seed(text: str) -> int:
    return _whole_number(text, 0, 2**32 - 1)


def _whole_number(text: str, low: int, high: int | None = None) -> int:
    try:
        value = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a whole number, not {text}") from None
    if value < low or (high is not None and value > high):
        raise argparse.ArgumentTypeError(
            f"must be at least {low}, not {text}" if value < low else f"must be at most {high}, not {text}"
        )
    return value


def bounded_float(low: float, high: float) -> Callable[[str], float]:
    def number(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"must be a number, not {text}") from None
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"must be between {low:g} and {high:g}, not {text}")
        return value

    return number


def true_or_false(text: str) -> bool:
    """The value of an HF-style switch, `--do_train` or `--do_train false`."""
    if text.lower() not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"must be true or false, not {text}")
    return text.lower() == "true"


def shard(text: str) -> tuple[int, int]:
    """`2/8` as (2, 8): the second of eight parts."""
    before, _, after = text.partition("/")
    try:
        number, count = int(before), int(after)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be i/n, as in 2/8, not {text}") from None
    if not 1 <= number <= count:
        raise argparse.ArgumentTypeError(f"must be from 1/{count} to {count}/{count}, not {text}")
    return number, count
