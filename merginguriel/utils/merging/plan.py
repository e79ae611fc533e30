"""The plan of a merge: sources, weights, method, base and texts, decided before anything is read or written."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from auto_merge_llm.errors import InputError

from merginguriel.utils.data import task
from merginguriel.utils.merging import calculators, examples
from merginguriel.utils.merging.examples import MeasuringOptions
from merginguriel.utils.merging.modes import MODES, WEIGHTINGS, method_of, needs_text
from merginguriel.utils.merging.selection import SimilarityOptions, Source, scores_of, select_sources, similarity_matrix
from merginguriel.utils.models import store
from merginguriel.utils.models.store import files_of
from merginguriel.utils.storage import atomic, naming


@dataclass(frozen=True)
class MergePlan:
    """Everything a merge needs, decided before anything is read or written."""

    mode: str
    method: str
    target: str
    base_model: str
    sources: tuple[Source, ...]
    output: Path
    selection: dict
    seed: int
    hyperparameters: dict
    base: Path | None
    measuring: MeasuringOptions | None = None

    @property
    def identities(self) -> dict[Path, str]:
        """What the library calls the sources, by folder."""
        from auto_merge_llm.tensors import identities

        paths = [source.path for source in self.sources]
        return dict(zip(paths, identities(list(map(str, paths)))))

    def describe(self) -> str:
        settings = "".join(f", {name} {value}" for name, value in self.hyperparameters.items())
        lines = [f"mode    {self.mode} ({self.method}{settings})", f"target  {self.target}"]
        lines += [f"base    {self.base}"] if self.base else []
        if self.measuring:
            count = self.measuring.num_examples or f"up to {examples.NUM_EXAMPLES}"
            lines += [
                f"data    {count} examples, {self.measuring.dataset_name} {self.measuring.split}, "
                f"{self.measuring.scope}"
            ]
        lines += ["sources"]
        lines += [f"  {source.weight:.6f}  {source.locale}  {source.path}" for source in self.sources]
        return "\n".join([*lines, f"output  {self.output}"])


def plan_merge(
    *,
    mode: str,
    target: str,
    base_model: str,
    num_languages: int,
    models_root: Path,
    output: Path | None,
    similarity: SimilarityOptions,
    preweight: str = "equal",
    weights: dict[str, float] | None = None,
    normalize: bool = False,
    sources: list[str] | None = None,
    seed: int = 42,
    base: Path | None = None,
    hyperparameters: dict | None = None,
    measuring: MeasuringOptions | None = None,
    available: dict[str, Path] | None = None,
    weights_sha256: Mapping[str, str] | None = None,
) -> MergePlan:
    """Choose sources, weights and base. Raises InputError for anything that cannot be merged as asked.

    Methods on task vectors start from `base`, by default the initial checkpoint of `base_model` and `seed`
    that the sources grew from. `hyperparameters` are the method's own; what is not given has its default.
    `measuring`: the texts for a method that needs some. `available`: locale -> model, by default those found in
    `models_root`; `weights_sha256` by locale, by default of their files, which are read only to compare them with
    the models of a transfer matrix.
    """
    from auto_merge_llm.checkpoint import Checkpoint
    from auto_merge_llm.methods import create

    method = create(MODES[mode][0], **(hyperparameters or {}))
    if "seed" in asdict(method):
        method = replace(method, seed=seed)
    if target in (weights or ()) or target in (sources or ()):
        raise InputError(f"the target {target} is among the sources; leave it out, a merge is judged zero-shot")
    available = store.available_models(models_root, base_model) if available is None else available
    similar = mode in ("similarity", "uriel") or (mode not in WEIGHTINGS and preweight == "uriel")
    if mode == "manual" or (mode not in WEIGHTINGS and weights):
        shares = calculators.ManualWeightCalculator.calculate(weights, normalize=normalize)
        missing = [locale for locale in shares if locale not in available]
        selection = {"selection": "manual"}
    elif sources and not similar:
        missing = [locale for locale in sources if locale not in available]
        shares = calculators.AverageCalculator.calculate(dict.fromkeys(sources, 1.0))
        selection = {"selection": "explicit"}
    else:
        # A Sinkhorn row gives 0 to all but the target's neighbours, so explicit sources weigh by cosine.
        cosine = replace(similarity, selection="cosine")
        matrix = similarity_matrix(cosine if sources else similarity)
        missing = [locale for locale in sources or () if locale not in available]
        scores = (
            scores_of(matrix, target, sources) if sources else select_sources(matrix, target, num_languages, available)
        )
        if mode == "uriel" and similarity.selection != "cosine":
            scores = scores_of(similarity_matrix(cosine), target, list(scores))
        calculator = calculators.SimilarityCalculator if similar else calculators.AverageCalculator
        shares = calculator.calculate(scores)
        selection = {
            **asdict(similarity),
            "matrix": matrix.origin,
            "matrix_sha256": matrix.fingerprint(),
            "selection": "explicit" if sources else similarity.selection,
        }
        del selection["nxn_matrix"]  # it is `matrix`
        if selection["selection"] == "real":
            selection["matrix_split"] = matrix.split
            matrix.check_models(
                {
                    locale: weights_sha256[locale]
                    if weights_sha256
                    else Checkpoint(available[locale]).weights_fingerprint
                    for locale in shares
                }
            )
    if missing:
        raise InputError(
            f"no model {naming.model_name(base_model, missing[0])} in {models_root} for "
            f"{', '.join(missing)}; train it with training_bert.py or leave it out"
        )
    if target in shares:
        raise InputError(f"the target {target} is among the sources; leave it out, a merge is judged zero-shot")
    if method.needs_base:
        base = base or models_root / naming.initial_name(base_model, seed)
        if not base.is_dir():
            raise InputError(
                f"mode {mode} needs the initial checkpoint that the sources grew from, and there is no "
                f"{base}; name it with --base-checkpoint, or the seed of the training with --seed"
            )
    elif base:
        raise InputError(f"--base-checkpoint has no effect in mode {mode}; leave it out")
    chosen = tuple(Source(locale, available[locale], share) for locale, share in shares.items())
    return MergePlan(
        mode,
        MODES[mode][0],
        target,
        base_model,
        chosen,
        output or naming.MERGED_ROOT / naming.merge_name(mode, target, len(chosen)),
        selection,
        seed,
        asdict(method),
        base,
        measuring if needs_text(mode) else None,
    )


def told_settings(plan: MergePlan, preweight: str = "equal", dtype: str | None = None) -> list[str]:
    """Words for a folder's name: the settings of `plan` that have not their defaults, but for files."""
    selection, told = plan.selection["selection"], []
    default = {"uriel": "cosine", "manual": "manual"}.get(plan.mode, "sinkhorn")
    told += [selection] if selection != default else []
    if selection == "sinkhorn" and plan.selection["source"] == "dense":
        told += [f"dense{plan.selection['top_k']}x{plan.selection['sinkhorn_iters']}"]
    if preweight != "equal" and plan.mode not in WEIGHTINGS and selection != "manual":
        told += [preweight]
    told += [f"seed{plan.seed}"] if plan.seed != 42 else []
    defaults = asdict(method_of(plan.mode))
    told += [
        f"{name}-{value}" for name, value in plan.hyperparameters.items() if name != "seed" and value != defaults[name]
    ]
    if plan.measuring:
        usual = MeasuringOptions(plan.measuring.dataset_name)
        told += [
            f"text-{name}-{getattr(plan.measuring, name)}"
            for name in ("split", "scope", "num_examples", "batch_size", "max_length")
            if getattr(plan.measuring, name) != getattr(usual, name)
        ]
    return told + ([dtype] if dtype else [])


