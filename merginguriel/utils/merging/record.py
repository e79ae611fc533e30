"""The settings of a merge or a vote, read back from what a result tells of it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from merginguriel.utils.adaptation.settings import AdaptSettings, read_record
from merginguriel.utils.data.split import CONSENSUS_TEXTS
from merginguriel.utils.data.task import DEFAULT_TASK
from merginguriel.utils.merging.examples import TextSettings
from merginguriel.utils.merging.modes import WEIGHTINGS
from merginguriel.utils.merging.selection import SourceSettings
from merginguriel.utils.merging.settings import MergeSettings
from merginguriel.utils.similarity.matrix import DENSE_CSV, SPARSE_CSV
from merginguriel.utils.storage import naming
from merginguriel.utils.storage.settings import declared

# What was a default once, and stands in older records.
OLDER_TEXTS = {"max_length": 128}


def is_initial(base: str, experiment: Mapping[str, Any]) -> bool:
    """Whether the base of a merge is the initial checkpoint that it takes by default."""
    seed, task = experiment.get("seed"), experiment.get("task") or DEFAULT_TASK
    told = "" if task == DEFAULT_TASK else task
    return Path(base).match(naming.initial_name(experiment.get("base_model") or "", 42 if seed is None else seed, told))


def choice_of(experiment: Mapping[str, Any]) -> SourceSettings:
    """Which sources were chosen, and how; InputError where an older record contradicts itself."""
    similarity, sources = experiment.get("similarity") or {}, experiment.get("sources") or []
    selection, matrix = similarity.get("selection"), similarity.get("matrix") or ""
    if selection in (None, "manual"):
        return SourceSettings()
    is_file = matrix.endswith(".csv") and Path(matrix).name not in (SPARSE_CSV, DENSE_CSV)
    # A consensus has no file of its own, and tells those that it has read.
    nxn = matrix if selection == "real" else similarity.get("nxn_matrix")
    cosines = matrix if is_file and selection != "real" else similarity.get("cosine_matrix")
    files: dict[str, Any] = {
        "nxn_matrix": Path(nxn) if nxn else None,
        "matrix": Path(cosines) if cosines else None,
        "consensus_examples": similarity.get("consensus_examples") or CONSENSUS_TEXTS,
    }
    if selection == "explicit":
        return SourceSettings(sources=tuple(source["locale"] for source in sources), **files)
    dense = {name: similarity[name] for name in ("top_k", "sinkhorn_iters") if similarity.get("source") == "dense"}
    return SourceSettings(
        num_languages=len(sources) or 5,
        selection=selection,
        source=similarity.get("source") or "sparse",
        **files,
        **dense,
    )


def adaptation_of(experiment: Mapping[str, Any]) -> AdaptSettings:
    """How the merge was adapted to its target, if it was."""
    return read_record(experiment.get("adapt") or {})


def preweight_of(experiment: Mapping[str, Any]) -> str | None:
    """equal or uriel; where an older record does not tell, similarities that are all equal are none."""
    if experiment.get("preweight"):
        return experiment["preweight"]
    weights = [source["weight"] for source in experiment.get("sources") or []]
    selection = (experiment.get("similarity") or {}).get("selection")
    if experiment["mode"] in WEIGHTINGS or not weights or selection in (None, "manual"):
        return None
    return "equal" if max(weights) - min(weights) < 1e-9 else "uriel"


def settings_of(experiment: Mapping[str, Any]) -> MergeSettings:
    """The settings of a merge, what has no effect or was not told at its default."""
    told = experiment.get("measuring") or {}
    texts = {name: told[name] for name in declared(TextSettings) if told.get(name) not in (None, OLDER_TEXTS.get(name))}
    base, seed = (experiment.get("base") or {}).get("path"), experiment.get("seed")
    manual = (experiment.get("similarity") or {}).get("selection") == "manual"
    found = MergeSettings(
        experiment["mode"],
        experiment["target"],
        choice_of(experiment),
        TextSettings(**texts),
        {name: value for name, value in (experiment.get("hyperparameters") or {}).items() if name != "seed"},
        adaptation_of(experiment),
        preweight=preweight_of(experiment) or "equal",
        weights={source["locale"]: source["weight"] for source in experiment["sources"]} if manual else None,
        base=Path(base) if base and not is_initial(base, experiment) else None,
        length=experiment.get("length", 1.0),
        seed=42 if seed is None else seed,
        dtype=None if experiment.get("dtype") in (None, "sources'") else experiment["dtype"],
    )
    return found.effective()
