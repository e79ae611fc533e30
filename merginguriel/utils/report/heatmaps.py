"""Matrices as pictures: transfer, similarity and gains, by language family; confusion of intents."""

from itertools import groupby

import numpy as np

from merginguriel.utils.data.languages import LOCALES
from merginguriel.utils.report.plots import FAINT, PAGE, figure, styled

MAX_PRINTED = 15  # rows and columns up to which a heatmap shows its numbers


def by_family(locales) -> list[int]:
    """Positions of `locales`, families together: large families first, singletons last, each sorted by locale.

    Names that are not all locales keep their order.
    """
    if not all(locale in LOCALES for locale in locales):
        return list(range(len(locales)))
    families = [LOCALES[locale].family for locale in locales]
    return sorted(
        range(len(locales)), key=lambda place: (-families.count(families[place]), families[place], locales[place])
    )


@styled
def heatmap(
    values: np.ndarray,
    rows,
    columns,
    *,
    label: str,
    row_title: str,
    column_title: str,
    signed: bool = False,
    number: str = "{:.3f}",
    marked: np.ndarray | None = None,
):
    """`values` (rows, columns), of locales ordered by language family or of other names in the order given.

    NaN is grey. A square marks a locale's own cell, a dot those that are `marked`, (rows, columns) bool. Numbers are
    printed where there are at most MAX_PRINTED rows and columns. `signed`: colours that part at 0.
    """
    from matplotlib import colormaps
    from matplotlib.colors import CenteredNorm
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    row_order, column_order = by_family(rows), by_family(columns)
    rows, columns = [rows[row] for row in row_order], [columns[column] for column in column_order]
    values = np.ma.masked_invalid(np.asarray(values, float)[np.ix_(row_order, column_order)])
    marked = np.zeros(values.shape, bool) if marked is None else marked[np.ix_(row_order, column_order)]
    printed = max(values.shape) <= MAX_PRINTED
    cell = 0.5 if printed else 0.2  # inches
    width, height = cell * len(columns), cell * len(rows)
    left, right, bottom, top = 1.75, 1.1, 0.95, 1.75
    # Laid out by hand, so that every cell of every matrix has the same size.
    picture = Figure(figsize=(max(width, 1.6) + left + right, max(height, 1.6) + bottom + top))
    full_width, full_height = picture.get_size_inches()
    axes = picture.add_axes(
        (left / full_width, 1 - (top + height) / full_height, width / full_width, height / full_height)
    )
    colours = colormaps["RdBu" if signed else "viridis"].with_extremes(bad="0.88")
    image = axes.imshow(
        values, cmap=colours, norm=CenteredNorm() if signed else None, aspect="auto", interpolation="none"
    )

    size = 8 if printed else 6.5
    axes.set_xticks(range(len(columns)), columns, rotation=90, fontsize=size)
    axes.set_yticks(range(len(rows)), rows, fontsize=size)
    axes.tick_params(length=0)
    axes.set_ylabel(row_title, fontsize=9)
    axes.set_xlabel(column_title, fontsize=9)
    axes.yaxis.set_label_coords(-1.5 / width, 0.5)
    for spine in axes.spines.values():
        spine.set_visible(False)

    points = {"textcoords": "offset points", "fontsize": size, "color": FAINT, "annotation_clip": False}
    for first, last, family in families_of(rows):
        if first:
            axes.axhline(first - 0.5, color=PAGE, linewidth=1.2)
        axes.annotate(family, (-0.5, (first + last) / 2), (-5.2 * size, 0), ha="right", va="center", **points)
    for first, last, family in families_of(columns):
        if first:
            axes.axvline(first - 0.5, color=PAGE, linewidth=1.2)
        axes.annotate(family, ((first + last) / 2, -0.5), (0, 4), ha="center", va="bottom", rotation=90, **points)

    for row, source in enumerate(rows):
        for column, target in enumerate(columns):
            empty = values[row, column] is np.ma.masked
            ink = "black" if empty or _lightness(image.to_rgba(values[row, column])) > 0.5 else "white"
            if printed and not empty:
                axes.text(
                    column, row, number.format(values[row, column]), ha="center", va="center", fontsize=7.5, color=ink
                )
            if source == target:
                inset = 0.06
                axes.add_patch(
                    Rectangle(
                        (column - 0.5 + inset, row - 0.5 + inset),
                        1 - 2 * inset,
                        1 - 2 * inset,
                        fill=False,
                        edgecolor=ink,
                        linewidth=0.9,
                    )
                )
            if marked[row, column]:
                axes.plot(column, row + (0.32 if printed else 0), ".", color=ink, markersize=2.5)
    bar = picture.add_axes(
        ((left + width + 0.2) / full_width, 1 - (top + height) / full_height, 0.14 / full_width, height / full_height)
    )
    picture.colorbar(image, cax=bar).set_label(label, fontsize=9)
    bar.tick_params(labelsize=size)
    return picture


def _lightness(colour) -> float:
    red, green, blue, _ = colour
    return 0.3 * red + 0.6 * green + 0.1 * blue


def families_of(locales) -> list[tuple[int, int, str]]:
    """(first, last, family) of every run of locales of one family; nothing for names that are no locales."""
    groups = []
    for family, members in groupby(
        enumerate(locales), key=lambda member: LOCALES[member[1]].family if member[1] in LOCALES else None
    ):
        places = [place for place, _ in members]
        if family:
            groups.append((places[0], places[-1], family))
    return groups


@styled
def confusion_matrix(predicted: np.ndarray, gold: np.ndarray, names, title: str):
    """Rows: gold label; columns: predicted; shade: share of the row; number: items.

    `predicted` and `gold` index `names`; labels that occur in neither are left out. Ordered by name, so that
    the intents of one scenario, which share their first word, stand together between two lines.
    """
    order = sorted(np.union1d(predicted, gold), key=lambda label: names[label])
    place = {label: row for row, label in enumerate(order)}
    size = len(order)
    counts = np.zeros((size, size), int)
    np.add.at(counts, ([place[label] for label in gold], [place[label] for label in predicted]), 1)
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)

    picture = figure(4 + 0.24 * size, 3.2 + 0.24 * size)
    axes = picture.add_subplot()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, interpolation="none")
    labels = [names[label] for label in order]
    axes.set_xticks(range(size), labels, rotation=90)
    axes.set_yticks(range(size), labels)
    for row, column in zip(*counts.nonzero()):
        axes.text(
            column,
            row,
            counts[row, column],
            ha="center",
            va="center",
            fontsize=6,
            color="white" if shares[row, column] > 0.55 else "black",
        )
    scenarios = [label.split("_")[0] for label in labels]
    for edge in (row for row in range(1, size) if scenarios[row] != scenarios[row - 1]):
        axes.axhline(edge - 0.5, color="0.75", linewidth=0.6)
        axes.axvline(edge - 0.5, color="0.75", linewidth=0.6)
    axes.set_xlabel("predicted")
    axes.set_ylabel("gold")
    axes.set_title(title)
    picture.colorbar(image, ax=axes, label="share of the gold intent's items", shrink=0.6, pad=0.01)
    return picture
