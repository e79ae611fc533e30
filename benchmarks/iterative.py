"""What periodic merging gives: the control experiment of iterative training.

For every target and seed five sources, its nearest by cosine, are trained in turn and merged every epoch, every two
epochs, or once at the end, which is the one-shot merge of equally long trained sources. Beside them stand a joint
training on the items of all five, with as many steps in all, and the best of the five sources that were never merged,
by its test accuracy. All see the same items equally often, under the same schedule of the learning rate.

Every run is kept in --output as soon as it is done, with the table, the CSV and the curves of all that are done; the
same command goes on with the others. A run that was cut off goes on from its checkpoints in --work-dir, which needs
about 20 times the size of the model for every worker. On one H100:

    python benchmarks/iterative.py --base-model DIR/me5-small-xlmr --dataset-name DIR/massive \
        --targets af-ZA,sw-KE,tr-TR --epochs 4 --bf16 --cuda-graphs --workers 8 --output OUT

docs/iterative.md has the result. The steps in all are printed first: targets x seeds x 4 x 5 sources x epochs x items /
batch size; `--dry-run` stops there.
"""

import argparse
import csv
import functools
import json
import logging
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from auto_merge_llm.errors import InputError
from commands import call, languages

from merginguriel import run_iterative_training
from merginguriel.utils.data.language_arguments import locale_list
from merginguriel.utils.data.task import Task
from merginguriel.utils.data.task_file import task_tokens
from merginguriel.utils.flags import flag_groups
from merginguriel.utils.flags.parser import ArgumentParser
from merginguriel.utils.flags.training_flags import parse_training
from merginguriel.utils.jobs import processes
from merginguriel.utils.merging.selection import Neighbours, SourceSettings, select_sources, similarity_matrix
from merginguriel.utils.storage import argument_types, atomic, environment, naming

JOINT, BEST, ONE_SHOT = "joint training", "best source", "once at the end"
METHODS = ("every epoch", "every 2 epochs", ONE_SHOT, JOINT)


class Run(NamedTuple):
    target: str
    seed: int
    method: str
    sources: tuple[str, ...]

    @property
    def name(self) -> str:
        return f"{self.target} seed{self.seed} {self.method}"

    @property
    def folder(self) -> str:
        return self.name.replace(" ", "_")


def build_parser():
    parser = ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base-model", metavar="NAME", help="Hub id or folder of the base model")
    flag_groups.add_task(parser)
    parser.add_argument("--similarity-matrix", type=Path, help="CSV of cosines, where lang2vec is not installed")
    parser.add_argument("--targets", type=locale_list, help="default: the task's first three")
    parser.add_argument(
        "--seeds", type=lambda text: [argument_types.seed(part) for part in text.split(",")], default=[42, 43]
    )
    parser.add_argument("--num-languages", type=argument_types.positive_int, default=5)
    parser.add_argument("--mode", default="average", help="how to merge")
    parser.add_argument("--epochs", type=argument_types.positive_int, default=6)
    parser.add_argument("--train-samples", type=argument_types.positive_int, help="items of a language, default: all")
    parser.add_argument("--batch-size", type=argument_types.positive_int, default=32)
    parser.add_argument("--learning-rate", type=float, default=2e-4)
    precision = parser.add_mutually_exclusive_group()
    precision.add_argument("--bf16", action="store_true")
    precision.add_argument("--tf32", action="store_true")
    parser.add_argument("--cuda-graphs", action="store_true")
    parser.add_argument("--workers", type=argument_types.positive_int, default=8)
    parser.add_argument("--work-dir", type=Path, default=Path("iterative_work"), help="checkpoints, removed when done")
    parser.add_argument("--output", type=Path, default=Path("iterative_control"), help="small: what is measured")
    parser.add_argument("--dry-run", action="store_true", help="print the runs and their steps, then stop")
    return parser


def choose_sources(args, task: Task, target: str) -> tuple[str, ...]:
    among = Neighbours(target, tuple(task.neighbours([target, *task.codes])))
    matrix = similarity_matrix(SourceSettings(selection="cosine", matrix=args.similarity_matrix), among)
    return tuple(select_sources(matrix, target, args.num_languages, dict.fromkeys(task.codes, Path())))


