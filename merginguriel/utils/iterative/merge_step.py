"""One merge of a run: of what its languages have come to, measured on validation items."""

import logging
import shutil
import time
from collections.abc import Iterable
from dataclasses import asdict, replace
from statistics import mean
from typing import Any

from merginguriel.utils.data.task import Fingerprints
from merginguriel.utils.iterative import timing
from merginguriel.utils.iterative.plan import IterativePlan
from merginguriel.utils.iterative.run_folder import FINAL, MEASUREMENTS, RunFolder
from merginguriel.utils.jobs.job import tells
from merginguriel.utils.merging.bench import FolderBench
from merginguriel.utils.merging.consensus import Polls
from merginguriel.utils.merging.details import DETAILS_JSON
from merginguriel.utils.merging.plan import MergePlan
from merginguriel.utils.merging.selection import Source
from merginguriel.utils.merging.weighing import weigh
from merginguriel.utils.models import loading
from merginguriel.utils.models.devices import evaluation_dtype
from merginguriel.utils.models.model_folder import WeightHashes
from merginguriel.utils.storage.environment import utc_now
from merginguriel.utils.training.development import Development
from merginguriel.utils.training.trainer import device_of, free_memory

log = logging.getLogger(__name__)


class Merger:
    """Merges as planned, and tells every merge as merge_history.json has it."""

    def __init__(self, plan: IterativePlan, folder: RunFolder, development: Development):
        self._plan, self._folder, self._development = plan, folder, development
        self._bench = FolderBench(folder.path / MEASUREMENTS)
        self._data = Fingerprints(plan.settings.training.task)

    def merge(self, before: list[dict[str, Any]], epoch: int, reason: str, decisions: list[dict]) -> dict[str, Any]:
        """Merge the newest checkpoints, of `epoch`, after the merges `before`; what is to be told of it."""
        settings, locales = self._plan.settings, self._plan.locales
        name = FINAL if epoch == settings.max_epochs else f"merged_cycle_{len(before) + 1}"
        start = time.monotonic()
        merge = self._planned(name, before)
        # What is there without standing in the history was made by a run that was killed just then: it is kept, unless
        # what it was merged from is made anew.
        record = merge.record(self._data)
        self._bench.merge(merge, record, overwrite=not tells(merge.output / DETAILS_JSON, {"plan": record}))
        seconds = time.monotonic() - start
        shutil.rmtree(self._bench.measurements, ignore_errors=True)
        own = {locale: self._folder.metrics(locale)[epoch]["eval_accuracy"] for locale in locales}
        merged = self.accuracies(merge)
        interval = before[-1]["next_interval"] if before else settings.merge_frequency
        if settings.adaptive and epoch < settings.max_epochs:
            decision = timing.next_interval(interval, own, merged, epoch, settings.convergence_threshold)
            log.info("%s", decision)
            decisions, interval = [*decisions, asdict(decision)], decision.decided
        log.info(
            "merge %d after epoch %d (%s): validation %s %.4f on %s, %.4f on the sources, whose own models have %.4f",
            len(before) + 1,
            epoch,
            reason,
            settings.training.task.metric,
            merged[settings.target],
            settings.target,
            mean(merged[locale] for locale in locales),
            mean(own.values()),
        )
        return {
            "cycle": len(before) + 1,
            "epoch": epoch,
            "timestamp": utc_now(),
            "status": "success",
            "reason": reason,
            "name": name,
            "active_locales": locales,
            "target_locales": [settings.target],
            "merge_algorithm": merge.method_name,
            "weight_calculation": merge.mode,
            "weights": {source.locale: source.weight for source in merge.sources},
            "merge_duration": seconds,
            "validation_accuracy": {"own": own, "merged": merged},
            "decisions": decisions,
            "next_interval": interval,
        }

    def _planned(self, name: str, before: Iterable[dict[str, Any]]) -> MergePlan:
        plan = self._plan.merge
        # Task vectors are what the languages have learnt since they were last the same.
        bases = [plan.base, *(self._folder.merged(entry["name"]) for entry in before)]
        models = {source.locale: self._folder.model(source.locale) for source in plan.sources}
        shares = {source.locale: source.weight for source in plan.sources}
        if plan.settings.needs_consensus:  # of what the models are now
            hashes = WeightHashes(models)
            polls = Polls(plan.task, models, self._bench.measurements, hashes)
            shares, selection = weigh(plan.settings, plan.task, models, hashes, polls)
            plan = replace(plan, selection=selection)
        sources = tuple(Source(locale, models[locale], share) for locale, share in shares.items())
        return replace(plan, output=self._folder.merged(name), base=bases[-1] if plan.base else None, sources=sources)

    def accuracies(self, merge: MergePlan) -> dict[str, float]:
        """Of a merge on the validation items of every source and of the target."""
        device = device_of(self._plan.settings.training.settings)
        model = loading.load_model(merge.output, device, evaluation_dtype(device))
        try:
            locales = (*self._plan.locales, merge.target)
            return {locale: self._development.score(model, locale) for locale in locales}
        finally:
            del model
            free_memory()
