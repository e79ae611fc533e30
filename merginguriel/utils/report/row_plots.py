"""Pictures with a row for each locale, method or intent, read from left to right; any number of rows stays readable."""

import numpy as np

from merginguriel.utils.data.languages import LOCALES
from merginguriel.utils.report.heatmaps import by_family, families_of
from merginguriel.utils.report.plots import BLUE, FAINT, GREEN, INK, ORANGE, PURPLE, RULE, VERMILLION, figure, styled

ROW = 0.175  # inches
# Marker, size, colour and whether it is filled, of the baselines in their order: the third stands around the fourth
# where both are one model.
BASELINE_MARKS = (("D", 4.5, PURPLE, True), ("o", 4.5, FAINT, False), ("^", 8, ORANGE, False), ("s", 4, GREEN, True))


def language(locale: str) -> str:
    return f"{LOCALES[locale].language}  {locale}" if locale in LOCALES else locale


def _rows(labels, width: float, *, columns: int = 1, extra: float = 1.3):
    """(figure, array of axes) with a line for each label, the first on top."""
    picture = figure(width, extra + ROW * max(len(labels), 2))
    axes = picture.subplots(1, columns, sharey=True, squeeze=False)[0]
    for axis in axes:
        axis.set_ylim(len(labels) - 0.4, -0.6)
        axis.set_yticks(range(len(labels)), labels)
        axis.tick_params(axis="y", length=0)
        axis.spines["left"].set_visible(False)
        axis.grid(axis="x")
    return picture, axes


@styled
def scores(locales, accuracies, baselines: dict[str, np.ndarray], *, method: str, title: str):
    """Accuracy of a method and of up to four baselines on each locale, by family. NaN is left out."""
    order = by_family(locales)
    locales = [locales[place] for place in order]
    accuracies = np.asarray(accuracies, float)[order]
    baselines = {name: np.asarray(values, float)[order] for name, values in baselines.items()}
    picture, (axes,) = _rows([language(locale) for locale in locales], 7.2, extra=1.6)
    places = np.arange(len(locales))
    every = np.vstack([accuracies, *baselines.values()])
    axes.hlines(places, np.nanmin(every, axis=0), np.nanmax(every, axis=0), color=RULE, linewidth=2.2, zorder=1)
    for (name, values), (marker, size, colour, filled) in zip(baselines.items(), BASELINE_MARKS):
        if not np.isnan(values).all():
            axes.plot(
                values,
                places,
                marker,
                color=colour,
                markerfacecolor=colour if filled else "none",
                markersize=size,
                label=name,
                zorder=2,
            )
    axes.plot(accuracies, places, "|", color=BLUE, markersize=10, markeredgewidth=2.6, label=method, zorder=3)
    for first, last, family in families_of(locales):
        if first:
            axes.axhline(first - 0.5, color=FAINT, linewidth=0.4)
        axes.annotate(
            family,
            (1, (first + last) / 2),
            (6, 0),
            xycoords=("axes fraction", "data"),
            va="center",
            textcoords="offset points",
            color=FAINT,
            fontsize=7,
            annotation_clip=False,
        )
    axes.set_xlabel("accuracy")
    axes.set_title(title)
    picture.legend(loc="outside lower center", ncols=5, handletextpad=0.3, columnspacing=1.4)
    return picture


@styled
def differences(locales, values, *, title: str, label: str, intervals, significant):
    """Points of accuracy above (blue, right) or below (vermillion, left) a baseline, the largest gain on top.

    `values` (locales,) in points, NaN left out; `intervals` (locales, 2) as whiskers, NaN where there is none;
    `significant` (locales,) bool gets a star.
    """
    values, intervals = np.asarray(values, float), np.asarray(intervals, float)
    order = [place for place in np.argsort(-values, kind="stable") if not np.isnan(values[place])]
    values, ends = values[order], intervals[order]
    picture, (axes,) = _rows([language(locales[place]) for place in order], 6.4)
    axes.barh(range(len(order)), values, height=0.68, color=np.where(values >= 0, BLUE, VERMILLION))
    axes.hlines(range(len(order)), *ends.T, color=INK, linewidth=0.8)
    for row, (place, value, whisker) in enumerate(zip(order, values, ends)):
        side = 1 if value >= 0 else -1
        far = side * np.nanmax(side * np.array([value, *whisker]))
        axes.annotate(
            f"{value:+.1f}{'*' if significant[place] else ''}",
            (far, row),
            (3 * side, 0),
            fontsize=7,
            textcoords="offset points",
            ha="left" if side > 0 else "right",
            va="center_baseline",
        )
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.margins(x=0.14)
    axes.set_xlabel(label)
    wins, losses = int((values > 0).sum()), int((values < 0).sum())
    axes.set_title(
        f"{title}\nmean {values.mean():+.2f} points, above on {wins} and below on {losses} of {len(values)} locales"
    )
    return picture


