"""Languages as a tree of how alike they are, each with what was gained on it."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike
from scipy.cluster import hierarchy
from scipy.spatial.distance import squareform

from merginguriel.utils.report.plots import FAINT, INK, STEPS, figure, note, signed, styled
from merginguriel.utils.report.row_plots import ROW, language

WIDTH = 4.1  # inches, which a phone shows whole


@styled
def tree(locales: Sequence[str], similarity: np.ndarray, gains: ArrayLike, *, label: str) -> Figure:
    """Left the tree of `similarity`, (locales, locales), by average linkage; right a bar for each of `gains` in points.

    Blue above 0, brown below, in seven steps to the largest gain or loss; a branch has the mean of its languages. Both
    directions of a pair count alike.
    """
    gains = np.asarray(gains, float)
    links = linkage(similarity)
    order = hierarchy.leaves_list(links)
    limit = float(np.abs(gains).max()) or 1.0
    names = [language(locales[place]) for place in order]
    picture = figure(WIDTH, 1.1 + ROW * len(order))
    branches, bars = picture.subplots(1, 2, width_ratios=[0.8, 1])
    _draw_branches(branches, links, order, gains, limit)
    _draw_bars(bars, names, gains[order], limit)
    bars.set_xlabel(label)
    _draw_scale(bars, limit, 0.11 / (ROW * len(order)))
    return picture


def linkage(similarity: np.ndarray) -> np.ndarray:
    """Scipy's linkage, the most alike beside each other: (languages - 1, 4); heights are 1 - similarity."""
    distances = 1 - (similarity + similarity.T) / 2
    np.fill_diagonal(distances, 0)
    return hierarchy.linkage(squareform(distances, checks=False), "average", optimal_ordering=True)


def step(gain: float, limit: float) -> str:
    """The colour of a gain on the scale from -limit to limit; the middle one is for what is about 0."""
    return STEPS[min(int((gain / limit + 1) / 2 * len(STEPS)), len(STEPS) - 1)]


def _draw_branches(axes: Axes, links: np.ndarray, order: np.ndarray, gains: np.ndarray, limit: float) -> None:
    count = len(order)
    rows = dict(zip(order.tolist(), map(float, range(count))))
    heights, members = dict.fromkeys(range(count), 0.0), {place: [place] for place in range(count)}
    for node, (left, right, height, _) in enumerate(links, count):
        pair = int(left), int(right)
        members[node] = [leaf for child in pair for leaf in members[child]]
        rows[node], heights[node] = (rows[pair[0]] + rows[pair[1]]) / 2, height
        for child in pair:
            colour = step(gains[members[child]].mean(), limit)
            axes.plot([height, height, heights[child]], [rows[node], rows[child], rows[child]], color=colour)
    axes.set(xlim=(max(1.03 * links[-1, 2], 1e-3), 0), ylim=(count - 0.4, -0.6), yticks=[])
    shown = np.linspace(0, links[-1, 2], 3)
    axes.set_xticks(shown, [f"{1 - height:.2f}" for height in shown])
    axes.set_xlabel("similarity")
    axes.spines["left"].set_visible(False)


def _draw_bars(axes: Axes, names: Sequence[str], gains: np.ndarray, limit: float) -> None:
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.barh(range(len(names)), gains, height=0.7, color=[step(gain, limit) for gain in gains])
    for row, gain in enumerate(gains):
        side = 1 if gain >= 0 else -1
        note(axes, signed(gain), (gain, row), (3 * side, 0), ha="left" if side > 0 else "right")
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.margins(x=0.3)


def _draw_scale(axes: Axes, limit: float, height: float) -> None:
    """The seven colours over the bars, with the ends of the scale; `height` as a share of the bars' axes."""
    top = axes.inset_axes((0, 1, 1, height))
    for place, colour in enumerate(STEPS):
        top.add_patch(Rectangle((place, 0), 1, 1, color=colour, linewidth=0))
    top.set(xlim=(0, len(STEPS)), ylim=(0, 1), yticks=[])
    top.xaxis.tick_top()
    top.set_xticks([0, len(STEPS) / 2, len(STEPS)], [signed(-limit), "0", signed(limit)], fontsize=7, color=FAINT)
    top.tick_params(length=0, pad=1)
    top.spines[:].set_visible(False)
