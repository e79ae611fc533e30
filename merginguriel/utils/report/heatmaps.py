"""Matrices as pictures: transfer, similarity and gains, by language family; confusion of intents."""

from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import CenteredNorm
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle

from merginguriel.utils.data.languages import language, own_codes
from merginguriel.utils.data.task import Task
from merginguriel.utils.evaluation.metrics import METRICS
from merginguriel.utils.evaluation.results import Evaluation
from merginguriel.utils.report import plots
from merginguriel.utils.report.plots import FAINT, PAGE, figure, note, save, styled
from merginguriel.utils.similarity.transfer import TransferMatrix

CONFUSION_PLOT = "confusion.png"
MAX_PRINTED = 15  # rows and columns up to which a heatmap shows its numbers


def by_family(locales: Sequence[str]) -> list[int]:
    """Positions of `locales`, families together: large families first, the unknown last, each sorted by locale.

    Names that are not of languages keep their order.
    """
    families = _families(locales)
    if not any(families):
        return list(range(len(locales)))
    return sorted(
        range(len(locales)),
        key=lambda place: (not families[place], -families.count(families[place]), families[place], locales[place]),
    )


def families_of(locales: Sequence[str]) -> list[tuple[int, int, str]]:
    """(first, last, family) of every run of locales of one family, "" where that is unknown."""
    runs, first = [], 0
    for family, members in groupby(_families(locales)):
        after = first + len(list(members))
        runs.append((first, after - 1, family))
        first = after
    return runs


def _families(names: Sequence[str]) -> list[str]:
    """Of languages; "" for all where fewer than half are known: a method may be called what some language's code is."""
    families = [language(name).family for name in names]
    return families if sum(map(bool, families)) * 2 >= len(names) else [""] * len(names)


@styled
def heatmap(
    values: np.ndarray,
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    label: str,
    row_title: str,
    column_title: str,
    signed: bool = False,
    marked: np.ndarray | None = None,
) -> Figure:
    """`values` (rows, columns), of locales ordered by language family or of other names in the order given.

    NaN is grey. A square marks a locale's own cell, a dot those that are `marked`, (rows, columns) bool. Numbers are
    printed where there are at most MAX_PRINTED rows and columns. `signed`: colours that part at 0.
    """
    row_order, column_order = by_family(rows), by_family(columns)
    rows, columns = [rows[row] for row in row_order], [columns[column] for column in column_order]
    values = np.ma.masked_invalid(np.asarray(values, float)[np.ix_(row_order, column_order)])
    marked = np.zeros(values.shape, bool) if marked is None else marked[np.ix_(row_order, column_order)]
    printed = max(values.shape) <= MAX_PRINTED
    cell, size = (0.5, 8) if printed else (0.2, 6.5)  # inches, points
    # Points that the longest name of a row is wider than `af-ZA`, which the margin is made for.
    wider = max(0.0, 0.62 * size * (max(map(len, rows), default=0) - 5))
    picture, axes, bar = _axes(cell * len(columns), cell * len(rows), wider / 72)
    colours = matplotlib.colormaps["RdBu" if signed else "viridis"].with_extremes(bad="0.88")
    norm = CenteredNorm() if signed else None
    image = axes.imshow(values, cmap=colours, norm=norm, aspect="auto", interpolation="none")

    axes.set_xticks(range(len(columns)), columns, rotation=90, fontsize=size)
    axes.set_yticks(range(len(rows)), rows, fontsize=size)
    axes.tick_params(length=0)
    axes.set_ylabel(row_title, fontsize=9)
    axes.set_xlabel(column_title, fontsize=9)
    axes.yaxis.set_label_coords(-(1.5 + wider / 72) / (cell * len(columns)), 0.5)
    axes.spines[:].set_visible(False)
    _name_families(axes, rows, columns, size, 5.2 * size + wider)
    form = (plots.signed if signed else "{:.3f}".format) if printed else None
    _draw_cells(image, values, np.array(rows)[:, None] == np.array(columns), marked, form)
    picture.colorbar(image, cax=bar).set_label(label, fontsize=9)
    bar.tick_params(labelsize=size)
    return picture


def transfer_heatmap(matrix: TransferMatrix, label: str) -> Figure:
    """Score of each model (rows) on each locale (columns); `label` says which."""
    return heatmap(
        matrix.values, matrix.sources, matrix.targets, label=label, row_title="model of", column_title="evaluated on"
    )


