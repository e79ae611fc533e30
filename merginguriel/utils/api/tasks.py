"""Tasks, and the models that there are for them."""

from pathlib import Path
from typing import Any

from merginguriel.utils.api.keywords import Keywords
from merginguriel.utils.data.task import DEFAULT_TASK, Task
from merginguriel.utils.flags import flag_groups

_TASK, _SOURCES = Keywords("load_task"), Keywords("list_sources")
flag_groups.add_task(_TASK)
flag_groups.add_store(_SOURCES)
flag_groups.add_given(_SOURCES)
flag_groups.add_task(_SOURCES)


@_TASK.describe
def load_task(task: Task | str | Path = DEFAULT_TASK, **settings: Any) -> Task:
    """A task by its name, massive or mini, or from a YAML file.

    `task.codes` are its languages, `task.labels` its labels, and `task.load(language, split)` reads items. InputError
    for what is wrong in the file.
    """
    return flag_groups.read_task(_TASK.read(task=task, **settings))


@_SOURCES.describe
def list_sources(task: Task | str | Path = DEFAULT_TASK, **settings: Any) -> dict[str, Path]:
    """Language -> folder of the models that there are: by name in `models_root`, or those of the mapping `sources`.

    InputError where there is none.
    """
    return flag_groups.read_store(_SOURCES.read(task=task, **settings)).choose()
