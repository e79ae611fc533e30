"""The table of settings in docs/methods.md, from the accuracies that `benchmarks/tune_methods.py` wrote.

    python benchmarks/methods_table.py

Dev accuracy chooses a mode's setting; test accuracy is shown of the defaults and of the choice alone. Intervals are
percentile bootstraps that draw targets alone, because the CSV has accuracies and no items.
"""

import argparse
import csv
from pathlib import Path

import numpy as np
from commands import ROOT
from sib200_tables import fill

from merginguriel.utils.evaluation.statistics import bootstrap_interval

DEV, TEST = "validation", "test"
SETTINGS = ROOT / "docs/results/tuned_methods.csv"
PAGE = ROOT / "docs/methods.md"


def table(rows: list[dict]) -> list[str]:
    """Lines of Markdown. `rows`: mode, flags, target and both accuracies; a mode's first setting are its defaults."""
    found: dict[tuple[str, str], dict[str, tuple[float, float]]] = {}
    for row in rows:
        found.setdefault((row["mode"], row["flags"]), {})[row["target"]] = float(row[DEV]), float(row[TEST])
    targets = list(found["average", ""])
    accuracies = {setting: np.array([of[target] for target in targets]) for setting, of in found.items()}
    dev = {setting: values[:, 0].mean() for setting, values in accuracies.items()}
    lines = ["| setting | dev | test | points to the average | above it |", "|---|---|---|---|---|"]
    for mode in dict.fromkeys(mode for mode, _ in accuracies):
        settings = [setting for setting in accuracies if setting[0] == mode]
        best = max(settings, key=dev.__getitem__)
        for setting in settings:
            label = f"· `{setting[1]}`" if setting[1] else mode
            mark = "**" if setting == best and len(settings) > 1 else ""
            shown = setting in (settings[0], best)
            cells = _test_cells(accuracies[setting], accuracies["average", ""]) if shown else ["", "", ""]
            lines.append(f"| {label} | {mark}{dev[setting]:.4f}{mark} | " + " | ".join(cells) + " |")
    return lines


def _test_cells(accuracies: np.ndarray, averages: np.ndarray) -> list[str]:
    """Of a setting, (targets, 2): its mean test accuracy, gain over the average with interval, how often above it."""
    gains = accuracies[:, 1] - averages[:, 1]
    cells = [f"{accuracies[:, 1].mean():.4f}", "", ""]
    if gains.any():
        low, high = bootstrap_interval(gains)
        cells[1:] = [
            f"{100 * gains.mean():+.2f} [{100 * low:+.2f}, {100 * high:+.2f}]",
            f"{sum(gains > 0)}/{len(gains)}",
        ]
    return cells


def main(argv=None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--settings", type=Path, default=SETTINGS, help="the CSV")
    parser.add_argument("--page", type=Path, default=PAGE, help="its table is replaced")
    args = parser.parse_args(argv)
    with open(args.settings, encoding="utf-8", newline="") as lines:
        fill(args.page, {"settings": table(list(csv.DictReader(lines)))})


if __name__ == "__main__":
    main()
