"""The job of a merge that is adapted to its target by unlabelled text: its own sources teach it."""

import shutil
from pathlib import Path
from typing import Any

from merginguriel.utils.adaptation.adapt import ADAPTATION_JSON
from merginguriel.utils.adaptation.adapt_job import adapt_and_evaluate, check_result
from merginguriel.utils.adaptation.run import AdaptRun, Teacher
from merginguriel.utils.data.split import Split
from merginguriel.utils.data.task import Fingerprints
from merginguriel.utils.evaluation.evaluation_job import check_precision
from merginguriel.utils.jobs.job import Job
from merginguriel.utils.merging.merge_job import MergeOutput, beside_best, merge_settings
from merginguriel.utils.merging.model_card import made_of
from merginguriel.utils.merging.plan import MergePlan
from merginguriel.utils.merging.recipe import recipe

NOT_KEPT = ".{}.adapted"  # in the folder of results: both models of a job, until they are evaluated


def adapted_merge_job(
    plan: MergePlan, split: Split, precision: str, output: MergeOutput, data: Fingerprints | None = None
) -> Job:
    """`plan` merged, adapted and evaluated on `split`. Where merges are not kept, neither of the models is."""
    name = plan.output.name
    place = output.results_root / NOT_KEPT.format(name)
    before, adapted = place / plan.before.output.name, place / name
    made: list[tuple[str, dict[str, Any]]] = []
    if output.keep_merged:
        before, adapted = plan.before.output, plan.output
        made = [(str(adapted / ADAPTATION_JSON), {})]
    options: dict[str, Any] = {
        "plan": plan,
        "before": before,
        "adapted": adapted,
        "passing": None if output.keep_merged else place,
        "merge_record": plan.before.record(data),
        "alone": {source.locale: output.alone(source.path, source.locale, plan.target) for source in plan.sources},
        "overwrite": output.overwrite,
        "num_items": len(split),
        "locale": plan.target,
    }
    settings = merge_settings(plan, split, precision, data)
    folder = output.results_root / name
    output.check_apart(plan, [folder, *options["alone"].values()])
    # A group of its own: it takes much longer than merging once more.
    return Job("adapted_merge", name, name, folder, settings, options, tuple(made), label=plan.label)


def adapt_run(plan: MergePlan, before: Path, adapted: Path) -> AdaptRun:
    """`before` and `adapted`: folders of the two models."""
    own = plan.settings.adaptation.adapt == "self"
    teachers = () if own else tuple(Teacher(source.locale, source.path) for source in plan.sources)
    return AdaptRun(
        plan.task,
        plan.target,
        before,
        teachers,
        plan.settings.adaptation,
        plan.settings.seed,
        adapted,
        made_of=tuple(made_of(plan)),
        recipe=("merge", *recipe(plan)),
    )


def run(job: Job, shared: dict[str, Any]) -> str:
    context, options = shared["context"], job.options
    check_precision(job.settings["precision"])
    plan: MergePlan = options["plan"]
    adaptation = adapt_run(plan, options["before"], options["adapted"])
    check_result(job, adaptation)
    bench = context.bench(shared)
    # What another run has left in a place that is only for the time being may go.
    overwrite = options["overwrite"] or options["passing"] is not None
    bench.write(plan.before_in(options["before"]), options["merge_record"], overwrite=overwrite)
    bench.release()
    result = adapt_and_evaluate(adaptation, job, shared, overwrite)
    if options["passing"]:
        shutil.rmtree(options["passing"])
    return beside_best(job, result)
