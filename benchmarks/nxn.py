"""Time of a cell of an N×N evaluation beside the straightforward way, and how it grows with the matrix.

The straightforward way, a cell: load model and data, tokenise padded to 128, transformers' Trainer.predict in batches
of 64. It is run on a few cells, and its mean a cell stands for all. Ours is run_nxn_evaluation.py on the whole matrix;
the interpreter's start is in neither. Sources are copies of one initial checkpoint under several names: the time is
that of trained models. Both run in one process, but that ours on a GPU starts its workers, and this is in its time. The
heatmap is in ours; the cache of fonts, which matplotlib makes once a machine, is not.

    OMP_NUM_THREADS=2 python benchmarks/nxn.py --base-model DIR --dataset-name DIR --models 3 --targets 4 \
        --output nxn.json
"""

import argparse
import importlib
import logging
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from auto_merge_llm.errors import InputError
from commands import call

from merginguriel.utils.data.task import Task
from merginguriel.utils.evaluation import nxn, nxn_job, nxn_summary
from merginguriel.utils.flags import flag_groups
from merginguriel.utils.flags.parser import ArgumentParser
from merginguriel.utils.jobs import copies
from merginguriel.utils.jobs.backends import LocalBackend
from merginguriel.utils.jobs.engine import work_off
from merginguriel.utils.jobs.job import loaded_by
from merginguriel.utils.models import devices, initial, loading, scoring
from merginguriel.utils.models.store import ModelStore
from merginguriel.utils.models.tokens import tokenise
from merginguriel.utils.storage import argument_types, atomic, environment
from merginguriel.utils.storage.naming import RESULTS_JSON


def build_parser():
    parser = ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base-model", metavar="NAME", help="Hub id or folder of the base model")
    flag_groups.add_task(parser)
    parser.add_argument("--models", type=argument_types.positive_int, default=3)
    parser.add_argument("--targets", type=argument_types.positive_int, default=4)
    parser.add_argument(
        "--peer-cells", type=argument_types.positive_int, default=2, help="cells of the straightforward way"
    )
    parser.add_argument(
        "--growth",
        type=argument_types.positive_int,
        nargs="*",
        default=[],
        metavar="N",
        help="sizes of N×N matrices to time, e.g. 5 10 20",
    )
    parser.add_argument("--max-workers", type=argument_types.positive_int, default=1)
    parser.add_argument("--output", type=Path, help="JSON, written as it goes")
    return parser


def make_models(store: ModelStore, locales) -> dict[str, Path]:
    start = initial.initial_checkpoint(store, 42)
    sources = {locale: store.folder(locale) for locale in locales}
    for folder in sources.values():
        shutil.copytree(start, folder, copy_function=os.link)
    return sources


def ours(args, task: Task, sources, targets, folder: Path, report: dict) -> float:
    """Seconds of an N×N run, fingerprints, files and picture included; `report` gets those of its parts."""
    # Not above: workers import this file's modules one more time, and the command's do not load matplotlib.
    from merginguriel.utils.report import heatmaps

    start, began = time.perf_counter(), time.time()
    if devices.default_device() == "cuda":
        copies.get_ready(loaded_by({"cell"}))
    context = nxn_job.NxnContext(task, folder / nxn.TOKENS)
    run = nxn.prepare(nxn.NxnPlan(sources, tuple(targets), "test", folder, context), keep_tokens=True)
    prepared = time.perf_counter()
    run = nxn.begin(run)
    run.add_failures(work_off(run.jobs(), LocalBackend(args.max_workers), context=context, unit="cells").failures)
    if run.failures:
        raise SystemExit(f"failed: {run.failures}")
    written = [file.stat().st_mtime - began for file in run.folder.glob(f"*/{RESULTS_JSON}")]
    scored = time.perf_counter()
    picture = run.folder / "heatmap.png"
    nxn_summary.gather(run, lambda matrix: heatmaps.save_transfer(matrix, run.plan.items.task, "test", picture))
    end = time.perf_counter()
    report["seconds_of_fingerprints"] = prepared - start
    report["seconds_until_first_and_last_cell"] = [min(written), max(written)]
    report["seconds_of_gathering"] = end - scored
    return end - start


