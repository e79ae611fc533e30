"""The job of an adaptation: adapt a model, and evaluate it on its target's test items."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from merginguriel.utils.adaptation import work_folder
from merginguriel.utils.adaptation.adapt import ADAPTATION_JSON, AdaptReport, adapt, is_adapted
from merginguriel.utils.adaptation.model_card import model_card
from merginguriel.utils.adaptation.run import AdaptRun
from merginguriel.utils.data.split import Split
from merginguriel.utils.evaluation.classifier import Classifier, evaluate
from merginguriel.utils.evaluation.evaluation_job import (
    EvaluationContext,
    ResultsOutput,
    check_precision,
    evaluation_job,
    precision_on,
)
from merginguriel.utils.evaluation.model_card import MODEL_CARD
from merginguriel.utils.evaluation.results import Evaluation, score_in
from merginguriel.utils.jobs.job import Job, tells
from merginguriel.utils.models.devices import default_device
from merginguriel.utils.models.model_folder import bytes_of
from merginguriel.utils.storage import atomic
from merginguriel.utils.storage.made_folders import RESULT
from merginguriel.utils.training import unfinished
from merginguriel.utils.training.trainer import free_memory

MODELS_HELD = 6  # the size of: the model, what its training holds, and a teacher


@dataclass(frozen=True)
class AdaptOutput(ResultsOutput):
    def before(self, run: AdaptRun) -> Path:
        return self.alone(run.start, None, run.target)


def adaptation_job(
    run: AdaptRun, split: Split | None, precision: str, output: AdaptOutput, experiment: Mapping[str, Any] | None = None
) -> Job:
    """`run` carried out and evaluated on `split`; None: the adapted model itself is the result.

    `experiment`: what is known of the model in `run.start`, as its own results tell it; that of a merge, say.
    """
    record, name = run.record(), run.output.name
    known = experiment or {"mode": "adaptation", "target": run.target, **run.task.record()}
    examples = run.settings.examples
    told = record | run.settings.asked(record["texts"]["count"])
    if examples:  # of all texts their number tells nothing
        told["examples"] = examples
    settings: dict[str, Any] = {"experiment": {**known, "adapt": told}}
    made = ((str(run.output / ADAPTATION_JSON), {"run": record}),)
    options = {"run": run, "overwrite": output.overwrite, "before": output.before(run)}
    if split is None:
        return Job("adaptation", name, run.target, run.output, settings, options, made, mark=ADAPTATION_JSON)
    settings |= {"locale": split.locale, "split": split.name, "data": split.fingerprint(), "precision": precision}
    options["num_items"] = len(split)
    folder, label = output.results_root / name, f"adapt_{run.settings.adapt}"
    return Job("adaptation", name, run.target, folder, settings, options, made, label=label)


def baseline_jobs(run: AdaptRun, split: Split, precision: str, output: AdaptOutput) -> list[Job]:
    """The model before and every teacher, each alone on the same items."""
    places: dict[Path, tuple[Path, str | None]] = {
        teacher.path: (output.alone(teacher.path, teacher.locale, run.target), teacher.locale)
        for teacher in run.teachers
    }
    places.setdefault(run.start, (output.before(run), None))
    return [
        evaluation_job(folder, model, split, precision, group=run.target, overwrite=output.overwrite, source=language)
        for model, (folder, language) in places.items()
    ]


def jobs_of(
    run: AdaptRun,
    context: EvaluationContext,
    output: AdaptOutput,
    experiment: Mapping[str, Any] | None = None,
    *,
    evaluates: bool = True,
    baselines: bool = True,
) -> list[Job]:
    """All that is to be done for `run`: what it is made of alone, with `baselines`, then the adaptation.

    InputError where a folder holds something else.
    """
    precision = precision_on(default_device())
    split = context.split(run.target, "test") if evaluates else None
    alone = baseline_jobs(run, split, precision, output) if split and baselines else []
    job = adaptation_job(run, split, precision, output, experiment)
    check_places(job)
    return [*alone, job]


def is_done(job: Job) -> bool:
    evaluated = "split" not in job.settings or job.has_result()
    return evaluated and all(tells(Path(file), told) for file, told in job.products)


def remove_leftovers(runs: Iterable[AdaptRun]) -> None:
    """Work beside models that are whole: of a run that was killed between naming its model and removing the work."""
    for one in runs:
        if tells(one.output / ADAPTATION_JSON, {"run": one.record()}):
            unfinished.remove_leftovers(one.output, work_folder.unfinished(one.output))


def run(job: Job, shared: dict[str, Any]) -> str:
    asked: AdaptRun = job.options["run"]
    check_places(job)
    if "split" not in job.settings:
        report = _adapt(asked, shared, job.options["overwrite"])
        return f"the same as the vote on {report.rounds[-1]['agreement']:.1%} of the texts"
    check_precision(job.settings["precision"])
    result = adapt_and_evaluate(asked, job, shared, job.options["overwrite"])
    before = score_in(job.options["before"])
    return f"{result.score:.4f}" + (f", {100 * (result.score - before):+.1f} points" if before is not None else "")


def check_places(job: Job) -> None:
    """Refuse, before anything is computed, folders that hold something else than this job's (InputError)."""
    asked: AdaptRun = job.options["run"]
    is_adapted(asked.output, asked.record(), job.options["overwrite"])
    if "split" in job.settings:
        atomic.check_apart(asked.output, [job.folder, job.options["before"]])
        check_result(job, asked)


def check_result(job: Job, asked: AdaptRun) -> None:
    """The same of the folder of its result alone; that of the same adaptation by another command is kept."""
    if tells(job.folder / job.mark, {"experiment": job.settings["experiment"]}):
        return
    if asked.start.is_dir() and tells(job.folder / ADAPTATION_JSON, {"run": asked.record()}):
        return
    atomic.check_replaceable(job.folder, RESULT, job.options["overwrite"])


def adapt_and_evaluate(asked: AdaptRun, job: Job, shared: dict[str, Any], overwrite: bool) -> Evaluation:
    """Carry `asked` out, and keep how the adapted model does as the result of `job`.

    `overwrite`: another model in the place of the adapted one is replaced.
    """
    report = _adapt(asked, shared, overwrite)
    split = shared["context"].split(job.settings["locale"], job.settings["split"])
    return evaluate(
        Classifier(asked.output, asked.task),
        split,
        job.folder,
        name=job.name,
        # What stands there with this job's mark is of a model that has gone.
        overwrite=job.options["overwrite"] or job.has_result(),
        experiment=job.settings["experiment"],
        job=job.hash,
        attachments={ADAPTATION_JSON: atomic.as_json(report.details)},
        tell=lambda result: atomic.write_text(
            asked.output / MODEL_CARD, model_card(asked, report.details["run"], result)
        ),
    )


def _adapt(asked: AdaptRun, shared: dict[str, Any], overwrite: bool) -> AdaptReport:
    shared.pop("classifier", None)  # a baseline, which would stay in memory
    try:
        return adapt(asked, shared.get("progress"), overwrite=overwrite)
    finally:
        free_memory()


def memory_needed(run: AdaptRun) -> int:
    """Bytes of a worker."""
    return MODELS_HELD * bytes_of(run.start)
