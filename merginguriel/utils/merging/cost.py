"""What a list of jobs would take, roughly: for --dry-run."""

import time
from collections.abc import Sequence
from pathlib import Path

import torch
from auto_merge_llm.methods.base import LearningMethod

from merginguriel.utils.jobs.engine import Backend
from merginguriel.utils.jobs.job import Job
from merginguriel.utils.merging import examples, modes
from merginguriel.utils.models import devices
from merginguriel.utils.storage import atomic

TOKENS_OF_A_TEXT = 12
# Scoring against a matrix product, as docs/benchmarks.md has it for a model of the size of XLM-R base or smaller.
EFFICIENCY = {"cpu": 0.7, "cuda": 0.07}
BYTES_A_SECOND = {"cpu": 4e9, "cuda": 4e11}
# Passes over all sources that a method's arithmetic is worth, against the average's one; docs/benchmarks.md.
PASSES = {
    "linear": 1,
    "slerp": 2,
    "karcher": 2,
    "task_arithmetic": 1,
    "ties": 4,
    "dare": 3,
    "dare_ties": 6,
    "breadcrumbs": 3,
    "stock": 2,
    "regmean": 4,
    "fisher_dataset": 3,
    "fisher_simple": 2,
    "widen": 5,
}
# Forward passes that a text costs the methods that read some.
FORWARDS = {"fisher": 6, "gram": 2, "learn": 4}
LEARNING = 3  # forward passes that a text costs in adapting, an epoch
MERGES = ("merge", "adapted_merge")
RESULT_BYTES = 1_000_000


def job_table(jobs: Sequence[Job], backend: Backend, keep_measurements: bool) -> str:
    """A line a job with its state, and the time and disk of those that are to do."""
    speed = _matrix_product_speed(backend.device) * EFFICIENCY[backend.device]
    width = max(len(job.name) for job in jobs)
    lines, total, disk = [f"{'job':<{width}}  state    seconds"], 0.0, 0
    for job in jobs:
        if job.is_done():
            lines.append(f"{job.name:<{width}}  done")
            continue
        seconds = _seconds(job, speed, BYTES_A_SECOND[backend.device])
        lines.append(f"{job.name:<{width}}  to do  {seconds:9.1f}")
        total += seconds
        disk += RESULT_BYTES + (_bytes(job) if job.products else 0)
    if keep_measurements:
        kept = {
            (job.group, source["path"]): _bytes(job)
            for job in jobs
            if job.kind in MERGES and not job.is_done() and job.settings["experiment"]["method"] == "fisher_dataset"
            for source in job.settings["experiment"]["sources"]
        }
        disk += sum(kept.values())
    return "\n".join(
        [
            *lines,
            f"{len(jobs)} jobs, about {total / 60:.1f} minutes for one worker and "
            f"{total / 60 / backend.workers:.1f} for {backend.workers}, {disk / 1e9:.2f} GB on disk "
            "(rough estimates)",
        ]
    )


def _bytes(job: Job) -> int:
    """Of the weights of one model of the job."""
    files = (job.settings["experiment"]["sources"][0] if job.kind in MERGES else job.settings)["files"]
    return sum(size for name, (size, _) in files.items() if name.endswith((".safetensors", ".bin")))


def _seconds(job: Job, speed: float, bytes_a_second: float) -> float:
    path = Path(job.settings["experiment"]["sources"][0]["path"] if job.kind in MERGES else job.settings["model"])
    config = atomic.read_json(path / "config.json")
    # Looking words up costs nothing; every other parameter is multiplied and added once a token.
    of_token = 2 * max(0, _bytes(job) / 4 - config.get("vocab_size", 0) * config.get("hidden_size", 0)) / speed
    seconds = job.options["num_items"] * TOKENS_OF_A_TEXT * of_token + _bytes(job) / bytes_a_second
    if job.kind not in MERGES:
        return seconds
    experiment = job.settings["experiment"]
    sources, text, adapt = experiment["num_sources"], experiment["measuring"], experiment.get("adapt")
    seconds += (sources + 1) * _bytes(job) / bytes_a_second * PASSES.get(experiment["method"], 2)
    if adapt:
        passes = sources + adapt["rounds"] * (LEARNING * adapt["epochs"] + 1)
        seconds += adapt["texts"]["count"] * TOKENS_OF_A_TEXT * of_token * passes
    if text:
        method = modes.method_of(experiment["mode"])
        texts = text["num_examples"] or examples.NUM_EXAMPLES
        learns = isinstance(method, LearningMethod)
        passes = FORWARDS["learn"] if learns else FORWARDS[method.measurement or ""] * sources
        seconds += texts * TOKENS_OF_A_TEXT * of_token * passes
        if learns:
            seconds += texts / text["batch_size"] * (sources + 2) * _bytes(job) / bytes_a_second
    return seconds


def _matrix_product_speed(device: str) -> float:
    """FLOP/s of a product of 1024 x 1024 matrices; where there is no such device here, a number to go by."""
    if device != devices.default_device():
        return 3e14
    matrix = torch.ones(1024, 1024, dtype=devices.evaluation_dtype(device), device=device)
    best = float("inf")
    for _ in range(5):
        start = time.perf_counter()
        (matrix @ matrix).sum().item()
        best = min(best, time.perf_counter() - start)
    return 2 * 1024**3 / best
