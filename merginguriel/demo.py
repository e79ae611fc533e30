"""The whole job on the shipped mini corpus: every language once as the target, merged, adapted and reported.

Runs the same commands that you would type, in ./demo, and prints each of them. What is done is not done again: a second
run takes seconds. The corpus is too small for conclusions; what real data gave is said at the end.
"""

if not __package__:
    import _checkout  # noqa: F401

import json
import shlex
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from auto_merge_llm.errors import InputError

from merginguriel.utils.data import mini
from merginguriel.utils.flags.command import command
from merginguriel.utils.flags.parser import ArgumentParser
from merginguriel.utils.merging import selection
from merginguriel.utils.similarity.transfer import SUMMARY_JSON
from merginguriel.utils.storage import naming
from merginguriel.utils.storage.argument_types import positive_int
from merginguriel.utils.storage.command_lines import shell_line
from merginguriel.utils.storage.messages import said_once

# Six short epochs: enough for about 0.9 on the own language.
TRAINING = "--epochs 6 --lr 2e-3 --train-bs 32 --additional-args --do-train --save-strategy no".split()
NUM_SOURCES = 3
SHOWN = ("mean", "nearest", "average", "vote", "regmean", "adapted", "best")
LEGEND = """
Accuracy on test items of languages that no source was trained on. Of each
target only:
  mean      mean of its {count} sources, each alone: a source picked blindly
  nearest   its nearest language by URIEL, alone: needs nothing of the target
  average   the {count} merged into one model: needs nothing of the target
  vote      the {count} vote, {count} models for every text: needs nothing of the target
  regmean   merged by what the {count} make of its texts: needs unlabelled texts
  adapted   that merge, taught by the vote on its texts: needs unlabelled texts
  best      the best of the {count}, picked by labels of these test items: nobody can"""
# tests/test_demo.py holds these numbers against docs/results/languages/.
REAL_DATA = """
A made-up corpus of few languages proves nothing. On real data (MASSIVE, 49
targets, 2 seeds): best of all 48 sources in hindsight 0.646, vote of five
0.672, five merged and adapted 0.696, above both on 49 of 49:
docs/results.md. On 100 texts in place of 11,514 adapting loses.
What suits you: docs/which-way.md. With your own models: README.md, "Your own
task and models"."""


def build_parser():
    parser = ArgumentParser("demo.py", description=__doc__)
    parser.add_argument("--dir", type=Path, default=Path("demo"), metavar="DIR", help="working folder")
    parser.add_argument(
        "--locales",
        nargs="+",
        choices=mini.LOCALES,
        default=mini.LOCALES,
        metavar="LOC",
        help=f"at least {NUM_SOURCES + 1} of {', '.join(mini.LOCALES)} (default: all)",
    )
    parser.add_argument("--workers", type=positive_int, default=2, metavar="N", help="processes at a time")
    return parser


def step(script: str, *flags: object) -> None:
    """Show a command and do what it does, in this process, which loads libraries once; end where it fails."""
    print("\n$", shell_line(script, *flags), flush=True)
    code = import_module(f"merginguriel.{Path(script).stem}").main(list(map(str, flags)))
    if code:
        raise SystemExit(code)  # the command has said why


def scores(results: Path, nxn: Path, locales: Sequence[str]) -> dict[str, list[float]]:
    """Of every target: the accuracies that SHOWN names, on its test items."""
    from merginguriel.utils.data.massive import MINI_TASK
    from merginguriel.utils.results import collect

    rows = collect.collect(results, nxn).long
    alone = {(row.source, row.locale): row.accuracy for row in rows[rows.kind == "nxn"].itertuples()}
    found = {}
    for target in locales:
        among = selection.Neighbours(target, tuple(locales), MINI_TASK)
        cosines = selection.similarity_matrix(selection.SourceSettings(selection="cosine"), among)
        nearest = (source for source in cosines.for_target(target) if source in locales)  # best first
        made = rows[(rows.target == target) & rows.kind.isin(["merge", "ensemble"])]
        of = {row.method: row.accuracy for row in made.itertuples()}
        its = [alone[source, target] for source in json.loads(made.sources.iloc[0])]
        found[target] = [
            sum(its) / len(its),
            alone[next(iter(nearest)), target],
            *(of[method] for method in ("average", "ensemble_soft", "regmean", "regmean+vote")),
            max(its),
        ]
    return found


def table(found: dict[str, list[float]]) -> str:
    """A line a target, their mean, and on how many of them each is above the nearest."""
    means = [sum(values) / len(found) for values in zip(*found.values())]
    nearest = [values[1] for values in found.values()]
    above = [sum(value > other for value, other in zip(values, nearest)) for values in zip(*found.values())]
    lines = [f"{'':8}" + "".join(f"{name:>9}" for name in SHOWN)]
    lines += [f"{name:8}" + "".join(f"{value:9.3f}" for value in values) for name, values in found.items()]
    lines += [f"{'mean':8}" + "".join(f"{value:9.3f}" for value in means)]
    counts = (f"{'' if name == 'nearest' else count:>9}" for name, count in zip(SHOWN, above))
    return "\n".join([*lines, f"{'>nearest':8}" + "".join(counts) + f"   of {len(found)}"])


@command
def main(argv=None):
    args = build_parser().parse_args(argv)
    folder = args.dir
    if len(set(args.locales)) <= NUM_SOURCES:
        raise InputError(f"--locales: {NUM_SOURCES} sources and a target are {NUM_SOURCES + 1} languages; name more")
    models, results = folder / naming.MODELS_ROOT, folder / naming.RESULTS_ROOT
    print(f"Every language once as the target of merges of others, in {folder}/.", flush=True)
    data = ["--dataset-name", "mini"]
    common = [*data, "--models-root", models]
    workers = ["--workers", args.workers]
    languages = ["--locales", *args.locales]
    step("train_missing_models.py", *common, *languages, *workers, *TRAINING)
    step("run_nxn_evaluation.py", *common, *languages, *workers, "--results-dir", folder / naming.NXN_ROOT)
    nxn = max((folder / naming.NXN_ROOT).glob(f"*/{SUMMARY_JSON}")).parent

    chosen = ["--num-languages", NUM_SOURCES, "--selection", "cosine", "--results-dir", results]
    modes = ["--modes", "average", "regmean", "regmean+vote"]
    votes = ["--target-languages", *args.locales, "--voting-methods", "soft", "--preweight", "equal"]
    with said_once(selection.log):  # both choose the same sources
        step("run_large_scale_experiment.py", *common, *languages, *workers, *modes, *chosen)
        step("run_large_scale_ensemble_experiments.py", *votes, "--nxn-dir", nxn, *chosen)

    read = ["--results-dir", results, "--nxn-results-dir", nxn]
    step("aggregate_results.py", *read, "--output-dir", folder / "tables")
    step(
        "report.py", *read, "--output", folder / "report.html", "--title", "The demo: each language once as the target"
    )
    print(LEGEND.format(count=NUM_SOURCES), table(scores(results, nxn, args.locales)), REAL_DATA, sep="\n")
    one = ["--mode", "regmean", "--adapt", "vote", "--target-lang", args.locales[0]]
    rest = shlex.join(map(str, ["--num-languages", NUM_SOURCES, *common]))
    print(f"\nThe page about all of it: {folder / 'report.html'}")
    print("The sweep has kept results; this keeps a model:")
    print("$", shell_line("run_merging_pipeline_refactored.py", *one), f"\\\n    {rest}")


if __name__ == "__main__":
    raise SystemExit(main())
