"""SIB-200: ten sources, ten targets that MASSIVE lacks; what URIEL's choice of sources gives beside chance.

Everything is done by the toolkit's own commands: models of the sources in several settings, of which their own dev
accuracy chooses one; the same with other seeds; N×N on validation and test; a sweep of merges; votes. Chance is the
same commands with matrices of random similarities in URIEL's place. What is done is not done again.

    python benchmarks/sib200.py --base-model DIR/me5-small-xlmr --dataset-name DIR/sib200 --dir sib200 --workers 14

Makes sib200/collected/: what `benchmarks/sib200_tables.py` reads, a few megabytes. --quick does a little of each kind.
"""

import argparse
import csv
import io
import shlex
import sys
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from commands import ROOT, Commands, archive, gpus

from merginguriel.utils.similarity.matrix import similarities
from merginguriel.utils.similarity.transfer import finished_runs
from merginguriel.utils.storage import argument_types, atomic, naming

TASK = ROOT / "docs/tasks/sib200.yaml"
URIEL = ROOT / "docs/results/sib200/uriel.csv"
SOURCES = "eng_Latn spa_Latn rus_Cyrl hin_Deva arb_Arab zho_Hans ind_Latn tur_Latn swh_Latn tam_Taml".split()
TARGETS = "quy_Latn hau_Latn yor_Latn zul_Latn ilo_Latn kaz_Cyrl eus_Latn tir_Ethi guj_Gujr lao_Laoo".split()
SPLITS = ("validation", "test")
RATES = ("5e-5", "1e-4", "2e-4")
# What the sources are trained with once a setting is chosen; the whole is one of train_missing_models.py's lines.
ON_GPU = "--tf32 --cuda_graphs"
FLAGS = "--train-bs 32 --warmup-ratio 0.1 --additional-args --save_strategy no --eval_strategy no"


@dataclass(frozen=True)
class Study:
    """How much is done. `settings`: (learning rate, epochs), of which the first seed's dev accuracy chooses."""

    sources: tuple[str, ...] = tuple(SOURCES)
    targets: tuple[str, ...] = tuple(TARGETS)
    seeds: tuple[int, ...] = (42, 43, 44)
    settings: tuple[tuple[str, int], ...] = tuple(
        (rate, epochs) for rate in ("5e-5", "1e-4", "2e-4") for epochs in (10, 20)
    )
    numbers: tuple[int, ...] = (3, 5)
    selections: tuple[str, ...] = ("sinkhorn", "cosine")
    modes: tuple[str, ...] = ("average", "similarity", "uriel", "ties", "task_arithmetic", "regmean", "fisher_dataset")
    votes: tuple[str, ...] = ("majority", "soft", "uriel_logits")
    draws: int = 10
    shards: int = 5  # of a seed's sweep
    flags: str = FLAGS


QUICK = Study(
    sources=tuple(SOURCES[:3]),
    targets=("quy_Latn", "tir_Ethi"),
    seeds=(42, 43),
    settings=(("1e-4", 1), ("2e-4", 1)),
    numbers=(2,),
    modes=("average", "ties", "regmean"),
    draws=2,
    shards=2,
    flags=f"{FLAGS} --max_train_samples 64",
)


def build_parser():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base-model", required=True, help="encoder folder")
    parser.add_argument("--dataset-name", default="Davlan/sib200", help="folder of SIB-200")
    parser.add_argument("--dir", type=Path, default=Path("sib200"), help="working folder")
    parser.add_argument(
        "--workers", type=argument_types.positive_int, default=1, help="processes, on all GPUs together"
    )
    parser.add_argument(
        "--matrix", type=Path, default=URIEL, help="URIEL's cosines of all languages (default: %(default)s)"
    )
    parser.add_argument("--quick", action="store_true", help="a little of everything, in minutes on two cores")
    return parser


def uriel_command() -> list:
    """What made URIEL, where lang2vec is installed."""
    languages = ",".join([*SOURCES, *TARGETS])
    return ["generate_sparse_similarity_unified.py", "--locales", languages, "--out-dense", URIEL]


