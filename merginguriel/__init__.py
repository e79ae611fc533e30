"""MergingUriel: merge per-language classifiers into one for a target language.

The commands as functions, which docs/python.md shows: `merge`, `adapt`, `evaluate`, `vote`, `nxn`. What a name
needs is loaded when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from auto_merge_llm.errors import InputError as InputError

    from merginguriel.utils.api.adapting import Adapted as Adapted
    from merginguriel.utils.api.adapting import adapt as adapt
    from merginguriel.utils.api.evaluating import evaluate as evaluate
    from merginguriel.utils.api.matrices import Similarity as Similarity
    from merginguriel.utils.api.merging import Merge as Merge
    from merginguriel.utils.api.merging import merge as merge
    from merginguriel.utils.api.results import Result as Result
    from merginguriel.utils.api.results import Results as Results
    from merginguriel.utils.api.tasks import list_sources as list_sources
    from merginguriel.utils.api.tasks import load_task as load_task
    from merginguriel.utils.api.transfer import NxN as NxN
    from merginguriel.utils.api.transfer import nxn as nxn
    from merginguriel.utils.api.voting import Vote as Vote
    from merginguriel.utils.api.voting import vote as vote
    from merginguriel.utils.data.task import Task as Task

_API = "merginguriel.utils.api"
# Name -> where it is.
_HOMES = {
    "Adapted": f"{_API}.adapting",
    "InputError": "auto_merge_llm.errors",
    "Merge": f"{_API}.merging",
    "NxN": f"{_API}.transfer",
    "Result": f"{_API}.results",
    "Results": f"{_API}.results",
    "Similarity": f"{_API}.matrices",
    "Task": "merginguriel.utils.data.task",
    "Vote": f"{_API}.voting",
    "adapt": f"{_API}.adapting",
    "evaluate": f"{_API}.evaluating",
    "list_sources": f"{_API}.tasks",
    "load_task": f"{_API}.tasks",
    "merge": f"{_API}.merging",
    "nxn": f"{_API}.transfer",
    "vote": f"{_API}.voting",
}
__all__ = ["__version__", *_HOMES]  # noqa: PLE0604 (all of them are texts)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = found = getattr(import_module(_HOMES[name]), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
