"""What a result is: its experiment, the settings that tell it from others, its short name."""

import functools
import hashlib
import json
import os
import re
from collections import defaultdict
from pathlib import Path
from typing import Any

from auto_merge_llm.methods import defaults

from merginguriel.utils.data import older_names
from merginguriel.utils.data.split import CONSENSUS_TEXTS
from merginguriel.utils.data.task import DEFAULT_TASK
from merginguriel.utils.merging.details import DETAILS_JSON, DETAILS_TXT, read_merge_details
from merginguriel.utils.merging.examples import TextSettings
from merginguriel.utils.merging.modes import MODES
from merginguriel.utils.merging.record import OLDER_TEXTS, is_initial, preweight_of
from merginguriel.utils.results import adapted_identity, all_but_target
from merginguriel.utils.similarity.consensus import ORIGIN
from merginguriel.utils.storage import atomic, naming

COMPARED = ("merge", "ensemble", "adapted")  # kinds of results that are made for a target, of models of others
# Columns that no two experiments of one variant may differ in; with `settings`, whose parts count one by one.
IDENTITY = (
    "kind",
    "method",
    "num_sources",
    "selection",
    "include_target",
    "seed",
    "base_model",
    "models_root",
    "split",
    "dataset",
    "precision",
)
ITERATIVE = "iterative_"  # begins the mode of a model that was merged while its sources were trained
_READ = {
    "mode",
    "method",
    "hyperparameters",
    "base",
    "measuring",
    "texts",
    "target",
    "base_model",
    "num_sources",
    "seed",
    "dtype",
    "similarity",
    "sources",
    "preweight",
    "num_examples",
    "nxn_dir",
    "include_target",
    "timestamp",
    "iterative",
    "merges",
    "num_languages",
    "weights",
    "normalize",
    "command",
    "task",
    "task_hash",
    "adapt",
}
SAID_IN_NEED = ("matrix", "sources", "training", "convergence_threshold", "teachers-root", *all_but_target.AMONG)
TEXT_SETTINGS = ("split", "scope", "num_examples", "batch_size", "max_length")


# What it is


def identified(content: dict, folder: Path, split: str) -> dict:
    info = content["evaluation_info"]
    experiment, model = content.get("experiment") or {}, Path(str(info["model_name"]).split("@")[0])
    cell = naming.parse_cell(folder.name)
    if cell or ("source" in experiment and "mode" not in experiment):
        return _single("nxn", (cell or (experiment["source"],))[0], model)
    if not experiment:
        experiment = _experiment_of_older(info, content.get("model_info") or {}, model, folder)
    if experiment.get("mode"):
        return _experiment(experiment, str(info["locale"]), split)
    found = older_names.parse_model(model.name)
    source = info.get("source") or (found[1] if found else None)
    if source:
        return _single("native" if source == info["locale"] else "source", source, model)
    named = older_names.parse_result(folder.name)
    if named and named[0] == "baseline":
        return _single("native", named[1], model)
    joint = re.fullmatch(rf"(.+)_{naming.TASK}_LOLO_.+", model.name)
    kind = "joint" if joint else "other"
    return {
        "kind": kind,
        "variant": kind,
        "method": kind,
        "target": info["locale"],
        "models_root": str(model.parent),
        "base_model": joint[1] if joint else model.name,
        "settings": _as_json({"model": model.name}),
    }


def _single(kind: str, source: str, model: Path) -> dict:
    found = older_names.parse_model(model.name)
    return {
        "kind": kind,
        "variant": kind,
        "method": kind,
        "source": source,
        "num_sources": 1,
        "settings": "{}",
        "base_model": found[0] if found else None,
        "models_root": str(model.parent) if found else None,
    }


def _experiment_of_older(info: dict, model_info: dict, model: Path, folder: Path) -> dict:
    """The experiment of a result that does not tell it; {} where it is none."""
    for place in (folder, model):
        if (place / DETAILS_JSON).is_file():
            details = atomic.read_json(place / DETAILS_JSON)
            return {**details["plan"], "timestamp": details.get("timestamp")}
        experiment = kept_merge_details(place)
        if "mode" in experiment:
            return {**experiment, "mode": experiment["mode"].lower()}
    if older_names.parse_model(model.name):
        return {}
    named = older_names.parse_result(folder.name) or older_names.parse_result(model.name)
    if not named or named[0] == "baseline":
        return {}
    experiment = {"mode": named[0], "target": named[1], "num_sources": named[2]}
    weights, names = model_info.get("similarity_weights"), model_info.get("model_names") or ()
    parsed = (older_names.parse_model(Path(str(name).split("@")[0]).name) for name in names)
    found = [one for one in parsed if one]
    if weights and len(found) == len(weights):
        experiment["sources"] = [
            {"path": str(name), "locale": locale, "weight": weight}
            for name, (_, locale), weight in zip(names, found, weights)
        ]
    return experiment


