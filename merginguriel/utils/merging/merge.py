"""The merging job: merge into a whole folder, evaluate beside the baselines."""

import logging
from collections.abc import Mapping
from pathlib import Path

from auto_merge_llm.errors import InputError

from merginguriel.utils.merging import measuring
from merginguriel.utils.merging.details import DETAILS_JSON, DETAILS_TXT, details
from merginguriel.utils.merging.examples import draw_examples
from merginguriel.utils.merging.plan import MergePlan, record_of, result_settings
from merginguriel.utils.storage import atomic, naming

log = logging.getLogger(__name__)
MODEL_CARD = "README.md"


def run_merge(
    plan: MergePlan, *, overwrite: bool = False, dtype: str | None = None, allow_mismatched_heads: bool = False
) -> Path:
    """Merge into `plan.output`: weights, config, tokenizer, merge_details.txt and .json, model card.

    A folder that the same plan made from the same files is kept; any other in its place is refused
    without `overwrite` (InputError). Nothing stands at `plan.output` until all of it does.
    """
    record = record_of(plan, dtype)
    if plan.output.resolve() in [
        parent for source in plan.sources for parent in (source.path.resolve(), *source.path.resolve().parents)
    ]:
        raise InputError(f"{plan.output} is a source of this merge or holds one; choose another --output-dir")
    if is_merged(plan, record, overwrite):
        log.info("already merged: %s", plan.output)
        return plan.output

    from auto_merge_llm.merge import merge_checkpoints
    from auto_merge_llm.methods import create
    from auto_merge_llm.output_folder import OutputFolder
    from tqdm import tqdm

    from merginguriel.utils.merging.model_card import model_card

    method, files, examples = create(plan.method, **plan.hyperparameters), [], None
    if plan.measuring:
        examples = draw_examples(plan.measuring, plan.target, [source.locale for source in plan.sources], plan.seed)
        method, files = measuring.prepare(method, plan, plan.measuring, examples)
    with atomic.whole_folder(plan.output, overwrite=overwrite) as partial:
        with tqdm(
            desc=f"merging {len(plan.sources)} sources", unit=" parameters", unit_scale=True, leave=False, disable=None
        ) as bar:

            def progress(done, total):
                bar.total = total
                bar.update(done - bar.n)

            report = merge_checkpoints(
                method,
                [source.path for source in plan.sources],
                [source.weight for source in plan.sources],
                OutputFolder(partial, dtype),
                base=plan.base,
                measurements=files,
                allow_mismatched_heads=allow_mismatched_heads,
                progress=progress,
            )
        for name, text in details(plan, record, report, method, examples, files).items():
            atomic.write_text(partial / name, text)
        atomic.write_text(partial / MODEL_CARD, model_card(plan))
    return plan.output


def is_merged(plan: MergePlan, record: dict, overwrite: bool) -> bool:
    """Whether `plan.output` is this very merge. InputError where it is anything else and `overwrite` is false."""
    if not plan.output.exists() or overwrite:
        return False
    made = plan.output / DETAILS_JSON
    if made.is_file() and atomic.read_json(made).get("plan") == record:
        return True
    raise InputError(
        f"{plan.output} exists already and is not this merge; use --overwrite to replace it or choose another folder"
    )


def keep_merged(
    plan: MergePlan, model, texts: Mapping[str, str], evaluation, dataset_name: str, overwrite: bool
) -> None:
    """Write a merged model that is in memory to `plan.output`, as `run_merge` and `evaluate_merge` leave it."""
    from merginguriel.utils.merging.model_card import model_card

    with atomic.whole_folder(plan.output, overwrite=overwrite) as partial:
        model.save(partial)
        for name, text in {**texts, MODEL_CARD: model_card(plan, evaluation, dataset_name)}.items():
            atomic.write_text(partial / name, text)


def check_results(plan: MergePlan, results_root: Path, dtype: str | None, overwrite: bool) -> None:
    """Refuse, before anything is merged, a result folder that holds something else (InputError)."""
    folder = results_root / plan.output.name
    if folder.exists():
        kept = folder / "results.json"
        if not kept.is_file() or atomic.read_json(kept).get("experiment") != record_of(plan, dtype):
            atomic.check_replaceable(folder, overwrite)


def evaluate_merge(
    plan: MergePlan, split, dataset_name: str, results_root: Path, *, baselines: bool = True, overwrite: bool = False
) -> list:
    """Evaluate the merged model on the target and, with `baselines`, every source on it too.

    Returns Evaluations, sources first (best first), the merge last.
    """
    from merginguriel.utils.evaluation.classifier import Classifier, evaluate
    from merginguriel.utils.evaluation.comparison import best_first
    from merginguriel.utils.jobs.engine import settings_hash
    from merginguriel.utils.merging.model_card import model_card

    classifier, record = Classifier(plan.output), atomic.read_json(plan.output / DETAILS_JSON)["plan"]
    merged = evaluate(
        classifier,
        split,
        dataset_name,
        results_root / plan.output.name,
        overwrite=overwrite,
        name=plan.output.name,
        experiment=record,
        job=settings_hash("merge", result_settings(record, split, classifier.settings["precision"])),
        attachments={name: (plan.output / name).read_text(encoding="utf-8") for name in (DETAILS_TXT, DETAILS_JSON)},
    )
    atomic.write_text(plan.output / MODEL_CARD, model_card(plan, merged, dataset_name))
    alone = []
    for source in plan.sources if baselines else ():
        folder = results_root / naming.evaluation_name(source.path.name, plan.target)
        alone.append(
            evaluate(
                Classifier(source.path), split, dataset_name, folder, overwrite=overwrite, name=f"{source.locale} alone"
            )
        )
    return [*best_first(alone), merged]
