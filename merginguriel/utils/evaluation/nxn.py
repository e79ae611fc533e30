"""N×N: every source model on every target locale. Rows are source models, columns target locales."""

import functools
import logging
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
from auto_merge_llm.errors import InputError

from merginguriel.utils.data import task
from merginguriel.utils.data.split import Split
from merginguriel.utils.evaluation import nxn_logits
from merginguriel.utils.jobs import processes
from merginguriel.utils.models import loading, store
from merginguriel.utils.similarity.transfer import MATRIX_CSV, RUN_JSON, SUMMARY_JSON, TransferMatrix
from merginguriel.utils.storage import atomic, environment

log = logging.getLogger(__name__)
HEATMAP = "heatmap.png"
TOKENS = ".tokens"


@dataclass(frozen=True)
class NxnPlan:
    """What to evaluate. Sources map locales to model folders; `folder` holds the runs."""

    sources: Mapping[str, Path]
    targets: tuple[str, ...]
    split: str
    dataset_name: str
    folder: Path
    text_column: str = "utt"
    label_column: str = "intent"
    max_workers: int = 1
    _splits: dict[str, Split] = field(default_factory=dict, repr=False, compare=False)

    def load(self, target: str) -> Split:
        """Read once, for the worker processes too."""
        if target not in self._splits:
            self._splits[target] = task.load_split(
                self.dataset_name, target, self.split, self.text_column, self.label_column
            )
        return self._splits[target]

    def describe(self) -> str:
        return (
            f"{len(self.sources)} source models on {len(self.targets)} target locales, {self.split} split of "
            f"{self.dataset_name}: {len(self.sources) * len(self.targets)} cells"
        )


@dataclass
class Run:
    """One N×N evaluation in its folder. `failures` maps sources to the reason why they have no results."""

    plan: NxnPlan
    folder: Path
    settings: dict
    failures: dict[str, str] = field(default_factory=dict)

    def cell(self, source: str, target: str) -> Path:
        return self.folder / f"{source}_on_{target}"

    def is_done(self, source: str, target: str) -> bool:
        return (self.cell(source, target) / "results.json").is_file()

    @property
    def is_whole(self) -> bool:
        """Whether nothing is left to do: the summary is written last, and removed first."""
        return (self.folder / SUMMARY_JSON).is_file() and not self.missing()

    def missing(self) -> dict[str, list[str]]:
        """Source -> targets without a result."""
        left = {
            source: [target for target in self.plan.targets if not self.is_done(source, target)]
            for source in self.plan.sources
        }
        return {source: targets for source, targets in left.items() if targets}

    def matrix(self) -> TransferMatrix:
        values = np.full((len(self.plan.sources), len(self.plan.targets)), np.nan)
        for row, source in enumerate(self.plan.sources):
            for column, target in enumerate(self.plan.targets):
                if self.is_done(source, target):
                    kept = atomic.read_json(self.cell(source, target) / "results.json")
                    values[row, column] = kept["performance"]["accuracy"]
        return TransferMatrix(tuple(self.plan.sources), self.plan.targets, values, str(self.folder / MATRIX_CSV))


# Which run


def prepare(plan: NxnPlan, *, anew: bool = False) -> Run:
    """The run of these models, data, split and precision to go on with, else a new one; nothing is written.

    A model that cannot be read is among `failures`, and any run may still be waiting for its repair.
    Raises InputError where a target has no data.
    """
    from tqdm import tqdm

    from merginguriel.utils.evaluation import classifier
    from merginguriel.utils.models import devices

    dtype = devices.evaluation_dtype(devices.default_device())
    data = {target: plan.load(target).fingerprint() for target in plan.targets}
    failures = {}

    def fingerprint(source):
        try:
            return classifier.model_settings(plan.sources[source], dtype)
        except (InputError, OSError) as error:
            failures[source] = str(error)
            return None

    # Hashing gigabytes of weights runs beside reading them.
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        fingerprints = tqdm(
            pool.map(fingerprint, plan.sources),
            desc="fingerprints",
            total=len(plan.sources),
            unit=" models",
            leave=False,
            disable=None,
        )
        sources = dict(zip(plan.sources, fingerprints))
    settings = {"split": plan.split, "precision": str(dtype).removeprefix("torch."), "data": data, "sources": sources}
    for folder in [] if anew else sorted(plan.folder.glob("nxn_eval_*"), reverse=True):
        run = Run(plan, folder, settings, failures)
        if _goes_on(run):
            return run
    moment = datetime.now()
    while (folder := plan.folder / f"nxn_eval_{moment:%Y%m%d_%H%M%S}").exists():
        moment += timedelta(seconds=1)
    return Run(plan, folder, settings, failures)


