"""Locales x modes: the list of a sweep's jobs, and what is said of them in the end."""

import logging
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from auto_merge_llm.errors import InputError

from merginguriel.utils.data import task
from merginguriel.utils.jobs import ledger
from merginguriel.utils.jobs.engine import Job, Outcome, work_off
from merginguriel.utils.merging import merge_job
from merginguriel.utils.merging.examples import MeasuringOptions
from merginguriel.utils.merging.modes import WEIGHTINGS, method_of, own_hyperparameters
from merginguriel.utils.merging.plan import MergePlan, plan_merge, texts_of, told_settings
from merginguriel.utils.merging.selection import SimilarityOptions
from merginguriel.utils.merging.selection import log as selection_log
from merginguriel.utils.models import store
from merginguriel.utils.storage import atomic, environment, naming
from merginguriel.utils.storage.messages import said_once

log = logging.getLogger(__name__)
BASELINE = "baseline"  # the mode that evaluates the target's own model
PROGRESS_JSON = "experiment_progress.json"
FINAL_JSON = "experiment_final_results.json"


@dataclass(frozen=True)
class SweepOptions:
    """What all jobs of a sweep share.

    `selections`: None is the mode's own. `hyperparameters` go to those methods that have them, `weights` and `base` to
    the modes that take them. `dtype`: of the merged weights, None for the sources'.
    """

    base_model: str
    models_root: Path
    results_root: Path
    merged_root: Path
    modes: tuple[str, ...]
    numbers: tuple[int, ...]
    selections: tuple[str | None, ...]
    similarity: SimilarityOptions
    preweight: str
    weights: dict[str, float] | None
    normalize: bool
    seed: int
    base: Path | None
    hyperparameters: dict
    measuring: MeasuringOptions
    dataset_name: str
    text_column: str
    label_column: str
    dtype: str | None
    allow_mismatched_heads: bool
    keep_merged: bool
    keep_measurements: bool
    overwrite: bool

    @property
    def of_jobs(self) -> dict:
        """What every job needs to know beside its settings, as plain data."""
        return {
            name: getattr(self, name)
            for name in (*merge_job.DATA, "overwrite", "allow_mismatched_heads", "keep_merged", "keep_measurements")
        }


@dataclass
class Sweep:
    """`jobs` in the order in which they are best done; `failures`: why others could not even be planned, by name."""

    jobs: list[Job]
    failures: dict[str, str]


# Planning


def plan_sweep(targets: list[str], options: SweepOptions, device: str) -> Sweep:
    """The jobs of all targets, to be done on a `device`. Raises InputError where none can be planned."""
    from merginguriel.utils.models import devices

    precision = str(devices.evaluation_dtype(device)).removeprefix("torch.")
    available = store.available_models(options.models_root, options.base_model)
    fingerprints, data, jobs, failures = _Fingerprints(available), task.Fingerprints(), {}, {}
    with said_once(selection_log):
        for target in targets:
            plans = _plan_merges(target, options, available, fingerprints, data, failures)
            try:
                for job in _jobs_of(target, plans, options, available, data, precision):
                    jobs.setdefault(job.name, job)
            except InputError as error:
                failures[target] = str(error)
    without = [target for target in targets if target not in available] if BASELINE in options.modes else []
    if without:
        log.warning("warning: no baseline for %s, without a model of their own", ", ".join(without))
    if not jobs:
        raise InputError(
            next(
                iter(failures.values()),
                f"no models of {', '.join(without)} in {options.models_root}; train them or choose other --locales",
            )
        )
    return Sweep(list(jobs.values()), failures)


def _plan_merges(
    target: str,
    options: SweepOptions,
    available: dict[str, Path],
    fingerprints: "_Fingerprints",
    data: task.Fingerprints,
    failures: dict[str, str],
) -> list[MergePlan]:
    """Selections apart, a method after the other, so that what is measured for it serves all numbers of sources."""
    plans = []
    for selection in options.selections:
        for mode in options.modes:
            for number in sorted(options.numbers, reverse=True) if mode != BASELINE else ():
                try:
                    plan = _plan(target, mode, number, selection, options, available, fingerprints)
                    for split in texts_of(plan).values():
                        data[split]  # what cannot be read is missed by this merge alone
                    plans.append(plan)
                except InputError as error:
                    name = naming.merge_name(mode, target, number, [selection] if selection else [])
                    failures[name] = str(error)
    return plans


def _plan(
    target: str,
    mode: str,
    number: int,
    selection: str | None,
    options: SweepOptions,
    available: dict[str, Path],
    fingerprints: "_Fingerprints",
) -> MergePlan:
    similarity = replace(options.similarity, selection=selection or ("cosine" if mode == "uriel" else "sinkhorn"))
    plan = plan_merge(
        mode=mode,
        target=target,
        base_model=options.base_model,
        num_languages=number,
        models_root=options.models_root,
        output=None,
        similarity=similarity,
        preweight=options.preweight,
        normalize=options.normalize,
        weights=None if mode in WEIGHTINGS else options.weights,
        seed=options.seed,
        base=options.base if method_of(mode).needs_base else None,
        measuring=options.measuring,
        hyperparameters=own_hyperparameters(mode, options.hyperparameters),
        available=available,
        weights_sha256=fingerprints,
    )
    told = told_settings(plan, options.preweight, options.dtype)
    return replace(plan, output=options.merged_root / naming.merge_name(mode, target, len(plan.sources), told))


