"""The job of a merge: merge a plan on a bench, and evaluate it on its target."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from merginguriel.utils.data.split import Split
from merginguriel.utils.data.task import Fingerprints, Task
from merginguriel.utils.evaluation.evaluation_job import (
    EvaluationContext,
    ResultsOutput,
    check_precision,
    evaluation_job,
)
from merginguriel.utils.evaluation.results import Evaluation, score_in
from merginguriel.utils.jobs.job import Job
from merginguriel.utils.merging.bench import Bench, FolderBench
from merginguriel.utils.merging.details import DETAILS_JSON
from merginguriel.utils.merging.memory_bench import Alone, MemoryBench
from merginguriel.utils.merging.plan import MergePlan
from merginguriel.utils.storage import atomic
from merginguriel.utils.storage.made_folders import RESULT
from merginguriel.utils.storage.naming import RESULTS_JSON

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class MergeOutput(ResultsOutput):
    """What is written beside results: merged weights, and what methods measured."""

    keep_merged: bool = False
    keep_measurements: bool = False

    @property
    def measurements(self) -> Path:
        return self.results_root / "measurements"

    def check_apart(self, plan: MergePlan, results: Iterable[Path]) -> None:
        """InputError where a result would take the place of the merged model, or of the adapted one."""
        for model in (plan.output, plan.before.output) if self.keep_merged else ():
            atomic.check_apart(model, results)


class MergeContext(EvaluationContext):
    """What the merges of a sweep share: the items, and a bench in memory for the jobs of a target."""

    def __init__(self, task: Task, output: MergeOutput):
        super().__init__(task)
        self._output = output

    def bench(self, shared: dict[str, Any]) -> MemoryBench:
        if "bench" not in shared:
            output = self._output
            shared["bench"] = MemoryBench(
                output.measurements, keep_merged=output.keep_merged, keep_measurements=output.keep_measurements
            )
        return shared["bench"]

    def classifier(self, path: Path, shared: dict[str, Any]) -> Alone:
        return Alone(self.bench(shared), path, self.task)

    def done_with(self, path: Path, shared: dict[str, Any]) -> None:
        self.bench(shared).drop(path)


class FolderContext(EvaluationContext):
    """For one merge: streamed from folder to folder."""

    def __init__(self, task: Task, output: MergeOutput):
        super().__init__(task)
        self._output = output

    def bench(self, shared: dict[str, Any]) -> Bench:
        return FolderBench(self._output.measurements)


def merge_job(
    plan: MergePlan, split: Split, precision: str, output: MergeOutput, data: Fingerprints | None = None
) -> Job:
    """`plan` merged and evaluated on `split`. `data` remembers fingerprints from plan to plan."""
    settings = merge_settings(plan, split, precision, data)
    record = settings["experiment"]
    alone = {source.locale: output.alone(source.path, source.locale, plan.target) for source in plan.sources}
    made = ((str(plan.output / DETAILS_JSON), {"plan": record}),) if output.keep_merged else ()
    options = {"plan": plan, "alone": alone, "overwrite": output.overwrite, "num_items": len(split)}
    options["locale"] = plan.target
    folder = output.results_root / plan.output.name
    output.check_apart(plan, [folder, *alone.values()])
    return Job("merge", plan.output.name, plan.target, folder, settings, options, made, label=plan.label)


def merge_settings(plan: MergePlan, split: Split, precision: str, data: Fingerprints | None = None) -> dict[str, Any]:
    """Everything that the result of a merge rests on."""
    return {
        "experiment": plan.record(data),
        "locale": split.locale,
        "split": split.name,
        "data": split.fingerprint(),
        "precision": precision,
    }


def source_jobs(plans: Sequence[MergePlan], split: Split, precision: str, output: MergeOutput) -> list[Job]:
    """Every source of the plans alone on their target."""
    sources = {source.path: source.locale for plan in plans for source in plan.sources}
    return [
        evaluation_job(
            output.alone(path, language, split.locale),
            path,
            split,
            precision,
            group=split.locale,
            overwrite=output.overwrite,
            source=language,
        )
        for path, language in sources.items()
    ]


def run(job: Job, shared: dict[str, Any]) -> str:
    context, options, settings = shared["context"], job.options, job.settings
    check_precision(settings["precision"])
    # Without its merged model a result of these very settings is made once more.
    overwrite = options["overwrite"] or (job.has_result() and not job.is_done())
    merge = context.bench(shared).merge(options["plan"], settings["experiment"], overwrite=options["overwrite"])
    split = context.split(settings["locale"], settings["split"])
    result = merge.evaluate(split, job.folder, overwrite=overwrite, job=job.hash)
    return beside_best(job, result)


def beside_best(job: Job, result: Evaluation) -> str:
    """What is said of the result of a merge: its score, and the best of its sources where all are evaluated."""
    best = best_source(job)
    if best is None:
        return f"{result.score:.4f}"
    gain = 100 * (result.score - best[1])
    return f"{result.score:.4f}, best source {best[0]} {best[1]:.4f}, {gain:+.1f} points"


def best_source(job: Job) -> tuple[str, float] | None:
    """(locale, score) of the best source of a merge on its target, None where one is not evaluated."""
    alone = job.options["alone"]
    scores = {locale: score for locale in alone if (score := score_in(alone[locale])) is not None}
    return None if len(scores) < len(alone) else max(scores.items(), key=lambda pair: pair[1])


def check_results(job: Job) -> None:
    """Refuse, before anything is merged, a result folder that holds something else (InputError)."""
    file = job.folder / RESULTS_JSON
    if job.folder.exists() and not (
        file.is_file() and atomic.read_json(file).get("experiment") == job.settings["experiment"]
    ):
        atomic.check_replaceable(job.folder, RESULT, job.options["overwrite"])


def do_here(jobs: Sequence[Job], context: FolderContext) -> None:
    """One after the other, but what is done unless it is to be replaced; InputError where one fails."""
    shared = {"context": context}
    for job in jobs:
        if job.is_done() and not job.options["overwrite"]:
            log.info("already done: %s", job.folder)
        else:
            job.run(shared)
