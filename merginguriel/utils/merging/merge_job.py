"""The jobs of a sweep of merges: what each is as data, and how it is done on its target's workbench."""

from pathlib import Path

from auto_merge_llm.errors import InputError

from merginguriel.utils.data import task
from merginguriel.utils.data.split import Split
from merginguriel.utils.evaluation import classifier, results
from merginguriel.utils.jobs.engine import Job
from merginguriel.utils.merging.details import DETAILS_JSON, details
from merginguriel.utils.merging.merge import is_merged, keep_merged
from merginguriel.utils.merging.plan import MergePlan, plan_of, record_of, result_settings
from merginguriel.utils.models import store
from merginguriel.utils.storage import atomic, naming

# What the jobs of a target share beside the models: how to read its items, and what may be replaced.
DATA = ("dataset_name", "text_column", "label_column")


def evaluation_job(folder: Path, model: Path, split: Split, precision: str, shared: dict) -> Job:
    """`model` alone on `split`. `shared`: the names of DATA, and `overwrite`."""
    settings = {
        "model": str(model),
        "files": store.files_of(model),
        "locale": split.locale,
        "split": split.name,
        "data": split.fingerprint(),
        "precision": precision,
    }
    options = {**shared, "model": str(model), "num_items": len(split)}
    return Job("evaluation", folder.name, split.locale, folder, settings, options)


def merge_job(
    plan: MergePlan,
    results_root: Path,
    split: Split,
    precision: str,
    dtype: str | None,
    shared: dict,
    data: task.Fingerprints,
) -> Job:
    """`plan` merged and evaluated. `shared` as above, and `allow_mismatched_heads`, `keep_merged`, `keep_measurements`.

    The merged weights become `plan.output` only with `keep_merged`.
    """
    settings = result_settings(record_of(plan, dtype, data), split, precision)
    alone = {
        source.locale: str(results_root / naming.evaluation_name(source.path.name, plan.target))
        for source in plan.sources
    }
    return Job(
        "merge",
        plan.output.name,
        plan.target,
        results_root / plan.output.name,
        settings,
        {**shared, "output": str(plan.output), "dtype": dtype, "alone": alone, "num_items": len(split)},
        ((str(plan.output / DETAILS_JSON), {"plan": settings["experiment"]}),) if shared["keep_merged"] else (),
    )


def run_evaluation(job: Job, shared: dict) -> str:
    bench, path = _bench(job, shared), Path(job.options["model"])
    result = classifier.evaluate(
        bench.alone(path),
        bench.split,
        job.options["dataset_name"],
        job.folder,
        name=job.name,
        overwrite=job.options["overwrite"],
        job=job.hash,
    )
    if job.name == naming.baseline_name(job.group):
        bench.drop(path)  # the target's own model is no source
    return f"{result.accuracy:.4f}"


def run_merge(job: Job, shared: dict) -> str:
    bench, options = _bench(job, shared), job.options
    # Without its merged model a result of these very settings is made once more.
    overwrite = options["overwrite"] or job.has_result()
    atomic.check_replaceable(job.folder, overwrite)
    plan = plan_of(job.settings["experiment"], Path(options["output"]))
    is_wanted = options["keep_merged"] and not is_merged(plan, job.settings["experiment"], options["overwrite"])
    merge = bench.merge(plan, options["dtype"], options["allow_mismatched_heads"], options["keep_measurements"])
    scores, settings, model_info = merge.evaluate()
    texts = details(plan, job.settings["experiment"], merge.model.report, merge.method, merge.examples, merge.files)
    result = results.write_evaluation(
        job.folder,
        bench.split,
        scores.argmax(-1),
        logits=scores,
        name=job.name,
        overwrite=overwrite,
        settings=results.data_settings(settings, bench.split),
        dataset_name=options["dataset_name"],
        model_name=str(plan.output),
        model_info=model_info,
        experiment=job.settings["experiment"],
        job=job.hash,
        attachments=texts,
    )
    if is_wanted:
        keep_merged(plan, merge.model, texts, result, options["dataset_name"], options["overwrite"])
    best = best_source(job)
    return f"{result.accuracy:.4f}" + (
        f", best source {best[0]} {best[1]:.4f}, {100 * (result.accuracy - best[1]):+.1f} points" if best else ""
    )


def best_source(job: Job) -> tuple[str, float] | None:
    """(locale, accuracy) of the best source of a merge on its target, None where one is not evaluated."""
    accuracies = {locale: accuracy_of(Path(folder)) for locale, folder in job.options["alone"].items()}
    return None if None in accuracies.values() else max(accuracies.items(), key=lambda pair: pair[1])


def accuracy_of(folder: Path) -> float | None:
    """Of the result in `folder`; None where there is none."""
    file = folder / naming.RESULTS_JSON
    return atomic.read_json(file)["performance"]["accuracy"] if file.is_file() else None


def _bench(job: Job, shared: dict):
    from merginguriel.utils.merging.bench import Workbench

    if "bench" not in shared:
        split = task.load_split(
            job.options["dataset_name"], job.group, "test", job.options["text_column"], job.options["label_column"]
        )
        shared["bench"] = Workbench(split)
    bench = shared["bench"]
    if bench.split.fingerprint() != job.settings["data"]:
        raise InputError(
            f"the items of {job.group} in {job.options['dataset_name']} are others than when the sweep "
            "was planned; start it again"
        )
    if str(bench.dtype).removeprefix("torch.") != job.settings["precision"]:
        raise InputError(
            f"this worker evaluates in {str(bench.dtype).removeprefix('torch.')} and the sweep was "
            f"planned for {job.settings['precision']}: give all jobs GPUs, or none"
        )
    return bench