def texts_of(plan: MergePlan) -> dict[str, tuple]:
    """By locale: the splits that the method measures its sources on, or learns from, as `massive.load_split` has it."""
    sources = [source.locale for source in plan.sources]
    return examples.texts_of(plan.measuring, plan.target, sources) if plan.measuring else {}


def record_of(plan: MergePlan, dtype: str | None, data: task.Fingerprints | None = None) -> dict:
    """The plan as plain data, with the size and time of every file that goes into the merge, and what is measured on.

    `data` remembers fingerprints from plan to plan, each of which takes reading a split.
    """
    data = task.Fingerprints() if data is None else data
    return {
        "mode": plan.mode,
        "method": plan.method,
        "hyperparameters": plan.hyperparameters,
        "base": {"path": str(plan.base), "files": files_of(plan.base)} if plan.base else None,
        "measuring": atomic.plain(asdict(plan.measuring)) if plan.measuring else None,
        "texts": {locale: data[split] for locale, split in texts_of(plan).items()},
        "target": plan.target,
        "base_model": plan.base_model,
        "num_sources": len(plan.sources),
        "seed": plan.seed,
        "dtype": dtype or "sources'",
        "similarity": atomic.plain(plan.selection),
        "sources": [
            {"locale": source.locale, "path": str(source.path), "weight": source.weight, "files": files_of(source.path)}
            for source in plan.sources
        ],
    }


def plan_of(record: dict, output: Path) -> MergePlan:
    """The plan that `record_of` made plain data of."""
    data = record["measuring"]
    return MergePlan(
        record["mode"],
        record["method"],
        record["target"],
        record["base_model"],
        tuple(Source(source["locale"], Path(source["path"]), source["weight"]) for source in record["sources"]),
        output,
        record["similarity"],
        record["seed"],
        record["hyperparameters"],
        Path(record["base"]["path"]) if record["base"] else None,
        MeasuringOptions(**{**data, "folder": Path(data["folder"])}) if data else None,
    )


def result_settings(record: dict, split, precision: str) -> dict:
    """Everything that the result of a merge rests on, known before it is made: what marks it as done."""
    return {
        "experiment": record,
        "locale": split.locale,
        "split": split.name,
        "data": split.fingerprint(),
        "precision": precision,
    }
