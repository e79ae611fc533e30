"""What tells adapted models apart: how they were adapted, and who taught them where that were not their sources.

Texts, files and the start are of each target, and tell no experiment from another.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from merginguriel.utils.adaptation.settings import AdaptSettings
from merginguriel.utils.merging.modes import ADAPTED
from merginguriel.utils.merging.record import adaptation_of
from merginguriel.utils.results.single_models import same_folders
from merginguriel.utils.storage.settings import changed, declared

ADAPTATION = "adaptation"  # the mode of a model that was no merge before it was adapted
OWN = "adapt-"  # begins the settings of an adaptation, which a method of merging may have by the same name
# Setting -> its word in a name, as folders have it.
WORDS = {f"{OWN}{name}": one.word for name, one in declared(AdaptSettings).items() if one.word and name != "adapt"}
TEACHERS = ("teachers", "teachers-among", "teachers-root")


def method_of(experiment: Mapping[str, Any]) -> str:
    """The mode, as sweeps call it: regmean, or regmean+vote where the merge was adapted."""
    adapted = (experiment.get("adapt") or {}).get("adapt")
    return f"{experiment['mode']}{ADAPTED}{adapted}" if adapted else experiment["mode"]


def own_mode(method: str) -> str:
    """The mode of the merge before it was adapted."""
    return method.partition(ADAPTED)[0]


def is_adapted(method: str) -> bool:
    return ADAPTED in method


def taught_by(experiment: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The sources of a result; those of an adapted model that was no merge are its teachers."""
    if experiment["mode"] == ADAPTATION:
        return (experiment.get("adapt") or {}).get("teachers") or []
    return experiment.get("sources") or []


def settings_of(experiment: Mapping[str, Any]) -> dict[str, Any]:
    """What an adaptation adds to the settings of its merge, without what has its default."""
    adapt = experiment.get("adapt")
    if not adapt:
        return {}
    settings = {f"{OWN}{name}": value for name, value in changed(adaptation_of(experiment)).items() if name != "adapt"}
    if experiment["mode"] == ADAPTATION:
        settings["start"] = without_target(Path(adapt["start"]["path"]).name, experiment["target"])
        named = sorted(one["locale"] for one in taught_by(experiment))
        return settings | ({"teachers": named} if named else {})
    if adapt.get("seed") not in (None, experiment.get("seed")):
        settings[f"{OWN}seed"] = adapt["seed"]
    teachers, sources = _paths(adapt.get("teachers")), _paths(experiment.get("sources"))
    if teachers and teachers.keys() != sources.keys():
        settings["teachers"] = sorted(teachers)
    if any(not same_folders(path, sources.get(locale)) for locale, path in teachers.items()):
        settings["teachers-root"] = " ".join(sorted({str(Path(path).parent) for path in teachers.values()}))
    return settings


def before(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of the merge that was adapted."""
    return {name: value for name, value in settings.items() if not name.startswith(OWN) and name not in TEACHERS}


def without_target(name: str, target: str) -> str:
    """The name of a model, the same for all targets; names of models of all others have the code with underscores."""
    return name.replace(f"_{target}", "").replace(f"_{target.replace('-', '_')}", "")


def _paths(models: list[dict[str, Any]] | None) -> dict[str, str]:
    return {one["locale"]: one["path"] for one in models or () if "path" in one}