def kept_merge_details(folder: Path) -> dict:
    try:
        return read_merge_details((folder / DETAILS_TXT).read_text(encoding="utf-8", errors="replace"))
    except FileNotFoundError:
        return {}


def _experiment(experiment: dict, locale: str, split: str) -> dict:
    sources = adapted_identity.taught_by(experiment)
    similarity = experiment.get("similarity") or {}
    weights = {source["locale"]: float(source["weight"]) for source in sources}
    target = experiment.get("target") or locale
    paths = [Path(source["path"].split("@")[0]) for source in sources if source.get("path")]
    bases = sorted({found[0] for path in paths if (found := older_names.parse_model(path.name))})
    if experiment.get("base_model"):
        bases = [naming.base_slug(experiment["base_model"])]
    is_ensemble = experiment["mode"].startswith("ensemble_")
    if experiment["mode"].startswith(ITERATIVE):
        paths = []  # stages of its own training: the single models of these locales stand in for them
    of_a_merge = experiment["mode"] != adapted_identity.ADAPTATION
    row = {
        "kind": "ensemble" if is_ensemble else "merge" if of_a_merge else "adapted",
        "method": adapted_identity.method_of(experiment),
        "target": target,
        "num_sources": len(weights) or experiment.get("num_sources"),
        "selection": similarity.get("selection"),
        "include_target": bool(experiment.get("include_target", target in weights)),
        "seed": experiment.get("seed") if of_a_merge else experiment["adapt"].get("seed"),
        "base_model": " ".join(bases) or None,
        "models_root": os.pathsep.join(sorted({str(path.parent) for path in paths})) or None,
        "sources": _as_json(weights) if weights else None,
        "merge_timestamp": experiment.get("timestamp"),
    }
    settings = _settings(experiment, weights, is_ensemble)
    return {**row, "variant": _variant(row, settings, split), "settings": _as_json(settings)}


def _settings(experiment: dict, weights: dict[str, float], is_ensemble: bool) -> dict:
    """What else tells experiments apart; what has its default, or is known by the columns, is left out."""
    similarity, measuring = experiment.get("similarity") or {}, experiment.get("measuring") or {}
    selection, mode = similarity.get("selection"), experiment["mode"].removeprefix(ITERATIVE)
    settings: dict[str, Any] = {}
    if experiment.get("task") not in (None, DEFAULT_TASK):
        settings["task"] = experiment["task"]
    if similarity.get("source") == "dense" and selection == "sinkhorn":
        settings["dense"] = f"{similarity.get('top_k')}x{similarity.get('sinkhorn_iters')}"
    preweight = preweight_of({**experiment, "mode": mode})
    if preweight not in (None, "uriel" if is_ensemble else "equal"):
        settings["preweight"] = preweight
    defaults = _defaults(mode)
    settings |= {
        name: value
        for name, value in (experiment.get("hyperparameters") or {}).items()
        if name != "seed" and value != defaults.get(name)
    }
    settings |= {
        f"text-{name}": measuring[name]
        for name in TEXT_SETTINGS
        if name in measuring and measuring[name] not in (getattr(TextSettings, name), OLDER_TEXTS.get(name))
    }
    if experiment.get("dtype") not in (None, "sources'"):
        settings["dtype"] = experiment["dtype"]
    if experiment.get("num_examples"):
        settings["items"] = experiment["num_examples"]
    base = (experiment.get("base") or {}).get("path")
    if base and not is_initial(base, experiment):
        settings["base"] = base
    if similarity.get("consensus_examples") not in (None, CONSENSUS_TEXTS):
        settings["consensus"] = similarity["consensus_examples"]
    if similarity.get("matrix_sha256") and similarity.get("matrix") != ORIGIN:
        # One that was computed is of its target's neighbours alone: its hash would make every target an experiment.
        computed = str(similarity.get("matrix")).startswith("lang2vec ")
        settings["matrix"] = similarity["matrix"] if computed else similarity["matrix_sha256"][:8]
    elif similarity.get("cosine_matrix_sha256"):
        settings["matrix"] = similarity["cosine_matrix_sha256"][:8]
    if selection == "explicit":
        settings["sources"] = sorted(weights)
    elif selection == "manual":
        settings["sources"] = dict(sorted(weights.items()))
    settings |= adapted_identity.settings_of(experiment)
    others = {**(experiment.get("iterative") or {}), **experiment}
    return settings | {name: value for name, value in others.items() if name not in _READ}