def draw_items(args, task: Task, locales: set[str]) -> Task:
    """The task with `--train-samples` items in every train split, the same ids in every language."""
    if not args.train_samples:
        return task
    folder = args.work_dir / f"items{args.train_samples}"
    for locale in sorted(locales):
        file = folder / f"{locale}.jsonl"
        if file.exists():
            continue
        lines = []
        for split, (name, *_) in task.splits:
            items = task.load(locale, split)
            items = items.draw(args.train_samples, 0) if split == "train" else items
            for id_, text, label in zip(items.ids, items.texts, items.labels):
                texts = dict(zip(task.text, [text] if isinstance(text, str) else text))
                row = {"id": id_, "partition": name, **texts, task.label: task.labels[label]}
                lines.append(json.dumps(row, ensure_ascii=False) + "\n")
        atomic.write_text(file, "".join(lines))
    return replace(task, data=str(folder))


class Work:
    """Does a run in this process and keeps what it measured."""

    def __init__(self, args, task: Task):
        self._args, self._task = args, task

    def __call__(self, name: str, run: Run, report) -> None:
        start = time.monotonic()
        folder = self._args.work_dir / run.folder
        measured = self._joint(run, folder) if run.method == JOINT else self._iterative(run, folder)
        atomic.write_json(
            self._args.output / "runs" / f"{run.folder}.json",
            {
                **run._asdict(),
                "settings": settings_of(self._args),
                "seconds": time.monotonic() - start,
                "environment": environment.run_environment(),
                **measured,
            },
        )
        shutil.rmtree(folder, ignore_errors=True)

    def _common(self, run: Run) -> list:
        args = self._args
        return [
            "--model-name-or-path",
            args.base_model,
            *task_tokens(self._task),
            "--models-root",
            args.work_dir / "haryos_model",
            "--learning-rate",
            args.learning_rate,
            "--warmup-ratio",
            0.1,
            "--weight-decay",
            0.01,
            "--seed",
            run.seed,
            *(["--bf16"] if args.bf16 else []),
            *(["--tf32"] if args.tf32 else []),
            *(["--cuda-graphs"] if args.cuda_graphs else []),
        ]

    def _iterative(self, run: Run, folder: Path) -> dict:
        from merginguriel.utils.iterative.history import read_history
        from merginguriel.utils.iterative.plan import plan_run
        from merginguriel.utils.iterative.run import run as train_and_merge
        from merginguriel.utils.training.checkpoints import newest
        from merginguriel.utils.training.trainer import free_memory

        args = self._args
        every = {"every epoch": 1, "every 2 epochs": 2, ONE_SHOT: args.epochs}[run.method]
        settings, _ = run_iterative_training.parse(
            [
                "--mode",
                args.mode,
                "--target-lang",
                run.target,
                "--locales",
                ",".join(run.sources),
                "--max-epochs",
                args.epochs,
                "--merge-frequency",
                every,
                "--batch-size",
                args.batch_size,
                *self._common(run),
                "--save-strategy",
                "merge",
                "--output-dir",
                folder / "run",
                "--results-dir",
                folder / "results",
                *(["--retain-merge-checkpoints", 1] if every < args.epochs else []),
            ]
        )
        final = train_and_merge(plan_run(settings))
        measured = {
            "correct": bits(final),
            "curve": [
                {
                    "epoch": entry["epoch"],
                    "own": entry["validation_accuracy"]["own"],
                    "merged": entry["validation_accuracy"]["merged"],
                    "merge_seconds": entry["merge_duration"],
                }
                for entry in read_history(folder / "run")
            ],
        }
        last = {locale: newest(folder / "run" / locale / "checkpoints") for locale in run.sources}
        measured["steps"] = sum(checkpoint.step for checkpoint in last.values())
        if run.method == ONE_SHOT:
            measured["sources_correct"] = {
                locale: bits(self._test(checkpoint.path, run, folder / "results" / locale))
                for locale, checkpoint in last.items()
            }
            free_memory()
        return measured

    def _joint(self, run: Run, folder: Path) -> dict:
        from merginguriel.utils.models import devices, loading
        from merginguriel.utils.training.development import Development
        from merginguriel.utils.training.train import train
        from merginguriel.utils.training.trainer import device_of, free_memory

        args = self._args
        training, steps = parse_training(
            [
                "--dataset-config-name",
                ",".join(run.sources),
                "--num-train-epochs",
                args.epochs,
                "--per-device-train-batch-size",
                args.batch_size,
                *self._common(run),
                "--output-dir",
                folder / "model",
                "--do-train",
                "--do-eval",
                "--load-best-model-at-end",
                "false",
                "--save-total-limit",
                1,
            ]
        )
        if not (folder / "model").exists():
            train(training, steps)
            free_memory()
        state = atomic.read_json(folder / "model" / "trainer_state.json")
        device = device_of(training.settings)
        model = loading.load_model(folder / "model", device, devices.evaluation_dtype(device))
        judge = Development(training, folder / "model")
        validation = {locale: judge.score(model, locale) for locale in (*run.sources, run.target)}
        return {
            "correct": bits(self._test(folder / "model", run, folder / "results")),
            "steps": state["global_step"],
            "validation": validation,
            "curve": [
                {"epoch": round(row["epoch"]), "on_sources": row["eval_accuracy"]}
                for row in state["log_history"]
                if "eval_accuracy" in row
            ],
        }

    def _test(self, model: Path, run: Run, folder: Path):
        from merginguriel.utils.evaluation import classifier

        split = self._task.load(run.target, "test")
        return classifier.evaluate(classifier.Classifier(model, self._task), split, folder)


