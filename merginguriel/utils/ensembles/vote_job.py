"""The job of a vote: the logits of its sources are elected from, and the result is kept as a model's is."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from merginguriel.utils.data.split import Split
from merginguriel.utils.data.task import Task
from merginguriel.utils.ensembles.kept_logits import KeptLogits
from merginguriel.utils.ensembles.votes import VOTES
from merginguriel.utils.evaluation.agreement import read_answers
from merginguriel.utils.evaluation.evaluation_job import EvaluationContext
from merginguriel.utils.evaluation.results import (
    Evaluation,
    Origin,
    data_settings,
    kept_evaluation,
    label_maps,
    read_evaluation,
    write_evaluation,
)
from merginguriel.utils.jobs.job import Job
from merginguriel.utils.merging.details import DETAILS_TXT, merge_details
from merginguriel.utils.storage.environment import utc_now


class VoteContext(EvaluationContext):
    """`kept`: where logits are taken from instead of the sources' own results."""

    def __init__(self, task: Task, kept: KeptLogits | None = None):
        super().__init__(task)
        self.kept = kept

    def logits(self, job: Job, split: Split) -> list[np.ndarray]:
        """Of every source of a vote, (items, labels) each."""
        if self.kept:
            return [self.kept.logits(source.locale, split) for source in job.options["sources"]]
        return [read_answers(folder, ["logits"])["logits"] for folder in job.options["alone"]]

    def alone(self, job: Job, split: Split) -> list[Evaluation]:
        """Every source of a vote by itself."""
        sources = job.options["sources"]
        if self.kept:
            return [self.kept.alone(source.locale, split, self.task.metric) for source in sources]
        folders = job.options["alone"]
        return [read_evaluation(folder, f"{source.locale} alone") for source, folder in zip(sources, folders)]


def split_of(job: Job, context: EvaluationContext) -> Split:
    return context.split(job.group, job.settings["split"], job.options["draw"])


def run(job: Job, shared: dict[str, Any]) -> str:
    context, options, experiment = shared["context"], job.options, job.settings["experiment"]
    split, sources = split_of(job, context), options["sources"]
    logits, weights = context.logits(job, split), [source.weight for source in sources]
    voters = {
        source.locale: {
            "weight": source.weight,
            "logits": hashlib.sha256(np.ascontiguousarray(scores).tobytes()).hexdigest(),
        }
        for source, scores in zip(sources, logits)
    }
    rests_on = {"vote": options["method"], "precision": job.settings["precision"], "sources": voters}
    settings = data_settings(rests_on, split)
    kept = kept_evaluation(job.folder, settings, job.name, options["overwrite"])
    if kept:
        return f"{kept.accuracy:.4f}"
    elect = VOTES[options["method"]][0]
    origin = Origin(
        job.name,
        context.task,
        job.name,
        _info(context.task, options["method"], [source.path for source in sources], weights),
        settings,
        experiment,
        job.hash,
        {
            DETAILS_TXT: merge_details(
                mode=experiment["mode"],
                base_model=experiment["base_model"],
                target=experiment["target"],
                sources=sources,
                timestamp=utc_now(),
            )
        },
    )
    predicted = elect(np.stack(logits), weights)
    result = write_evaluation(job.folder, split, predicted, origin, overwrite=options["overwrite"])
    return f"{result.accuracy:.4f}"


def _info(task: Task, method: str, models: list[Path], weights: list[float]) -> dict[str, Any]:
    return {
        "num_labels": len(task.labels),
        "model_type": "ensemble",
        "architecture": None,
        **label_maps(task.labels),
        "num_models": len(models),
        "model_names": list(map(str, models)),
        "ensemble_method": method,
        "similarity_weights": weights,
    }
