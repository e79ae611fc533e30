"""Accuracy of merges on real data: train sources, merge for targets that none of them has seen, one table.

Every number comes from the toolkit's own commands, run as a user would; this script only runs many of
them, several at a time, and collects their results. Finished work is not repeated. The table of
docs/results.md was made on one GPU with

    python benchmarks/merge_accuracy.py --base-model DIR/me5-small-xlmr --dataset-name DIR/massive \
        --locales af-ZA,nl-NL,de-DE,en-US,da-DK,id-ID,ms-MY,vi-VN --targets af-ZA,id-ID,de-DE \
        --train-flags="--num_train_epochs 5 --per_device_train_batch_size 32 --learning_rate 2e-4
                       --warmup_ratio 0.1 --bf16 --save_strategy no"
"""

import argparse
import itertools
import json
import sys

from commands import Commands, add_study, call, read_study

from merginguriel.utils.data import language_arguments
from merginguriel.utils.data.task_file import task_tokens
from merginguriel.utils.flags.parser import ArgumentParser
from merginguriel.utils.storage import argument_types, naming


def build_parser():
    parser = ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_study(parser, k=5, workers=8, folder="merge_accuracy")
    parser.add_argument("--targets", type=language_arguments.locale_list, help="default: the first three locales")
    parser.add_argument("--modes", nargs="+", default=["average", "similarity"])
    parser.add_argument("--num-languages", type=argument_types.positive_int, nargs="+", default=[3, 5])
    parser.add_argument("--selections", nargs="+", default=["cosine", "sinkhorn"])
    return parser


def main(argv=None):
    args = build_parser().parse_args(argv)
    store = read_study(args)
    args.targets = args.targets or args.locales[:3]
    commands, results, data = Commands(args.dir, args.workers), args.dir / "results", task_tokens(store.task)

    seconds = commands.train(store, args.locales, args.train_flags)
    dense, sparse = commands.similarity_matrices(store.task, args.locales, args.k, args.dense_matrix)

    pairs = [(source, target) for source in args.locales for target in dict.fromkeys([source, *args.targets])]
    commands.run_all(
        "evaluating sources",
        [
            [
                "evaluate_specific_model.py",
                "--base-model",
                store.folder(source),
                "--locale",
                target,
                "--results-dir",
                results,
                *data,
            ]
            for source, target in pairs
        ],
    )

    grid = list(itertools.product(args.targets, args.modes, args.num_languages, args.selections))
    outputs = {job: args.dir / "merged_models" / job[3] / naming.merge_name(job[1], job[0], job[2]) for job in grid}
    commands.run_all(
        "merging",
        [
            [
                "run_merging_pipeline_refactored.py",
                "--mode",
                mode,
                "--target-lang",
                target,
                "--num-languages",
                count,
                "--base-model",
                store.base_model,
                "--models-root",
                store.root,
                *data,
                "--selection",
                selection,
                "--similarity-matrix",
                dense if selection == "cosine" else sparse,
                "--no-baselines",
                "--output-dir",
                outputs[target, mode, count, selection],
                "--results-dir",
                results / selection,
            ]
            for target, mode, count, selection in grid
        ],
    )

    table = report(args, grid, outputs, results, store)
    if seconds > 1:
        print(f"{len(args.locales)} sources trained in {seconds:.0f} s with {args.workers} processes", file=sys.stderr)
    (args.dir / "table.md").write_text(table, encoding="utf-8")
    print(table)


def report(args, grid, outputs, results, store) -> str:
    from merginguriel.utils.evaluation.results import read_evaluation
    from merginguriel.utils.evaluation.statistics import mcnemar

    def alone(source, target):
        return read_evaluation(results / naming.evaluation_name(store.folder(source).name, target), source)

    def cell(evaluation):
        low, high = evaluation.interval
        return f"{evaluation.accuracy:.4f} | {low:.3f} to {high:.3f}"

    own = {locale: alone(locale, locale) for locale in args.locales}
    mean = sum(evaluation.accuracy for evaluation in own.values()) / len(own)
    lines = [
        f"Own-language test accuracy, mean over {len(own)} locales: {mean:.4f}",
        "",
        "| locale | accuracy | 95 % interval |",
        "|---|---|---|",
        *(f"| {locale} | {cell(evaluation)} |" for locale, evaluation in own.items()),
    ]
    for target in args.targets:
        sources = sorted(
            (alone(source, target) for source in args.locales if source != target),
            key=lambda evaluation: -evaluation.accuracy,
        )
        lines += [
            "",
            f"### {target}",
            "",
            "| model | sources | accuracy | 95 % interval | best source used | p |",
            "|---|---|---|---|---|---|",
            *(f"| {source.name} alone | | {cell(source)} | | |" for source in sources),
        ]
        for job in grid:
            if job[0] != target:
                continue
            _, mode, count, selection = job
            merged = read_evaluation(results / selection / outputs[job].name, mode)
            details = json.loads((outputs[job] / "merge_details.json").read_text(encoding="utf-8"))
            used = [source["locale"] for source in details["plan"]["sources"]]
            best = next(source for source in sources if source.name in used)
            lines.append(
                f"| {mode}, N = {count}, {selection} | {', '.join(used)} | {cell(merged)} | "
                f"{best.name} {best.accuracy:.4f} | {mcnemar(merged.correct, best.correct):.2g} |"
            )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    call(main)