def straightforward(task: Task, path: Path, target: str, bf16: bool, folder: Path) -> tuple[float, float]:
    """(seconds, accuracy) of one cell."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer, Trainer, TrainingArguments

    start = time.perf_counter()
    model = AutoModelForSequenceClassification.from_pretrained(path, trust_remote_code=False)
    tokenizer = AutoTokenizer.from_pretrained(path, trust_remote_code=False)
    split = task.load(target, "test")
    longest = loading.longest_input(model, task.max_tokens)
    encoded = tokenizer(split.texts, truncation=True, padding="max_length", max_length=longest)
    items = [
        {**{name: values[item] for name, values in encoded.items()}, "labels": label}
        for item, label in enumerate(split.labels)
    ]
    settings = TrainingArguments(
        output_dir=str(folder),
        per_device_eval_batch_size=64,
        report_to=[],
        disable_tqdm=True,
        bf16_full_eval=bf16,
        use_cpu=not torch.cuda.is_available(),
    )
    predicted = Trainer(model, settings).predict(items)
    accuracy = float((predicted.predictions.argmax(-1) == predicted.label_ids).mean())
    return time.perf_counter() - start, accuracy


def matmul_peak(device: str, dtype) -> float:
    """FLOP/s of a large square matrix product, the best of ten."""
    size = 8192 if device == "cuda" else 1024
    left, right = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    seconds = []
    for _ in range(10):
        start = time.perf_counter()
        for _ in range(5):
            left @ right
        if device == "cuda":
            torch.cuda.synchronize()
        seconds.append((time.perf_counter() - start) / 5)
    return 2 * size**3 / min(seconds)


def scoring_alone(task: Task, path: Path, targets: Sequence[str]) -> dict:
    """FLOP/s of a source's forward passes, real tokens only: padding is no work. Cells as an N×N batches them."""
    device = devices.default_device()
    dtype = devices.evaluation_dtype(device)
    model, tokenizer = loading.load_classifier(path, device, dtype)
    at_once = targets if device in nxn_job.AT_ONCE else targets[:1]
    texts = [text for target in at_once for text in task.load(target, "test").texts]
    tokens = tokenise(tokenizer, texts, loading.longest_input(model, task.max_tokens))
    batches = scoring.make_batches(tokens, model.config, device)
    seconds = []
    for _ in range(4):
        start = time.perf_counter()
        scoring.batch_logits(model, batches)
        seconds.append(time.perf_counter() - start)
    config = model.config
    layer = 4 * config.hidden_size**2 + 2 * config.hidden_size * config.intermediate_size
    flop = 2 * config.num_hidden_layers * layer * len(tokens.ids)
    peak, padded = matmul_peak(device, dtype), sum(batch["input_ids"].numel() for batch in batches.inputs)
    return {
        "seconds_a_cell": min(seconds) / len(at_once),
        "cells_at_once": len(at_once),
        "tokens": len(tokens.ids),
        "padding": padded / len(tokens.ids) - 1,
        "flop_per_s": flop / min(seconds),
        "matmul_flop_per_s": peak,
        "share_of_peak": flop / min(seconds) / peak,
    }


def main(argv=None):
    args = build_parser().parse_args(argv)
    logging.basicConfig(level=logging.WARNING)
    importlib.import_module("matplotlib.font_manager")
    task = flag_groups.read_task(args)
    locales = task.default_codes
    largest = max([args.models, args.targets, *args.growth])
    if largest > len(locales):
        raise InputError(f"task {task.name} has {len(locales)} locales; ask for fewer than {largest}")
    device = devices.default_device()
    report = {
        "environment": {**environment.run_environment(), "threads": torch.get_num_threads()},
        "arguments": args.tokens,
    }

    def keep():
        if args.output:
            atomic.write_json(args.output, report)

    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        sources = make_models(ModelStore(task.base_model(args.base_model), task, folder / "models"), locales[:largest])
        first, targets = dict(list(sources.items())[: args.models]), list(locales[: args.targets])
        cells = args.models * args.targets
        peers = {"float32": False}
        if devices.evaluation_dtype(device) == torch.bfloat16:
            peers["bfloat16"] = True
        report["straightforward"] = {name: {"seconds_a_cell": []} for name in peers}
        pairs = [(path, target) for target in targets for path in first.values()][: args.peer_cells]
        for path, target in pairs:
            for name, bf16 in peers.items():
                seconds, _ = straightforward(task, path, target, bf16, folder / "trainer")
                report["straightforward"][name]["seconds_a_cell"].append(seconds)
                say(f"straightforward, {name}: {seconds:.2f} s a cell")
                keep()
        report["ours"] = {"cells": cells}
        seconds = ours(args, task, first, targets, folder / "nxn", report["ours"])
        report["ours"] |= {"seconds": seconds, "seconds_a_cell": seconds / cells}
        say(
            f"ours: {seconds / cells:.2f} s a cell, {cells} cells, "
            f"precision {str(devices.evaluation_dtype(device)).removeprefix('torch.')}"
        )
        for name in peers:
            peer = report["straightforward"][name]
            peer["ratio_to_ours"] = statistics.mean(peer["seconds_a_cell"]) * cells / seconds
            say(f"straightforward, {name}, to ours: {peer['ratio_to_ours']:.1f} (mean of {len(pairs)} cells)")
        keep()
        report["scoring"] = scoring_alone(task, next(iter(first.values())), targets)
        say(
            f"scoring alone: {report['scoring']['share_of_peak']:.2f} of the matrix product's "
            f"{report['scoring']['matmul_flop_per_s'] / 1e12:.2f} TFLOP/s, padding {report['scoring']['padding']:.1%}"
        )
        report["growth"] = []
        for size in args.growth:
            row, some = {"size": size}, dict(list(sources.items())[:size])
            row["seconds"] = ours(args, task, some, locales[:size], folder / "growth", row)
            report["growth"].append(row)
            say(f"{size}×{size}: {row['seconds']:.1f} s, {row['seconds'] / size**2:.3f} s a cell")
            keep()
    keep()


def say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    call(main)
