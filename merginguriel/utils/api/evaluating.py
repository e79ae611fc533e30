"""One model on one language, or on several."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, overload

from merginguriel.utils.api.adapting import Adapted
from merginguriel.utils.api.keywords import Keywords, results_in
from merginguriel.utils.api.merging import Merge
from merginguriel.utils.api.results import Result, Results
from merginguriel.utils.data.split import Split
from merginguriel.utils.data.task import DEFAULT_TASK, Task
from merginguriel.utils.evaluation.classifier import Classifier
from merginguriel.utils.evaluation.classifier import evaluate as evaluate_on
from merginguriel.utils.evaluation.results import Evaluation
from merginguriel.utils.flags import flag_groups
from merginguriel.utils.models.foreign import as_model_folder
from merginguriel.utils.storage import naming

Model = Merge | Adapted | str | Path
_EVALUATE = Keywords("evaluate")
flag_groups.add_locales(_EVALUATE, "--locale", required=True, help="one language or several")
_EVALUATE.add_argument("--split", choices=["test", "validation", "train"], default="test", help="which items")
_EVALUATE.add_results()
flag_groups.add_task(_EVALUATE)


@overload
def evaluate(model: Model, locale: str, *, task: Task | str | Path = ..., **settings: Any) -> Result: ...
@overload
def evaluate(model: Model, locale: Sequence[str], *, task: Task | str | Path = ..., **settings: Any) -> Results: ...
@_EVALUATE.describe
def evaluate(
    model: Model, locale: str | Sequence[str], *, task: Task | str | Path | None = None, **settings: Any
) -> Result | Results:
    """Evaluate a model on a language, or on several of them with one load.

    `model`: a merge, an adapted model, or a folder, Hub id or LoRA adapter. `task`: by default theirs, else
    MASSIVE. InputError for a model of other labels, and for a language without such items.
    """
    if task is None:
        task = DEFAULT_TASK if isinstance(model, str | Path) else model.task
    args = _EVALUATE.read(locale=locale, task=task, **settings)
    task = flag_groups.read_task(args)
    splits = [task.load(code, args.split) for code in args.locale]
    with results_in(args.results_dir) as root:
        name, score = _scorer(model, task, root, args.overwrite)
        found = []
        for split in splits:
            folder = root / naming.evaluation_name(name, split.locale, split.name)
            found.append(Result(score(split, folder), split, folder if args.results_dir else None))
    return found[0] if isinstance(locale, str) and len(found) == 1 else Results(found)


def _scorer(model: Model, task: Task, root: Path, overwrite: bool) -> tuple[str, Callable[[Split, Path], Evaluation]]:
    """(the model's name, what scores it on a split and keeps that in a folder)"""
    if isinstance(model, Merge):
        merged = model.merged
        return model.plan.output.name, lambda split, folder: merged.evaluate(
            split, folder, overwrite=overwrite, job=None
        )
    if isinstance(model, Adapted):
        model = model.folder
    path = as_model_folder(model, root / naming.ADAPTERS, labels=task.labels)
    classifier = Classifier(path, task)
    name = path.resolve().name
    return name, lambda split, folder: evaluate_on(classifier, split, folder, name=name, overwrite=overwrite)
