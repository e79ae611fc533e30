"""A job: one result to make, as plain data that means the same on every machine."""

import functools
import hashlib
import importlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from auto_merge_llm.errors import InputError

from merginguriel.utils.storage import atomic
from merginguriel.utils.storage.naming import RESULTS_JSON

# Kind -> its module. `run(job, shared)` writes `job.folder` whole, with `job.hash` as "job" in results.json, and
# returns a few words for people, such as the accuracy, or "". It raises InputError where that cannot be. `shared` is a
# dict for what it loads: the jobs of a group that run in one process get the same. In it, "context" is what all jobs of
# the list share, and "progress" is to be told what share of the job is done. A module may have its own `is_done(job)`.
KINDS = {
    "evaluation": "merginguriel.utils.evaluation.evaluation_job",
    "cell": "merginguriel.utils.evaluation.nxn_job",
    "text_logits": "merginguriel.utils.evaluation.text_logits",
    "training": "merginguriel.utils.training.training_job",
    "adaptation": "merginguriel.utils.adaptation.adapt_job",
    "merge": "merginguriel.utils.merging.merge_job",
    "adapted_merge": "merginguriel.utils.merging.adapted_merge",
    "vote": "merginguriel.utils.ensembles.vote_job",
    "iterative": "merginguriel.utils.iterative.iterative_job",
}

# Kinds that train: what they import is worth importing once for all processes.
TRAINING = {"training", "adaptation", "adapted_merge", "iterative"}


def loaded_by(kinds: Iterable[str]) -> list[str]:
    """The modules that jobs of these kinds import, beside what all jobs do."""
    return [*sorted(KINDS[kind] for kind in kinds), *(["transformers.trainer"] if TRAINING & set(kinds) else [])]


@dataclass(frozen=True)
class Job:
    """One result to make.

    `name` is unique among the jobs; `folder` holds the result, and `mark` is the file in it that is there when it is
    done. `settings`: everything that the result rests on, as JSON has it; `options`: what else the kind needs to know,
    which pickles. `products`: what it makes beside the result, as JSON files and what stands in them. One process does
    the jobs of a `group`, in order. `needs`: names of jobs that must be done before. `label`: the mode or method that
    it counts for in what is said of the whole list; None of a job that only serves others. `title`: begins the
    line of its end, None for its name.
    """

    kind: str
    name: str
    group: str
    folder: Path
    settings: dict[str, Any]
    options: dict[str, Any] = field(default_factory=dict)
    products: tuple[tuple[str, dict[str, Any]], ...] = ()
    needs: tuple[str, ...] = ()
    label: str | None = None
    mark: str = RESULTS_JSON
    title: str | None = None

    @functools.cached_property
    def hash(self) -> str:
        """sha256 of kind and settings: results.json has it as "job", and that is the mark of done."""
        return settings_hash(self.kind, self.settings)

    def is_done(self) -> bool:
        own = getattr(self._module, "is_done", None)
        return own(self) if own else self.has_result() and all(tells(Path(file), told) for file, told in self.products)

    def has_result(self) -> bool:
        return tells(self.folder / self.mark, {"job": self.hash})

    def run(self, shared: dict[str, Any]) -> str:
        return self._module.run(self, shared)

    @property
    def _module(self) -> Any:
        return importlib.import_module(KINDS[self.kind])


def tells(file: Path, content: dict[str, Any]) -> bool:
    """Whether the JSON object in `file` has this content, among other."""
    try:
        return content.items() <= atomic.read_json(file).items()
    except InputError:  # none, or a damaged one, which is reported when the job would replace it
        return False


def settings_hash(kind: str, settings: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps([kind, settings], sort_keys=True).encode()).hexdigest()


def shard(jobs: Sequence[Job], part: tuple[int, int] | None) -> list[Job]:
    """Every n-th group of jobs, from the i-th on, of `part` (i, n), i from 1: all parts together are all jobs."""
    groups = set(sharded(dict.fromkeys(job.group for job in jobs), part))
    return [job for job in jobs if job.group in groups]


def sharded(things: Any, part: tuple[int, int] | None) -> list[Any]:
    """The same of anything in an order: targets, say."""
    return list(things)[part[0] - 1 :: part[1]] if part else list(things)
