"""What models of other languages think of a target's texts: one model in memory at a time, each asked once."""

import functools
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from merginguriel.utils.adaptation.run import AdaptRun, Teacher
from merginguriel.utils.adaptation.soft_labels import probabilities
from merginguriel.utils.adaptation.work_folder import WorkFolder
from merginguriel.utils.data.split import Texts
from merginguriel.utils.data.task import Task
from merginguriel.utils.evaluation.classifier import in_task_order, model_settings
from merginguriel.utils.models import devices, loading, scoring
from merginguriel.utils.models.model_folder import files_of
from merginguriel.utils.models.tokens import TOKENS
from merginguriel.utils.storage.naming import short_hash


class Panel:
    """The teachers of a run over its texts; what one has said is kept in the work folder."""

    def __init__(self, run: AdaptRun, texts: Texts, work: WorkFolder):
        self._run, self._texts, self._work = run, texts, work
        self._device = devices.default_device()
        self._fingerprint = texts.fingerprint()
        self._inputs = scoring.BatchCache(TOKENS)

    def opinion(self, teacher: Teacher, scored: Callable[[int], None]) -> tuple[np.ndarray, str, bool]:
        """(probabilities (texts, the task's labels), sha256 of the teacher's weights, whether they were kept).

        `scored` is told how many more texts were read.
        """
        dtype = devices.evaluation_dtype(self._device)
        settings = _settings_of(teacher.path, json.dumps(files_of(teacher.path)), self._run.task, dtype)
        rests_on = hashlib.sha256(json.dumps([settings, self._fingerprint], sort_keys=True).encode()).hexdigest()
        name = f"teacher_{teacher.locale}_{short_hash(str(teacher.path))}"
        kept = self._work.kept(name, rests_on)
        if kept:
            return kept[0], settings["model"], True
        model = loading.load_model(teacher.path, self._device, dtype)
        batches = self._inputs.batches(teacher.path, model, [self._texts.texts], settings["max_tokens"])
        logits = scoring.batch_logits(model, batches, f"{teacher.path} on {self._run.target}", scored)
        opinion = probabilities(in_task_order(logits, settings["labels"], self._run.task.labels))
        self._work.keep(name, rests_on, opinion, {"locale": teacher.locale, "path": str(teacher.path)})
        return opinion, settings["model"], False


@functools.cache  # a worker meets the same teachers target after target, and has to read them whole for their hash
def _settings_of(path: Path, files: str, task: Task, dtype: Any) -> dict[str, Any]:
    """What a model's answers rest on; `files` tell that it was replaced."""
    return model_settings(path, task, dtype)
