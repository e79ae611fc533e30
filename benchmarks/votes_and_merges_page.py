"""docs/results/votes_and_merges.html from the CSV tables beside it, where the results folders are no longer there.

With the folders the page has more, intervals by locale and the command of each number:

    python merginguriel/report.py --results-dir DIR/results --nxn-results-dir DIR/nxn_results
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from merginguriel.utils.merging import calculators
from merginguriel.utils.report.page import page
from merginguriel.utils.report.report_data import ReportData
from merginguriel.utils.results.baselines import BASELINES, TESTED
from merginguriel.utils.results.comparison import COMPARISON, Comparison
from merginguriel.utils.results.pairs import Pairs
from merginguriel.utils.results.rows import COLUMNS
from merginguriel.utils.similarity import sparsify, transfer, uriel

ITEMS = 2974
RESULTS = Path(__file__).resolve().parents[1] / "docs/results"


def build_parser():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=RESULTS / "votes_and_merges.html")
    return parser


def weights(selections: dict, row) -> str:
    """Of the row's sources, as the study weighed them: votes by what chose the sources, the merge equally."""
    scores = selections[row.selection].for_target(row.target)
    chosen = (
        dict.fromkeys(row.sources.split(), 1.0)
        if row.method == "average"
        else {source: scores[source] for source in row.sources.split()}
    )
    return json.dumps(calculators.SimilarityCalculator.calculate(chosen))


def comparison(dense) -> Comparison:
    rows = pd.read_csv(RESULTS / "votes_and_merges.csv")
    test, validation = (transfer.read_csv(RESULTS / f"nxn_{split}.csv") for split in ("test", "validation"))
    test = replace(test, values=(test.values * ITEMS).round() / ITEMS)
    selections = {"cosine": dense, "sinkhorn": sparsify.sparsify(dense, 8, 20), "real": validation}
    # The tables have four digits; accuracies are whole numbers of items.
    rows["accuracy"] = (rows["accuracy"] * ITEMS).round() / ITEMS
    best_source = rows[rows.method == "best source"].set_index(["selection", "target"]).accuracy
    rows = rows[rows.method != "best source"].reset_index(drop=True)
    ensemble = rows.method != "average"
    method = rows.method.where(~ensemble, "ensemble_" + rows.method)
    table = pd.DataFrame(
        {
            "kind": np.where(ensemble, "ensemble", "merge"),
            "method": method,
            "locale": rows.target,
            "target": rows.target,
            "variant": method + "_5lang" + rows.selection.map({"sinkhorn": ""}).fillna("_" + rows.selection),
            "num_sources": 5,
            "selection": rows.selection,
            "seed": 42,
            "split": "test",
            "metric": "accuracy",
            "score": rows.accuracy,
            "accuracy": rows.accuracy,
            "total": ITEMS,
            "ci_low": rows.low,
            "ci_high": rows.high,
            "settings": "{}",
            "precision": "bfloat16",
            "sources": [weights(selections, row) for row in rows.itertuples()],
            "dataset": "MASSIVE 1.1",
            "best_source": rows.best_source,
            "p_best_source": rows.p_mcnemar,
            "p_best_source_holm": rows.p_holm,
            "best_source_score": [best_source[row.selection, row.target] for row in rows.itertuples()],
        }
    )
    for target, column in zip(test.targets, test.values.T):
        others, there = test.for_target(target), table.locale == target
        table.loc[there, ["best_zero_shot", "best_zero_shot_score"]] = next(iter(others.items()))
        table.loc[there, "avg_zero_shot_score"] = np.mean(list(others.values()))
        table.loc[there, "native_score"] = column[test.sources.index(target)]
    for name in BASELINES:
        table[f"vs_{name}"] = table.score - table[f"{name}_score"].astype(float)
    table = table.reindex(columns=[*COLUMNS, *COMPARISON])
    p_values = {f"p_{name}{end}": float for name in TESTED for end in ("", "_holm")}
    return Comparison(
        table.astype(p_values), ["Made from tables, without predictions: no intervals of gains."], {}, Pairs()
    )


def main(argv=None):
    args = build_parser().parse_args(argv)
    test = transfer.read_csv(RESULTS / "nxn_test.csv")
    dense = uriel.dense_matrix(test.targets)
    written = page(
        ReportData(comparison(dense), test, dense),
        origin="docs/results/votes_and_merges.csv",
        title="Votes and merges, twelve locales of MASSIVE",
        made="in November 2026",
        command="python benchmarks/votes_and_merges_page.py",
    )
    args.output.write_text(written, encoding="utf-8")
    print(f"{args.output}: {len(written.encode()) / 1024:.0f} KB")


if __name__ == "__main__":
    main()