def _goes_on(run: Run) -> bool:
    """Whether the folder's finished cells are cells of this run. A source without any may have been repaired."""
    if not (run.folder / RUN_JSON).is_file():
        return False
    kept = atomic.read_json(run.folder / RUN_JSON)
    same = all(kept.get(name) == run.settings[name] for name in ("split", "precision", "data"))
    return (
        same
        and list(kept["sources"]) == list(run.settings["sources"])
        and all(
            settings == kept["sources"][source] or not any(run.is_done(source, target) for target in run.plan.targets)
            for source, settings in run.settings["sources"].items()
        )
    )


# The work


def evaluate(run: Run) -> None:
    """Fill the missing cells, then write matrix, logits, heatmap and, last, the summary.

    Every finished cell stays, whatever happens. A source that fails is put into `run.failures`; the others go on.
    """
    from filelock import FileLock, Timeout
    from tqdm import tqdm
    from tqdm.contrib.logging import logging_redirect_tqdm

    run.folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(run.folder / ".lock", timeout=0)
    try:
        with lock:
            (run.folder / SUMMARY_JSON).unlink(missing_ok=True)
            atomic.write_json(run.folder / RUN_JSON, run.settings)
            missing = {source: targets for source, targets in run.missing().items() if source not in run.failures}
            for source, reason in run.failures.items():
                log.warning("%s: failed, %s", source, reason)
            total = len(run.plan.sources) * len(run.plan.targets)
            done = sum(run.is_done(source, target) for source in run.plan.sources for target in run.plan.targets)
            with (
                logging_redirect_tqdm(),
                tqdm(total=total, initial=done, desc="N×N", unit=" cells", leave=False, disable=None) as bar,
            ):
                make, progress = functools.partial(_Scorer, run), _Progress(run, bar)
                if run.plan.max_workers == 1 or len(missing) <= 1:
                    processes.in_this_process(make, missing.items(), progress)
                else:
                    processes.in_processes(make, missing.items(), run.plan.max_workers, progress)
            _gather(run)
    except Timeout:
        raise InputError(f"another process works in {run.folder}; wait for it or start a new run with --anew") from None


class _Progress:
    """What workers report, as a bar and a line for every source that is done."""

    def __init__(self, run: Run, bar):
        self._run, self._bar, self._current = run, bar, {}

    def start(self, worker: int, source: str) -> None:
        self._current[worker] = source
        self._bar.set_postfix_str(", ".join(self._current.values()))

    def cell(self, worker: int, source: str) -> None:
        self._bar.update()

    def done(self, worker: int, source: str, accuracies: dict[str, float], seconds: float) -> None:
        self._current.pop(worker)
        own, others = accuracies.pop(source, None), list(accuracies.values())
        parts = [f"{own:.4f} on its own language"] if own is not None else []
        parts += [f"{np.mean(others):.4f} on average over {len(others)} others"] if others else []
        log.info("%s: %s, %.1f s", source, ", ".join(parts), seconds)

    def failed(self, worker: int, source: str, reason: str) -> None:
        self._current.pop(worker, None)
        self._run.failures[source] = reason
        log.warning("%s: failed, %s", source, reason)


class _Scorer:
    """Writes the cells of a source; the texts of a target are read, tokenised and put on the device once."""

    def __init__(self, run: Run):
        from merginguriel.utils.models import devices
        from merginguriel.utils.models.tokens import TokenCache

        self._run, self._device = run, devices.default_device()
        self._dtype = devices.evaluation_dtype(self._device)
        self._tokens = TokenCache(run.plan.folder / TOKENS)
        self._batches = {}

    def __call__(self, source: str, targets: list[str], report: Callable) -> dict[str, float]:
        """Target -> accuracy. Cells are written in a thread, while the next is computed."""
        from merginguriel.utils.evaluation import classifier
        from merginguriel.utils.models import scoring

        path = self._run.plan.sources[source]
        labels, info = store.read_labels(path), classifier.model_info(path)
        model = loading.load_model(path, self._device, self._dtype)
        accuracies = {}
        with ThreadPoolExecutor(1) as writer:
            writing = {}
            for target in targets:
                name = f"{source} on {target}"
                scores = scoring.batch_logits(model, self._inputs(path, model, target), name)
                writing[target] = writer.submit(self._write, source, target, scores, labels, info)
                report("cell", source)
            for target, written in writing.items():
                accuracies[target] = written.result()
        return accuracies

    def _inputs(self, path: Path, model, target: str):
        from merginguriel.utils.models import scoring
        from merginguriel.utils.models.tokens import MAX_TOKENS

        texts = self._run.plan.load(target).texts
        tokens = self._tokens.tokens(path, texts, loading.longest_input(model, MAX_TOKENS))
        # Sources of one tokenizer share the very same tokens.
        key = (id(tokens), model.config.pad_token_id)
        if key not in self._batches:
            self._batches[key] = scoring.make_batches(tokens, model.config.pad_token_id, self._device)
        return self._batches[key]

    def _write(self, source: str, target: str, scores: np.ndarray, labels: list[str], info: dict) -> float:
        from merginguriel.utils.evaluation import classifier, results

        split, path = self._run.plan.load(target), self._run.plan.sources[source]
        by_intent = classifier.in_massive_order(scores, labels)
        result = results.results_record(
            split,
            by_intent.argmax(-1),
            dataset_name=self._run.plan.dataset_name,
            model_name=str(path),
            settings=results.data_settings(self._run.settings["sources"][source], split),
            model_info=info,
            experiment={"source": source, "target": target},
        )
        # What may stand there is a cell without a result.
        with atomic.whole_folder(self._run.cell(source, target), overwrite=True) as partial:
            np.save(partial / nxn_logits.CELL_LOGITS, nxn_logits.halved(by_intent))
            atomic.write_json(partial / "results.json", result)
        return result["performance"]["accuracy"]


