"""What sources are worth to a target by their consensus on its unlabelled texts."""

import contextlib
import functools
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from auto_merge_llm.errors import InputError

from merginguriel.utils.data.split import SPLITS, Texts
from merginguriel.utils.data.task import Task
from merginguriel.utils.evaluation import nxn_logits, text_logits
from merginguriel.utils.evaluation.text_logits import TextContext
from merginguriel.utils.jobs.engine import Backend
from merginguriel.utils.jobs.job import Job
from merginguriel.utils.merging.selection import Neighbours, SourceSettings, kept_matrix, scores_of, similarity_matrix
from merginguriel.utils.similarity import uriel
from merginguriel.utils.similarity.consensus import ORIGIN, agree
from merginguriel.utils.similarity.matrix import DENSE_CSV, LanguageMatrix

log = logging.getLogger(__name__)
MEASURE = "measure it with run_nxn_evaluation.py --split train"


@dataclass(frozen=True)
class ConsensusMatrix(LanguageMatrix):
    """One target: `values` are the weights of all sources. `told`: how they came about, for records."""

    remedy: ClassVar[str] = "train models of more languages"
    told: dict[str, Any] = field(default_factory=dict)


class Polls:
    """Asks all `models` of a task about texts of targets. What they say is kept under `root`."""

    def __init__(self, task: Task, models: Mapping[str, Path], root: Path, weights_sha256: Mapping[str, str]):
        self._task, self._models, self._root, self._hashes = task, dict(sorted(models.items())), root, weights_sha256
        self._context = functools.cache(lambda count: TextContext(task, count))
        self._failures: dict[str, str] = {}  # by job: why a model could not say anything
        self._matrices: dict[tuple, ConsensusMatrix] = {}

    def score(self, targets: Sequence[str], choice: SourceSettings, backend: Backend) -> None:
        """Ask about all targets at once, so that each model is loaded once; `matrix` tells where that failed."""
        if choice.nxn_matrix is None:
            context, jobs = self._context(choice.consensus_examples), []
            for target in targets:
                with contextlib.suppress(InputError):  # no texts: this target alone has failed
                    jobs += self._jobs(target, context)
            self._failures |= text_logits.score_texts(jobs, context, backend)

    def matrix(self, target: str, choice: SourceSettings, among: Neighbours) -> ConsensusMatrix:
        """InputError where there are no other models, or no texts, or URIEL is needed and not there."""
        key = target, choice.consensus_examples, choice.nxn_matrix, choice.matrix
        if key not in self._matrices:  # the many merges of a target share it
            self._matrices[key] = self._agreed(target, choice, among)
        return self._matrices[key]

    def _agreed(self, target: str, choice: SourceSettings, among: Neighbours) -> ConsensusMatrix:
        sources = [source for source in self._models if source != target]
        if not sources:
            raise InputError(f"--selection consensus: no models but {target}'s own; train others")
        texts = self._context(choice.consensus_examples).texts(target)
        kept = choice.nxn_matrix
        logits = self._kept(sources, texts, kept) if kept else self._asked(target, choice.consensus_examples)
        # All of them have a say, whichever of them were named for the merge.
        matrix = _cosines(choice, replace(among, codes=tuple(sorted({target, *sources}))))
        cosines = scores_of(matrix, target, sources) if matrix else {}
        found = agree(_probabilities(logits), np.array(list(cosines.values())) if cosines else None)
        parts = {
            source: {
                "accuracy": round(float(accuracy), 6),
                "cosine": round(cosines[source], 6) if cosines else None,
                "score": round(float(score), 6),
            }
            for source, accuracy, score in zip(sources, found.accuracy, found.score)
        }
        told = {
            **_read(choice, matrix),
            "texts": texts.record(),
            "uriel_deserves": round(found.deserved, 6),
            "consensus": parts,
        }
        return ConsensusMatrix(tuple(sources), (target,), found.weight[:, None], ORIGIN, told)

    def _asked(self, target: str, count: int) -> np.ndarray:
        """(sources, texts, labels)"""
        context = self._context(count)
        jobs = self._jobs(target, context)
        if not any(job.name in self._failures for job in jobs):
            self._failures |= text_logits.score_texts(jobs, context)
        for job in jobs:
            if job.name in self._failures:
                raise InputError(f"{job.name.replace('_', ' ')}: {self._failures[job.name]}")
        return np.stack([text_logits.read_logits(job) for job in jobs])

    def _jobs(self, target: str, context: TextContext) -> list[Job]:
        return text_logits.jobs_of(self._models, [target], context, self._root)

    def _kept(self, sources: Sequence[str], texts: Texts, folder: Path) -> np.ndarray:
        """The same from an N×N evaluation; InputError where it is of other models or texts."""
        kept, target = nxn_logits.open_logits(folder if folder.is_dir() else folder.parent), texts.locale
        if SPLITS[kept.split] != "train":
            raise InputError(f"{folder} was computed on the {kept.split} split, and consensus reads train; {MEASURE}")
        missing = [source for source in sources if source not in kept.sources]
        if missing or target not in kept.targets:
            raise InputError(f"{folder} has no {', '.join(missing or [target])}; {MEASURE}")
        others = [source for source in sources if kept.weights_sha256[source] != self._hashes[source]]
        if others:
            raise InputError(f"{folder} was measured with other models of {', '.join(others)}; {MEASURE}")
        place = {id_: row for row, id_ in enumerate(kept.ids(target))}
        if not place.keys() >= set(texts.ids):
            raise InputError(f"{folder} has not all {len(texts)} texts of {target} that are drawn; {MEASURE}")
        if target not in kept.texts_sha256:
            raise InputError(
                f"{folder} does not tell its texts, as an earlier version made it; repeat its run_nxn_evaluation.py "
                "command, which adds them and evaluates nothing again"
            )
        now = self._task.texts(target, "train").of(list(place))
        if now.fingerprint() != kept.texts_sha256[target]:
            raise InputError(f"{folder} was measured on other texts of {target} than the data have now; {MEASURE}")
        rows = [place[id_] for id_ in texts.ids]
        return np.stack([kept.logits(source, target)[rows] for source in sources])


def _read(choice: SourceSettings, cosines: LanguageMatrix | None) -> dict[str, Any]:
    """What a record tells so that the same consensus can be asked for again."""
    told: dict[str, Any] = {"consensus_examples": choice.consensus_examples}
    if choice.nxn_matrix:
        told["nxn_matrix"] = choice.nxn_matrix
    if choice.matrix and cosines:
        told |= {"cosine_matrix": choice.matrix, "cosine_matrix_sha256": cosines.fingerprint()}
    return told


def _cosines(choice: SourceSettings, among: Neighbours) -> LanguageMatrix | None:
    """Those of a file, or URIEL's; None where URIEL does not know a language, which is said."""
    by_cosine = replace(choice, selection="cosine")
    if kept_matrix(by_cosine, DENSE_CSV, among) is None:
        unknown = uriel.unknown(among.languages)
        if unknown:
            log.warning("warning: URIEL does not know %s; the consensus chooses alone", ", ".join(unknown))
            return None
    return similarity_matrix(by_cosine, among)


def _probabilities(logits: np.ndarray) -> np.ndarray:
    """softmax over the last axis; a label that a model does not know has -inf, and so 0."""
    from scipy.special import softmax

    return softmax(logits.astype(np.float64), axis=-1)
