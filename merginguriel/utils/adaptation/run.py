"""What one adaptation is made of: the model, its teachers, the target's texts."""

import functools
import logging
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from auto_merge_llm.errors import InputError

from merginguriel.utils.adaptation.settings import AdaptSettings
from merginguriel.utils.data.split import Texts
from merginguriel.utils.data.task import Task
from merginguriel.utils.models.model_folder import files_of, read_labels
from merginguriel.utils.storage import naming

log = logging.getLogger(__name__)
SPLIT = "train"
FEW = 300  # texts: so many made merges a little worse, 100 more so, 700 not (docs/adaptation.md)


class Teacher(NamedTuple):
    """A model of another language; `weight` in relation to the other teachers'."""

    locale: str
    path: Path
    weight: float = 1.0


@dataclass(frozen=True)
class AdaptRun:
    """Adapt the model in `start` to the `target` of `task`, into `output`.

    `teachers`: (language, folder, weight) each, none of the target; their order makes no difference. None of them where
    the model teaches itself. `start_sha256`: of the weights of a model that is in `start` for the moment only; it then
    stands in records in place of that path and its files.

    For the model card: what it is `made_of`, ids of the Hub or a base model, and its `recipe`, the arguments of
    `merginguriel` that make it again.
    """

    task: Task
    target: str
    start: Path
    teachers: tuple[Teacher, ...]
    settings: AdaptSettings
    seed: int
    output: Path
    start_sha256: str | None = None
    made_of: tuple[str, ...] = field(default=(), compare=False)
    recipe: tuple[str, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        teachers = sorted(Teacher(*teacher) for teacher in self.teachers)
        object.__setattr__(self, "teachers", tuple(teachers))

    def check(self) -> None:
        """InputError for what cannot be adapted so, before a tensor is read."""
        if self.settings.adapt is None:
            raise InputError("nothing to adapt by; give --adapt vote or --adapt self")
        read_labels(self.start, self.task)
        if self.settings.adapt == "self" and self.teachers:
            raise InputError("--adapt self has no teachers but the model itself; leave them out or use --adapt vote")
        if self.settings.adapt == "vote" and not self.teachers:
            raise InputError(
                f"no teachers for {self.target}: {self.start} tells no sources; name them with --teachers, or let the "
                "model teach itself with --adapt self"
            )
        weights = [teacher.weight for teacher in self.teachers]
        if not all(math.isfinite(weight) and weight > 0 for weight in weights):
            raise InputError(f"the weights of teachers must be positive, not {weights}; correct them")
        for teacher in self.teachers:
            _check_teacher(teacher, self.target)
            read_labels(teacher.path, self.task)
        texts = len(self.texts())
        if self.settings.steps_of_a_pass(texts) * self.settings.passes(texts) < 2:
            raise InputError(
                f"one step over {texts} texts teaches nothing, as the learning rate rises from 0; use "
                "smaller batches with --adapt-batch-size, or more --adapt-epochs"
            )
        self.check_place(self.output)

    def check_place(self, folder: Path) -> None:
        """InputError where `folder`, for the result, would take the place of what it is made of."""
        for model in (self.start, *(teacher.path for teacher in self.teachers)):
            place = model.resolve()
            if folder.resolve() in (place, *place.parents):
                raise InputError(
                    f"{folder} is or holds {model}, which this adaptation reads; choose another --output-dir"
                )

    def texts(self) -> Texts:
        """The target's train texts, all or those that are drawn; no label is read."""
        return drawn(self.task, self.target, self.settings.examples, self.seed)

    def describe(self) -> str:
        """For people, before anything is done."""
        told, texts = self.settings, len(self.texts())
        total = sum(teacher.weight for teacher in self.teachers)
        lines = [
            f"target  {self.target}, {texts} unlabelled {SPLIT} texts",
            f"start   {self.start}",
            f"rounds  {told.rounds} of {told.passes(texts)} passes, learning rate {told.rate(texts):g}, sharpened by "
            f"{told.sharpen:g}, {told.batch_size} texts a step",
            "teachers" if self.teachers else "teacher itself",
            *(f"  {teacher.weight / total:.6f}  {teacher.locale}  {teacher.path}" for teacher in self.teachers),
        ]
        return "\n".join([*lines, f"output  {self.output}"])

    def record(self) -> dict[str, Any]:
        """Everything that the adapted model rests on, as JSON has it, with size and time of the models' files."""
        texts = self.texts()
        total = sum(teacher.weight for teacher in self.teachers)
        return {
            **self.settings.record(len(texts)),
            **self.task.record(),
            "target": self.target,
            "seed": self.seed,
            "texts": texts.record(),
            "start": self._start(),
            "teachers": [
                {
                    "locale": teacher.locale,
                    "path": str(teacher.path),
                    "weight": teacher.weight / total,
                    "files": files_of(teacher.path),
                }
                for teacher in self.teachers
            ],
        }

    def _start(self) -> dict[str, Any]:
        if self.start_sha256:
            return {"name": self.start.name, "weights_sha256": self.start_sha256}
        return {"path": str(self.start), "files": files_of(self.start)}


# Of one target at a time: it is asked for when a run is planned and when it is carried out.
@functools.lru_cache(maxsize=1)
def drawn(task: Task, target: str, examples: int | None, seed: int) -> Texts:
    """The train texts of `target`, all or so many, drawn by `seed`; where there are fewer, all, with a warning."""
    texts = task.texts(target, SPLIT)
    if examples is not None and examples > len(texts):
        log.warning("warning: --adapt-examples %d, but %s has %d texts: all are taken", examples, target, len(texts))
    return texts if examples is None or examples >= len(texts) else texts.draw(examples, seed)


def warn_of_few(texts: Texts) -> None:
    """Who plans an adaptation without a label will not see that it made the model worse."""
    if len(texts) <= FEW:
        log.warning(
            "warning: only %d texts to adapt on; 100 made merges worse where that was measured (docs/adaptation.md)",
            len(texts),
        )


def _check_teacher(teacher: Teacher, target: str) -> None:
    """The target's own model has read its labels."""
    named = naming.parse_model(teacher.path.name)
    if target in (teacher.locale, named[2] if named else None):
        raise InputError(
            f"{teacher.path} is the target {target}'s own model and among the teachers; leave it out, an adapted model "
            "is judged without the target's labels"
        )
