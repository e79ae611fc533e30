"""The ensemble job: sources as a merge chooses them, one pass of logits, votes on it, beside every source alone."""

import hashlib
import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from itertools import chain
from pathlib import Path

import numpy as np
from auto_merge_llm.errors import InputError

from merginguriel.utils.data import massive, task
from merginguriel.utils.data.split import SPLITS, Split
from merginguriel.utils.ensembles.votes import VOTES
from merginguriel.utils.evaluation import classifier, comparison, predictions, results
from merginguriel.utils.evaluation.results import Evaluation
from merginguriel.utils.evaluation.statistics import holm, paired_bootstrap, wilcoxon
from merginguriel.utils.jobs import ledger
from merginguriel.utils.merging import details
from merginguriel.utils.merging.plan import plan_merge
from merginguriel.utils.merging.selection import SimilarityOptions, Source
from merginguriel.utils.storage import atomic, environment, naming

log = logging.getLogger(__name__)
PROGRESS_JSON = "ensemble_experiment_progress.json"
FINAL_JSON = "ensemble_experiment_final_results.json"


@dataclass(frozen=True)
class EnsembleOptions:
    """What all targets of a run share.

    `num_examples`: how many of the split's items, drawn by `seed`. `nxn_dir`: where to take logits from instead of
    the models.
    """

    base_model: str
    models_root: Path
    num_languages: int
    sources: list[str] | None
    similarity: SimilarityOptions
    preweight: str
    dataset_name: str
    text_column: str
    label_column: str
    split: str
    num_examples: int | None
    seed: int
    results_root: Path
    overwrite: bool
    nxn_dir: Path | None = None


@dataclass(frozen=True)
class Ensemble:
    """One target: its sources, its items, and how each source does on them, as it becomes known."""

    target: str
    sources: tuple[Source, ...]
    selection: dict
    split: Split
    alone: dict[str, Evaluation] = field(default_factory=dict)

    def describe(self) -> str:
        lines = [f"  {source.weight:.6f}  {source.locale}  {source.path}" for source in self.sources]
        return "\n".join([f"target  {self.target}, {len(self.split)} {self.split.name} items", "sources", *lines])


class ModelLogits:
    """Logits of the source models, kept as every evaluation is, so that no item is scored twice."""

    def __init__(self, options: EnsembleOptions):
        self.options = options
        self.available = self.weights_sha256 = None  # whatever models_root has
        self._loaded = None

    def alone(self, source: Source, split: Split) -> Evaluation:
        options = self.options
        # One model in memory: ask for all targets of a source before the next source.
        if self._loaded is None or self._loaded.path != source.path:
            self._loaded = None
            self._loaded = classifier.Classifier(source.path)
        folder = options.results_root / naming.evaluation_name(
            source.path.name, split.locale, split.name, options.num_examples
        )
        arguments = (self._loaded, split, options.dataset_name, folder)
        name = f"{source.locale} alone"
        try:
            return classifier.evaluate(*arguments, name=name)
        except InputError:
            if not options.overwrite:
                raise
            return classifier.evaluate(*arguments, name=name, overwrite=True)

    def logits(self, source: Source, ensemble: Ensemble) -> np.ndarray:
        return predictions.read_predictions(ensemble.alone[source.locale].folder / predictions.PREDICTIONS)["logits"]

    @property
    def precision(self) -> str:
        return self._loaded.settings["precision"]