def bits(evaluation) -> str:
    """Right or wrong on the test items, sorted by id."""
    order = np.argsort(evaluation.ids)
    return "".join("01"[value] for value in evaluation.correct[order].astype(int))


def settings_of(args) -> dict:
    task = flag_groups.read_task(args)
    settings = {
        name: getattr(args, name)
        for name in ("num_languages", "mode", "epochs", "train_samples", "batch_size", "learning_rate")
    }
    precision = "bf16" if args.bf16 else "tf32" if args.tf32 else "float32"
    return {
        **({"task": task.word} if task.word else {}),
        "base_model": naming.base_slug(args.base_model),
        **settings,
        "precision": precision,
    }


class Progress:
    """A bar, and the report, written anew whenever a run is done."""

    def __init__(self, args, runs: list[Run], bar):
        self._args, self._runs, self._bar, self.failures = args, runs, bar, {}

    def start(self, worker: int, name: str) -> None:
        self._bar.set_postfix_str(name)

    def done(self, worker: int, name: str, result: None, seconds: float) -> None:
        self._bar.update()
        self._bar.write(f"{name}: {seconds:.0f} s")
        write_report(self._args, self._runs)

    def failed(self, worker: int, name: str, reason: str) -> None:
        self._bar.update()
        self._bar.write(f"{name}: failed, {reason}")
        self.failures[name] = reason


def read_runs(args, runs: list[Run]) -> dict[Run, dict]:
    """Those that are done; InputError where one was done with other settings."""
    done = {}
    for run in runs:
        file = args.output / "runs" / f"{run.folder}.json"
        if file.exists():
            kept = atomic.read_json(file)
            if kept["settings"] != settings_of(args) or tuple(kept["sources"]) != run.sources:
                raise InputError(f"{file} was made with other settings; choose another --output")
            done[run] = kept
    return done


