"""Pictures with a row for each locale, method or intent, read from left to right; any number of rows stays readable."""

import warnings
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from merginguriel.utils.data import languages
from merginguriel.utils.report import plots
from merginguriel.utils.report.heatmaps import by_family, families_of
from merginguriel.utils.report.plots import figure, note, signed, styled

ROW = 0.175  # inches
# Marker, size, colour and whether it is filled, of the baselines in their order: the third stands around the fourth
# where both are one model; the last two are of adapted models.
BASELINE_MARKS = (
    ("D", 4.5, plots.PURPLE, True),
    ("o", 4.5, plots.FAINT, False),
    ("^", 8, plots.ORANGE, False),
    ("s", 4, plots.GREEN, True),
    ("P", 5, plots.INK, False),
    ("v", 5.5, plots.VERMILLION, False),
)

OUTCOMES = (("won", plots.BLUE), ("tied", plots.RULE), ("lost", plots.VERMILLION))


def language(locale: str) -> str:
    """The locale after its language's name."""
    name = languages.language(locale).name
    return locale if name == locale else f"{name}  {locale}"


def _rows(
    labels: Sequence[str], width: float, *, lines: int = 1, columns: int = 1, extra: float = 1.3
) -> tuple[Figure, list[Axes]]:
    """(figure, its axes, `lines` times `columns`) with a row in each for every label, the first on top."""
    picture = figure(width, extra + lines * ROW * max(len(labels), 2) + 0.4 * (lines - 1))
    axes = list(picture.subplots(lines, columns, sharex=True, sharey=True, squeeze=False).flat)
    for axis in axes:
        axis.set_ylim(len(labels) - 0.4, -0.6)
        axis.set_yticks(range(len(labels)), labels)
        axis.tick_params(axis="y", length=0)
        axis.spines["left"].set_visible(False)
        axis.grid(axis="x")
    return picture, axes


@styled
def scores(
    locales: Sequence[str], values: ArrayLike, baselines: dict[str, ArrayLike], *, method: str, title: str, label: str
) -> Figure:
    """Score of a method and of up to six baselines on each locale, (locales,) each, by family. NaN is left out."""
    order = by_family(locales)
    locales = [locales[place] for place in order]
    values = np.asarray(values, float)[order]
    baselines = {name: np.asarray(others, float)[order] for name, others in baselines.items()}
    picture, (axes,) = _rows([language(locale) for locale in locales], 7.2, extra=1.6)
    places = np.arange(len(locales))
    every = np.vstack([values, *baselines.values()])
    axes.hlines(places, np.nanmin(every, axis=0), np.nanmax(every, axis=0), color=plots.RULE, linewidth=2.2, zorder=1)
    for (name, others), (marker, size, colour, filled) in zip(baselines.items(), BASELINE_MARKS):
        if not np.isnan(others).all():
            (marks,) = axes.plot(others, places, marker, color=colour, markersize=size, label=name, zorder=2)
            marks.set_markerfacecolor(colour if filled else "none")
    axes.plot(values, places, "|", color=plots.BLUE, markersize=10, markeredgewidth=2.6, label=method, zorder=3)
    for first, last, family in families_of(locales):
        if first:
            axes.axhline(first - 0.5, color=plots.FAINT, linewidth=0.4)
        at = (1, (first + last) / 2)
        if family:
            note(axes, family, at, (6, 0), xycoords=("axes fraction", "data"), va="center", color=plots.FAINT)
    axes.set(xlabel=label, title=title)
    picture.legend(loc="outside lower center", ncols=5, handletextpad=0.3, columnspacing=1.4)
    return picture


@styled
def differences(
    locales: Sequence[str],
    values: ArrayLike,
    *,
    title: str,
    label: str,
    intervals: ArrayLike,
    significant: Sequence[bool],
) -> Figure:
    """Points above (blue, right) or below (vermillion, left) a baseline, the largest gain on top.

    `values` (locales,) in points, NaN left out; `intervals` (locales, 2) as whiskers, NaN where there is none;
    `significant` (locales,) bool gets a star.
    """
    values, intervals = np.asarray(values, float), np.asarray(intervals, float)
    order = [place for place in np.argsort(-values, kind="stable") if not np.isnan(values[place])]
    values, ends = values[order], intervals[order]
    picture, (axes,) = _rows([language(locales[place]) for place in order], 6.4)
    axes.barh(range(len(order)), values, height=0.68, color=np.where(values >= 0, plots.BLUE, plots.VERMILLION))
    axes.hlines(range(len(order)), *ends.T, color=plots.INK, linewidth=0.8)
    for row, (place, value, whisker) in enumerate(zip(order, values, ends)):
        side = 1 if value >= 0 else -1
        far = side * np.nanmax(side * np.array([value, *whisker]))
        star = "*" if significant[place] else ""
        note(axes, f"{signed(value)}{star}", (far, row), (3 * side, 0), ha="left" if side > 0 else "right")
    axes.axvline(0, color=plots.INK, linewidth=0.8)
    axes.margins(x=0.14)
    wins, losses = int((values > 0).sum()), int((values < 0).sum())
    told = f"mean {signed(values.mean(), 2)} points, above on {wins} and below on {losses} of {len(values)} locales"
    axes.set(xlabel=label, title=f"{title}\n{told}")
    return picture


