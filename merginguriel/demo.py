"""The whole job on the shipped mini corpus: train sources, build the matrix, merge, evaluate, measure, report.

Runs the same commands that you would type, in ./demo, and prints each of them. What is done is not
done again: a second run takes seconds.
"""

import logging
import os
import shlex
import subprocess
import sys
from pathlib import Path

from merginguriel.utils.data import mini
from merginguriel.utils.flags.command import command
from merginguriel.utils.flags.parser import ArgumentParser
from merginguriel.utils.storage import argument_types, naming

# Ten short epochs: enough for about 0.9 on the own language.
TRAINING = [
    "--epochs",
    "10",
    "--lr",
    "1e-3",
    "--train-bs",
    "32",
    "--additional-args",
    "--do-train",
    "--save-strategy",
    "no",
]
NUM_SOURCES = 3
SCRIPTS = Path(__file__).resolve().parent


def build_parser():
    parser = ArgumentParser(prog="demo.py", description=__doc__)
    parser.add_argument("--dir", type=Path, default=Path("demo"), metavar="DIR", help="working folder")
    parser.add_argument(
        "--target-lang", default="af-ZA", choices=mini.LOCALES, metavar="LOC", help="one of " + ", ".join(mini.LOCALES)
    )
    parser.add_argument(
        "--workers", type=argument_types.positive_int, default=2, metavar="N", help="trainings at a time"
    )
    return parser


def run_command(script: str, *flags) -> None:
    """Run one of our scripts, and end with it where it fails."""
    environment = dict(os.environ)
    root = str(SCRIPTS.parent)
    paths = [root, f"{root}/submodules/auto_merge_llm", environment.get("PYTHONPATH", "")]
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    done = subprocess.run([sys.executable, str(SCRIPTS / script), *map(str, flags)], env=environment, check=False)
    if done.returncode:
        raise SystemExit(done.returncode)  # the command has said why


def show(script: str, *flags) -> None:
    print("\n$ python", shlex.join([f"merginguriel/{script}", *map(str, flags)]), flush=True)


def compare(
    models_root: Path, merged: list[Path], results: Path, sources: list[str], target: str
) -> tuple[list[str], str]:
    """Evaluate every source and read every merge on the target's test split: sources, best first, and a table."""
    from merginguriel.utils.data import task
    from merginguriel.utils.evaluation.classifier import Classifier, evaluate
    from merginguriel.utils.evaluation.comparison import comparison_table
    from merginguriel.utils.evaluation.results import read_evaluation

    logging.disable(logging.INFO)  # what is read again is said above
    split = task.load_split("mini", target, "test")
    alone = []
    for source in sources:
        path = models_root / naming.model_name("mini", source)
        folder = results / naming.evaluation_name(path.name, target)
        alone.append(evaluate(Classifier(path), split, "mini", folder, name=f"{source} alone"))
    alone.sort(key=lambda evaluation: -evaluation.accuracy)
    merges = [read_evaluation(results / path.name, path.name) for path in merged]
    return [evaluation.name.split()[0] for evaluation in alone], comparison_table([*alone, *merges], alone[0])


@command
def main(argv=None):
    args = build_parser().parse_args(argv)
    target, models_root, results = args.target_lang, args.dir / naming.MODELS_ROOT, args.dir / naming.RESULTS_ROOT
    sources = [locale for locale in mini.LOCALES if locale != target]
    print(f"Merging models of other languages for {target}. Everything happens in {args.dir}/.", flush=True)
    training = [
        "--dataset-name",
        "mini",
        "--models-root",
        models_root,
        "--locales",
        *sources,
        "--workers",
        args.workers,
        *TRAINING,
    ]
    show("train_missing_models.py", *training)
    run_command("train_missing_models.py", *training)

    sparse = args.dir / "similarity_sparse.csv"
    matrix = [
        "--locales",
        ",".join(mini.LOCALES),
        "--k",
        len(mini.LOCALES) - 1,
        "--out-dense",
        args.dir / "similarity_dense.csv",
        "--out-sparse",
        sparse,
    ]
    show("generate_sparse_similarity_unified.py", *matrix)
    run_command("generate_sparse_similarity_unified.py", *matrix)

    merged = []
    for mode in ("average", "similarity"):
        output = args.dir / naming.MERGED_ROOT / naming.merge_name(mode, target, NUM_SOURCES)
        flags = [
            "--mode",
            mode,
            "--target-lang",
            target,
            "--num-languages",
            NUM_SOURCES,
            "--dataset-name",
            "mini",
            "--similarity-matrix",
            sparse,
            "--models-root",
            models_root,
            "--output-dir",
            output,
            "--results-dir",
            results,
        ]
        show("run_merging_pipeline_refactored.py", *flags)
        run_command("run_merging_pipeline_refactored.py", *flags)
        merged.append(output)

    print(f"\nTest accuracy on {target}, every source and every merge:\n")
    ranked, table = compare(models_root, merged, results, sources, target)
    print(table)

    best = sorted(ranked[:NUM_SOURCES])
    nxn = [
        "--locales",
        *best,
        "--split",
        "validation",
        "--dataset-name",
        "mini",
        "--models-root",
        models_root,
        "--results-dir",
        args.dir / naming.NXN_ROOT,
    ]
    show("run_nxn_evaluation.py", *nxn)
    run_command("run_nxn_evaluation.py", *nxn)

    tables = [
        "--results-dir",
        results,
        "--nxn-results-dir",
        args.dir / naming.NXN_ROOT,
        "--output-dir",
        args.dir / "tables",
    ]
    show("aggregate_results.py", *tables)
    run_command("aggregate_results.py", *tables)
    print(
        f"""
Try next:
  python merginguriel/demo.py --target-lang {"ms-MY" if target != "ms-MY" else "pt-PT"}
  python merginguriel/run_merging_pipeline.py --target-lang {target} --dataset-name mini \\
      --models-root {models_root} --weights {ranked[0]}=0.7,{ranked[1]}=0.3
  python merginguriel/run_merging_pipeline_refactored.py --help
For MASSIVE and xlm-roberta-base, see README.md.""",
        flush=True,
    )
    report = [
        "--results-dir",
        results,
        "--nxn-results-dir",
        args.dir / naming.NXN_ROOT,
        "--output",
        args.dir / "report.html",
        "--title",
        f"The demo: merging for {target}",
    ]
    show("report.py", *report)
    run_command("report.py", *report)


if __name__ == "__main__":
    raise SystemExit(main())
