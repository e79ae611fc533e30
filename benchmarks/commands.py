"""Runs the toolkit's own commands, many at a time, so that every number comes from what a user would type."""

import io
import os
import shlex
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from auto_merge_llm.errors import InputError
from tqdm import tqdm

from merginguriel.utils.data import language_arguments
from merginguriel.utils.data.task import Task
from merginguriel.utils.data.task_file import task_tokens
from merginguriel.utils.evaluation.predictions import PREDICTIONS, read_predictions
from merginguriel.utils.flags import flag_groups
from merginguriel.utils.models.store import ModelStore
from merginguriel.utils.storage import argument_types, naming

ROOT = Path(__file__).resolve().parents[1]


def call(main) -> None:
    """Call a benchmark's main; wrong input ends it with one line."""
    try:
        main()
    except InputError as error:
        raise SystemExit(f"error: {error}") from None


def languages(asked: list[str] | None, task: Task, count: int | None = None) -> list[str]:
    """Those that were asked for, else the task's, the first `count` of them; InputError where there are none."""
    chosen = asked or list(task.default_codes[:count])
    if not chosen:
        raise InputError(f"{task.data} does not tell its languages; name them, or list them in the task's file")
    return chosen


def add_study(parser, *, k: int, workers: int, folder: str) -> None:
    """Flags of a study that trains a model for each locale and merges them, for `read_study`; with these defaults."""
    parser.add_argument("--base-model", metavar="NAME", help="Hub id or folder of the base model")
    flag_groups.add_task(parser)
    parser.add_argument("--locales", type=language_arguments.locale_list, help="default: the task's")
    parser.add_argument("--k", type=argument_types.positive_int, default=k, help="neighbours in the Sinkhorn matrix")
    parser.add_argument("--train-flags", default="", help="passed to training_bert.py")
    parser.add_argument("--workers", type=argument_types.positive_int, default=workers, help="processes at a time")
    parser.add_argument("--dir", type=Path, default=Path(folder), help="working folder")
    parser.add_argument("--dense-matrix", type=Path, help="CSV, where lang2vec is not installed")


def read_study(args) -> ModelStore:
    """Where the study's models are, and its task; `args.locales` are the task's where none were given."""
    task = flag_groups.read_task(args)
    args.locales = languages(args.locales, task)
    return ModelStore(task.base_model(args.base_model), task, args.dir / naming.MODELS_ROOT)


def archive(target: Path, root: Path, files: Iterable[Path]) -> None:
    """`files`, all below `root`, as the tar.xz `target`, without the logits of predictions."""
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    with tarfile.open(partial, "w:xz", preset=2) as tar:
        for path in files:
            inside = str(path.relative_to(root))
            if path.name != PREDICTIONS:
                tar.add(path, inside)
                continue
            # Not compressed by itself, so that the archive finds what one result shares with the others.
            bare = io.BytesIO()
            np.savez(bare, **{name: values for name, values in read_predictions(path).items() if name != "logits"})
            entry = tarfile.TarInfo(inside)
            entry.size = bare.tell()
            bare.seek(0)
            tar.addfile(entry, bare)
    os.replace(partial, target)


def read_right(file: Path) -> np.ndarray:
    """Which items a kept result got right, (items,) bool in the order of their ids."""
    kept = read_predictions(file)
    return (kept["labels"] == kept["predictions"])[np.argsort(kept["ids"])]


def toolkit_environment() -> dict[str, str]:
    """This process's, in which any Python also finds this checkout's toolkit."""
    paths = [str(ROOT), str(ROOT / "submodules/auto_merge_llm"), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


class Commands:
    """Runs `workers` scripts at a time, on the GPUs in turn; their output goes to the working folder's log."""

    def __init__(self, folder: Path, workers: int):
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.log, self.workers = folder, folder / "log.txt", workers
        self.environment = {**toolkit_environment(), "TOKENIZERS_PARALLELISM": "false", "OMP_NUM_THREADS": "2"}

    def run(self, line: list, number: int = 0) -> None:
        """One command; `number` chooses its GPU. Ends the benchmark where it fails."""
        environment, visible = dict(self.environment), gpus()
        if visible:
            environment["CUDA_VISIBLE_DEVICES"] = visible[number % len(visible)]
        self._run([str(part) for part in line], environment)

    def run_on_all(self, line: list) -> None:
        """The same on all GPUs that can be seen, for one with workers of its own."""
        self._run([str(part) for part in line], self.environment)

    def _run(self, line: list[str], environment: dict[str, str]) -> None:
        done = subprocess.run(
            [sys.executable, str(ROOT / "merginguriel" / line[0]), *line[1:]],
            text=True,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        with open(self.log, "a", encoding="utf-8") as log:
            log.write(f"$ {shlex.join(line)}\n{done.stdout}\n")
        if done.returncode:
            raise SystemExit(f"{shlex.join(line)}\n{done.stdout[-2000:]}")

    def run_here(self, line: list) -> None:
        """One command on all GPUs that can be seen; its output is shown as it comes. Ends the benchmark if it fails."""
        done = subprocess.run(
            [sys.executable, str(ROOT / "merginguriel" / line[0]), *map(str, line[1:])],
            env={**self.environment, "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "2")},
            check=False,
        )
        if done.returncode:
            raise SystemExit(done.returncode)

    def run_all(self, description: str, lines: list[list]) -> float:
        """Seconds that all of them took."""
        start = time.monotonic()
        with ThreadPoolExecutor(self.workers) as pool:
            list(tqdm(pool.map(self.run, lines, range(len(lines))), total=len(lines), desc=description))
        return time.monotonic() - start

    def train(self, store: ModelStore, locales: list[str], flags: str) -> float:
        """Train the models that are not there yet; seconds that it took."""
        return self.run_all(
            "training",
            [
                [
                    "training_bert.py",
                    "--model-name-or-path",
                    store.base_model,
                    *task_tokens(store.task),
                    "--dataset-config-name",
                    locale,
                    "--output-dir",
                    store.folder(locale),
                    "--models-root",
                    store.root,
                    *shlex.split(flags),
                ]
                for locale in locales
                if not store.folder(locale).exists()
            ],
        )

    def similarity_matrices(self, task: Task, locales: list[str], k: int, dense_csv: Path | None) -> tuple[Path, Path]:
        """Dense and sparse matrix of `locales`; cut out of `dense_csv` where lang2vec is not installed."""
        from merginguriel.utils.similarity import matrix, sparsify, uriel

        if dense_csv:
            whole = matrix.read_matrix(dense_csv)
            rows = [whole.targets.index(locale) for locale in locales]
            part = matrix.similarities(tuple(locales), whole.values.T[rows][:, rows], whole.origin)
        else:
            part = uriel.dense_matrix(task.language(locale) for locale in locales)
        dense, sparse = self.folder / "dense.csv", self.folder / "sparse.csv"
        part.to_csv(dense)
        sparsify.sparsify(part, k, 20).to_csv(sparse)
        return dense, sparse


def gpus() -> list[str]:
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return visible.split(",") if visible else []
    try:
        listed = subprocess.run(["nvidia-smi", "--list-gpus"], capture_output=True, text=True, check=False).stdout
    except FileNotFoundError:
        return []
    return [str(number) for number, _ in enumerate(listed.splitlines())]