def _jobs_of(
    target: str,
    plans: list[MergePlan],
    options: SweepOptions,
    available: dict[str, Path],
    data: task.Fingerprints,
    precision: str,
) -> list[Job]:
    """The target's own model, then the sources of each selection alone, and its merges."""
    own = available.get(target) if BASELINE in options.modes else None
    if not plans and own is None:
        return []
    split = task.load_split(options.dataset_name, target, "test", options.text_column, options.label_column)

    def alone(name: str, model: Path) -> Job:
        return merge_job.evaluation_job(options.results_root / name, model, split, precision, options.of_jobs)

    jobs = [alone(naming.baseline_name(target), own)] if own else []
    for selection in dict.fromkeys(plan.selection["selection"] for plan in plans):
        mine = [plan for plan in plans if plan.selection["selection"] == selection]
        sources = dict.fromkeys(source.path for plan in mine for source in plan.sources)
        jobs += [alone(naming.evaluation_name(path.name, target), path) for path in sources]
        jobs += [
            merge_job.merge_job(plan, options.results_root, split, precision, options.dtype, options.of_jobs, data)
            for plan in mine
        ]
    return jobs


class _Fingerprints(dict):
    """Locale -> sha256 of its model's weights, read when first asked for."""

    def __init__(self, available: dict[str, Path]):
        super().__init__()
        self._available = available

    def __bool__(self) -> bool:
        return True

    def __missing__(self, locale: str) -> str:
        from auto_merge_llm.checkpoint import Checkpoint

        self[locale] = Checkpoint(self._available[locale]).weights_fingerprint
        return self[locale]


def memory_needed(options: SweepOptions) -> int:
    """Bytes of a worker: sources, base, the merged model, and two models to measure and to score with.

    Fisher information is as large as its source. Those of the next selection are loaded before the others are dropped.
    """
    first = next(iter(store.available_models(options.models_root, options.base_model).values()))
    of_source = max(
        len(options.selections[:2]),
        1 + any(method_of(mode).measurement == "fisher" for mode in options.modes if mode != BASELINE),
    )
    return (max(options.numbers) * of_source + 4) * sum(size for size, _ in store.files_of(first).values())


# Doing


def run_sweep(sweep: Sweep, backend, config: dict, results_root: Path, shard: tuple[int, int] | None) -> Outcome:
    """Do what is missing and keep progress and end as JSON in `results_root`; the files of a shard have its number."""
    ending = f"_shard{shard[0]}of{shard[1]}" if shard else ""
    progress_json, final_json = (
        results_root / name.replace(".json", f"{ending}.json") for name in (PROGRESS_JSON, FINAL_JSON)
    )
    ledger.keep(
        results_root, {job.name: job.hash for job in sweep.jobs} | dict.fromkeys(sweep.failures), config["command"]
    )
    outcome = work_off(sweep.jobs, backend, lambda outcome: atomic.write_json(progress_json, progress(sweep, outcome)))
    outcome.failures.update(sweep.failures)
    atomic.write_json(progress_json, progress(sweep, outcome))
    atomic.write_json(final_json, final_results(sweep, outcome, config))
    log.info("%s", final_json)
    return outcome


# What is kept and said of it


def progress(sweep: Sweep, outcome: Outcome) -> dict:
    """Content of experiment_progress.json: a locale's mode is true where all its jobs are done, false where one failed.

    A locale is processed when nothing of it is left to do.
    """
    results, left = defaultdict(dict), []
    for job in sweep.jobs:
        mode = _mode_of(job)
        if not outcome.settled(job.name):
            left.append(job.group)
        elif mode:
            results[job.group][mode] = results[job.group].get(mode, True) and outcome.is_whole(job.name)
    locales = list(dict.fromkeys(job.group for job in sweep.jobs))
    return {
        "timestamp": environment.utc_now(),
        "total_locales": len(locales),
        "processed_locales": len(locales) - len(set(left)),
        "current_locale": left[0] if left else None,
        "results": results,
        "total_jobs": len(sweep.jobs),
        "done_jobs": len(outcome.done) + len(outcome.kept),
        "failures": outcome.failures,
    }


def _mode_of(job: Job) -> str | None:
    """None of a source's own evaluation, which is of no mode."""
    if job.kind == "merge":
        return job.settings["experiment"]["mode"]
    return BASELINE if job.name == naming.baseline_name(job.group) else None


def final_results(sweep: Sweep, outcome: Outcome, config: dict) -> dict:
    """Content of experiment_final_results.json."""
    said = progress(sweep, outcome)
    counts = {mode: sum(modes.get(mode, False) for modes in said["results"].values()) for mode in config["modes"]}
    return {
        "timestamp": said["timestamp"],
        "config": config,
        "summary": {"total_locales": said["total_locales"], "mode_success_counts": counts},
        "detailed_results": said["results"],
        "failures": outcome.failures,
        "accuracies": {job.name: merge_job.accuracy_of(job.folder) for job in sweep.jobs if outcome.is_whole(job.name)},
    }


def summary_table(sweep: Sweep, outcome: Outcome) -> str:
    """A line for every mode, number of sources and settings: means over the targets that have it.

    The best source is that of the merge's own, by test accuracy: the hardest baseline, and no choice.
    """
    rows = defaultdict(list)
    for job in sweep.jobs:
        if outcome.is_whole(job.name) and _mode_of(job):
            accuracy, best = merge_job.accuracy_of(job.folder), None
            if job.kind == "merge":
                best = merge_job.best_source(job)
            rows[job.name.replace(f"_{job.group}", "")].append((accuracy, best[1] if best else np.nan))
    width = max([len("merge"), *map(len, rows)])
    lines = [f"{'merge':<{width}}  targets  mean accuracy  vs best source"]
    for name, pairs in rows.items():
        accuracies, bests = np.array(pairs).T
        line = f"{name:<{width}}  {len(pairs):7}  {accuracies.mean():13.4f}"
        differences = (accuracies - bests)[~np.isnan(bests)]
        lines.append(line + (f"  {differences.mean():+14.4f}" if len(differences) else ""))
    return "\n".join(lines)
