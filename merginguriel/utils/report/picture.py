"""One picture of a report."""

from collections.abc import Callable
from dataclasses import dataclass

from matplotlib.figure import Figure


@dataclass(frozen=True)
class Picture:
    """`name`: stem of its file; `kind`: one of result_flags.KINDS; `shows`: its caption; `draw()` gives the Figure."""

    name: str
    kind: str
    shows: str
    draw: Callable[[], Figure]
