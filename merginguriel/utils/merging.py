"""The merging job: plan the sources, merge into a whole folder, evaluate beside the baselines."""

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from auto_merge_llm.errors import InputError
from auto_merge_llm.methods import METHODS

from merginguriel.utils import calculators, massive, measuring, models, naming, records
from merginguriel.utils.calculators import Source
from merginguriel.utils.measuring import MeasuringOptions

log = logging.getLogger(__name__)
DETAILS_TXT = "merge_details.txt"
DETAILS_JSON = "merge_details.json"
MODEL_CARD = "README.md"

# Mode -> the library's method and a line for people. Five modes are weightings of the plain average; the
# library's other methods are modes by their own names.
MODES = {
    "average": ("linear", "equal weights over the selected sources"),
    "similarity": ("linear", "weights in proportion to the selection's similarity"),
    "uriel": ("linear", "weights in proportion to the URIEL cosine, without Sinkhorn"),
    "linear": ("linear", "weighted average: --weights, or --preweight equal or uriel"),
    "manual": ("linear", "your own: --weights, --weights-file, ManualWeightCalculator"),
    **{name: (name, text) for name, text in METHODS.items() if name not in ("linear", "fisher")},
}
ALIASES = {"fisher": "fisher_dataset"}  # another name of a mode; folders and results have the mode's own
WEIGHTINGS = ("average", "similarity", "uriel")  # modes that are weights by themselves


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
            count = self.measuring.num_examples or f"up to {measuring.NUM_EXAMPLES}"
            lines += [f"data    {count} examples, {self.measuring.dataset_name} {self.measuring.split}, "
                      f"{self.measuring.scope}"]
        lines += ["sources"]
        lines += [f"  {source.weight:.6f}  {source.locale}  {source.path}" for source in self.sources]
        return "\n".join([*lines, f"output  {self.output}"])


def plan_merge(*, mode: str, target: str, base_model: str, num_languages: int, models_root: Path,
               output: Path | None, similarity: calculators.SimilarityOptions, preweight: str = "equal",
               weights: dict[str, float] | None = None, normalize: bool = False,
               sources: list[str] | None = None, seed: int = 42, base: Path | None = None,
               hyperparameters: dict | None = None, measuring: MeasuringOptions | None = None,
               available: dict[str, Path] | None = None,
               weights_sha256: Mapping[str, str] | None = None) -> MergePlan:
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
    available = models.available_models(models_root, base_model) if available is None else available
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
        matrix = calculators.similarity_matrix(cosine if sources else similarity)
        missing = [locale for locale in sources or () if locale not in available]
        scores = (calculators.scores_of(matrix, target, sources) if sources else
                  calculators.select_sources(matrix, target, num_languages, available))
        if mode == "uriel" and similarity.selection != "cosine":
            scores = calculators.scores_of(calculators.similarity_matrix(cosine), target, list(scores))
        calculator = calculators.SimilarityCalculator if similar else calculators.AverageCalculator
        shares = calculator.calculate(scores)
        selection = {**asdict(similarity), "matrix": matrix.origin, "matrix_sha256": matrix.fingerprint(),
                     "selection": "explicit" if sources else similarity.selection}
        del selection["nxn_matrix"]  # it is `matrix`
        if selection["selection"] == "real":
            selection["matrix_split"] = matrix.split
            matrix.check_models({locale: weights_sha256[locale] if weights_sha256 else
                                 Checkpoint(available[locale]).weights_fingerprint for locale in shares})
    if missing:
        raise InputError(f"no model {naming.model_name(base_model, missing[0])} in {models_root} for "
                         f"{', '.join(missing)}; train it with training_bert.py or leave it out")
    if target in shares:
        raise InputError(f"the target {target} is among the sources; leave it out, a merge is judged zero-shot")
    if method.needs_base:
        base = base or models_root / naming.initial_name(base_model, seed)
        if not base.is_dir():
            raise InputError(f"mode {mode} needs the initial checkpoint that the sources grew from, and there is no "
                             f"{base}; name it with --base-checkpoint, or the seed of the training with --seed")
    elif base:
        raise InputError(f"--base-checkpoint has no effect in mode {mode}; leave it out")
    chosen = tuple(Source(locale, available[locale], share) for locale, share in shares.items())
    return MergePlan(mode, MODES[mode][0], target, base_model, chosen,
                     output or naming.MERGED_ROOT / naming.merge_name(mode, target, len(chosen)), selection, seed,
                     asdict(method), base, measuring if needs_text(mode) else None)


def method_of(mode: str):
    """The mode's method with its defaults."""
    from auto_merge_llm.methods import create

    return create(MODES[mode][0])


