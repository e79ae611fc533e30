"""Merging in turns over many languages, then adapting, against one model trained on all their data, then adapted.

Twenty languages, none of them a target, are trained in turn and merged after every epoch (average); beside that stands
one model trained on the texts of all twenty, with as many steps, the same batches and the same schedule of the learning
rate. Both then learn from each target's unlabelled texts: the merge from the vote of the twenty and from itself, the
joint model, which has no teachers, from itself. Everything is done by the toolkit's own commands.

    python benchmarks/turns.py --base-model DIR/me5-small-xlmr --dataset-name DIR/massive --dir turns --workers 7
    python benchmarks/turns.py --tables turns/collected

The first keeps in turns/collected what is small, the second writes docs/results/turns/ and fills docs/iterative.md.
"""

import argparse
import tarfile
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from commands import ROOT, Commands, archive, call, gpus, read_right
from label_free_tables import markdown
from sib200_tables import fill, write_rows

from merginguriel.utils.data import language_arguments
from merginguriel.utils.data.massive_languages import DEFAULT_LOCALES
from merginguriel.utils.data.task_file import task_tokens
from merginguriel.utils.evaluation.predictions import PREDICTIONS
from merginguriel.utils.evaluation.statistics import bootstrap_interval, mcnemar
from merginguriel.utils.flags import flag_groups
from merginguriel.utils.flags.parser import ArgumentParser
from merginguriel.utils.storage import argument_types, atomic, naming

TARGETS = list(DEFAULT_LOCALES[::6])  # every sixth by the order of codes
REST = [code for code in DEFAULT_LOCALES if code not in TARGETS]
SOURCES = REST[::2]  # every second of the others
TABLES = ROOT / "docs/results/turns"
# Way -> its model, and how it is adapted.
WAYS = {
    "joint": ("joint", None),
    "joint, adapted by itself": ("joint", "self"),
    "in turns": ("turns", None),
    "in turns, adapted by itself": ("turns", "self"),
    "in turns, adapted by the vote": ("turns", "vote"),
}


def build_parser():
    parser = ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base-model", metavar="NAME", help="Hub id or folder of the base model")
    flag_groups.add_task(parser)
    parser.add_argument("--sources", type=language_arguments.locale_list, default=SOURCES)
    parser.add_argument("--targets", type=language_arguments.locale_list, default=TARGETS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[42, 43])
    parser.add_argument("--epochs", type=argument_types.positive_int, default=4)
    parser.add_argument("--batch-size", type=argument_types.positive_int, default=64)
    parser.add_argument("--learning-rate", type=float, default=2e-4)
    parser.add_argument("--train-samples", type=argument_types.positive_int, help="texts of a language, default: all")
    parser.add_argument("--workers", type=argument_types.positive_int, default=4, help="processes at a time")
    parser.add_argument("--dir", type=Path, default=Path("turns"), help="working folder")
    parser.add_argument("--tables", type=Path, metavar="DIR", help="write the tables of what DIR has, then stop")
    return parser