class Runner:
    """Commands of a study, several at a time. One that fails is told in the end, the others are done all the same."""

    def __init__(self, args, study: Study):
        self.args, self.study = args, study
        self.commands = Commands(args.dir, args.workers)
        self.failures: list[str] = []
        self.seconds: dict[str, float] = {}
        self._pool = ThreadPoolExecutor(args.workers)
        self._number, self._lock = 0, threading.Lock()

    def start(self, lines: Iterable[list]) -> list[Future]:
        return [self._pool.submit(self._run, line) for line in lines]

    def all(self, lines: Iterable[list]) -> None:
        wait(self.start(lines))

    def _run(self, line: list) -> None:
        with self._lock:
            number, self._number = self._number, self._number + 1
        try:
            self.commands.run(line, number)
        except SystemExit as error:
            with self._lock:
                self.failures.append(str(error))
                print(error, file=sys.stderr, flush=True)

    def stop_if_failed(self) -> None:
        if self.failures:
            raise SystemExit(f"{len(self.failures)} commands failed, see {self.commands.log}")

    def timed(self, step: str, do: Callable, *arguments):
        start = time.monotonic()
        result = do(*arguments)
        self.seconds[step] = round(time.monotonic() - start, 1)
        print(f"{step}: {self.seconds[step]:.0f} s", flush=True)
        return result

    def data(self) -> list:
        return ["--task", TASK, "--base-model", self.args.base_model, "--dataset-name", self.args.dataset_name]

    def training(self, root: Path, setting: tuple[str, int], seed: int, workers: int) -> list:
        rate, epochs = setting
        flags = self.study.flags if not gpus() else f"{self.study.flags} {ON_GPU}"
        line = ["train_missing_models.py", *self.data(), "--models-root", root, "--locales", *self.study.sources]
        return [*line, "--workers", workers, "--lr", rate, "--epochs", epochs, *shlex.split(flags), "--seed", seed]


def wait(futures: Iterable[Future]) -> None:
    for future in futures:
        future.result()