class KeptLogits:
    """Logits that an N×N evaluation kept; no model is loaded, none need be there."""

    def __init__(self, options: EnsembleOptions):
        from merginguriel.utils.evaluation import nxn_logits

        matrix = nxn_logits.open_logits(options.nxn_dir)
        if SPLITS[matrix.split] != SPLITS[options.split]:
            raise InputError(
                f"the N×N logits are of the {matrix.split} split, not {options.split}; add --split "
                f"{matrix.split} or give another --nxn-dir"
            )
        missing = [locale for locale in options.sources or () if locale not in matrix.sources]
        if missing:
            raise InputError(
                f"no {', '.join(missing)} among the sources of the N×N logits; evaluate them or leave "
                "them out of --sources"
            )
        self.matrix, self.precision, self.weights_sha256 = matrix, matrix.precision, matrix.weights_sha256
        self.available = matrix.paths()
        others = [
            path.name
            for locale, path in self.available.items()
            if path.name != naming.model_name(options.base_model, locale)
        ]
        if others:
            raise InputError(
                f"the N×N logits are of models such as {others[0]}, whose base model is not "
                f"{options.base_model}; correct --base-model or --nxn-dir"
            )

    def alone(self, source: Source, split: Split) -> Evaluation:
        return Evaluation(
            f"{source.locale} alone",
            None,
            np.array(split.ids),
            np.array(split.labels),
            self._read(source, split).argmax(-1),
        )

    def logits(self, source: Source, ensemble: Ensemble) -> np.ndarray:
        return self._read(source, ensemble.split)

    def _read(self, source: Source, split: Split) -> np.ndarray:
        if split.locale not in self.matrix.targets:
            raise InputError(f"no {split.locale} among the targets of the N×N logits; evaluate it or leave it out")
        place = {id_: item for item, id_ in enumerate(self.matrix.ids(split.locale))}
        gold = self.matrix.labels(split.locale)
        items = [place.get(id_) for id_ in split.ids]
        if None in items or [int(gold[item]) for item in items] != split.labels:
            raise InputError(
                f"the N×N logits of {split.locale} are of other items than --dataset-name has; give the "
                "data that they were made on"
            )
        return np.asarray(self.matrix.logits(source.locale, split.locale), np.float32)[items]


def origin_of(options: EnsembleOptions) -> ModelLogits | KeptLogits:
    return KeptLogits(options) if options.nxn_dir else ModelLogits(options)


def plan_ensemble(target: str, options: EnsembleOptions, origin: ModelLogits | KeptLogits) -> Ensemble:
    """Choose sources and weights as a merge does and read the items; InputError where either cannot be."""
    if options.similarity.selection == "real" and SPLITS[options.split] == "dev":
        raise InputError(
            "sources that the target's validation items chose must not be judged on them; use "
            "--split test or another --selection"
        )
    plan = plan_merge(
        mode="linear",
        target=target,
        base_model=options.base_model,
        num_languages=options.num_languages,
        models_root=options.models_root,
        output=None,
        similarity=options.similarity,
        preweight=options.preweight,
        sources=options.sources,
        available=origin.available,
        weights_sha256=origin.weights_sha256,
    )
    split = task.load_split(options.dataset_name, target, options.split, options.text_column, options.label_column)
    if options.num_examples:
        split = split.draw(options.num_examples, options.seed)
    return Ensemble(target, plan.sources, plan.selection, split)


