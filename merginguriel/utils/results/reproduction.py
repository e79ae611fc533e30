"""The command that makes a result again, from what its results.json tells."""

import os
import shlex
from dataclasses import asdict
from pathlib import Path

from merginguriel.utils.data.task import DEFAULT_DATASET, base_model_of
from merginguriel.utils.merging import modes
from merginguriel.utils.merging.examples import MeasuringOptions
from merginguriel.utils.merging.modes import WEIGHTINGS, method_of
from merginguriel.utils.similarity.matrix import DENSE_CSV, SPARSE_CSV
from merginguriel.utils.storage import naming

_TEXT_FLAGS = {
    "split": "--dataset-split",
    "scope": "--fisher-data-mode",
    "num_examples": "--num-fisher-examples",
    "batch_size": "--batch-size",
    "max_length": "--max-seq-length",
}


def command_of(results: dict) -> str | None:
    """One line for a shell, or None where the result does not tell enough: it is older, or no merge or vote."""
    experiment, info = results.get("experiment") or {}, results["evaluation_info"]
    if experiment.get("command"):
        return experiment["command"]
    sources = experiment.get("sources")
    if "mode" not in experiment or not sources or not all("path" in source for source in sources):
        return None
    mode = experiment["mode"]
    if mode not in modes.MODES and not mode.startswith("ensemble_"):
        return None
    script = (
        ["uriel_ensemble_inference.py", "--voting-method", mode.removeprefix("ensemble_")]
        if mode.startswith("ensemble_")
        else ["run_merging_pipeline_refactored.py", "--mode", mode]
    )
    return _line([*script, "--target-lang", experiment["target"], *_settings(experiment, info)])


def command_for(targets: list[str], results: dict, results_root: Path) -> str | None:
    """The same for other targets, in one run, its results in `results_root`; None where that cannot be."""
    experiment, info = results.get("experiment") or {}, results["evaluation_info"]
    if experiment.get("command") or command_of(results) is None:
        return None
    mode = experiment["mode"]
    if mode.startswith("ensemble_"):
        script = [
            "run_large_scale_ensemble_experiments.py",
            "--voting-methods",
            mode.removeprefix("ensemble_"),
            "--target-languages",
        ]
    elif (experiment.get("similarity") or {}).get("selection") == "explicit":
        return None  # a sweep of merges takes no named sources
    else:
        script = ["run_large_scale_experiment.py", "--modes", mode, "--locales"]
    where = [] if results_root == naming.RESULTS_ROOT else ["--results-dir", results_root]
    return _line([*script, *targets, *_settings(experiment, info), *where])


def command_of_baselines(row: dict) -> str | None:
    """Of the single models that a row of `aggregation.compare` is measured against, all on all of their locales."""
    base, root, dataset = row["base_model"], row["models_root"], row["dataset"]
    if not base or not root or " " in base or os.pathsep in root:
        return None  # not told, or models of several kinds
    default = naming.base_slug(base_model_of(None, dataset))
    return _line(
        [
            "run_nxn_evaluation.py",
            *([] if row["split"] == "test" else ["--split", row["split"]]),
            *_dataset(row),
            *([] if base == default else ["--base-model", base]),
            *([] if Path(root) == naming.MODELS_ROOT else ["--models-root", root]),
        ]
    )


def _line(words: list) -> str:
    return shlex.join(["python", f"merginguriel/{words[0]}", *map(str, words[1:])])


def _settings(experiment: dict, info: dict) -> list:
    """Flags that commands for one target and for many share."""
    mode, similarity = experiment["mode"], experiment.get("similarity") or {}
    items = _items(experiment, info) if mode.startswith("ensemble_") else _merge_settings(experiment)
    return [
        *_data(experiment, info),
        *_sources(mode, similarity, experiment["sources"], experiment.get("preweight")),
        *items,
    ]


def _dataset(info: dict) -> list:
    return [] if info.get("dataset") in (None, DEFAULT_DATASET) else ["--dataset-name", info["dataset"]]


def _data(experiment: dict, info: dict) -> list:
    flags, base = _dataset(info), experiment["base_model"]
    flags += [] if base == base_model_of(None, info.get("dataset")) else ["--base-model", base]
    root = Path(experiment["sources"][0]["path"]).parent
    return flags + ([] if root == naming.MODELS_ROOT or experiment.get("nxn_dir") else ["--models-root", root])


def _sources(mode: str, similarity: dict, sources: list[dict], preweight: str | None) -> list:
    selection, weights = similarity.get("selection"), [source["weight"] for source in sources]
    if selection == "manual":
        return ["--weights", ",".join(f"{source['locale']}={source['weight']!r}" for source in sources)]
    by_locale = ["--sources", ",".join(source["locale"] for source in sources)]
    flags = by_locale if selection == "explicit" else ["--num-languages", len(sources), "--selection", selection]
    matrix = similarity.get("matrix")
    if selection == "real":
        flags += ["--nxn-matrix", matrix]
    elif matrix and matrix.endswith(".csv") and Path(matrix).name not in (SPARSE_CSV, DENSE_CSV):
        flags += ["--similarity-matrix", matrix]
    if similarity.get("source") == "dense" and selection == "sinkhorn":
        flags += [
            "--similarity-source",
            "dense",
            "--top-k",
            similarity["top_k"],
            "--sinkhorn-iters",
            similarity["sinkhorn_iters"],
        ]
    if mode in WEIGHTINGS:
        return flags
    chosen = preweight or modes.preweight_of(weights)
    default = "uriel" if mode.startswith("ensemble_") else "equal"
    return flags + ([] if chosen == default else ["--preweight", chosen])


def _items(experiment: dict, info: dict) -> list:
    flags = [] if info.get("split") in (None, "test") else ["--split", info["split"]]
    if experiment.get("num_examples"):
        flags += ["--num-examples", experiment["num_examples"], "--seed", experiment["seed"]]
    return flags + (["--nxn-dir", experiment["nxn_dir"]] if experiment.get("nxn_dir") else [])


def _merge_settings(experiment: dict) -> list:
    flags = [] if experiment.get("seed") in (None, 42) else ["--seed", experiment["seed"]]
    defaults = asdict(method_of(experiment["mode"]))
    for name, value in (experiment.get("hyperparameters") or {}).items():
        if name == "normalize" and not value:
            flags += ["--no-normalize-fisher"]
        elif name != "seed" and value != defaults.get(name):
            flags += [f"--{name.replace('_', '-')}", value]
    measuring = experiment.get("measuring") or {}
    for name, flag in _TEXT_FLAGS.items():
        if name in measuring and measuring[name] != getattr(MeasuringOptions, name):
            flags += [flag, measuring[name]]
    base = (experiment.get("base") or {}).get("path")
    start = naming.initial_name(experiment["base_model"], experiment.get("seed"))
    flags += ["--base-checkpoint", base] if base and not Path(base).match(start) else []
    return flags + ([] if experiment.get("dtype") in (None, "sources'") else ["--dtype", experiment["dtype"]])
