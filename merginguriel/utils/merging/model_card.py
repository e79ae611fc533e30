"""The README.md of a merged model: the Hub's metadata, the sources, the accuracy once it is known."""

from pathlib import Path

from huggingface_hub import EvalResult, ModelCardData


def model_card(plan, evaluation=None, dataset_name: str | None = None) -> str:
    """Text of the card of a MergePlan; with an Evaluation, what was measured and on which data."""
    measured = None
    if evaluation:
        measured = [
            EvalResult(
                task_type="text-classification",
                dataset_type=_dataset(dataset_name),
                dataset_name=_dataset(dataset_name),
                dataset_config=plan.target,
                dataset_split="test",
                metric_type="accuracy",
                metric_value=evaluation.accuracy,
            )
        ]
    local_base = plan.base_model == "mini" or Path(plan.base_model).exists()
    data = ModelCardData(
        language=plan.target.split("-")[0],
        library_name="transformers",
        pipeline_tag="text-classification",
        base_model=None if local_base else plan.base_model,
        model_name=plan.output.name,
        tags=["merge", "merginguriel", "intent-classification"],
        eval_results=measured,
    )
    rows = "\n".join(f"| {source.locale} | {source.weight:.6f} |" for source in plan.sources)
    text = (
        f"---\n{data.to_yaml()}\n---\n\n# {plan.output.name}\n\n"
        f"Intent classifier for {plan.target}, merged with MergingUriel from {len(plan.sources)} models "
        f"that were fine-tuned on other languages. Mode `{plan.mode}`, method `{plan.method}`; "
        f"{_target_text(plan)}. Sources, weights and settings stand in `merge_details.json`.\n\n"
        f"| source | weight |\n|---|---|\n{rows}\n"
    )
    if evaluation:
        low, high = evaluation.interval
        text += (
            f"\nTest accuracy on {plan.target}, {_dataset(dataset_name)}: {evaluation.accuracy:.4f} "
            f"(95 % Wilson interval {low:.4f} to {high:.4f}, {len(evaluation.correct)} items).\n"
        )
    return text


def _target_text(plan) -> str:
    used = []
    if plan.selection["selection"] == "real":
        used.append("the sources were chosen by labelled validation items of the target")
    if plan.measuring is not None and plan.measuring.scope != "sources":
        kind = "labelled" if plan.hyperparameters.get("estimator") == "empirical" else "unlabelled"
        used.append(f"it used {kind} {plan.measuring.split} text of the target")
    return "; ".join(used) or "the target took no part in it"


def _dataset(name: str) -> str:
    """A name that means something elsewhere: a Hub id as it is, a folder without its path."""
    return f"local/{Path(name).name}" if Path(name).is_dir() else name
