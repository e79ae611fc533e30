"""Votes and the average merge of the same sources, chosen in three ways, for every locale as a target.

Trains a model for each locale, measures N×N transfer on validation and on test, then for each target and selection
(cosine, sinkhorn, real) lets the sources vote and merges them. `real` chooses by the validation matrix; test items are
only judged on. Every number comes from the toolkit's own commands; finished work is not repeated.
docs/results/votes_and_merges.csv was made on GPUs with

    python benchmarks/votes_and_merges.py --base-model DIR/me5-small-xlmr --dataset-name DIR/massive \
        --locales af-ZA,nl-NL,de-DE,en-US,da-DK,es-ES,id-ID,ms-MY,vi-VN,tr-TR,hi-IN,sw-KE \
        --train-flags="--num_train_epochs 5 --per_device_train_batch_size 32 --learning_rate 2e-4
                       --warmup_ratio 0.1 --bf16 --do_train --save_strategy no"
"""

import argparse
import csv
import json
from pathlib import Path

import numpy as np
from commands import Commands, add_study, call, read_study

from merginguriel.utils.data.task_file import task_tokens
from merginguriel.utils.flags.parser import ArgumentParser
from merginguriel.utils.merging.selection import SourceSettings
from merginguriel.utils.similarity.transfer import SUMMARY_JSON, finished_runs
from merginguriel.utils.storage import argument_types, naming
from merginguriel.utils.storage.settings import tokens

SELECTIONS = ("cosine", "sinkhorn", "real")
MERGE = "average"


def build_parser():
    parser = ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_study(parser, k=8, workers=12, folder="votes_and_merges")
    parser.add_argument("--num-languages", type=argument_types.positive_int, default=5)
    parser.add_argument("--csv", type=Path, help="write every number to this file")
    return parser


def nxn_folder(root: Path, split: str) -> Path:
    """The newest finished run of that split."""
    return [run for run in finished_runs(root) if json.loads((run / SUMMARY_JSON).read_text())["split"] == split][-1]


def main(argv=None):
    args = build_parser().parse_args(argv)
    store = read_study(args)
    commands, nxn_root = Commands(args.dir, args.workers), args.dir / naming.NXN_ROOT
    data = ["--base-model", store.base_model, *task_tokens(store.task)]
    common = [*data, "--models-root", store.root]
    commands.train(store, args.locales, args.train_flags)
    dense, sparse = commands.similarity_matrices(store.task, args.locales, args.k, args.dense_matrix)

    for split in ("validation", "test"):
        commands.run(
            [
                "run_nxn_evaluation.py",
                *common,
                "--locales",
                *args.locales,
                "--split",
                split,
                "--max-workers",
                min(4, args.workers),
                "--results-dir",
                nxn_root,
            ]
        )
    validation, test = (nxn_folder(nxn_root, split) for split in ("validation", "test"))

    chosen_by = {"cosine": {"matrix": dense}, "sinkhorn": {"matrix": sparse}, "real": {"nxn_matrix": validation}}
    choices = {name: SourceSettings(args.num_languages, selection=name, **chosen_by[name]) for name in SELECTIONS}
    folders = {name: args.dir / "results" / name for name in SELECTIONS}
    outputs = {
        (name, target): args.dir / "merged_models" / name / naming.merge_name(MERGE, target, args.num_languages)
        for name in SELECTIONS
        for target in args.locales
    }
    commands.run_all(
        "votes and merges",
        [
            *(
                [
                    "run_large_scale_ensemble_experiments.py",
                    *data,
                    *tokens(choices[name]),
                    "--target-languages",
                    *args.locales,
                    "--nxn-dir",
                    test,
                    "--results-dir",
                    folders[name],
                ]
                for name in SELECTIONS
            ),
            *(
                [
                    "run_merging_pipeline_refactored.py",
                    "--mode",
                    MERGE,
                    "--target-lang",
                    target,
                    *common,
                    *tokens(choices[name]),
                    "--no-baselines",
                    "--output-dir",
                    output,
                    "--results-dir",
                    folders[name],
                ]
                for (name, target), output in outputs.items()
            ),
        ],
    )
    rows = compare(args, store.task.word, test, folders, choices, {key: path.name for key, path in outputs.items()})
    if args.csv:
        with open(args.csv, "w", newline="", encoding="utf-8") as out:
            writer = csv.DictWriter(out, [name for name in rows[0] if name != "correct"], extrasaction="ignore")
            writer.writeheader()
            rounded = ("accuracy", "vs_best_source")  # here alone: the tables round what is exact
            writer.writerows({**row, **{name: round(row[name], 4) for name in rounded}} for row in rows)
    text = tables(args, rows)
    (args.dir / "tables.md").write_text(text, encoding="utf-8")
    print(text)


