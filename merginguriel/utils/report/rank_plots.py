"""Mean ranks over locales as a picture."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from merginguriel.utils.report.plots import FAINT, INK, figure, note, styled


@styled
def critical_difference(methods: Sequence[str], ranks: ArrayLike, distance: float, *, title: str) -> Figure:
    """Mean ranks over locales, best (1) on the left, and a bar over methods that differ by less than `distance`.

    Demšar 2006, Journal of Machine Learning Research 7.
    """
    ranks = np.asarray(ranks, float)
    order = np.argsort(ranks, kind="stable")
    names, ranks = [methods[place] for place in order], ranks[order]
    bars = cliques(ranks, distance)
    half = -(-len(names) // 2)
    depth = 0.9 + 0.13 * len(bars)  # where the names begin, in rows
    low, high = np.floor(ranks[0]), np.ceil(ranks[-1])
    span = max(high - low, distance, 1)

    picture = figure(7.2, 1 + 0.19 * (half + depth + 2.5))
    axes = picture.add_subplot()
    axes.set_ylim(depth + half, -2.4)
    left, right = axes.set_xlim(low - 0.02 * span, low + span + 0.02 * span)
    axes.xaxis.set_ticks_position("top")
    axes.spines["bottom"].set_visible(False)
    axes.spines["left"].set_visible(False)
    axes.spines["top"].set(visible=True, position=("data", 0))
    axes.set_yticks([])
    axes.set_xticks(np.arange(low, low + span + 0.5, 1 if span < 25 else 2))
    for number, (first, last) in enumerate(bars):
        ends = [ranks[first] - 0.008 * span, ranks[last] + 0.008 * span]
        height = 0.55 + 0.13 * number * 2
        axes.plot(ends, [height, height], color=INK, linewidth=2.6, solid_capstyle="butt")
    axes.plot([low, low + distance], [-1.75, -1.75], color=INK, linewidth=1.2, marker="|", markersize=6)
    note(axes, f"critical difference {distance:.2f}", (low + distance, -1.75), (5, 0), fontsize=7.5)
    for place, (name, rank) in enumerate(zip(names, ranks)):
        if place < half:
            text, edge, shift, side, row = f"{name}  {rank:.2f}", left, -4, "right", place
        else:
            text, edge, shift, side, row = f"{rank:.2f}  {name}", right, 4, "left", len(names) - 1 - place
        height = depth + row + 0.5
        axes.plot([rank, rank, edge], [0, height, height], color=FAINT, linewidth=0.7, clip_on=False)
        note(axes, text, (edge, height), (shift, 0), ha=side, fontsize=8)
    axes.set_title(title)
    return picture


def cliques(ranks: np.ndarray, distance: float) -> list[tuple[int, int]]:
    """(first, last) of the longest runs of sorted ranks, (methods,), within `distance`, none inside another."""
    found = []
    for first, rank in enumerate(ranks):
        last = int(np.searchsorted(ranks, rank + distance, side="right")) - 1
        if last > first and (not found or last > found[-1][1]):
            found.append((first, last))
    return found