@styled
def ranking(methods, means, intervals, *, label: str, title: str, counts=None):
    """Mean difference of each method with its 95 % interval, the best on top. `counts`: locales of each."""
    means, intervals = np.asarray(means, float), np.asarray(intervals, float)
    order = np.argsort(-means, kind="stable")
    names = [methods[place] if counts is None else f"{methods[place]}  ({counts[place]})" for place in order]
    picture, (axes,) = _rows(names, 6.4)
    for row, place in enumerate(order):
        low, high = intervals[place]
        colour = BLUE if low > 0 else VERMILLION if high < 0 else FAINT
        axes.plot([low, high], [row, row], color=colour, linewidth=1.6, solid_capstyle="butt")
        axes.plot(
            means[place], row, "o", color=colour, markersize=5, markerfacecolor="none" if low <= 0 <= high else colour
        )
        axes.annotate(
            f"{means[place]:+.2f}",
            (1, row),
            (4, 0),
            xycoords=("axes fraction", "data"),
            fontsize=7,
            textcoords="offset points",
            va="center_baseline",
            annotation_clip=False,
        )
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.set_xlabel(label)
    axes.set_title(title)
    return picture


@styled
def win_rates(methods, outcomes: dict[str, np.ndarray], *, title: str):
    """Shares of locales won and lost against each baseline, ties between them; the best on top.

    `outcomes`: baseline -> (methods, 3) counts of wins, ties, losses.
    """
    first = next(iter(outcomes.values()))
    order = np.argsort(-(first[:, 0] / np.maximum(first.sum(1), 1)), kind="stable")
    picture, axes = _rows(
        [methods[place] for place in order], 3 + 1.7 * len(outcomes), columns=len(outcomes), extra=1.5
    )
    for axis, (baseline, counts) in zip(axes, outcomes.items()):
        counts = counts[order]
        totals = counts.sum(1)
        shares = 100 * counts / np.maximum(totals, 1)[:, None]
        starts = np.cumsum(shares, axis=1) - shares
        for column, (name, colour) in enumerate((("won", BLUE), ("tied", RULE), ("lost", VERMILLION))):
            axis.barh(
                np.arange(len(order)),
                shares[:, column],
                left=starts[:, column],
                height=0.74,
                color=colour,
                label=name if axis is axes[0] else None,
            )
        for row, total in enumerate(totals):
            fits = shares[row, 0] > 20
            axis.annotate(
                f"{counts[row, 0]}/{total}" if total else "",
                (2 if fits else shares[row, 0] + 2, row),
                va="center_baseline",
                fontsize=6.5,
                color="white" if fits else "black",
            )
        axis.set_xlim(0, 100)
        axis.set_xticks([0, 50, 100])
        axis.grid(False)
        axis.set_title(f"against {baseline}", fontsize=8)
    picture.supxlabel("% of locales", fontsize=8)
    picture.suptitle(title, fontsize=9, x=0.01, ha="left")
    picture.legend(loc="outside lower right", ncols=3)
    return picture


@styled
def intents(names, accuracies: np.ndarray, baseline: np.ndarray, *, method: str, baseline_name: str, title: str):
    """Accuracy on the items of each intent, (locales, intents) each: mean, and quartiles over locales of the method.

    Sorted by the method's mean; NaN where a locale has no item of an intent.
    """
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # an intent that no locale has is left out below
        means, others = np.nanmean(accuracies, axis=0), np.nanmean(baseline, axis=0)
        low, high = np.nanpercentile(accuracies, [25, 75], axis=0)
    order = [place for place in np.argsort(-means, kind="stable") if not np.isnan(means[place])]
    picture, (axes,) = _rows([names[place] for place in order], 6.4, extra=1.6)
    rows = np.arange(len(order))
    axes.hlines(
        rows, low[order], high[order], color=BLUE, alpha=0.35, linewidth=3.4, label="middle half of the locales"
    )
    axes.plot(others[order], rows, "o", color=VERMILLION, markerfacecolor="none", markersize=4, label=baseline_name)
    axes.plot(means[order], rows, "o", color=BLUE, markersize=4, label=method)
    axes.set_xlabel("accuracy on the intent's items, mean over locales")
    axes.set_title(title)
    picture.legend(loc="outside lower center", ncols=3)
    return picture
