"""Training speed beside the straightforward way, and whether both learn the same.

The straightforward way: transformers' Trainer, float32, every input padded to 128 tokens, one process. Ours: the
settings of training_bert.py, on a GPU with --precision and CUDA graphs, and as `plain` in float32 without; then several
locales at once, as train_missing_models.py trains them, everything from the start of its processes to the last test
accuracy in the time. With every seed all start from one initial checkpoint and see the same items equally often. Speed
is that of the training loop, in items a second; accuracies are on the test split, and their difference to the
straightforward way's has a t interval over the seeds.

    OMP_NUM_THREADS=2 python benchmarks/training.py --base-model DIR --dataset-name DIR --locales af-ZA,nl-NL \
        --max-train-samples 1024 --output training.json
"""

import argparse
import logging
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from auto_merge_llm.errors import InputError
from commands import call, languages
from scipy.stats import sem, t
from tqdm import tqdm

from merginguriel.utils.data import language_arguments
from merginguriel.utils.data.task_file import task_tokens
from merginguriel.utils.evaluation.statistics import wilson_interval
from merginguriel.utils.flags import flag_groups
from merginguriel.utils.flags.parser import ArgumentParser
from merginguriel.utils.flags.training_flags import parse_training
from merginguriel.utils.jobs.backends import LocalBackend
from merginguriel.utils.jobs.engine import work_off
from merginguriel.utils.models import initial, loading, scoring
from merginguriel.utils.models.store import ModelStore
from merginguriel.utils.models.tokens import tokenise
from merginguriel.utils.storage import argument_types, atomic, environment
from merginguriel.utils.training import train, training_job
from merginguriel.utils.training.items import load
from merginguriel.utils.training.settings import TrainingRun, TrainingSteps
from merginguriel.utils.training.trainer import by_version

WAYS = ("straightforward", "plain", "ours")


def build_parser():
    parser = ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base-model", metavar="NAME", help="Hub id or folder of the base model")
    flag_groups.add_task(parser)
    parser.add_argument(
        "--locales",
        type=language_arguments.locale_list,
        metavar="LOC[,LOC…]",
        help="the first is trained alone, all are trained together (default: the task's first two)",
    )
    parser.add_argument("--workers", type=argument_types.positive_int, default=2)
    parser.add_argument("--epochs", type=float, default=1)
    parser.add_argument("--batch-size", type=argument_types.positive_int, default=32)
    parser.add_argument("--learning-rate", type=float, default=5e-5)
    parser.add_argument("--precision", choices=["bf16", "tf32"], default="bf16", help="of ours on a GPU")
    parser.add_argument("--max-train-samples", type=argument_types.positive_int, help="of a locale")
    parser.add_argument("--warmup-ratio", type=float, default=0.0)
    parser.add_argument("--seeds", type=argument_types.seed, nargs="+", default=[42], help="the ways take turns")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=["straightforward", "ours"])
    parser.add_argument("--no-together", action="store_true", help="leave out several locales at once")
    parser.add_argument("--output", type=Path, help="JSON, written as it goes")
    return parser


def flags(args, store: ModelStore, locale: str, folder: Path, seed: int, fast: bool = True) -> list[str]:
    line = [
        "--dataset-config-name",
        locale,
        "--model-name-or-path",
        store.base_model,
        *task_tokens(store.task),
        "--models-root",
        str(store.root),
        "--output-dir",
        str(folder),
        "--do-train",
        "--do-predict",
        "--save-strategy",
        "no",
        "--num-train-epochs",
        str(args.epochs),
        "--learning-rate",
        str(args.learning_rate),
        "--warmup-ratio",
        str(args.warmup_ratio),
        "--seed",
        str(seed),
        "--per-device-train-batch-size",
        str(args.batch_size),
    ]
    if args.max_train_samples:
        line += ["--max-train-samples", str(args.max_train_samples)]
    return line + ([f"--{args.precision}", "--cuda-graphs"] if fast and torch.cuda.is_available() else [])


def straightforward(args, run: TrainingRun, folder: Path) -> dict:
    import transformers
    from transformers import AutoModelForSequenceClassification, AutoTokenizer, Trainer, TrainingArguments

    start = initial.initial_checkpoint(run.store, run.settings.seed)
    model, tokenizer = (
        AutoModelForSequenceClassification.from_pretrained(start, trust_remote_code=False),
        AutoTokenizer.from_pretrained(start, trust_remote_code=False),
    )
    longest = loading.longest_input(model, run.max_tokens)
    items = load(run, {"train": args.max_train_samples})["train"]
    encoded = tokenizer([item.text for item in items], truncation=True, padding="max_length", max_length=longest)
    rows = [
        {**{name: values[number] for name, values in encoded.items()}, "labels": item.label}
        for number, item in enumerate(items)
    ]
    trainer = Trainer(
        model,
        TrainingArguments(
            output_dir=str(folder),
            num_train_epochs=args.epochs,
            learning_rate=args.learning_rate,
            seed=run.settings.seed,
            **by_version({"warmup_ratio": args.warmup_ratio}, (), transformers.__version__),
            per_device_train_batch_size=args.batch_size,
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            use_cpu=not torch.cuda.is_available(),
        ),
        train_dataset=rows,
    )
    speed = trainer.train().metrics["train_samples_per_second"]
    split = run.task.load(run.locales[0], "test")
    tokens = tokenise(tokenizer, split.texts, longest)
    predicted = scoring.logits(model.eval(), tokens).argmax(-1)
    hits = int((predicted == split.labels).sum())
    return {"items_per_second": speed, "accuracy": hits / len(split), "ci95": wilson_interval(hits, len(split))}