def vote(
    ensemble: Ensemble, logits: list[np.ndarray], method: str, options: EnsembleOptions, precision: str
) -> Evaluation:
    """The ensemble's evaluation by one of VOTES, from the logits of its sources, (items, len(INTENTS)) each.

    Kept as a model's is.
    """
    weights = [source.weight for source in ensemble.sources]
    mode = f"ensemble_{method}"
    settings = results.data_settings(
        {
            "vote": method,
            "precision": precision,
            "sources": {
                source.locale: {
                    "weight": source.weight,
                    "logits": hashlib.sha256(np.ascontiguousarray(scores).tobytes()).hexdigest(),
                }
                for source, scores in zip(ensemble.sources, logits)
            },
        },
        ensemble.split,
    )
    name = naming.ensemble_name(method, ensemble.target, len(weights), ensemble.split.name, options.num_examples)
    folder = options.results_root / name
    kept = results.kept_evaluation(folder, settings, name, options.overwrite)
    if kept:
        return kept
    elect = VOTES[method][0]
    described = [
        {"locale": source.locale, "path": str(source.path), "weight": source.weight} for source in ensemble.sources
    ]
    return results.write_evaluation(
        folder,
        ensemble.split,
        elect(np.stack(logits), weights),
        settings=settings,
        name=name,
        model_name=name,
        dataset_name=options.dataset_name,
        overwrite=options.overwrite,
        model_info={
            "num_labels": len(massive.INTENTS),
            "model_type": "ensemble",
            "architecture": None,
            **results.label_maps(massive.INTENTS),
            "num_models": len(weights),
            "model_names": [str(source.path) for source in ensemble.sources],
            "ensemble_method": method,
            "similarity_weights": weights,
        },
        experiment={
            "mode": mode,
            "target": ensemble.target,
            "base_model": options.base_model,
            "num_sources": len(weights),
            "preweight": options.preweight,
            "seed": options.seed,
            "num_examples": options.num_examples,
            "nxn_dir": str(options.nxn_dir) if options.nxn_dir else None,
            "similarity": atomic.plain(ensemble.selection),
            "sources": described,
        },
        attachments={
            details.DETAILS_TXT: details.merge_details(
                mode=mode,
                base_model=options.base_model,
                target=ensemble.target,
                sources=ensemble.sources,
                timestamp=environment.utc_now(),
            )
        },
    )


