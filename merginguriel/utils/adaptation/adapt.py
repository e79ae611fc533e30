"""Adapt a model to a language by its unlabelled texts: it learns what its teachers say of them."""

import hashlib
import logging
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from auto_merge_llm.checkpoint import Checkpoint
from auto_merge_llm.errors import InputError

from merginguriel.utils.adaptation.model_card import model_card
from merginguriel.utils.adaptation.progress import Progress
from merginguriel.utils.adaptation.run import AdaptRun
from merginguriel.utils.adaptation.settings import SPEED, AdaptSettings
from merginguriel.utils.adaptation.soft_labels import agreement, sharpened, taught_by, vote
from merginguriel.utils.adaptation.student import Student
from merginguriel.utils.adaptation.teachers import Panel
from merginguriel.utils.adaptation.work_folder import WorkFolder, check_claim, unfinished
from merginguriel.utils.data.split import Texts
from merginguriel.utils.evaluation.evaluation_job import precision_on
from merginguriel.utils.evaluation.model_card import MODEL_CARD
from merginguriel.utils.jobs.job import tells
from merginguriel.utils.models.devices import default_device
from merginguriel.utils.storage import atomic, environment
from merginguriel.utils.storage.made_folders import ADAPTED
from merginguriel.utils.training.trainer import check_environment, freeze_modules
from merginguriel.utils.training.unfinished import alone, remove_leftovers

log = logging.getLogger(__name__)
ADAPTATION_JSON = "adaptation.json"  # the mark of a finished adaptation
LEARNING = 3  # times as much work as scoring, a text


@dataclass(frozen=True)
class AdaptReport:
    """An adapted model in `output`, and the content of its adaptation.json: "run" is the record of what was asked."""

    output: Path
    details: Mapping[str, Any]

    @property
    def rounds(self) -> list[dict[str, Any]]:
        """Of each: number, mean loss by epoch, agreement of student and vote over the texts, seconds."""
        return self.details["rounds"]


def adapt(run: AdaptRun, progress: Callable[[float], None] | None = None, *, overwrite: bool = False) -> AdaptReport:
    """Write `run.output` whole: weights, config.json, tokenizer, adaptation.json, model card.

    One that the same run made from the same texts and files is kept, `overwrite` or not; anything else in its place is
    refused without `overwrite`. Until it is whole, work lies in `unfinished(run.output)`, and the same call goes on
    there. `progress` is told the share that is done; without it there is a bar. Raises InputError, before anything is
    computed, for what models, data, device or folders do not allow.
    """
    run.check()
    check_device(run.settings)
    record = run.record()
    if is_adapted(run.output, record, overwrite):
        log.info("already adapted: %s", run.output)
        remove_leftovers(run.output, unfinished(run.output))
        return read_report(run.output)
    freeze_modules()
    with alone(run.output):
        if is_adapted(run.output, record, overwrite):  # by another process, just now
            return read_report(run.output)
        work = WorkFolder(run.output, record, overwrite)
        _Adaptation(run, record, work).carry_out(progress, overwrite)
        work.remove()
    return read_report(run.output)


def check_device(settings: AdaptSettings) -> None:
    """InputError where this machine lacks what `settings` ask of it, whatever the texts are."""
    check_environment(settings.training(texts=1, seed=0), "--adapt-")


def is_adapted(output: Path, record: Mapping[str, Any], overwrite: bool) -> bool:
    """Whether `output` is this very adaptation.

    InputError where it, or the unfinished work beside it, is anything else, unless that may be replaced.
    """
    if tells(output / ADAPTATION_JSON, {"run": record}):
        return True
    if output.exists() and not overwrite:
        raise InputError(
            f"{output} exists already and is not this adaptation; use --overwrite to replace it or choose another "
            "--output-dir"
        )
    atomic.check_replaceable(output, ADAPTED, overwrite)
    check_claim(output, record, overwrite)
    return False


def read_report(output: Path) -> AdaptReport:
    return AdaptReport(output, atomic.read_json(output / ADAPTATION_JSON))