def own_hyperparameters(mode: str, given: Mapping) -> dict:
    """Those of `given` that the mode's method has."""
    return {name: given[name] for name in asdict(method_of(mode)) if name in given}


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
    told += [f"{name}-{value}" for name, value in plan.hyperparameters.items()
             if name != "seed" and value != defaults[name]]
    if plan.measuring:
        usual = MeasuringOptions(plan.measuring.dataset_name)
        told += [f"text-{name}-{getattr(plan.measuring, name)}"
                 for name in ("split", "scope", "num_examples", "batch_size", "max_length")
                 if getattr(plan.measuring, name) != getattr(usual, name)]
    return told + ([dtype] if dtype else [])


def preweight_of(weights: list[float]) -> str:
    """equal or uriel, which a merge's record does not tell: similarities that are all equal are none."""
    return "equal" if max(weights) - min(weights) < 1e-9 else "uriel"


def needs_text(mode: str) -> bool:
    """Whether the mode's method measures its sources, or learns, on text."""
    method = method_of(mode)
    return method.measurement is not None or method.learns


def texts_of(plan: MergePlan) -> dict[str, tuple]:
    """By locale: the splits that the method measures its sources on, or learns from, as `massive.load_split` has it."""
    sources = [source.locale for source in plan.sources]
    return measuring.texts_of(plan.measuring, plan.target, sources) if plan.measuring else {}


def run_merge(plan: MergePlan, *, overwrite: bool = False, dtype: str | None = None,
              allow_mismatched_heads: bool = False) -> Path:
    """Merge into `plan.output`: weights, config, tokenizer, merge_details.txt and .json, model card.

    A folder that the same plan made from the same files is kept; any other in its place is refused
    without `overwrite` (InputError). Nothing stands at `plan.output` until all of it does.
    """
    record = record_of(plan, dtype)
    if plan.output.resolve() in [parent for source in plan.sources
                                 for parent in (source.path.resolve(), *source.path.resolve().parents)]:
        raise InputError(f"{plan.output} is a source of this merge or holds one; choose another --output-dir")
    if is_merged(plan, record, overwrite):
        log.info("already merged: %s", plan.output)
        return plan.output

    from auto_merge_llm.methods import create
    from auto_merge_llm.stream import merge_checkpoints
    from tqdm import tqdm

    from merginguriel.utils.model_card import model_card

    method, files, examples = create(plan.method, **plan.hyperparameters), [], None
    if plan.measuring:
        examples = measuring.draw_examples(plan.measuring, plan.target, [source.locale for source in plan.sources],
                                           plan.seed)
        method, files = measuring.prepare(method, plan, plan.measuring, examples)
    with records.whole_folder(plan.output, overwrite=overwrite) as partial:
        with tqdm(desc=f"merging {len(plan.sources)} sources", unit=" parameters", unit_scale=True, leave=False,
                  disable=None) as bar:
            def progress(done, total):
                bar.total = total
                bar.update(done - bar.n)

            report = merge_checkpoints(
                method, [source.path for source in plan.sources], [source.weight for source in plan.sources], partial,
                base=plan.base, measurements=files, dtype=dtype, allow_mismatched_heads=allow_mismatched_heads,
                progress=progress)
        for name, text in details(plan, record, report, method, examples, files).items():
            records.write_text(partial / name, text)
        records.write_text(partial / MODEL_CARD, model_card(plan))
    return plan.output


def is_merged(plan: MergePlan, record: dict, overwrite: bool) -> bool:
    """Whether `plan.output` is this very merge. InputError where it is anything else and `overwrite` is false."""
    if not plan.output.exists() or overwrite:
        return False
    made = plan.output / DETAILS_JSON
    if made.is_file() and records.read_json(made).get("plan") == record:
        return True
    raise InputError(f"{plan.output} exists already and is not this merge; use --overwrite to replace it or choose "
                     "another folder")


def details(plan: MergePlan, record: dict, report, method, examples: measuring.Examples | None,
            files: list[Path]) -> dict[str, str]:
    """merge_details.txt and its twin for programs, as texts by file name; `files` have what was measured."""
    timestamp, measured_on = records.utc_now(), {}
    if examples:
        measured_on = {"examples": examples.counts, "fingerprint": examples.fingerprint(),
                       "files": list(map(str, files))}
        if method.learns:
            measured_on["coefficients"] = method.coefficients
    return {
        DETAILS_TXT: records.merge_details(mode=plan.mode, base_model=plan.base_model, target=plan.target,
                                           sources=plan.sources, timestamp=timestamp),
        DETAILS_JSON: records.as_json({
            "plan": record, "timestamp": timestamp, "parameters": report.parameters, "measured_on": measured_on,
            "checks": asdict(report.findings), "counts": report.counts, "environment": records.run_environment()})}