@functools.cache
def _defaults(mode: str) -> dict:
    return defaults(MODES[mode][0]) if mode in MODES else {}


def _as_json(value) -> str:
    return json.dumps(value, ensure_ascii=False)


# Its name


def _variant(row: dict, settings: dict, split: str) -> str:
    """Method, number of sources and what is not the default, in the words that folders have (merging.told_settings).

    What SAID_IN_NEED has is left to `tell_apart`.
    """
    name = row["method"] if row["num_sources"] is None else f"{row['method']}_{row['num_sources']}lang"
    default = {"uriel": "cosine", "consensus": "consensus", "manual": "manual"}.get(
        adapted_identity.own_mode(row["method"]).removeprefix(ITERATIVE), "sinkhorn"
    )
    if row["selection"] not in (None, default):
        name += f"_{row['selection']}"
    name += "".join(_said(key, settings[key]) for key in ("task", "dense", "preweight") if key in settings)
    name += f"_seed{row['seed']}" if row["seed"] not in (None, 42) else ""
    name += "".join(
        _said(key, value)
        for key, value in settings.items()
        if key not in ("task", "dense", "preweight", *SAID_IN_NEED) and value is not False
    )
    return name + ("_inctar" if row["include_target"] else "") + (f"_{split}" if split != "test" else "")


def _said(name: str, value) -> str:
    if isinstance(value, dict):
        value = ",".join(f"{key}={part}" for key, part in value.items())
    elif isinstance(value, list):
        value = ",".join(map(str, value))
    if len(str(value)) > 80:  # a name, not a list of everything
        value = hashlib.sha256(str(value).encode()).hexdigest()[:8]
    if name in adapted_identity.WORDS:
        return "_" + naming.word(adapted_identity.WORDS[name].format(value))
    word = {"preweight": f"{value}", "dtype": f"{value}", "dense": f"dense{value}", "task": f"{value}"}.get(
        name, f"{name}-{value}"
    )
    return "_" + naming.word(word)


def tell_apart(rows: list[dict]) -> None:
    """Where different experiments have one short name, add what differs to their variants.

    First, what differs by the target alone becomes one choice.
    """
    for row, settings in all_but_target.shared(rows):
        row |= {"settings": _as_json(settings), "variant": _variant(row, settings, row["split"])}
    same_name: dict[str, dict[str, list[dict]]] = defaultdict(lambda: defaultdict(list))
    places = _places(rows)
    for row in rows:
        if row["kind"] in COMPARED:
            identity = {**{name: row[name] for name in IDENTITY}, **json.loads(row["settings"])}
            identity["dataset"] = places.get(row["dataset"])
            if row["models_root"]:  # relative or not
                identity["models_root"] = os.path.realpath(row["models_root"])
            same_name[row["variant"]][json.dumps(identity, sort_keys=True)].append(row)
    for experiments in same_name.values():
        identities = [json.loads(identity) for identity in experiments]
        names = dict.fromkeys(name for identity in identities for name in identity)
        differing = [
            name for name in names if any(identity.get(name) != identities[0].get(name) for identity in identities)
        ]
        for identity, members in zip(identities, experiments.values()):
            told = {**identity, "models_root": members[0]["models_root"]}
            for row in members:
                row["variant"] += "".join(_said(name, told[name]) for name in differing if told.get(name) is not None)


def _places(rows: list[dict]) -> dict[str, str]:
    """Dataset -> the first of all that have the same items somewhere: they are one, in several places."""
    by_items: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        if row["dataset"]:
            by_items[row["data"] or row["dataset"]].add(row["dataset"])
    places = {one: one for datasets in by_items.values() for one in datasets}
    for datasets in by_items.values():
        same = {places[one] for one in datasets}
        places = {one: min(same) if place in same else place for one, place in places.items()}
    return places
