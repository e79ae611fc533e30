"""Pictures of results. Every function draws one figure into one file; matplotlib is imported only to draw."""

from pathlib import Path

import numpy as np


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