@dataclass
class Outcome:
    """What became of the targets: the sources alone and the votes of each, or why there are none."""

    alone: dict[str, list[Evaluation]] = field(default_factory=dict)  # best first
    votes: dict[str, dict[str, Evaluation]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    def table(self, target: str) -> str:
        """Every source alone and every vote, tested against the best source."""
        alone = self.alone[target]
        return comparison.comparison_table([*alone, *self.votes[target].values()], alone[0])


def run_ensembles(
    targets: list[str],
    methods: list[str],
    options: EnsembleOptions,
    finished: Callable[[str, Outcome], None] = lambda target, outcome: None,
    origin: ModelLogits | KeptLogits | None = None,
) -> Outcome:
    """Every vote for every target. A target that cannot be done is a failure of `Outcome`, not of the others.

    Every source is loaded once for all targets that it serves. `finished` is called after each target.
    """
    from tqdm import tqdm

    origin, outcome, ensembles = origin or origin_of(options), Outcome(), {}
    for target in targets:
        try:
            ensembles[target] = plan_ensemble(target, options, origin)
        except InputError as error:
            _fail(outcome, target, error, finished)
    pairs = sorted(
        ((source, ensemble) for ensemble in ensembles.values() for source in ensemble.sources),
        key=lambda pair: (pair[0].locale, targets.index(pair[1].target)),
    )
    for source, ensemble in tqdm(pairs, desc="sources on targets", leave=False, disable=None):
        if ensemble.target in outcome.failures:
            continue
        try:
            ensemble.alone[source.locale] = origin.alone(source, ensemble.split)
            if len(ensemble.alone) == len(ensemble.sources):
                # Read again rather than kept: those of many sources on many targets do not fit into memory.
                logits = [origin.logits(source, ensemble) for source in ensemble.sources]
                outcome.votes[ensemble.target] = {
                    method: vote(ensemble, logits, method, options, origin.precision) for method in methods
                }
                outcome.alone[ensemble.target] = comparison.best_first(list(ensemble.alone.values()))
                finished(ensemble.target, outcome)
        except InputError as error:
            _fail(outcome, ensemble.target, error, finished)
    return outcome


def _fail(outcome: Outcome, target: str, error: InputError, finished) -> None:
    outcome.failures[target] = str(error)
    finished(target, outcome)


@dataclass(frozen=True)
class Comparison:
    """One vote against the best source of each target, as means over the targets.

    `interval` resamples items by id, so it speaks of these targets; `p_value` is Wilcoxon's over the targets,
    None for one alone, and `adjusted` is Holm's for the number of votes.
    """

    method: str
    accuracy: float
    difference: float
    interval: tuple[float, float]
    p_value: float | None
    adjusted: float | None


def compare(outcome: Outcome) -> list[Comparison]:
    """Every vote of the targets that were done, against the best of the sources by test accuracy, the hardest choice.

    Raises InputError where the targets do not share their items.
    """
    if not outcome.votes:
        return []
    targets = list(outcome.votes)
    methods = list(outcome.votes[targets[0]])
    best = [outcome.alone[target][0] for target in targets]
    correct = comparison.aligned(best + [outcome.votes[target][method] for method in methods for target in targets])
    best, *votes = correct.reshape(1 + len(methods), len(targets), -1)
    p_values = [wilcoxon(vote.mean(1), best.mean(1)) for vote in votes]
    adjusted = holm(p_values).tolist() if len(targets) > 1 else [None] * len(methods)
    return [
        Comparison(
            method,
            float(vote.mean()),
            float(vote.mean() - best.mean()),
            paired_bootstrap(vote, best),
            p_value if len(targets) > 1 else None,
            holm_p,
        )
        for method, vote, p_value, holm_p in zip(methods, votes, p_values, adjusted)
    ]


def comparison_lines(comparisons: list[Comparison], num_targets: int) -> str:
    lines = [f"mean over {num_targets} targets  accuracy  vs best source  95 % interval        p  p (Holm)"]
    width = len(f"mean over {num_targets} targets")
    for row in comparisons:
        low, high = row.interval
        line = f"{row.method:<{width}}  {row.accuracy:8.4f}  {row.difference:+14.4f}  [{low:+.4f}, {high:+.4f}]"
        lines.append(line if row.p_value is None else f"{line}  {row.p_value:.2g}  {row.adjusted:.2g}")
    return "\n".join(lines)


def sweep(
    targets: list[str], methods: list[str], options: EnsembleOptions, command: str
) -> tuple[Outcome, list[Comparison]]:
    """`run_ensembles`, with its jobs, progress and end kept as JSON in the results' folder, and the `command` it is."""
    config = {
        "voting_methods": methods,
        **atomic.plain(asdict(options)),
        "similarity": atomic.plain(asdict(options.similarity)),
    }

    def successes(outcome: Outcome) -> dict:
        return {
            target: {method: target in outcome.votes for method in methods}
            for target in targets
            if target in outcome.votes or target in outcome.failures
        }

    def finished(target: str, outcome: Outcome) -> None:
        if target in outcome.failures:
            log.warning("warning: %s failed: %s", target, outcome.failures[target])
        done = successes(outcome)
        atomic.write_json(
            options.results_root / PROGRESS_JSON,
            {
                "timestamp": environment.utc_now(),
                "total_locales": len(targets),
                "processed_locales": len(done),
                "current_locale": target,
                "results": done,
                "failures": {name: reason for target, reason in outcome.failures.items() for name in names[target]},
            },
        )

    number = len(options.sources or ()) or options.num_languages
    names = {
        target: [
            naming.ensemble_name(method, target, number, options.split, options.num_examples) for method in methods
        ]
        for target in targets
    }
    origin = origin_of(options)
    ledger.keep(options.results_root, dict.fromkeys(chain.from_iterable(names.values())), command)
    outcome = run_ensembles(targets, methods, options, finished, origin)
    try:
        comparisons = compare(outcome)
    except InputError as error:
        log.warning("warning: no comparison over targets: %s", error)
        comparisons = []
    atomic.write_json(
        options.results_root / FINAL_JSON,
        {
            "timestamp": environment.utc_now(),
            "config": config,
            "summary": {
                "total_locales": len(targets),
                "method_success_counts": {method: len(outcome.votes) for method in methods},
                "vs_best_source": [asdict(row) for row in comparisons],
            },
            "detailed_results": successes(outcome),
            "failures": outcome.failures,
            "accuracies": {
                target: {
                    "best_source": outcome.alone[target][0].accuracy,
                    **{method: vote.accuracy for method, vote in votes.items()},
                }
                for target, votes in outcome.votes.items()
            },
        },
    )
    return outcome, comparisons