class Study:
    def __init__(self, args):
        self.args, self.task = args, flag_groups.read_task(args)
        self.dir = args.dir.resolve()
        self.commands = Commands(self.dir, args.workers)
        self.seconds: dict[str, float] = {}
        self._lock = threading.Lock()

    def root(self, seed: int) -> Path:
        return self.dir / f"seed{seed}"

    def model(self, seed: int, kind: str) -> Path:
        if kind == "turns":
            return self.root(seed) / "run/merged_models/final_merged_model"
        return self.root(seed) / naming.MODELS_ROOT / "joint"

    def train(self, seed: int, kind: str) -> None:
        if self.model(seed, kind).exists():
            return
        args, start = self.args, time.monotonic()
        speed = ["--tf32", "true", "--cuda-graphs", "true"] if gpus() else []
        common = [*task_tokens(self.task), "--models-root", self.root(seed) / naming.MODELS_ROOT]
        schedule = ["--learning-rate", args.learning_rate, "--warmup-ratio", 0.1, "--weight-decay", 0.01]
        schedule += ["--seed", seed, *speed]
        schedule += ["--max-train-samples", args.train_samples] if args.train_samples else []
        if kind == "turns":
            line = ["run_iterative_training.py", "--mode", "average", "--target-lang", args.targets[0], *common]
            line += ["--model-name-or-path", args.base_model, "--locales", ",".join(args.sources), *schedule]
            line += ["--max-epochs", args.epochs, "--merge-frequency", 1, "--batch-size", args.batch_size]
            line += ["--save-strategy", "merge", "--output-dir", self.root(seed) / "run"]
            line += ["--results-dir", self.root(seed) / "of_command"]
        else:
            line = ["run_multilang_training.py", "--super-model", "--base-model", args.base_model, *common]
            line += ["--locales", *args.sources, "--output-dir", "joint", "--additional-args", *schedule]
            line += ["--num-train-epochs", args.epochs, "--per-device-train-batch-size", args.batch_size]
            line += ["--save-strategy", "no", "--eval-strategy", "no"]
        self._run(f"train {kind} {seed}", line, seed)
        with self._lock:
            self.seconds[f"train {kind} {seed}"] = round(time.monotonic() - start, 1)

    def adapt(self, seed: int, kind: str, by: str, workers: int) -> None:
        """Results of the adapted model, and of the model as it was, on all targets."""
        args, place = self.args, self.root(seed) / f"{kind}_{by}"
        line = ["adapt_to_target.py", "--model", self.model(seed, kind), "--targets", *args.targets, "--adapt", by]
        line += [*task_tokens(self.task), "--seed", seed, "--workers", workers]
        line += ["--output-dir", place / "models" / "{target}", "--results-dir", place / "results"]
        line += ["--adapt-cuda-graphs", "--adapt-tf32"] if gpus() else []
        self._run(f"adapt {kind} {by} {seed}", line, seed)

    def _run(self, name: str, line: list, seed: int) -> None:
        start = time.monotonic()
        self.commands.run(line, seed)
        with self._lock:
            self.seconds[name] = round(time.monotonic() - start, 1)
        print(f"{name}: {self.seconds[name]:.0f} s", flush=True)

    def run(self) -> None:
        args = self.args
        trainings = [(seed, kind) for kind in ("turns", "joint") for seed in args.seeds]
        with ThreadPoolExecutor(args.workers) as pool:
            list(pool.map(lambda job: self.train(*job), trainings))
        adaptations = [(seed, *way) for way in WAYS.values() if way[1] for seed in args.seeds]
        share = max(1, args.workers // len(adaptations))
        with ThreadPoolExecutor(min(args.workers, len(adaptations))) as pool:
            list(pool.map(lambda job: self.adapt(*job, share), adaptations))
        self.collect()

    def collect(self) -> None:
        args, folder = self.args, self.dir / "collected"
        folder.mkdir(exist_ok=True)
        told = ("seeds", "sources", "targets", "epochs", "batch_size", "learning_rate", "train_samples")
        steps = {
            f"joint {seed}": atomic.read_json(self.model(seed, "joint") / "trainer_state.json")["global_step"]
            for seed in args.seeds
        }
        record = {**{name: getattr(args, name) for name in told}, "steps": steps, "seconds": self.seconds}
        atomic.write_json(folder / "run.json", record)
        files = [path for seed in args.seeds for path in self.root(seed).rglob("*") if _is_told(path)]
        archive(folder / "turns.tar.xz", self.dir, sorted(files))


def _is_told(path: Path) -> bool:
    return path.is_file() and path.parent.parent.name == "results" and path.suffix in (".json", ".npz")


def read_ways(folder: Path, told: dict) -> dict[tuple[str, str, int], np.ndarray]:
    """(way, target, seed) -> (items,) bool in the order of ids."""
    found = {}
    for seed in told["seeds"]:
        for way, (kind, by) in WAYS.items():
            place = folder / f"seed{seed}" / f"{kind}_{by or 'self'}" / "results"
            for file in place.glob(f"*/{naming.RESULTS_JSON}"):
                result = atomic.read_json(file)
                name, target = result["evaluation_info"]["model_name"], result["evaluation_info"]["locale"]
                is_adapted = (file.parent / "adaptation.json").is_file()
                is_start = Path(name).name in ("joint", "final_merged_model")
                if is_adapted if by else is_start:
                    found[way, target, seed] = read_right(file.with_name(PREDICTIONS))
    return found


def tables(collected: Path) -> None:
    told = atomic.read_json(collected / "run.json")
    with tempfile.TemporaryDirectory() as folder, tarfile.open(collected / "turns.tar.xz") as tar:
        tar.extractall(folder, filter="data")
        right = read_ways(Path(folder), told)
    rows = [
        {"way": way, "target": target, "seed": seed, "accuracy": round(float(of.mean()), 6)}
        for (way, target, seed), of in sorted(right.items())
    ]
    TABLES.mkdir(parents=True, exist_ok=True)
    write_rows(TABLES / "targets.csv", rows)
    atomic.write_json(TABLES / "run.json", told)
    fill(ROOT / "docs/iterative.md", {"turns": means(right, told), "turns, targets": by_target(right, told)})


def means(right: dict, told: dict) -> list[str]:
    """A row a way: mean accuracy, points to the joint model adapted by itself and to in turns before adapting."""
    others = ("joint", "joint, adapted by itself", "in turns")
    rows = []
    stacks = {
        way: np.array(
            [np.mean([right[way, target, seed] for seed in told["seeds"]], axis=0) for target in told["targets"]]
        )
        for way in WAYS
    }
    for way, items in stacks.items():
        cells = [f"{items.mean():.4f}"]
        for other in others:
            gains = items - stacks[other]
            low, high = bootstrap_interval(gains, resample_locales=True)
            above = int((gains.mean(1) > 1e-12).sum())
            point = f"{100 * gains.mean():+.1f} [{100 * low:+.1f}, {100 * high:+.1f}], {above}/{len(gains)}"
            cells.append("" if way == other else point)
        rows.append([way, *cells])
    return markdown(["", "accuracy", *(f"points to {other}" for other in others)], rows)


def by_target(right: dict, told: dict) -> list[str]:
    """Accuracies; * where the best way of the two kinds, adapted, differ (exact McNemar, p below 0.05)."""
    rows = []
    for target in told["targets"]:
        for seed in told["seeds"]:
            joint = right["joint, adapted by itself", target, seed]
            cells = [
                f"{right[way, target, seed].mean():.3f}"
                + ("*" if way.startswith("in turns, ") and mcnemar(right[way, target, seed], joint) < 0.05 else "")
                for way in WAYS
            ]
            rows.append([target, seed, *cells])
    return markdown(["target", "seed", *WAYS], rows)


def main(argv=None) -> None:
    args = build_parser().parse_args(argv)
    if args.tables:
        tables(args.tables)
    else:
        Study(args).run()


if __name__ == "__main__":
    call(main)
