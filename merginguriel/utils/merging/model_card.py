"""The README.md of a merged model: the Hub's metadata, the sources, how well it does once that is known."""

from merginguriel.utils.evaluation.model_card import heading, link, measured_line, recipe_text
from merginguriel.utils.evaluation.results import Evaluation
from merginguriel.utils.merging.plan import MergePlan
from merginguriel.utils.merging.recipe import recipe
from merginguriel.utils.models.hub import hub_id_of


def model_card(plan: MergePlan, evaluation: Evaluation | None = None) -> str:
    """Text of the card of a merge; with an Evaluation, what was measured and on which data."""
    rows = "\n".join(f"| {source.locale} | {link(source.path)} | {source.weight:.6f} |" for source in plan.sources)
    parts = [
        heading(plan.output.name, plan.task, plan.target, ["merge"], evaluation, made_of(plan)),
        f"Classifier of task {plan.task.name} for {plan.target}, merged with MergingUriel from {len(plan.sources)} "
        f"models that were fine-tuned on other languages. Mode `{plan.mode}`, method `{plan.method_name}`; "
        f"{_target_text(plan)}. Sources, weights and settings stand in `merge_details.json`.",
        f"| source | model | weight |\n|---|---|---|\n{rows}",
    ]
    if evaluation:
        parts.append(measured_line(plan.task, plan.target, evaluation))
    if plan.sources:
        parts.append(recipe_text(["merge", *recipe(plan)]))
    return "\n\n".join(parts) + "\n"


def made_of(plan: MergePlan) -> list[str]:
    """The sources that are models of the Hub, or, where none is, what they were trained from."""
    return list(filter(None, (hub_id_of(source.path) for source in plan.sources))) or [plan.base_model]


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
