"""Many training runs: what is missing is trained, several runs at a time; one that fails is named, the others go on."""

import functools
import logging
import shlex
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from auto_merge_llm.errors import InputError

from merginguriel.utils.data import task
from merginguriel.utils.jobs import processes
from merginguriel.utils.models import initial, model_folder
from merginguriel.utils.storage import atomic, naming

log = logging.getLogger(__name__)
# What the batch decides for every run; it cannot be given to training_bert.py beside it.
DECIDED = (
    "--dataset-name",
    "--dataset-config-name",
    "--model-name-or-path",
    "--output-dir",
    "--models-root",
    "--overwrite-output-dir",
    "--text-column",
    "--label-column",
)
RENAMED = {"--batch-size": "--per-device-train-batch-size"}


@dataclass(frozen=True)
class Job:
    """One run of training_bert.py with `flags`; `held_out` is a locale to evaluate the model on afterwards."""

    name: str
    output_dir: Path
    flags: tuple[str, ...]
    held_out: str | None = None
    results_root: Path = naming.RESULTS_ROOT

    @property
    def command(self) -> str:
        return shlex.join(["python", "merginguriel/training_bert.py", *self.flags])


@dataclass
class Outcome:
    """Metrics by job, `held_out_accuracy` among them where a locale was held out, and reasons by failed job."""

    metrics: dict[str, dict] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)


def make_job(args, name: str, locales: list[str], base_model: str, folder: str, more: list[str], **details) -> Job:
    """A run that `args` (of a parser with add_data and add_models_root) and the flags `more` describe."""
    output_dir = args.models_root / folder
    flags = [
        "--dataset-config-name",
        ",".join(locales),
        "--model-name-or-path",
        base_model,
        "--dataset-name",
        args.dataset_name,
        "--output-dir",
        str(output_dir),
        "--models-root",
        str(args.models_root),
    ]
    for column in {"text_column", "label_column"} & args.explicit:
        flags += [f"--{column.replace('_', '-')}", getattr(args, column)]
    return Job(name, output_dir, (*flags, *more), **details)


def additional_flags(tokens: list[str] | None) -> list[str]:
    """What stands after --additional-args, as training_bert.py has it; InputError where the batch decides it."""
    flags = []
    for token in tokens or []:
        flag, equals, value = token.partition("=")
        if flag in DECIDED:
            raise InputError(
                f"{flag} cannot stand among --additional-args: every run has its own; see --help for "
                "what this command takes"
            )
        flags.append(RENAMED.get(flag, flag) + equals + value)
    return flags


def missing(jobs: list[Job]) -> list[Job]:
    """Those without a whole model; what is half-written counts as missing."""
    return [job for job in jobs if not model_folder.is_whole(job.output_dir)]


def remove_leftovers(jobs: list[Job]) -> None:
    """Checkpoints beside whole models: of a run that was killed between finishing one and removing the other."""
    from merginguriel.utils.training import train

    for job in jobs:
        if train.unfinished(job.output_dir).exists() and model_folder.is_whole(job.output_dir):
            shutil.rmtree(train.unfinished(job.output_dir), ignore_errors=True)


def carry_out(jobs: list[Job], parse: Callable, *, workers: int, dry_run: bool) -> int:
    """Print the commands of a dry run, or run them and print how they ended; the command's exit code."""
    if dry_run:
        for job in jobs:
            parse(job.flags)
            print(job.command)
        return 0
    if not jobs:
        return 0
    outcome = train_all(jobs, parse, workers)
    print(*summary(outcome), sep="\n")
    return 1 if outcome.failures else 0


def train_all(jobs: list[Job], parse: Callable, workers: int = 1) -> Outcome:
    """Run all jobs, `workers` at a time, in processes that train one after the other; a single one in this process.

    `parse` makes (settings, keywords of `train`) of a job's flags. Raises InputError, before anything is written, where
    the flags, the device or the base model are wrong.
    """
    from tqdm import tqdm
    from tqdm.contrib.logging import logging_redirect_tqdm

    from merginguriel.utils.training import trainer

    settings = [parse(job.flags)[0] for job in jobs][0]
    trainer.check_environment(settings)
    initial.initial_checkpoint(settings.base_model, settings.seed, settings.models_root)
    outcome = Outcome()
    make, named = functools.partial(_Work, parse), [(job.name, job) for job in jobs]
    with (
        logging_redirect_tqdm(),
        tqdm(
            total=len(jobs), desc="training", unit=" models", leave=False, disable=None if len(jobs) > 1 else True
        ) as bar,
    ):
        progress = _Progress(outcome, bar)
        if len(jobs) == 1:
            processes.in_this_process(make, named, progress)
        else:
            processes.in_processes(make, named, workers, progress)
    return outcome


