"""The votes of a target: sources as a merge chooses them, the jobs that make their logits, and those that vote."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from auto_merge_llm.errors import InputError

from merginguriel.utils.data.split import SPLITS, Split
from merginguriel.utils.ensembles.kept_logits import KeptLogits
from merginguriel.utils.ensembles.settings import VoteSettings
from merginguriel.utils.ensembles.vote_job import VoteContext
from merginguriel.utils.evaluation import nxn_logits
from merginguriel.utils.evaluation.evaluation_job import evaluation_job, precision_on
from merginguriel.utils.jobs.engine import Backend
from merginguriel.utils.jobs.job import Job
from merginguriel.utils.merging import wanted
from merginguriel.utils.merging.consensus import Polls
from merginguriel.utils.merging.plan import MergePlan, plan_merge
from merginguriel.utils.models.model_folder import WeightHashes, bytes_of, files_of
from merginguriel.utils.models.store import ModelStore
from merginguriel.utils.storage import naming
from merginguriel.utils.storage.settings import plain


@dataclass(frozen=True)
class VotePlan:
    """One target: its sources with their weights, and its items."""

    target: str
    merge: MergePlan
    split: Split

    def describe(self) -> str:
        lines = [f"  {source.weight:.6f}  {source.locale}  {source.path}" for source in self.merge.sources]
        return "\n".join([f"target  {self.target}, {len(self.split)} {self.split.name} items", "sources", *lines])


class Planner:
    """Plans target after target, of `targets` where they are known.

    `available`: the models, or those that an N×N evaluation has kept logits of.
    """

    def __init__(
        self, settings: VoteSettings, store: ModelStore, context: VoteContext, device: str, targets: Sequence[str] = ()
    ):
        self.settings, self.store, self.context = settings, store, context
        self._kept = kept = context.kept
        self.available: Mapping[str, Path] = (
            kept.available(settings, store) if kept else wanted.available(store, targets, settings.choice.num_languages)
        )
        self._hashes = kept.matrix.weights_sha256 if kept else WeightHashes(self.available)
        self._polls = Polls(context.task, self.available, store.root, self._hashes)
        self.precision = kept.matrix.precision if kept else precision_on(device)

    def ask(self, targets: Sequence[str], backend: Backend) -> None:
        """As the planner of merges does."""
        if self.settings.merge("").needs_consensus:
            self._polls.score(targets, self.settings.choice, backend)

    @property
    def memory_needed(self) -> int:
        """Bytes of a worker: one model, and another while it is replaced."""
        return 0 if self._kept else 2 * bytes_of(next(iter(self.available.values())))

    def plan(self, target: str) -> VotePlan:
        """Choose sources and weights as a merge does and read the items; InputError where either cannot be."""
        settings = self.settings
        merge = plan_merge(
            settings.merge(target),
            self.context.task,
            self.store,
            available=self.available,
            weights_sha256=self._hashes,
            polls=self._polls,
        )
        split = self.context.split(target, settings.split, settings.draw)
        if self._kept:
            self._kept.check(split, self.context.split(target, settings.split))
        return VotePlan(target, merge, split)

    def jobs(self, plan: VotePlan, methods: Sequence[str], results_root: Path, overwrite: bool) -> list[Job]:
        """Every source alone on the target, unless its logits are kept, and every vote."""
        settings, split, draw = self.settings, plan.split, self.settings.draw
        alone = []
        for source in () if self._kept else plan.merge.sources:
            own = naming.source_name(source.locale, source.path)
            name = naming.evaluation_name(own, plan.target, split.name, settings.num_examples)
            folder, group = results_root / name, str(source.path)
            alone.append(
                evaluation_job(
                    folder,
                    source.path,
                    split,
                    self.precision,
                    group=group,
                    overwrite=overwrite,
                    draw=draw,
                    source=source.locale,
                )
            )
        return [*alone, *(self._vote(plan, method, results_root, alone, overwrite) for method in methods)]

    def _vote(self, plan: VotePlan, method: str, results_root: Path, alone: Sequence[Job], overwrite: bool) -> Job:
        settings, split, sources = self.settings, plan.split, plan.merge.sources
        experiment = {
            "mode": f"ensemble_{method}",
            "target": plan.target,
            **self.context.task.record(),
            "base_model": self.store.base_model,
            "num_sources": len(sources),
            "preweight": settings.preweight,
            "seed": settings.seed,
            "num_examples": settings.num_examples,
            "nxn_dir": str(settings.nxn_dir) if settings.nxn_dir else None,
            "similarity": plain(plan.merge.selection),
            "sources": [
                {"locale": source.locale, "path": str(source.path), "weight": source.weight} for source in sources
            ],
        }
        models = {
            source.locale: self._hashes[source.locale] if self._kept else files_of(source.path) for source in sources
        }
        rests_on = {"experiment": experiment, "models": models, "split": split.name, "data": split.fingerprint()}
        name = naming.ensemble_name(method, plan.target, len(sources), split.name, settings.num_examples)
        name = naming.with_words(name, [*self.context.task.words(self.store.base_model), *settings.words()])
        options = {
            "method": method,
            "sources": sources,
            "alone": [job.folder for job in alone],
            "draw": settings.draw,
            "overwrite": overwrite,
            "locale": plan.target,
        }
        return Job(
            "vote",
            name,
            plan.target,
            results_root / name,
            {**rests_on, "precision": self.precision},
            options,
            needs=tuple(job.name for job in alone),
            label=method,
        )


def open_kept(settings: VoteSettings) -> KeptLogits | None:
    """The logits of an N×N evaluation, where they are asked for; InputError where they do not fit."""
    if settings.nxn_dir is None:
        return None
    matrix = nxn_logits.open_logits(settings.nxn_dir)
    if SPLITS[matrix.split] != SPLITS[settings.split]:
        raise InputError(
            f"the N×N logits are of the {matrix.split} split, not {settings.split}; add --split "
            f"{matrix.split} or give another --nxn-dir"
        )
    return KeptLogits(settings.nxn_dir, matrix)