def train(runner: Runner) -> dict[int, Path]:
    """Seed -> folder of its models, all trained with the setting that is best on the sources' own dev items."""
    study, folder = runner.study, runner.args.dir
    workers = max(1, runner.args.workers // len(study.settings))
    first, *others = study.seeds
    roots = {setting: folder / "settings" / f"lr{setting[0]}_ep{setting[1]}" for setting in study.settings}
    runner.timed(
        "training, settings", runner.all, [runner.training(roots[one], one, first, workers) for one in study.settings]
    )
    runner.stop_if_failed()
    rows = [(*setting, *dev_accuracies(runner, root)) for setting, root in roots.items()]
    write_csv(collected(runner) / "settings.csv", ["learning_rate", "epochs", *study.sources, "mean"], rows)
    best = max(study.settings, key=lambda setting: dev_accuracies(runner, roots[setting])[-1])
    print("chosen by mean dev accuracy of the sources:", *best, flush=True)
    seeds = {first: roots[best]} | {seed: folder / f"seed{seed}" / naming.MODELS_ROOT for seed in others}
    workers = max(1, runner.args.workers // max(1, len(others)))
    runner.timed("training, seeds", runner.all, [runner.training(seeds[seed], best, seed, workers) for seed in others])
    runner.stop_if_failed()
    return seeds


def dev_accuracies(runner: Runner, root: Path) -> list[float]:
    """Of every source's model on its own language, then their mean."""
    names = [naming.model_name(runner.args.base_model, "sib200", source) for source in runner.study.sources]
    found = [round(atomic.read_json(root / name / "all_results.json")["eval_accuracy"], 4) for name in names]
    return [*found, round(float(np.mean(found)), 4)]


def random_matrix(file: Path, languages: tuple[str, ...], draw: int) -> Path:
    """Similarities that say nothing, so that a selection by them is by chance, for each target on its own."""
    values = np.random.default_rng(draw).uniform(0.1, 0.9, (len(languages),) * 2)
    np.fill_diagonal(values, 1.0)
    similarities(languages, values.round(6), "random").to_csv(file)
    return file


def nxn(runner: Runner, root: Path, seed: int) -> list[list]:
    line = ["run_nxn_evaluation.py", *runner.data(), "--models-root", root, "--locales", *runner.study.sources]
    line += ["--targets", *runner.study.sources, *runner.study.targets]
    return [[*line, "--split", split, "--results-dir", runner.args.dir / f"seed{seed}" / split] for split in SPLITS]


def merges(runner: Runner, root: Path, seed: int, uriel: Path, random: list[Path]) -> list[list]:
    """The sweep in shards, the average of all sources, and averages of sources by chance."""
    study = runner.study
    line = ["run_large_scale_experiment.py", *runner.data(), "--models-root", root, "--seed", seed, "--workers", 1]
    line += ["--results-dir", runner.args.dir / f"seed{seed}" / naming.RESULTS_ROOT, "--locales", *study.targets]
    dense = ["--similarity-source", "dense", "--similarity-matrix"]
    sweep = [*line, *dense, uriel, "--selection", *study.selections, "--modes", *study.modes, "--num-languages"]
    average = [*line, "--selection", "cosine", "--modes", "average", "--similarity-matrix"]
    return [
        *([*sweep, *study.numbers, "--shard", f"{number + 1}/{study.shards}"] for number in range(study.shards)),
        *([*average, matrix, "--num-languages", *study.numbers] for matrix in random),
        [*average, uriel, "--num-languages", len(study.sources)],
    ]


def votes(runner: Runner, root: Path, seed: int, uriel: Path, random: list[Path]) -> list[list]:
    """The same sources with equal votes, from the logits of the N×N."""
    study, folder = runner.study, runner.args.dir / f"seed{seed}"
    line = ["run_large_scale_ensemble_experiments.py", *runner.data(), "--preweight", "equal"]
    line += ["--nxn-dir", nxn_folder(folder / "test"), "--results-dir", folder / "votes"]
    line += ["--target-languages", *study.targets, "--voting-methods", *study.votes]
    sinkhorn = ["--similarity-source", "dense", "--selection", "sinkhorn"]
    choices = [sinkhorn if chosen == "sinkhorn" else ["--selection", chosen] for chosen in study.selections]
    every = [([*choice, "--similarity-matrix", uriel], number) for choice in choices for number in study.numbers]
    by_chance = ["--selection", "cosine", "--similarity-matrix"]
    every += [([*by_chance, matrix], number) for matrix in random for number in study.numbers]
    every += [([*by_chance, uriel], len(study.sources))]
    return [[*line, *choice, "--num-languages", number] for choice, number in every]


def nxn_folder(runs: Path) -> Path:
    """Of the newest finished run."""
    return finished_runs(runs)[-1]


def collected(runner: Runner) -> Path:
    folder = runner.args.dir / "collected"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def write_csv(file: Path, header: Iterable[str], rows: Iterable[Iterable]) -> None:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([header, *rows])
    atomic.write_text(file, out.getvalue())


def collect(runner: Runner, folders: Iterable[Path], file: str) -> None:
    """A small archive of results: without logits, but those of the N×N, and without its cells, which these tell."""

    def is_wanted(path: Path) -> bool:
        inside = path.relative_to(runner.args.dir)
        return path.is_file() and "_on_" not in path.parent.name and not any(part[0] == "." for part in inside.parts)

    found = sorted(path for folder in folders for path in folder.rglob("*") if is_wanted(path))
    archive(collected(runner) / file, runner.args.dir, found)


def main(argv=None) -> int:
    args = build_parser().parse_args(argv)
    study = QUICK if args.quick else Study()
    runner = Runner(args, study)
    languages = study.sources + study.targets
    random = [random_matrix(args.dir / f"random{draw}.csv", languages, draw) for draw in range(study.draws)]
    roots = train(runner)

    def evaluate() -> None:
        started = {
            seed: runner.start([*nxn(runner, root, seed), *merges(runner, root, seed, args.matrix, random)])
            for seed, root in roots.items()
        }
        for seed, futures in started.items():
            wait(futures)
            parts = (*SPLITS, naming.RESULTS_ROOT)
            collect(runner, [args.dir / f"seed{seed}" / part for part in parts], f"seed{seed}.tar.xz")
            print(f"seed {seed}: collected", flush=True)

    runner.timed("N×N and merges", evaluate)
    every_vote = [line for seed, root in roots.items() for line in votes(runner, root, seed, args.matrix, random)]
    runner.timed("votes", runner.all, every_vote)
    collect(runner, [args.dir / f"seed{seed}" / "votes" for seed in roots], "votes.tar.xz")
    atomic.write_json(collected(runner) / "run.json", {"seconds": runner.seconds, "failures": runner.failures})
    return 1 if runner.failures else 0


if __name__ == "__main__":
    raise SystemExit(main())