# What a run leaves


def _gather(run: Run) -> None:
    from merginguriel.utils.report import heatmaps, plots

    matrix = run.matrix()
    matrix.to_csv(run.folder / MATRIX_CSV)
    nxn_logits.gather(run)
    picture = heatmaps.heatmap(
        matrix.values,
        matrix.sources,
        matrix.targets,
        row_title="model of",
        column_title="evaluated on",
        label=f"accuracy, {run.plan.split} split",
    )
    plots.save(picture, run.folder / HEATMAP)
    atomic.write_json(run.folder / SUMMARY_JSON, _summary(run, matrix))


def _summary(run: Run, matrix: TransferMatrix) -> dict:
    own, values = matrix.own_language, matrix.values
    measured = values[~np.isnan(values)]
    statistics = {"mean": np.mean, "median": np.median, "std": np.std, "min": np.min, "max": np.max}
    best = {}
    for target in matrix.targets:
        for source, accuracy in list(matrix.for_target(target).items())[:1]:
            best[target] = {"source": source, "accuracy": accuracy}
    return {
        "timestamp": environment.utc_now(),
        "locales": list(matrix.sources),
        "targets": list(matrix.targets),
        "split": run.plan.split,
        "dataset": run.plan.dataset_name,
        "precision": run.settings["precision"],
        "total_evaluations": values.size,
        "successful_evaluations": len(measured),
        "failed_evaluations": int(np.isnan(values).sum()),
        "failures": run.failures,
        "matrix_stats": {
            f"{name}_accuracy": float(function(measured)) if len(measured) else None
            for name, function in statistics.items()
        },
        "own_language_mean_accuracy": _mean(values[own]),
        "zero_shot_mean_accuracy": _mean(values[~own]),
        "best_zero_shot_source": best,
        "models": {
            source: {"path": str(path), "weights_sha256": (run.settings["sources"][source] or {}).get("model")}
            for source, path in run.plan.sources.items()
        },
        "data_sha256": run.settings["data"],
        "environment": environment.run_environment(),
    }


def _mean(values: np.ndarray) -> float | None:
    values = values[~np.isnan(values)]
    return float(values.mean()) if len(values) else None


def table(run: Run) -> str:
    """A line a target: the accuracy of its own model, of the best other one, and of all others on average."""
    matrix = run.matrix()
    lines = ["target    own model  best other          mean of others"]
    for target, is_own, column in zip(matrix.targets, matrix.own_language.T, matrix.values.T):
        own, mean, count = _mean(column[is_own]), _mean(column[~is_own]), (~np.isnan(column[~is_own])).sum()
        ranked = list(matrix.for_target(target).items())
        best = "  ".join(f"{accuracy:.4f}  {source}" for source, accuracy in ranked[:1])
        lines.append(
            f"{target:<8}{'' if own is None else f'{own:.4f}':>11}  {best:<18}  "
            f"{'' if mean is None else f'{mean:.4f} over {count}'}".rstrip()
        )
    for name, chosen in (("own language", matrix.own_language), ("zero-shot", ~matrix.own_language)):
        values = matrix.values[chosen]
        if not np.isnan(values).all():
            lines.append(f"mean accuracy, {name}: {_mean(values):.4f} over {int((~np.isnan(values)).sum())} cells")
    return "\n".join(lines)
