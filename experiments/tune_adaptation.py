"""Settings of the adaptation, tried on the validation items of six locales with the models that run.py has made.

Five sources by consensus, merged by regmean, then adapted by each of the trials. No test item is read.

    python experiments/tune_adaptation.py work/massive_42 --base-model DIR/me5-small-xlmr --dataset-name DIR/massive \
        --workers 7 --output docs/results/languages/tuned_adaptation.csv

Rows of other trials that the output already has are kept: of the same sources, as they should be.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from answer import read_rows, write_rows
from auto_merge_llm.errors import InputError
from run import Runner, whole
from tqdm import tqdm
from ways import ALL, CHOSE_DEFAULTS

import merginguriel
from merginguriel.utils.data.task_file import task_tokens
from merginguriel.utils.flags import flag_groups
from merginguriel.utils.flags.command import command
from merginguriel.utils.flags.parser import ArgumentParser
from merginguriel.utils.jobs.processes import gpus
from merginguriel.utils.similarity.transfer import finished_runs
from merginguriel.utils.storage import argument_types

# By the number of texts. Of few the passes say how many steps a round has, about as many for each number: the learning
# rate is that of many texts, or lower, since AdamW's first steps are as long as it, whichever way they go.
TRIALS = {
    "100": [  # 2 steps a pass, 7 of batches of 16
        "--adapt-epochs 3 --adapt-lr 1e-4",
        "--adapt-epochs 16 --adapt-lr 1e-4",
        "--adapt-epochs 50 --adapt-lr 1e-4",
        "--adapt-epochs 150 --adapt-lr 1e-4",
        "--adapt-epochs 270 --adapt-lr 1e-4",
        "--adapt-epochs 3 --adapt-lr 3e-5",
        "--adapt-epochs 50 --adapt-lr 3e-5",
        "--adapt-epochs 150 --adapt-lr 3e-5",
        "--adapt-epochs 150 --adapt-lr 1e-5",
        "--adapt-epochs 43 --adapt-lr 1e-4 --adapt-batch-size 16",
    ],
    "300": [  # 5 steps a pass
        "--adapt-epochs 3 --adapt-lr 1e-4",
        "--adapt-epochs 60 --adapt-lr 3e-5",
    ],
    "700": [  # 11 steps a pass
        "--adapt-epochs 3 --adapt-lr 1e-4",
        "--adapt-epochs 9 --adapt-lr 1e-4",
        "--adapt-epochs 27 --adapt-lr 1e-4",
        "--adapt-epochs 49 --adapt-lr 1e-4",
        "--adapt-epochs 9 --adapt-lr 3e-5",
        "--adapt-epochs 27 --adapt-lr 3e-5",
        "--adapt-epochs 27 --adapt-lr 1e-5",
    ],
    "1000": [  # 16 steps a pass
        "--adapt-epochs 3 --adapt-lr 1e-4",
        "--adapt-epochs 7 --adapt-lr 1e-4",
        "--adapt-epochs 19 --adapt-lr 1e-4",
        "--adapt-epochs 34 --adapt-lr 1e-4",
        "--adapt-epochs 7 --adapt-lr 3e-5",
        "--adapt-epochs 19 --adapt-lr 3e-5",
        "--adapt-epochs 19 --adapt-lr 1e-5",
    ],
    "3000": [  # 47 steps a pass
        "--adapt-epochs 3 --adapt-lr 1e-4",
        "--adapt-epochs 6 --adapt-lr 1e-4",
        "--adapt-epochs 6 --adapt-lr 3e-5",
    ],
    ALL: [
        "",
        "--adapt-rounds 1",
        "--adapt-rounds 3",
        "--sharpen 1",
        "--sharpen 3",
        "--adapt-lr 3e-5",
        "--adapt-lr 5e-5",
        "--adapt-lr 2e-4",
        "--adapt-epochs 5",
    ],
}


def build_parser():
    parser = ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="of a corpus and seed, as run.py made it")
    parser.add_argument("--base-model", metavar="NAME", required=True, help="Hub id or folder of the base model")
    flag_groups.add_task(parser)
    parser.add_argument("--texts", nargs="+", choices=TRIALS, default=[*TRIALS], help="only trials with so many texts")
    parser.add_argument(
        "--containing", default="", metavar="TEXT", help="only trials whose flags contain it, as in e-5"
    )
    parser.add_argument("--targets", nargs="+", default=CHOSE_DEFAULTS, help="whose validation items choose")
    parser.add_argument("--num-languages", type=argument_types.positive_int, default=5, help="sources of each")
    parser.add_argument("--workers", type=argument_types.positive_int, default=1, help="processes at a time, in all")
    parser.add_argument("--output", type=Path, required=True, help="CSV")
    return parser


def main(argv=None) -> int:
    args = build_parser().parse_args(argv)
    args.task, args.dataset_name = whole(args.task), args.dataset_name and whole(args.dataset_name)
    task, folder = flag_groups.read_task(args), args.folder.resolve()
    places = {("", "before adaptation"): folder / "tuning/merged/{target}"}
    for texts in args.texts:
        for flags in filter(lambda flags: args.containing in flags, TRIALS[texts]):
            places[texts, flags] = folder / "tuning" / f"{texts}{flags.replace(' ', '')}" / "{target}"
    if len(places) == 1:
        raise InputError(f"--containing {args.containing}: no trial with {' '.join(args.texts)} texts has that")
    make(args, folder, [*places.items()], ["--base-model", whole(args.base_model), *task_tokens(task)])
    rows = []
    for (texts, flags), place in tqdm(places.items(), desc="validation", disable=None):
        scores = {
            target: merginguriel.evaluate(str(place).format(target=target), target, task=task, split="validation").score
            for target in args.targets
        }
        told = {name: round(score, 4) for name, score in {"mean": float(np.mean([*scores.values()])), **scores}.items()}
        rows.append({"texts": texts, "flags": flags, **told})
    before = read_rows(args.output) if args.output.is_file() else []
    new = {(row["texts"], row["flags"]) for row in rows}
    write_rows(args.output, [*rows, *(row for row in before if (row["texts"], row["flags"]) not in new)])
    for row in rows:
        print(row["mean"], row["texts"], row["flags"] or "defaults")
    return 0


def make(args, folder: Path, places: Sequence[tuple[tuple[str, str], Path]], data: list[str]) -> None:
    """The merges, which are the first of `places`, and the adaptations of the other (texts, flags)."""
    matrices = finished_runs(folder / "nxn_train")
    if not matrices:
        raise InputError(f"{args.folder} has no finished nxn_train; let run.py do the parts sources and transfer first")
    (_, merged), *trials = places
    merges, adaptations = [], []
    for target in args.targets:
        line = ["merge", "--mode", "regmean", "--target-lang", target, "--num-languages", str(args.num_languages)]
        line += ["--selection", "consensus", "--nxn-matrix", str(matrices[-1]), "--models-root", str(folder / "models")]
        merges.append([*line, *data, "--no-eval", "--output-dir", str(merged).format(target=target)])
    speed = ["--adapt-tf32", "--adapt-cuda-graphs"] if gpus() else []
    for (texts, flags), place in trials:
        line = ["adapt", "--model", str(merged), "--targets", *args.targets, *data, *flags.split(), "--no-eval"]
        line += [] if texts == ALL else ["--adapt-examples", texts]
        adaptations.append([*line, *speed, "--output-dir", str(place)])
    runner = Runner(folder.parent, args.workers)  # where URIEL's matrix may lie
    for part, lines in (("tuning_merges", merges), ("tuning", adaptations)):
        failed = runner.run(part, [(line, 1.0) for line in lines])
        if failed:
            raise InputError(f"failed: {failed[0]}")


if __name__ == "__main__":
    raise SystemExit(command(main)())
