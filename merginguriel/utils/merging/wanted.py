"""The models that merges could take, by the names of folders alone: what is missing is said before torch is loaded."""

from collections.abc import Sequence
from pathlib import Path

from auto_merge_llm.errors import InputError

from merginguriel.utils.data.task import Task
from merginguriel.utils.merging.selection import SELECTIONS, Neighbours, SourceSettings, check_count, similarity_matrix
from merginguriel.utils.models.store import ModelStore


def available(store: ModelStore, targets: Sequence[str], count: int) -> dict[str, Path]:
    """Language -> model; where there is none, InputError advises the `count` sources that the `targets` would have."""
    return store.available() if store.find() else store.available(nearest(store.task, targets, count))


def nearest(task: Task, targets: Sequence[str], count: int) -> list[str]:
    """The languages of `task` that `count` sources of each target would be, were there models of all."""
    found: dict[str, None] = {}
    for target in targets:
        others = [code for code in task.default_codes if code != target]
        try:
            among = Neighbours(target, tuple(sorted({target, *others})), task)
            ranked = similarity_matrix(SourceSettings(selection="cosine"), among).for_target(target)
        except InputError:  # URIEL does not know them all: any of them is better than none
            ranked = dict.fromkeys(others, 0.0)
        found |= dict.fromkeys([code for code in ranked if code in others][:count])
    return list(found)


def check_sources(store: ModelStore, target: str, choice: SourceSettings) -> None:
    """InputError where there are no models for the sources that `choice` names, or not as many as it wants."""
    models = available(store, [target], choice.num_languages) if not choice.sources else store.available(choice.sources)
    if choice.sources:
        store.choose([code for code in choice.sources if code != target])
    elif choice.selection in SELECTIONS and choice.selection != "real":
        among = Neighbours(target, tuple(sorted({target, *models})), store.task)
        check_count(similarity_matrix(choice, among), target, choice.num_languages, models, store.task.codes)