def rows_of(done: dict[Run, dict]) -> list[dict]:
    """A row for each target, seed and method, with `correct` (items,) bool; the best source is a method."""
    from merginguriel.utils.evaluation.statistics import wilson_interval

    rows = []

    def add(run: Run, method: str, correct: str, steps, **more):
        right = np.array(list(correct)) == "1"
        low, high = wilson_interval(int(right.sum()), len(right))
        rows.append(
            {
                "target": run.target,
                "seed": run.seed,
                "method": method,
                "sources": " ".join(run.sources),
                "accuracy": right.mean(),
                "low": low,
                "high": high,
                "steps": steps,
                "correct": right,
                **more,
            }
        )

    for run, kept in done.items():
        last = kept["curve"][-1]
        on = kept.get("validation") or last["merged"]
        add(
            run,
            run.method,
            kept["correct"],
            kept["steps"],
            validation_target=on[run.target],
            validation_sources=np.mean([on[locale] for locale in run.sources]),
            seconds=kept["seconds"],
        )
        if "sources_correct" in kept:
            best = max(run.sources, key=lambda locale: kept["sources_correct"][locale].count("1"))
            add(run, BEST, kept["sources_correct"][best], kept["steps"] // len(run.sources), best=best)
    return rows


def compare(rows: list[dict]) -> None:
    """Difference to the one-shot merge of the same target and seed: McNemar's p, and Holm's over all of them."""
    from merginguriel.utils.evaluation.statistics import holm, mcnemar

    one_shot = {(row["target"], row["seed"]): row for row in rows if row["method"] == ONE_SHOT}
    tested = []
    for row in rows:
        reference = one_shot.get((row["target"], row["seed"]))
        if reference and reference is not row:
            row["vs_one_shot"] = row["accuracy"] - reference["accuracy"]
            row["p_mcnemar"] = mcnemar(row["correct"], reference["correct"])
            tested.append(row)
    for row, p_value in zip(tested, holm([row["p_mcnemar"] for row in tested])):
        row["p_holm"] = p_value


def table(rows: list[dict]) -> str:
    """Markdown: every target and seed, then means over those that all methods have, with intervals and tests."""
    from merginguriel.utils.evaluation.statistics import holm, paired_bootstrap, wilcoxon

    found = {(row["target"], row["seed"], row["method"]): row for row in rows}
    pairs = list(dict.fromkeys((row["target"], row["seed"]) for row in rows))
    methods = (BEST, ONE_SHOT, "every 2 epochs", "every epoch", JOINT)
    lines = ["| target | seed | " + " | ".join(methods) + " |", "|---|---|" + "---|" * len(methods)]
    for target, seed in pairs:
        cells = []
        for method in methods:
            row = found.get((target, seed, method))
            if row is None:
                cells.append("")
                continue
            cell = f"{row['accuracy']:.3f} [{row['low']:.3f}, {row['high']:.3f}]"
            if "vs_one_shot" in row:
                cell += f" ({100 * row['vs_one_shot']:+.1f}{'*' if row['p_holm'] < 0.05 else ''})"
            cells.append(cell + (f" {row['best']}" if "best" in row else ""))
        lines.append(f"| {target} | {seed} | " + " | ".join(cells) + " |")
    lines += [
        "",
        "In brackets the difference to the merge once at the end, in points; * where p < 0.05 (McNemar, Holm "
        f"over all cells). {len(pairs)} of target and seed.",
        "",
    ]
    whole = [pair for pair in pairs if all((*pair, method) in found for method in methods)]
    if not whole:
        return "\n".join(lines)
    correct = {method: np.stack([found[(*pair, method)]["correct"] for pair in whole]) for method in methods}
    references = (ONE_SHOT, BEST, JOINT)
    lines += [
        f"| mean of {len(whole)} | test accuracy | " + " | ".join(f"minus {name}" for name in references) + " |",
        "|---|---|" + "---|" * len(references),
    ]
    p_values = {
        (method, reference): wilcoxon(correct[method].mean(1), correct[reference].mean(1))
        for method in methods
        for reference in references
        if method != reference
    }
    adjusted = dict(zip(p_values, holm(list(p_values.values()))))
    for method in methods:
        cells = []
        for reference in references:
            if method == reference:
                cells.append("")
                continue
            difference = correct[method].mean() - correct[reference].mean()
            low, high = paired_bootstrap(correct[method], correct[reference])
            cells.append(
                f"{100 * difference:+.2f} [{100 * low:+.2f}, {100 * high:+.2f}] "
                f"p {p_values[method, reference]:.2g}, Holm {adjusted[method, reference]:.2g}"
            )
        lines.append(f"| {method} | {correct[method].mean():.4f} | " + " | ".join(cells) + " |")
    lines += [
        "",
        "Points; 95 % intervals by a paired bootstrap of the items, drawn by id; p by Wilcoxon's test over "
        f"the {len(whole)} pairs of target and seed. They speak of these targets, not of others.",
    ]
    return "\n".join(lines)


def draw(args, done: dict[Run, dict], path: Path) -> None:
    """Validation accuracy by epoch: above on the target, below the mean over the sources; thin lines are seeds."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    colours = dict(zip(METHODS, ("#0072B2", "#009E73", "#D55E00", "0.35")))
    figure = Figure(figsize=(4.2 * len(args.targets), 6.4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, len(args.targets), sharex=True, squeeze=False)
    labelled = set()
    for run, kept in done.items():
        column, colour = args.targets.index(run.target), colours[run.method]
        label = run.method if run.method not in labelled else None
        labelled.add(run.method)
        curve = kept["curve"]
        style = dict(color=colour, linewidth=1.2, marker="o", markersize=3.5)
        epochs = [point["epoch"] for point in curve]
        if run.method == JOINT:
            axes[0, column].plot(args.epochs, kept["validation"][run.target], label=label, **{**style, "marker": "s"})
            axes[1, column].plot(epochs, [point["on_sources"] for point in curve], **{**style, "marker": "s"})
            continue
        axes[0, column].plot(epochs, [point["merged"][run.target] for point in curve], label=label, **style)
        axes[1, column].plot(epochs, [mean_of(point["merged"], run.sources) for point in curve], **style)
        axes[1, column].plot(
            epochs,
            [mean_of(point["own"], run.sources) for point in curve],
            color=colour,
            linestyle=":",
            linewidth=1,
            marker="^",
            markersize=3,
        )
    for column, target in enumerate(args.targets):
        axes[0, column].set_title(f"validation of the target {target}", fontsize=10)
        axes[1, column].set_title("mean over the sources' validation", fontsize=10)
        axes[1, column].set_xlabel("epoch of every source (dotted: own models before the merge)", fontsize=8)
        axes[0, column].set_ylabel("accuracy")
        axes[1, column].set_ylabel("accuracy")
        for axis in axes[:, column]:
            axis.grid(color="0.92")
            axis.set_xticks(range(1, args.epochs + 1))
    figure.legend(loc="outside lower center", ncols=len(METHODS), frameon=False)
    figure.savefig(path, dpi=150, format="png")


def mean_of(accuracies: dict, locales) -> float:
    return float(np.mean([accuracies[locale] for locale in locales]))


COLUMNS = (
    "target",
    "seed",
    "method",
    "best",
    "sources",
    "accuracy",
    "low",
    "high",
    "validation_target",
    "validation_sources",
    "vs_one_shot",
    "p_mcnemar",
    "p_holm",
    "steps",
    "seconds",
)


def write_report(args, runs: list[Run]) -> str:
    """table.md, table.csv and curves.png of what is done."""
    done = read_runs(args, runs)
    if not done:
        return "nothing is done yet"
    rows = rows_of(done)
    compare(rows)
    with atomic.beside(args.output / "table.csv") as partial, open(partial, "w", newline="", encoding="utf-8") as out:
        writer = csv.DictWriter(out, COLUMNS, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow(
                {
                    name: f"{value:.6g}" if isinstance(value, float) else value
                    for name, value in row.items()
                    if name != "correct"
                }
            )
    text = table(rows)
    atomic.write_text(args.output / "table.md", text + "\n")
    with atomic.beside(args.output / "curves.png") as partial:
        draw(args, done, partial)
    return text


def fitting_workers(args) -> int:
    """As many as were asked for, or as the disk has room for."""
    base = Path(args.base_model)
    size = sum(file.stat().st_size for file in base.glob("*.safetensors")) if base.is_dir() else 0
    args.work_dir.mkdir(parents=True, exist_ok=True)
    fit = max(1, int(shutil.disk_usage(args.work_dir).free // max(1, (3.2 * args.num_languages + 5) * size)))
    if fit < args.workers:
        print(f"{fit} workers, not {args.workers}: the disk has no room for more", flush=True)
    return min(fit, args.workers)


def main(argv=None):
    args = build_parser().parse_args(argv)
    logging.basicConfig(level=logging.WARNING)
    task = flag_groups.read_task(args)
    args.base_model, args.targets = task.base_model(args.base_model), languages(args.targets, task, 3)
    sources = {target: choose_sources(args, task, target) for target in args.targets}
    runs = [
        Run(target, seed, method, sources[target])
        for seed in args.seeds
        for target in args.targets
        for method in METHODS
    ]
    waiting = [run for run in runs if run not in read_runs(args, runs)]
    items = args.train_samples or len(task.load(args.targets[0], "train"))
    steps = args.num_languages * args.epochs * -(-items // args.batch_size)
    print(f"{len(waiting)} of {len(runs)} runs to do, {steps} steps each, {steps * len(waiting)} in all", flush=True)
    for target, chosen in sources.items():
        print(f"{target}: {' '.join(chosen)}", flush=True)
    if args.dry_run:
        return
    drawn = draw_items(args, task, set(args.targets).union(*sources.values()))

    from tqdm import tqdm

    with tqdm(total=len(runs), initial=len(runs) - len(waiting), desc="runs", leave=False, disable=None) as bar:
        progress = Progress(args, runs, bar)
        if waiting:
            processes.in_processes(
                functools.partial(Work, args, drawn),
                [(run.name, run) for run in waiting],
                fitting_workers(args),
                progress,
            )
    print(write_report(args, runs))
    if progress.failures:
        raise SystemExit(1)


if __name__ == "__main__":
    call(main)