def keep_merged(plan: MergePlan, model, texts: Mapping[str, str], evaluation, dataset_name: str,
                overwrite: bool) -> None:
    """Write a merged model that is in memory to `plan.output`, as `run_merge` and `evaluate_merge` leave it."""
    from merginguriel.utils.model_card import model_card

    with records.whole_folder(plan.output, overwrite=overwrite) as partial:
        model.save(partial)
        for name, text in {**texts, MODEL_CARD: model_card(plan, evaluation, dataset_name)}.items():
            records.write_text(partial / name, text)


def check_results(plan: MergePlan, results_root: Path, dtype: str | None, overwrite: bool) -> None:
    """Refuse, before anything is merged, a result folder that holds something else (InputError)."""
    folder = results_root / plan.output.name
    if folder.exists():
        kept = folder / "results.json"
        if not kept.is_file() or records.read_json(kept).get("experiment") != record_of(plan, dtype):
            records.check_replaceable(folder, overwrite)


def files_of(folder: Path) -> dict[str, list[int]]:
    """Size and time of a model's weights, configuration and tokenizer, by name: enough to see that it was replaced."""
    from auto_merge_llm.weight_files import weight_files

    others = [folder / name for name in ("config.json", *models.TOKENIZER_FILES)]
    return {path.name: [path.stat().st_size, path.stat().st_mtime_ns]
            for path in (*weight_files(folder), *filter(Path.is_file, others))}


def record_of(plan: MergePlan, dtype: str | None, data: massive.Fingerprints | None = None) -> dict:
    """The plan as plain data, with the size and time of every file that goes into the merge, and what is measured on.

    `data` remembers fingerprints from plan to plan, each of which takes reading a split.
    """
    data = massive.Fingerprints() if data is None else data
    return {"mode": plan.mode, "method": plan.method, "hyperparameters": plan.hyperparameters,
            "base": {"path": str(plan.base), "files": files_of(plan.base)} if plan.base else None,
            "measuring": records.plain(asdict(plan.measuring)) if plan.measuring else None,
            "texts": {locale: data[split] for locale, split in texts_of(plan).items()},
            "target": plan.target, "base_model": plan.base_model,
            "num_sources": len(plan.sources), "seed": plan.seed, "dtype": dtype or "sources'",
            "similarity": records.plain(plan.selection),
            "sources": [{"locale": source.locale, "path": str(source.path), "weight": source.weight,
                         "files": files_of(source.path)} for source in plan.sources]}


def plan_of(record: dict, output: Path) -> MergePlan:
    """The plan that `record_of` made plain data of."""
    data = record["measuring"]
    return MergePlan(
        record["mode"], record["method"], record["target"], record["base_model"],
        tuple(Source(source["locale"], Path(source["path"]), source["weight"]) for source in record["sources"]),
        output, record["similarity"], record["seed"], record["hyperparameters"],
        Path(record["base"]["path"]) if record["base"] else None,
        MeasuringOptions(**{**data, "folder": Path(data["folder"])}) if data else None)


def result_settings(record: dict, split, precision: str) -> dict:
    """Everything that the result of a merge rests on, known before it is made: what marks it as done."""
    return {"experiment": record, "locale": split.locale, "split": split.name, "data": split.fingerprint(),
            "precision": precision}


def evaluate_merge(plan: MergePlan, split, dataset_name: str, results_root: Path, *, baselines: bool = True,
                   overwrite: bool = False) -> list:
    """Evaluate the merged model on the target and, with `baselines`, every source on it too.

    Returns Evaluations, sources first (best first), the merge last.
    """
    from merginguriel.utils.evaluation import Classifier, best_first, evaluate
    from merginguriel.utils.jobs import settings_hash
    from merginguriel.utils.model_card import model_card

    classifier, record = Classifier(plan.output), records.read_json(plan.output / DETAILS_JSON)["plan"]
    merged = evaluate(
        classifier, split, dataset_name, results_root / plan.output.name, overwrite=overwrite, name=plan.output.name,
        experiment=record, job=settings_hash("merge", result_settings(record, split, classifier.settings["precision"])),
        attachments={name: (plan.output / name).read_text(encoding="utf-8") for name in (DETAILS_TXT, DETAILS_JSON)})
    records.write_text(plan.output / MODEL_CARD, model_card(plan, merged, dataset_name))
    alone = []
    for source in plan.sources if baselines else ():
        folder = results_root / naming.evaluation_name(source.path.name, plan.target)
        alone.append(evaluate(Classifier(source.path), split, dataset_name, folder, overwrite=overwrite,
                              name=f"{source.locale} alone"))
    return [*best_first(alone), merged]
