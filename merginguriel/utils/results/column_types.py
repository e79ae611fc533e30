"""What may stand in the columns of a result's row: one odd value must not end the tables of all results."""

import math
from collections.abc import Mapping
from typing import Any

from merginguriel.utils.evaluation.metrics import METRICS

_WHOLE = ("num_sources", "seed", "correct", "total")
_NUMBERS = ("score", "ci_low", "ci_high", *METRICS)
_LARGEST = 2**63 - 1  # of a column of whole numbers


def check_types(row: Mapping[str, Any]) -> None:
    """Raise ValueError naming the first value of a row that its column cannot have; None may stand anywhere."""
    for name, value in row.items():
        if value is None:
            continue
        if name in _WHOLE:
            right = type(value) is int and abs(value) <= _LARGEST
        elif name in _NUMBERS:
            right = type(value) in (int, float) and math.isfinite(value)
        elif name == "include_target":
            right = type(value) is bool
        else:
            right = isinstance(value, str) and is_text(value)
        if not right:
            raise ValueError(f"{name} is {_shortened(value)}")


def is_text(value: str) -> bool:
    """False for lone surrogates, which no file can have."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _shortened(value: Any) -> str:
    if type(value) is int and abs(value) > _LARGEST:
        return "a number beyond all bounds"
    said = ascii(value)
    return said if len(said) <= 60 else said[:60] + "…"
