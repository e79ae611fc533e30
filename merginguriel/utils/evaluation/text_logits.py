"""The job of a source on texts of a target whose labels nobody looks at, and the logits of many.

They are kept beside the models, of each precision by itself, and made again where the model or the texts are others, or
where they are damaged.
"""

import hashlib
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from auto_merge_llm.errors import InputError

from merginguriel.utils.data.split import DRAW_SEED, Texts
from merginguriel.utils.data.task import Task
from merginguriel.utils.evaluation.evaluation_job import EvaluationContext, check_precision, precision_on
from merginguriel.utils.evaluation.nxn_logits import CELL_LOGITS, halved
from merginguriel.utils.jobs.backends import InThisProcess
from merginguriel.utils.jobs.engine import Backend, work_off
from merginguriel.utils.jobs.job import Job, tells
from merginguriel.utils.models import devices, model_folder
from merginguriel.utils.storage import atomic, naming
from merginguriel.utils.storage.made_folders import ANSWERS

FOLDER = ".texts"  # in that of the models
MARK = "texts.json"


class TextContext(EvaluationContext):
    """At most `count` train texts of each language, read once for all sources."""

    def __init__(self, task: Task, count: int):
        super().__init__(task)
        self.count = count
        self._texts: dict[str, Texts] = {}

    def texts(self, target: str) -> Texts:
        if target not in self._texts:
            texts = self.task.texts(target, "train")
            self._texts[target] = texts.draw(self.count, DRAW_SEED) if self.count < len(texts) else texts
        return self._texts[target]


def text_logits_job(source: str, model: Path, context: TextContext, target: str, precision: str, root: Path) -> Job:
    """Of the `model` of a `source`, below `root`."""
    texts, config = context.texts(target), atomic.read_json(model / "config.json")
    settings = {
        "files": model_folder.files_of(model),
        "target": target,
        "texts": texts.fingerprint(),
        "labels": context.task.labels,
        "max_tokens": model_folder.max_tokens(config, context.task),
        "precision": precision,
    }
    # Commands on CPUs and on GPUs, which score in other precisions, do not replace each other's.
    folder = root / FOLDER / naming.source_name(source, model) / f"{target}_{len(texts)}_{precision}"
    return Job(
        "text_logits", f"{source}_on_texts_of_{target}", str(model), folder, settings, {"model": model}, mark=MARK
    )


def is_done(job: Job) -> bool:
    return _kept(job) is not None


def _kept(job: Job) -> bytes | None:
    """The file of the logits, where it is whole and of this very job."""
    try:
        file = (job.folder / CELL_LOGITS).read_bytes()
    except OSError:
        return None
    return file if tells(job.folder / MARK, _mark(job, file)) else None


def _mark(job: Job, file: bytes) -> dict[str, Any]:
    return {"job": job.hash, "sha256": hashlib.sha256(file).hexdigest()}


def run(job: Job, shared: dict[str, Any]) -> str:
    context, settings = shared["context"], job.settings
    check_precision(settings["precision"])
    texts = context.texts(settings["target"])
    scores = context.classifier(job.options["model"], shared).logits(texts.texts, job.name.replace("_", " "))
    file = io.BytesIO()
    np.save(file, halved(scores))
    # What may stand there is another model's.
    with atomic.whole_folder(job.folder, ANSWERS, overwrite=True) as partial:
        (partial / CELL_LOGITS).write_bytes(file.getvalue())
        atomic.write_json(partial / MARK, _mark(job, file.getvalue()))
    return ""


def jobs_of(models: Mapping[str, Path], targets: Sequence[str], context: TextContext, root: Path) -> list[Job]:
    """Every model on the texts of every target but its own language's."""
    precision = precision_on(devices.default_device())
    return [
        text_logits_job(source, model, context, target, precision, root)
        for source, model in models.items()
        for target in targets
        if source != target
    ]


def score_texts(jobs: Sequence[Job], context: TextContext, backend: Backend | None = None) -> dict[str, str]:
    """Do what of these is not done; by name, why a model could not be scored."""
    return work_off(jobs, backend or InThisProcess(), context=context, unit="models on texts").failures


def read_logits(job: Job) -> np.ndarray:
    """(texts, the task's labels) float16, of a job that is done; InputError where it is not any more."""
    file = _kept(job)
    if file is None:
        raise InputError(f"another command with other texts or models writes {job.folder}; run again when it has ended")
    return np.load(io.BytesIO(file), allow_pickle=False)
