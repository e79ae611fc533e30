"""Pictures of what goes with what: gain and number of sources, similarity and transfer; and ranks over locales."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike
from scipy import stats

from merginguriel.utils.data.languages import language
from merginguriel.utils.report.plots import BLUE, FAINT, INK, ORANGE, RULE, figure, note, styled


@styled
def gain_by_sources(series: dict[str, np.ndarray]) -> Figure:
    """A small picture for each method, the others faint behind it: mean gain by number of sources, with intervals.

    `series`: method -> (points, 4): number of sources, mean, low, high, in points.
    """
    columns = min(4, len(series))
    lines = -(-len(series) // columns)
    picture = figure(0.6 + 1.9 * columns, 0.9 + 1.55 * lines)
    grid = picture.subplots(lines, columns, sharex=True, sharey=True, squeeze=False)
    for axes in grid.flat[len(series) :]:
        axes.remove()
    for axes, (method, points) in zip(grid.flat, series.items()):
        for other in series.values():
            axes.plot(other[:, 0], other[:, 1], color=RULE, linewidth=0.8, zorder=1)
        axes.axhline(0, color=INK, linewidth=0.6)
        axes.vlines(points[:, 0], points[:, 2], points[:, 3], color=BLUE, linewidth=1, zorder=2)
        axes.plot(points[:, 0], points[:, 1], "o-", color=BLUE, markersize=3.5, linewidth=1.2, zorder=3)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
        axes.tick_params(labelbottom=True)
        axes.set_title(method, fontsize=8, pad=4)
    picture.supxlabel("number of sources", fontsize=8)
    picture.supylabel("points against the\nbest source", fontsize=8)
    picture.suptitle("Gain by number of sources", fontsize=9, x=0.01, ha="left")
    return picture


@styled
def similarity_against_transfer(similarity: pd.DataFrame, transfer: pd.DataFrame, metric: str) -> Figure:
    """Left: every source on every target; right: Spearman's rank correlation over the sources of each target.

    Both (sources, targets), NaN left out. What is measured is told as points above the target's mean, because targets
    differ far more than the sources of one do.
    """
    sources, targets = transfer.index, transfer.columns
    similarity, transfer = similarity.to_numpy(), transfer.to_numpy()
    relative = 100 * (transfer - np.nanmean(transfer, axis=0))
    related = np.array([[language(source).related(language(target)) for target in targets] for source in sources])
    known = ~np.isnan(similarity) & ~np.isnan(transfer)
    correlations = rank_correlations(similarity, transfer)
    order = np.argsort(correlations, kind="stable")

    picture = figure(7.4, max(3.4, 1.2 + 0.135 * len(targets)))
    left, right = picture.subplots(1, 2, width_ratios=[1.7, 1])
    dots = {"s": 5 if len(targets) > 20 else 12, "linewidths": 0}
    for chosen, name, looks in (
        (known & ~related, "other family", {"color": FAINT, "marker": "o", "alpha": 0.55}),
        (known & related, "same family", {"color": ORANGE, "marker": "^", "alpha": 0.95}),
    ):
        left.scatter(similarity[chosen], relative[chosen], label=name, **dots, **looks)
    left.axhline(0, color=INK, linewidth=0.6)
    left.set(xlabel="similarity of source and target", ylabel=f"{metric}, points above the target's mean over sources")
    left.set_title("Similarity and measured transfer")
    left.legend(loc="upper left", handletextpad=0.2, markerscale=2.5)
    rows = np.arange(len(order))
    right.hlines(rows, 0, correlations[order], color=RULE, linewidth=1.6)
    right.plot(correlations[order], rows, "o", color=BLUE, markersize=3.5)
    right.axvline(0, color=INK, linewidth=0.6)
    right.set_yticks(rows, [targets[place] for place in order], fontsize=8 if len(targets) <= 20 else 6.5)
    right.set(ylim=(-0.8, len(order) - 0.2), xlim=(min(-0.1, np.nanmin(correlations) - 0.1), 1.02))
    right.tick_params(axis="y", length=0)
    right.spines["left"].set_visible(False)
    right.set(xlabel="Spearman's ρ within the target", title=f"mean ρ {np.nanmean(correlations):.2f}")
    return picture


def rank_correlations(similarity: np.ndarray, transfer: np.ndarray) -> np.ndarray:
    """Spearman's ρ of each column, (targets,), over the sources that both know; NaN for fewer than three."""
    correlations = []
    for alike, score in zip(similarity.T, transfer.T):
        known = ~np.isnan(alike) & ~np.isnan(score)
        varies = known.sum() > 2 and np.ptp(alike[known]) > 0 and np.ptp(score[known]) > 0
        correlations.append(stats.spearmanr(alike[known], score[known]).statistic if varies else np.nan)
    return np.array(correlations)


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
    axes.spines[["bottom", "left"]].set_visible(False)
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
    found: list[tuple[int, int]] = []
    for first, rank in enumerate(ranks):
        last = int(np.searchsorted(ranks, rank + distance, side="right")) - 1
        if last > first and (not found or last > found[-1][1]):
            found.append((first, last))
    return found