class _Adaptation:
    def __init__(self, run: AdaptRun, record: dict[str, Any], work: WorkFolder):
        self._run, self._record, self._work = run, record, work
        self._texts: Texts = run.texts()
        self._weights: dict[str, str] = {}  # sha256 by folder
        self._rounds: list[dict[str, Any]] = []

    def carry_out(self, told: Callable[[float], None] | None, overwrite: bool) -> None:
        run, count = self._run, len(self._texts)
        rounds = run.settings.rounds * (LEARNING * run.settings.passes(count) + 1)
        with Progress(run.target, count * (max(1, len(run.teachers)) + rounds), told) as bar:
            voted = self._vote(bar)
            student = Student(run, self._texts)
            if voted is None:
                voted = self._own(student, bar)
            before = None
            for number in range(1, run.settings.rounds + 1):
                before = self._round(number, student, voted, before, bar)
            bar.say("writing the model")
            with atomic.whole_folder(run.output, ADAPTED, overwrite=overwrite) as partial:
                student.save(partial)
                atomic.write_text(partial / MODEL_CARD, model_card(run, self._record))
                atomic.write_json(partial / ADAPTATION_JSON, self._details())

    def _vote(self, bar: Progress) -> np.ndarray | None:
        """The teachers' mean, (texts, the task's labels); None where there are none."""
        run, count = self._run, len(self._texts)
        panel, opinions = Panel(run, self._texts, self._work), []
        for number, teacher in enumerate(run.teachers, 1):
            opinion, weights, kept = panel.opinion(teacher, bar.moved)
            if kept:
                bar.spared(count)
            self._weights[str(teacher.path)] = weights
            opinions.append(opinion)
            bar.say(f"teacher {number} of {len(run.teachers)} asked, {teacher.locale}")
        return vote(opinions, [teacher.weight for teacher in run.teachers]) if opinions else None

    def _own(self, student: Student, bar: Progress) -> np.ndarray:
        """What the model says itself, before it learns."""
        voted = student.opinion(bar.moved).astype(np.float64)
        bar.say("the model itself asked")
        return voted

    def _round(
        self, number: int, student: Student, voted: np.ndarray, before: np.ndarray | None, bar: Progress
    ) -> np.ndarray:
        """What the student says after this round."""
        run, count, name = self._run, len(self._texts), f"round{number}"
        teacher = taught_by(voted, before, alone=run.settings.adapt == "self")
        labels = sharpened(student.of_its_labels(teacher), run.settings.sharpen)
        work, rests_on = count * LEARNING * run.settings.passes(count), hashlib.sha256(labels.tobytes()).hexdigest()
        is_last = number == run.settings.rounds
        kept = None if is_last else self._work.kept(name, rests_on)
        if kept:
            bar.spared(work + count)
            opinion, told = kept
        else:
            start = time.monotonic()
            checkpoints = self._work.checkpoints(name, rests_on)
            losses = student.learn(labels, checkpoints, bar.share_of(work))
            opinion = student.opinion(bar.moved)
            told = {
                "round": number,
                "losses": losses,
                "agreement": agreement(opinion, voted),
                "seconds": round(time.monotonic() - start, 2),
            }
            if not is_last:
                self._work.keep(name, rests_on, opinion, told)
                shutil.rmtree(checkpoints, ignore_errors=True)
        self._rounds.append(told)
        loss, agreed = told["losses"][-1], told["agreement"]
        bar.milestone(f"round {number} of {run.settings.rounds} done, loss {loss:.4f}, {agreed:.1%} as the vote")
        return opinion

    def _details(self) -> dict[str, Any]:
        return {
            "run": self._record,
            "weights_sha256": {str(self._run.start): Checkpoint(self._run.start).weights_fingerprint, **self._weights},
            "rounds": self._rounds,
            "precision": precision_on(default_device()),
            "speed": {name: getattr(self._run.settings, name) for name in SPEED},
            "finished": environment.utc_now(),
            "environment": environment.run_environment(),
        }