@styled
def ranking(
    methods: Sequence[str],
    means: ArrayLike,
    intervals: ArrayLike,
    *,
    label: str,
    title: str,
    counts: Sequence[int] | None = None,
) -> Figure:
    """Mean difference of each method, (methods,), with its 95 % interval, (methods, 2), the best on top.

    `counts`: locales of each.
    """
    means, intervals = np.asarray(means, float), np.asarray(intervals, float)
    order = np.argsort(-means, kind="stable")
    names = [methods[place] if counts is None else f"{methods[place]}  ({counts[place]})" for place in order]
    # With names of usual length a phone shows it whole.
    picture, (axes,) = _rows(names, max(4.1, 2 + 0.06 * max(map(len, names))))
    for row, place in enumerate(order):
        low, high = intervals[place]
        colour = plots.BLUE if low > 0 else plots.VERMILLION if high < 0 else plots.FAINT
        axes.plot([low, high], [row, row], color=colour, linewidth=1.6, solid_capstyle="butt")
        (mean,) = axes.plot(means[place], row, "o", color=colour, markersize=5)
        mean.set_markerfacecolor("none" if low <= 0 <= high else colour)
        note(axes, signed(means[place], 2), (1, row), (4, 0), xycoords=("axes fraction", "data"))
    axes.axvline(0, color=plots.INK, linewidth=0.8)
    axes.set(xlabel=label, title=title)
    return picture


@styled
def win_rates(methods: Sequence[str], outcomes: dict[str, np.ndarray]) -> Figure:
    """Shares of locales won and lost against each baseline, ties between them; the best on top.

    `outcomes`: baseline -> (methods, 3) counts of wins, ties, losses.
    """
    first = next(iter(outcomes.values()))
    order = np.argsort(-(first[:, 0] / np.maximum(first.sum(1), 1)), kind="stable")
    names = [methods[place] for place in order]
    lines = 1 if len(outcomes) <= 3 else 2
    columns = -(-len(outcomes) // lines)
    picture, axes = _rows(names, 3 + 1.7 * columns, lines=lines, columns=columns, extra=1.5)
    for axis in axes[len(outcomes) :]:
        axis.remove()
    for axis, (baseline, counts) in zip(axes, outcomes.items()):
        counts = counts[order]
        totals = counts.sum(1)
        shares = 100 * counts / np.maximum(totals, 1)[:, None]
        starts = np.cumsum(shares, axis=1) - shares
        for share, start, (name, colour) in zip(shares.T, starts.T, OUTCOMES):
            label = name if axis is axes[0] else None
            axis.barh(np.arange(len(order)), share, left=start, height=0.74, color=colour, label=label)
        for row, total in enumerate(totals):
            fits, told = shares[row, 0] > 20, f"{counts[row, 0]}/{total}" if total else ""
            at, ink = (2, plots.PAGE) if fits else (shares[row, 0] + 2, "black")
            axis.annotate(told, (at, row), va="center_baseline", fontsize=6.5, color=ink)
        axis.set(xlim=(0, 100), xticks=[0, 50, 100])
        axis.grid(False)
        axis.set_title(f"against {baseline}", fontsize=8)
    picture.supxlabel("% of locales", fontsize=8)
    picture.suptitle("Locales won and lost", fontsize=9, x=0.01, ha="left")
    picture.legend(loc="outside lower right", ncols=3)
    return picture


@styled
def by_label(
    names: Sequence[str], accuracies: np.ndarray, baseline: np.ndarray, *, method: str, baseline_name: str
) -> Figure:
    """Accuracy on the items of each label, (locales, labels) each: mean, and quartiles over locales of the method.

    Sorted by the method's mean; NaN where a locale has no item of a label.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a label that no locale has is left out below
        means, others = np.nanmean(accuracies, axis=0), np.nanmean(baseline, axis=0)
        low, high = np.nanpercentile(accuracies, [25, 75], axis=0)
    order = [place for place in np.argsort(-means, kind="stable") if not np.isnan(means[place])]
    picture, (axes,) = _rows([names[place] for place in order], 6.4, extra=1.6)
    rows, middle = np.arange(len(order)), "middle half of the locales"
    axes.hlines(rows, low[order], high[order], color=plots.BLUE, alpha=0.35, linewidth=3.4, label=middle)
    axes.plot(
        others[order], rows, "o", color=plots.VERMILLION, markerfacecolor="none", markersize=4, label=baseline_name
    )
    axes.plot(means[order], rows, "o", color=plots.BLUE, markersize=4, label=method)
    axes.set(xlabel="accuracy on the label's items, mean over locales", title=f"{method}: accuracy by label")
    picture.legend(loc="outside lower center", ncols=3)
    return picture
