"""All source models of a task on GPUs, then their N×N: how long, how good, and how busy the GPUs were.

Runs train_missing_models.py and run_nxn_evaluation.py as a user would. The report is written every few seconds, and
what is done is not done again, so a run that is cut off loses nothing.

    python benchmarks/all_locales.py --base-model DIR --dataset-name DIR --folder work --workers 7 --output all.json

The matrix, with every model on its own language in the diagonal, is in work/nxn_results/nxn_eval_*/.
"""

import argparse
import shlex
import shutil
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

from commands import Commands, call, languages

from merginguriel.utils.data import language_arguments
from merginguriel.utils.data.task_file import task_tokens
from merginguriel.utils.flags import flag_groups
from merginguriel.utils.flags.parser import ArgumentParser
from merginguriel.utils.models.store import ModelStore
from merginguriel.utils.storage import argument_types, atomic, environment, naming

SECONDS_A_REPORT = 5


def build_parser():
    parser = ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base-model", metavar="NAME", help="Hub id or folder of the base model")
    flag_groups.add_task(parser)
    parser.add_argument(
        "--locales", type=language_arguments.locale_list, metavar="LOC[,LOC…]", help="default: the task's"
    )
    parser.add_argument("--folder", type=Path, required=True, help="where models and results go")
    parser.add_argument("--workers", type=argument_types.positive_int, default=7, help="of the training and of the N×N")
    parser.add_argument("--epochs", type=float, default=5)
    parser.add_argument(
        "--train-flags",
        help="of train_missing_models.py (default: %(default)s)",
        default="--lr 2e-4 --warmup-ratio 0.1 --bf16 --additional-args --cuda_graphs "
        "--save_strategy no --eval_strategy no",
    )
    parser.add_argument("--output", type=Path, required=True, help="JSON, written as it goes")
    return parser


class Watch:
    """While it is open, keeps the report up to date: utilisation of the GPUs, test accuracies as they come."""

    def __init__(self, report: dict, part: str, output: Path, models: dict[str, Path]):
        self._report, self._part, self._output, self._models = report, report.setdefault(part, {}), output, models
        self._end, self._busy = threading.Event(), []

    def __enter__(self):
        self._start = time.monotonic()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *error):
        self._end.set()
        self._thread.join()
        self._write()

    def _watch(self):
        while not self._end.wait(SECONDS_A_REPORT):
            self._busy.append(_utilisation())
            self._write()

    def _write(self):
        busy = [value for values in self._busy for value in values]
        self._part |= {
            "seconds": time.monotonic() - self._start,
            "gpu_utilisation": {"mean": statistics.mean(busy), "median": statistics.median(busy)} if busy else None,
        }
        done = {
            locale: atomic.read_json(folder / "all_results.json")
            for locale, folder in self._models.items()
            if (folder / "all_results.json").is_file()
        }
        self._report["own_language_test_accuracy"] = {locale: run["predict_accuracy"] for locale, run in done.items()}
        self._report["models"] = len(done)
        self._report["mean"] = statistics.mean(run["predict_accuracy"] for run in done.values()) if done else None
        atomic.write_json(self._output, self._report)


def _utilisation() -> list[int]:
    """Per cent of each GPU, [] without one."""
    if not shutil.which("nvidia-smi"):
        return []
    said = subprocess.run(
        ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"],
        capture_output=True,
        text=True,
        check=False,
    ).stdout
    return [int(line) for line in said.split() if line.isdigit()]


def main(argv=None):
    args = build_parser().parse_args(argv)
    task = flag_groups.read_task(args)
    store = ModelStore(task.base_model(args.base_model), task, args.folder / naming.MODELS_ROOT)
    locales = languages(args.locales, task)
    models = {locale: store.folder(locale) for locale in locales}
    report = {"command": shlex.join(sys.argv), "environment": environment.run_environment()}
    shared = [
        "--base-model",
        store.base_model,
        *task_tokens(task),
        "--models-root",
        store.root,
        "--locales",
        ",".join(locales),
    ]
    run = Commands(args.folder, 1).run_here
    with Watch(report, "training", args.output, models):
        run(
            [
                "train_missing_models.py",
                *shared,
                "--workers",
                args.workers,
                "--epochs",
                args.epochs,
                *shlex.split(args.train_flags),
            ]
        )
    print(
        f"{report['models']} models in {report['training']['seconds']:.0f} s, mean own-language test accuracy "
        f"{report['mean']:.4f}",
        flush=True,
    )
    with Watch(report, "nxn", args.output, models):
        run(
            [
                "run_nxn_evaluation.py",
                *shared,
                "--max-workers",
                args.workers,
                "--results-dir",
                args.folder / naming.NXN_ROOT,
            ]
        )
    print(f"N×N in {report['nxn']['seconds']:.0f} s", flush=True)


if __name__ == "__main__":
    call(main)
