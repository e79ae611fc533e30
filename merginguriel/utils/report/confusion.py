"""Which intents a model takes for which others, as a picture."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from merginguriel.utils.data.massive import INTENTS
from merginguriel.utils.evaluation.results import Evaluation
from merginguriel.utils.report.plots import figure, save, styled

CONFUSION_PLOT = "confusion.png"


def draw_confusion(evaluation: Evaluation, title: str) -> None:
    """confusion.png into the evaluation's folder."""
    picture = confusion_matrix(evaluation.predicted, evaluation.gold, INTENTS, title)
    save(picture, evaluation.folder / CONFUSION_PLOT, dpi=150)


@styled
def confusion_matrix(predicted: np.ndarray, gold: np.ndarray, names: Sequence[str], title: str) -> Figure:
    """Rows: gold label; columns: predicted; shade: share of the row; number: items.

    `predicted` and `gold`, (items,) each, index `names`; labels that occur in neither are left out. Ordered by name, so
    that the intents of one scenario, which share their first word, stand together between two lines.
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
    axes.set_xlabel("predicted")
    axes.set_ylabel("gold")
    axes.set_title(title)
    picture.colorbar(image, ax=axes, label="share of the gold intent's items", shrink=0.6, pad=0.01)
    return picture
