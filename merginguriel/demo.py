"""The whole job on the shipped mini corpus: train sources, build the matrix, merge, evaluate, measure, report.

Runs the same commands that you would type, in ./demo, and prints each of them. What is done is not
done again: a second run takes seconds.
"""

if not __package__:
    import _checkout  # noqa: F401

import logging
import os
import subprocess
import sys
from pathlib import Path

from merginguriel.utils.data import mini
from merginguriel.utils.data.task import DEFAULT_TASK
from merginguriel.utils.flags.command import command
from merginguriel.utils.flags.parser import ArgumentParser
from merginguriel.utils.storage import naming
from merginguriel.utils.storage.argument_types import positive_int
from merginguriel.utils.storage.settings import shell_line

# Ten short epochs: enough for about 0.9 on the own language.
TRAINING = "--epochs 10 --lr 1e-3 --train-bs 32 --additional-args --do-train --save-strategy no".split()
NUM_SOURCES = 3
SCRIPTS = Path(__file__).resolve().parent
TRY_NEXT = """
Try next:
  python merginguriel/demo.py --target-lang {other}
  python merginguriel/run_merging_pipeline.py --target-lang {target} --dataset-name mini \\
      --models-root {models} --weights {best}=0.7,{second}=0.3
  python merginguriel/run_merging_pipeline_refactored.py --help
For MASSIVE and xlm-roberta-base, see README.md."""


def build_parser():
    parser = ArgumentParser(prog="demo.py", description=__doc__)
    parser.add_argument("--dir", type=Path, default=Path("demo"), metavar="DIR", help="working folder")
    parser.add_argument(
        "--target-lang", default="af-ZA", choices=mini.LOCALES, metavar="LOC", help="one of " + ", ".join(mini.LOCALES)
    )
    parser.add_argument("--workers", type=positive_int, default=2, metavar="N", help="trainings at a time")
    return parser


def step(script: str, *flags) -> None:
    """Show a command and run it, and end with it where it fails."""
    print("\n$", shell_line(script, *flags), flush=True)
    paths = [SCRIPTS.parent, SCRIPTS.parent / "submodules/auto_merge_llm", os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, map(str, paths)))}
    done = subprocess.run([sys.executable, str(SCRIPTS / script), *map(str, flags)], env=environment, check=False)
    if done.returncode:
        raise SystemExit(done.returncode)  # the command has said why


def compare(models: Path, merged: list[Path], results: Path, target: str) -> tuple[list[str], str]:
    """Evaluate every source and read every merge on the target's test split: sources, best first, and a table."""
    from merginguriel.utils.data.massive import MINI_TASK
    from merginguriel.utils.evaluation.classifier import Classifier, evaluate
    from merginguriel.utils.evaluation.comparison import comparison_table
    from merginguriel.utils.evaluation.results import read_evaluation

    logging.disable(logging.INFO)  # what is read again is said above
    split = MINI_TASK.load(target, "test")
    alone = []
    for source in mini.LOCALES:
        path = models / naming.model_name("mini", DEFAULT_TASK, source)
        folder = results / naming.evaluation_name(path.name, target)
        if source != target:
            alone.append(evaluate(Classifier(path, MINI_TASK), split, folder, name=f"{source} alone", source=source))
    alone.sort(key=lambda evaluation: -evaluation.accuracy)
    merges = [read_evaluation(results / path.name, path.name) for path in merged]
    return [evaluation.name.split()[0] for evaluation in alone], comparison_table([*alone, *merges], alone[0])


@command
def main(argv=None):
    args = build_parser().parse_args(argv)
    target, folder = args.target_lang, args.dir
    models, results, nxn = folder / naming.MODELS_ROOT, folder / naming.RESULTS_ROOT, folder / naming.NXN_ROOT
    print(f"Merging models of other languages for {target}. Everything happens in {folder}/.", flush=True)
    mini_models = ["--dataset-name", "mini", "--models-root", models]
    sources = [locale for locale in mini.LOCALES if locale != target]
    step("train_missing_models.py", *mini_models, "--locales", *sources, "--workers", args.workers, *TRAINING)

    dense, sparse = (folder / f"similarity_{kind}.csv" for kind in ("dense", "sparse"))
    everyone = ["--locales", ",".join(mini.LOCALES), "--k", len(mini.LOCALES) - 1]
    step("generate_sparse_similarity_unified.py", *everyone, "--out-dense", dense, "--out-sparse", sparse)

    merged = []
    for mode in ("average", "similarity"):
        output = folder / naming.MERGED_ROOT / naming.merge_name(mode, target, NUM_SOURCES)
        flags = ["--mode", mode, "--target-lang", target, "--num-languages", NUM_SOURCES, "--dataset-name", "mini"]
        flags += ["--similarity-matrix", sparse, "--models-root", models]
        step("run_merging_pipeline_refactored.py", *flags, "--output-dir", output, "--results-dir", results)
        merged.append(output)

    print(f"\nTest accuracy on {target}, every source and every merge:\n")
    ranked, table = compare(models, merged, results, target)
    print(table)
    best = sorted(ranked[:NUM_SOURCES])
    step("run_nxn_evaluation.py", "--locales", *best, "--split", "validation", *mini_models, "--results-dir", nxn)
    found = ["--results-dir", results, "--nxn-results-dir", nxn]
    step("aggregate_results.py", *found, "--output-dir", folder / "tables")
    other = "ms-MY" if target != "ms-MY" else "pt-PT"
    print(TRY_NEXT.format(other=other, target=target, models=models, best=ranked[0], second=ranked[1]), flush=True)
    step("report.py", *found, "--output", folder / "report.html", "--title", f"The demo: merging for {target}")


if __name__ == "__main__":
    raise SystemExit(main())
