"""The result of a run: its last merge on the target's test items."""

from pathlib import Path

from auto_merge_llm.errors import InputError

from merginguriel.utils.evaluation.classifier import Classifier, evaluate
from merginguriel.utils.evaluation.results import Evaluation
from merginguriel.utils.iterative.history import read_history
from merginguriel.utils.iterative.plan import IterativePlan
from merginguriel.utils.iterative.run_folder import RunFolder
from merginguriel.utils.jobs.job import tells
from merginguriel.utils.merging.details import DETAILS_JSON, DETAILS_TXT
from merginguriel.utils.storage import atomic
from merginguriel.utils.storage.made_folders import RESULT
from merginguriel.utils.storage.naming import RESULTS_JSON


def check_result(job: str, folder: Path, overwrite: bool) -> None:
    """Refuse, before anything is trained, a result folder that holds another one than of this hash (InputError)."""
    if tells(folder / RESULTS_JSON, {"job": job}):
        return
    if (folder / RESULTS_JSON).is_file() and not overwrite:
        raise InputError(
            f"{folder} exists already; use --overwrite to replace it or choose another --results-dir: it is the result "
            "of another run, or of an earlier version"
        )
    atomic.check_replaceable(folder, RESULT, overwrite)


def judge(plan: IterativePlan, folder: RunFolder, overwrite: bool) -> Evaluation:
    """The final model on the target's test items."""
    settings, merges = plan.settings, read_history(folder.path)
    final, task = folder.merged(merges[-1]["name"]), settings.training.task
    texts = {name: (final / name).read_text(encoding="utf-8") for name in (DETAILS_TXT, DETAILS_JSON)}
    experiment = {
        **atomic.read_json(final / DETAILS_JSON)["plan"],
        "mode": f"iterative_{settings.merge.mode}",
        "command": settings.command,
        "iterative": {"merges": [entry["epoch"] for entry in merges], **settings.way},
    }
    return evaluate(
        Classifier(final, task),
        task.load(settings.target, "test"),
        plan.result_folder,
        name=plan.result_folder.name,
        experiment=experiment,
        job=plan.job,
        overwrite=overwrite,
        attachments=texts,
    )