class _Work:
    def __init__(self, parse: Callable):
        self._parse = parse

    def __call__(self, name: str, job: Job, report: Callable) -> dict:
        from merginguriel.utils.training import train, trainer

        settings, steps = self._parse(job.flags)
        is_new = not model_folder.is_whole(job.output_dir)
        if is_new:
            _set_aside(job.output_dir)
            try:
                train.train(settings, **steps, progress=lambda share: report("share", name, share))
            finally:
                trainer.free_memory()
        metrics = atomic.read_json(job.output_dir / "all_results.json")
        if job.held_out:
            metrics["held_out_accuracy"] = _evaluate_held_out(job, job.held_out, settings, overwrite=is_new)
        return metrics


def _set_aside(folder: Path) -> None:
    """Rename what stands where a model is to be; it is not whole, but it may be somebody's."""
    if folder.exists():
        number = 1
        while (aside := folder.with_name(f"{folder.name}.incomplete{number}")).exists():
            number += 1
        folder.rename(aside)
        log.warning("%s was not whole; it is now %s", folder, aside.name)


def _evaluate_held_out(job: Job, locale: str, settings, overwrite: bool) -> float:
    from merginguriel.utils.evaluation import classifier

    split = task.load_split(settings.dataset_name, locale, "test", settings.text_column, settings.label_column)
    folder = job.results_root / naming.evaluation_name(job.output_dir.name, locale)
    return classifier.evaluate(
        classifier.Classifier(job.output_dir),
        split,
        settings.dataset_name,
        folder,
        overwrite=overwrite and folder.exists(),
    ).accuracy


class _Progress:
    """What workers report, as a bar over the models and a line for every one that is done."""

    def __init__(self, outcome: Outcome, bar):
        self._outcome, self._bar = outcome, bar
        self._shares: dict[str, float] = {}

    def start(self, worker: int, name: str) -> None:
        self.share(worker, name, 0.0)

    def share(self, worker: int, name: str, share: float) -> None:
        self._shares[name] = share
        self._show()

    def done(self, worker: int, name: str, metrics: dict, seconds: float) -> None:
        self._shares.pop(name)
        self._outcome.metrics[name] = metrics
        log.info("%s: %s, %.1f s", name, accuracies(metrics), seconds)
        self._show()

    def failed(self, worker: int, name: str, reason: str) -> None:
        self._shares.pop(name, None)
        self._outcome.failures[name] = reason
        log.warning("%s: failed, %s", name, reason)
        self._show()

    def _show(self) -> None:
        finished = len(self._outcome.metrics) + len(self._outcome.failures)
        self._bar.n = round(finished + sum(self._shares.values()), 1)
        self._bar.set_postfix_str(", ".join(f"{name} {share:.0%}" for name, share in self._shares.items()))


def accuracies(metrics: dict) -> str:
    """The accuracies among a run's metrics, in words."""
    said = [
        f"{name} accuracy {metrics[key]:.4f}"
        for name, key in (
            ("validation", "eval_accuracy"),
            ("test", "predict_accuracy"),
            ("held-out test", "held_out_accuracy"),
        )
        if key in metrics
    ]
    return ", ".join(said) or "trained"


def summary(outcome: Outcome) -> list[str]:
    """Lines for stdout: every model with its accuracies, every failure, and how many there are of both."""
    lines = [f"{name}  {accuracies(metrics)}" for name, metrics in sorted(outcome.metrics.items())]
    lines += [f"failed: {name}: {reason}" for name, reason in sorted(outcome.failures.items())]
    lines.append(f"{len(outcome.metrics)} done, {len(outcome.failures)} failed")
    if outcome.failures:
        lines.append(f"{processes.AGAIN} when they are repaired: only what is missing is done")
    return lines
