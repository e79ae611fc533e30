"""Pictures of results. Every function draws one figure into one file; matplotlib is imported only to draw."""

from itertools import groupby
from pathlib import Path

import numpy as np

from merginguriel.utils.locales import LOCALES

MAX_PRINTED = 15  # rows and columns up to which a heatmap shows its numbers


def by_family(locales) -> list[int]:
    """Positions of `locales`, families together: large families first, singletons last, each sorted by locale."""
    families = [LOCALES[locale].family for locale in locales]
    return sorted(range(len(locales)),
                  key=lambda place: (-families.count(families[place]), families[place], locales[place]))


def heatmap(values: np.ndarray, rows, columns, path: Path, *, label: str, row_title: str, column_title: str) -> None:
    """`values` (rows, columns) of locales, ordered by language family, as a PNG of 300 dpi at `path`.

    NaN is grey. A square marks a locale's own cell. Numbers are printed where there are at most MAX_PRINTED.
    """
    from matplotlib import colormaps
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    row_order, column_order = by_family(rows), by_family(columns)
    rows, columns = [rows[row] for row in row_order], [columns[column] for column in column_order]
    values = np.ma.masked_invalid(np.asarray(values, float)[np.ix_(row_order, column_order)])
    printed = max(values.shape) <= MAX_PRINTED
    cell = 0.5 if printed else 0.2  # inches
    width, height = cell * len(columns), cell * len(rows)
    left, right, bottom, top = 1.75, 1.1, 0.95, 1.75
    figure = Figure(figsize=(max(width, 1.6) + left + right, max(height, 1.6) + bottom + top))
    FigureCanvasAgg(figure)
    full_width, full_height = figure.get_size_inches()
    axes = figure.add_axes((left / full_width, 1 - (top + height) / full_height,
                            width / full_width, height / full_height))
    image = axes.imshow(values, cmap=colormaps["viridis"].with_extremes(bad="0.88"), aspect="auto",
                        interpolation="nearest")

    size = 8 if printed else 6.5
    axes.set_xticks(range(len(columns)), columns, rotation=90, fontsize=size)
    axes.set_yticks(range(len(rows)), rows, fontsize=size)
    axes.tick_params(length=0)
    axes.set_ylabel(row_title, fontsize=9)
    axes.set_xlabel(column_title, fontsize=9)
    axes.yaxis.set_label_coords(-1.5 / width, 0.5)
    for spine in axes.spines.values():
        spine.set_visible(False)

    points = {"textcoords": "offset points", "fontsize": size, "color": "0.35", "annotation_clip": False}
    for first, last, family in _groups(rows):
        if first:
            axes.axhline(first - 0.5, color="white", linewidth=1.2)
        axes.annotate(family, (-0.5, (first + last) / 2), (-5.2 * size, 0), ha="right", va="center", **points)
    for first, last, family in _groups(columns):
        if first:
            axes.axvline(first - 0.5, color="white", linewidth=1.2)
        axes.annotate(family, ((first + last) / 2, -0.5), (0, 4), ha="center", va="bottom", rotation=90, **points)

    middle = (values.min() + values.max()) / 2 if values.count() else 0
    for row, source in enumerate(rows):
        for column, target in enumerate(columns):
            dark = values[row, column] is not np.ma.masked and values[row, column] < middle
            ink = "white" if dark else "black"
            if printed and values[row, column] is not np.ma.masked:
                axes.text(column, row, f"{values[row, column]:.3f}", ha="center", va="center", fontsize=7.5, color=ink)
            if source == target:
                inset = 0.06
                axes.add_patch(Rectangle((column - 0.5 + inset, row - 0.5 + inset), 1 - 2 * inset, 1 - 2 * inset,
                                         fill=False, edgecolor=ink, linewidth=0.9))
    bar = figure.add_axes(((left + width + 0.2) / full_width, 1 - (top + height) / full_height,
                           0.14 / full_width, height / full_height))
    figure.colorbar(image, cax=bar).set_label(label, fontsize=9)
    bar.tick_params(labelsize=size)
    figure.savefig(path, dpi=300, format="png", bbox_inches="tight")


def _groups(locales) -> list[tuple[int, int, str]]:
    """(first, last, family) of every run of locales of one family."""
    groups = []
    for family, members in groupby(enumerate(locales), key=lambda member: LOCALES[member[1]].family):
        places = [place for place, _ in members]
        groups.append((places[0], places[-1], family))
    return groups


def confusion_matrix(predicted: np.ndarray, gold: np.ndarray, names, path: Path, title: str) -> None:
    """Rows: gold label; columns: predicted; shade: share of the row; number: items. PNG at `path`.

    `predicted` and `gold` index `names`; labels that occur in neither are left out. Ordered by name, so that
    the intents of one scenario, which share their first word, stand together between two lines.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    order = sorted(np.union1d(predicted, gold), key=lambda label: names[label])
    place = {label: row for row, label in enumerate(order)}
    size = len(order)
    counts = np.zeros((size, size), int)
    np.add.at(counts, ([place[label] for label in gold], [place[label] for label in predicted]), 1)
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)

    figure = Figure(figsize=(4 + 0.24 * size, 3.2 + 0.24 * size), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    labels = [names[label] for label in order]
    axes.set_xticks(range(size), labels, rotation=90, fontsize=8)
    axes.set_yticks(range(size), labels, fontsize=8)
    for row, column in zip(*counts.nonzero()):
        axes.text(column, row, counts[row, column], ha="center", va="center", fontsize=6,
                  color="white" if shares[row, column] > 0.55 else "black")
    scenarios = [label.split("_")[0] for label in labels]
    for edge in (row for row in range(1, size) if scenarios[row] != scenarios[row - 1]):
        axes.axhline(edge - 0.5, color="0.75", linewidth=0.6)
        axes.axvline(edge - 0.5, color="0.75", linewidth=0.6)
    axes.set_xlabel("predicted")
    axes.set_ylabel("gold")
    axes.set_title(title)
    figure.colorbar(image, ax=axes, label="share of the gold intent's items", shrink=0.6, pad=0.01)
    figure.savefig(path, dpi=150, format="png")
