"""Pictures of one method: its scores, its gains over each baseline, its accuracy by label."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from merginguriel.utils.evaluation.predictions import PREDICTIONS, read_predictions
from merginguriel.utils.report import row_plots
from merginguriel.utils.report.plots import Picture
from merginguriel.utils.report.report_data import ReportData
from merginguriel.utils.results.baselines import ALPHA, BASELINES, EVERY, OF_ADAPTED, TESTED, told_of
from merginguriel.utils.results.formatting import capitalised, many
from merginguriel.utils.results.items import Answers

# As names of pictures, and as baselines.
DIFFERENCES = {"vs_avg_zero": "avg_zero_shot", "vs_best_zero": "best_zero_shot", "vs_best_source": "best_source"}
DIFFERENCES |= {f"vs_{name}": name for name in OF_ADAPTED}


def scores_and_differences(data: ReportData) -> Iterator[Picture]:
    """Every method locale by locale, beside its baselines and against each of them where there are several locales."""
    for variant, rows in data.frame.groupby("variant", sort=True):
        title = data.titles[variant]
        shown = ["native", *(name for name in DIFFERENCES.values() if name in BASELINES or name in told_of(rows))]
        baselines = {EVERY[name].title: rows[f"{name}_score"] for name in shown}
        told = {"method": title, "title": f"{title}: {data.metric} beside the baselines", "label": data.metric}
        draw = partial(row_plots.scores, list(rows["locale"]), rows["score"], baselines, **told)
        shows = f"{capitalised(data.metric)} of {title} on each locale, beside its baselines, by language family."
        yield Picture(f"pure_scores_{title}", "accuracy", shows, draw)
        for name, baseline in DIFFERENCES.items():
            if f"vs_{baseline}" in rows and rows[f"vs_{baseline}"].count() > 1:
                against = f"{title} against the {EVERY[baseline].title}"
                shows = (
                    f"{against}, in points of {data.metric}, with 95 % intervals; a star marks p < {ALPHA} after "
                    "Holm's adjustment."
                )
                draw = partial(_differences, data, rows, baseline, against)
                yield Picture(f"{name}_{title}", "win_rate", shows, draw)


def _differences(data: ReportData, rows: pd.DataFrame, baseline: str, against: str) -> Figure:
    intervals = np.array([data.interval(row, baseline) for row in rows.index])
    significant = rows[f"p_{baseline}_holm"] < ALPHA if baseline in TESTED else np.zeros(len(rows), bool)
    return row_plots.differences(
        list(rows["locale"]),
        100 * rows[f"vs_{baseline}"],
        intervals=100 * intervals,
        significant=list(significant),
        label=f"points of {data.metric}",
        title=against,
    )


def by_label(data: ReportData) -> Iterator[Picture]:
    """Every method on the items of each label, where predictions are kept and there are several labels."""
    answers = data.comparison.pairs.answers
    for variant, rows in data.frame.groupby("variant", sort=True):
        kept = [
            (Path(folder) / PREDICTIONS, answers[row, "best_source"])
            for row, folder in rows["folder"].items()
            if (row, "best_source") in answers and (Path(folder) / PREDICTIONS).is_file()
        ]
        if any(len(np.unique(own.gold)) > 1 for _, (own, _) in kept):
            title = data.titles[variant]
            shows = (
                f"Accuracy of {title} and of the best source on the items of each label, mean over "
                f"{many(len(kept), 'locale')}; a line holds the method's accuracy on the middle half of them."
            )
            yield Picture(f"intents_{title}", "summary", shows, partial(_draw_labels, kept, title))


def _draw_labels(kept: list[tuple[Path, tuple[Answers, Answers]]], title: str) -> Figure:
    names = [str(name) for name in read_predictions(kept[0][0], ("intents",))["intents"]]
    own, best = (np.array(accuracies) for accuracies in zip(*(_by_label(pair, len(names)) for _, pair in kept)))
    return row_plots.by_label(names, own, best, method=title, baseline_name=BASELINES["best_source"].title)


def _by_label(pair: tuple[Answers, Answers], num_labels: int) -> list[np.ndarray]:
    """(labels,) accuracy on the items of each label, of a result and of its best source."""
    counts = np.bincount(pair[0].gold, minlength=num_labels).astype(float)
    counts[counts == 0] = np.nan
    return [np.bincount(one.gold, weights=one.correct, minlength=len(counts)) / counts for one in pair]
