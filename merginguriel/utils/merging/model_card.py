"""The README.md of a merged model: the Hub's metadata, the sources, the accuracy once it is known."""

import re
from pathlib import Path

from huggingface_hub import EvalResult, ModelCardData

from merginguriel.utils.data.task import MINI
from merginguriel.utils.evaluation.results import Evaluation
from merginguriel.utils.merging.plan import MergePlan

MODEL_CARD = "README.md"


def model_card(plan: MergePlan, evaluation: Evaluation | None = None) -> str:
    """Text of the card of a merge; with an Evaluation, what was measured and on which data."""
    measured, data_name = None, _dataset(plan.task.data)
    if evaluation:
        measured = [
            EvalResult(
                task_type="text-classification",
                dataset_type=data_name,
                dataset_name=data_name,
                dataset_config=plan.target,
                dataset_split="test",
                metric_type="accuracy",
                metric_value=evaluation.accuracy,
            )
        ]
    local_base = plan.base_model == MINI or Path(plan.base_model).exists()
    data = ModelCardData(
        language=dict(plan.task.languages).get(plan.target) or re.split("[-_]", plan.target)[0],
        library_name="transformers",
        pipeline_tag="text-classification",
        base_model=None if local_base else plan.base_model,
        model_name=plan.output.name,
        tags=["merge", "merginguriel", plan.task.name],
        eval_results=measured,
    )
    rows = "\n".join(f"| {source.locale} | {source.weight:.6f} |" for source in plan.sources)
    text = (
        f"---\n{data.to_yaml()}\n---\n\n# {plan.output.name}\n\n"
        f"Classifier of task {plan.task.name} for {plan.target}, merged with MergingUriel from {len(plan.sources)} "
        f"models that were fine-tuned on other languages. Mode `{plan.mode}`, method `{plan.method_name}`; "
        f"{_target_text(plan)}. Sources, weights and settings stand in `merge_details.json`.\n\n"
        f"| source | weight |\n|---|---|\n{rows}\n"
    )
    if evaluation:
        low, high = evaluation.interval
        text += (
            f"\nTest accuracy on {plan.target}, {data_name}: {evaluation.accuracy:.4f} "
            f"(95 % Wilson interval {low:.4f} to {high:.4f}, {len(evaluation.correct)} items).\n"
        )
    return text


def _target_text(plan: MergePlan) -> str:
    used = []
    if plan.selection["selection"] == "real":
        used.append("the sources were chosen by labelled validation items of the target")
    if "consensus" in plan.selection:
        count = plan.selection["texts"]["count"]
        used.append(
            f"the models' consensus on {count} unlabelled train texts of the target chose or weighed the sources"
        )
    if plan.target in plan.texts:
        kind = "labelled" if plan.settings.hyperparameters.get("estimator") == "empirical" else "unlabelled"
        used.append(f"it used {kind} {plan.settings.texts.split} text of the target")
    return "; ".join(used) or "the target took no part in it"


def _dataset(name: str) -> str:
    """A name that means something elsewhere: a Hub id as it is, a folder without its path."""
    return f"local/{Path(name).name}" if Path(name).is_dir() else name