def save_transfer(matrix: TransferMatrix, task: Task, split: str, path: Path) -> None:
    """The picture of an N×N run, whole or not at all."""
    with own_codes(task.own_codes):
        save(transfer_heatmap(matrix, f"{METRICS[task.metric].title}, {split} split"), path)


def _axes(width: float, height: float, wider: float) -> tuple[Figure, Axes, Axes]:
    """(the picture, the cells, the bar of colours beside them), by hand, so that every cell has the same size"""
    left, right, bottom, top = 1.75 + wider, 1.1, 0.95, 1.75
    picture = Figure(figsize=(max(width, 1.6) + left + right, max(height, 1.6) + bottom + top))
    full_width, full_height = picture.get_size_inches()
    low, high = 1 - (top + height) / full_height, height / full_height
    cells = picture.add_axes((left / full_width, low, width / full_width, high))
    return picture, cells, picture.add_axes(((left + width + 0.2) / full_width, low, 0.14 / full_width, high))


def _name_families(axes: Axes, rows: list[str], columns: list[str], size: float, aside: float) -> None:
    """In letters of that `size`; those of rows so many points `aside` of the cells."""
    for first, last, family in families_of(rows):
        if first:
            axes.axhline(first - 0.5, color=PAGE, linewidth=1.2)
        at = (-0.5, (first + last) / 2)
        if family:
            note(axes, family, at, (-aside, 0), fontsize=size, color=FAINT, ha="right", va="center")
    for first, last, family in families_of(columns):
        if first:
            axes.axvline(first - 0.5, color=PAGE, linewidth=1.2)
        at = ((first + last) / 2, -0.5)
        if family:
            note(axes, family, at, (0, 4), fontsize=size, color=FAINT, ha="center", va="bottom", rotation=90)


def _draw_cells(
    image: AxesImage,
    values: np.ma.MaskedArray,
    own: np.ndarray,
    marked: np.ndarray,
    form: Callable[[float], str] | None,
) -> None:
    """Numbers by `form`, if there is one, squares where `own`, dots where `marked`; in an ink that is seen there."""
    inset = 0.06
    for row, column in np.argwhere(own | marked | (form is not None)):
        value = values[row, column]
        empty = value is np.ma.masked
        red, green, blue, _ = (1, 1, 1, 1) if empty else image.to_rgba(value)
        ink = "black" if 0.3 * red + 0.6 * green + 0.1 * blue > 0.5 else "white"
        if form and not empty:
            image.axes.text(column, row, form(value), ha="center", va="center", fontsize=7.5, color=ink)
        if own[row, column]:
            corner, side = (column - 0.5 + inset, row - 0.5 + inset), 1 - 2 * inset
            image.axes.add_patch(Rectangle(corner, side, side, fill=False, edgecolor=ink, linewidth=0.9))
        if marked[row, column]:
            image.axes.plot(column, row + (0.32 if form else 0), ".", color=ink, markersize=2.5)


def draw_confusion(evaluation: Evaluation, title: str) -> None:
    """confusion.png into the evaluation's folder."""
    picture = confusion_matrix(evaluation.predicted, evaluation.gold, evaluation.label_names, title)
    save(picture, evaluation.folder / CONFUSION_PLOT, dpi=150)


@styled
def confusion_matrix(predicted: np.ndarray, gold: np.ndarray, names: Sequence[str], title: str) -> Figure:
    """Rows: gold label; columns: predicted; shade: share of the row; number: items.

    `predicted` and `gold`, (items,) each, index `names`; labels that occur in neither are left out. Ordered by name, so
    that labels which share their first word, as the intents of one scenario do, stand together between two lines.
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
        ink = "white" if shares[row, column] > 0.55 else "black"
        axes.text(column, row, counts[row, column], ha="center", va="center", fontsize=6, color=ink)
    scenarios = [label.split("_")[0] for label in labels]
    for edge in (row for row in range(1, size) if scenarios[row] != scenarios[row - 1]):
        axes.axhline(edge - 0.5, color="0.75", linewidth=0.6)
        axes.axvline(edge - 0.5, color="0.75", linewidth=0.6)
    axes.set(xlabel="predicted", ylabel="gold", title=title)
    picture.colorbar(image, ax=axes, label="share of the gold label's items", shrink=0.6, pad=0.01)
    return picture