def compare(args, task: str, test: Path, folders: dict, choices: dict, merged: dict) -> list[dict]:
    """A row for each selection, target and method: accuracy, Wilson interval, McNemar p against the best source."""
    from merginguriel.utils.ensembles.settings import VoteSettings
    from merginguriel.utils.ensembles.votes import VOTES
    from merginguriel.utils.evaluation import nxn_logits
    from merginguriel.utils.evaluation.results import read_evaluation
    from merginguriel.utils.evaluation.statistics import holm, mcnemar, wilson_interval

    logits = nxn_logits.open_logits(test)
    rows = []
    for selection in SELECTIONS:
        folder, told = folders[selection], [*filter(None, [task]), *VoteSettings(choices[selection]).words()]
        for target in args.locales:
            names = {method: naming.ensemble_name(method, target, args.num_languages) for method in VOTES}
            done = {
                method: read_evaluation(folder / naming.with_words(name, told), method)
                for method, name in names.items()
            }
            done[MERGE] = read_evaluation(folder / merged[selection, target], MERGE)
            experiment = json.loads((done["majority"].folder / "results.json").read_text())["experiment"]
            gold = logits.labels(target)
            sources = {
                source["locale"]: logits.logits(source["locale"], target).argmax(-1) == gold
                for source in experiment["sources"]
            }
            ranked = sorted(sources, key=lambda locale: -sources[locale].mean())
            best = sources[ranked[0]]
            correct = {"best source": best, **{method: one.correct for method, one in done.items()}}
            for method, right in correct.items():
                low, high = wilson_interval(int(right.sum()), len(right))
                rows.append(
                    {
                        "selection": selection,
                        "target": target,
                        "method": method,
                        "sources": " ".join(sources),
                        "best_source": ranked[0],
                        "accuracy": float(right.mean()),
                        "low": round(low, 4),
                        "high": round(high, 4),
                        "vs_best_source": float(right.mean() - best.mean()),
                        "p_mcnemar": mcnemar(right, best) if method != "best source" else "",
                        "correct": "".join("01"[value] for value in right.astype(int)),
                    }
                )
    tested = [row for row in rows if row["method"] != "best source"]
    for row, adjusted in zip(tested, holm([row["p_mcnemar"] for row in tested])):
        row["p_holm"] = float(f"{adjusted:.3g}")
        row["p_mcnemar"] = float(f"{row['p_mcnemar']:.3g}")
    for row in rows:
        row.setdefault("p_holm", "")
    return rows


def tables(args, rows: list[dict]) -> str:
    """Markdown: a table a selection, a line a target, and the means with their tests over the targets."""
    from merginguriel.utils.evaluation.statistics import holm, paired_bootstrap, wilcoxon

    methods = list(dict.fromkeys(row["method"] for row in rows))
    found = {(row["selection"], row["target"], row["method"]): row for row in rows}
    lines = []
    for selection in SELECTIONS:
        lines += [f"### {selection}", "", "| target | " + " | ".join(methods) + " |", "|---|" + "---|" * len(methods)]
        for target in args.locales:
            cells = []
            for method in methods:
                row = found[selection, target, method]
                star = "*" if row["p_holm"] != "" and row["p_holm"] < 0.05 else ""
                cells.append(
                    f"{row['accuracy']:.3f} {row['best_source']}"
                    if method == "best source"
                    else f"{row['accuracy']:.3f} ({100 * row['vs_best_source']:+.1f}){star}"
                )
            lines.append(f"| {target} | " + " | ".join(cells) + " |")
        correct = {
            method: np.array(
                [[char == "1" for char in found[selection, target, method]["correct"]] for target in args.locales]
            )
            for method in methods
        }
        best = correct["best source"]
        p_values = holm([wilcoxon(correct[method].mean(1), best.mean(1)) for method in methods[1:]])
        cells = [f"**{best.mean():.4f}**"]
        for method, p_value in zip(methods[1:], p_values):
            low, high = paired_bootstrap(correct[method], best)
            cells.append(
                f"**{correct[method].mean():.4f}** ({100 * (correct[method].mean() - best.mean()):+.1f}, "
                f"{100 * low:+.1f} to {100 * high:+.1f}, p {p_value:.2g})"
            )
        lines += ["| mean | " + " | ".join(cells) + " |", ""]
    return "\n".join(lines)


if __name__ == "__main__":
    call(main)