def ours(run: TrainingRun, steps: TrainingSteps) -> dict:
    metrics = train.train(run, steps)
    items = metrics["predict_samples"]
    return {
        "items_per_second": metrics["train_samples_per_second"],
        "accuracy": metrics["predict_accuracy"],
        "ci95": wilson_interval(round(metrics["predict_accuracy"] * items), items),
    }


def together(args, store: ModelStore, locales: list[str]) -> dict:
    runs = [parse_training(flags(args, store, locale, store.folder(locale), args.seeds[0])) for locale in locales]
    start = time.perf_counter()
    jobs = [training_job.training_job(run, steps) for run, steps in runs]
    outcome = work_off(jobs, LocalBackend(args.workers), unit="models")
    seconds = time.perf_counter() - start
    if outcome.failures:
        raise SystemExit(f"failed: {outcome.failures}")
    items = sum(args.max_train_samples or len(store.task.load(locale, "train")) for locale in locales)
    return {
        "seconds": seconds,
        "items_per_second": items * args.epochs / seconds,
        "accuracy": {
            locale: atomic.read_json(store.folder(locale) / "all_results.json")["predict_accuracy"]
            for locale in locales
        },
    }


def main(argv=None):
    args = build_parser().parse_args(argv)
    logging.basicConfig(level=logging.WARNING)
    if len(set(args.seeds)) < len(args.seeds):
        raise InputError(f"--seeds {' '.join(map(str, args.seeds))} names one twice")
    task = flag_groups.read_task(args)
    locales = languages(args.locales, task, 2)
    report = {
        "environment": {**environment.run_environment(), "threads": torch.get_num_threads()},
        "arguments": args.tokens,
        **{way: [] for way in args.ways},
    }

    def keep():
        if args.output:
            atomic.write_json(args.output, report)

    with tempfile.TemporaryDirectory() as folder:
        store = ModelStore(task.base_model(args.base_model), task, Path(folder))
        for seed in tqdm(args.seeds, desc="seeds", leave=False, disable=None):
            for way in args.ways:
                place = store.root / f"{way}{seed}"
                run, steps = parse_training(flags(args, store, locales[0], place, seed, fast=way == "ours"))
                found = straightforward(args, run, place) if way == "straightforward" else ours(run, steps)
                report[way].append({"seed": seed, **found})
                speed, accuracy = found["items_per_second"], found["accuracy"]
                say(f"{way}, seed {seed}: {speed:.1f} items a second, test accuracy {accuracy:.4f}")
                keep()
        if not args.no_together:
            report["together"] = together(args, store, locales)
    compare(report, args)
    keep()
    if not args.no_together:
        say(f"{len(locales)} locales together: {report['together']['items_per_second']:.1f} items a second")
    for name, value in report.get("ratios", {}).items():
        say(f"{name} to the straightforward way: {value:.1f} times the speed")
    for name, (mean, low, high) in report.get("differences", {}).items():
        say(f"{name} to the straightforward way: {100 * mean:+.2f} points [{100 * low:+.2f}, {100 * high:+.2f}]")


def compare(report: dict, args) -> None:
    """Ratios of speed, our slowest to its fastest; differences of accuracy with a t interval, of several seeds."""
    if "straightforward" not in args.ways:
        return
    fastest = max(run["items_per_second"] for run in report["straightforward"])
    others = [way for way in args.ways if way != "straightforward"]
    report["ratios"] = {way: min(run["items_per_second"] for run in report[way]) / fastest for way in others}
    if "together" in report:
        report["ratios"]["together"] = report["together"]["items_per_second"] / fastest
    if len(args.seeds) > 1:
        theirs = np.array([run["accuracy"] for run in report["straightforward"]])
        report["differences"] = {}
        for way in others:
            gains = np.array([run["accuracy"] for run in report[way]]) - theirs
            reach = t.ppf(0.975, len(gains) - 1) * sem(gains)
            report["differences"][way] = [
                float(gains.mean()),
                *(float(gains.mean() + sign * reach) for sign in (-1, 1)),
            ]


def say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    call(main)
