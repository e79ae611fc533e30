"""What a method solves on text from all sources of a merge at once, as RegMean++ does, and keeps in a file."""

import logging
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from auto_merge_llm.compatibility import check_checkpoints
from auto_merge_llm.errors import InputError
from auto_merge_llm.methods.base import SolvingMethod
from auto_merge_llm.methods.fisher_dataset import shared_dataloader
from safetensors import SafetensorError
from safetensors.torch import load_file
from tqdm import tqdm

from merginguriel.utils.merging.examples import Examples
from merginguriel.utils.merging.measuring import MeasurementFile, Models, autocast_dtype, digest, rests_on
from merginguriel.utils.merging.plan import MergePlan
from merginguriel.utils.merging.selection import Source
from merginguriel.utils.models import loading

log = logging.getLogger(__name__)


def solve(
    models: Models, plan: MergePlan, method: SolvingMethod, examples: Examples, folder: Path, *, keep: bool
) -> tuple[SolvingMethod, Path]:
    """(the plan's `method` with what it has solved, the file in `folder` for it, which is written if `keep` is true).

    A file that is there was made from the same models, weights, texts and settings.
    """
    # The order in which the library merges, so that the head has the labels of the merge.
    team = sorted(plan.sources, key=lambda source: (plan.identities[source.path], str(source.path), source.weight))
    file = _file(models, plan, method, team, examples, folder)
    if file.path.is_file():
        log.info("already solved: %s", file.path)
        return replace(method, **_read(file.path)), file.path
    solved = _solved(models, plan, method, team, examples)
    if keep:
        file.write(dict(solved.solved or {}))
    return solved, file.path


def _solved(
    models: Models, plan: MergePlan, method: SolvingMethod, team: list[Source], examples: Examples
) -> SolvingMethod:
    settings, first = plan.settings, team[0].path
    aligned, _, _ = check_checkpoints(
        [models.checkpoint(source.path) for source in team], None, settings.allow_mismatched_heads
    )
    model, tokenizer = models.float32_model(first), loading.load_tokenizer(first)

    def batches(chosen: Examples) -> list[Any]:
        return list(
            shared_dataloader(
                tokenizer,
                chosen.texts,
                [0] * len(chosen.texts),
                batch_size=settings.texts.batch_size,
                max_length=loading.longest_input(model, settings.texts.max_length or chosen.max_tokens),
                pad_id=model.config.pad_token_id,
            )
        )

    own = settings.texts.scope == "own"
    with tqdm(desc=f"solving {plan.mode}", unit=" layers", leave=False, disable=None) as bar:

        def progress(step: int, steps: int) -> None:
            bar.total = steps
            bar.update(step - bar.n)

        return method.solve(
            model,
            aligned,
            [source.weight for source in team],
            [batches(examples.of(source.locale)) for source in team] if own else [batches(examples)] * len(team),
            autocast=autocast_dtype(),
            own_texts=own,
            progress=progress,
        )


def _file(
    models: Models, plan: MergePlan, method: SolvingMethod, team: list[Source], examples: Examples, folder: Path
) -> MeasurementFile:
    checkpoints = [models.checkpoint(source.path) for source in team]
    settings = {
        **asdict(method),
        "method": plan.method_name,
        "sources": [
            [checkpoint.weights_fingerprint, list(checkpoint.labels), source.weight]
            for checkpoint, source in zip(checkpoints, team)
        ],
        "tokenizer": checkpoints[0].tokenizer_fingerprint,
        **({"own_texts": [source.locale for source in team]} if plan.settings.texts.scope == "own" else {}),
        **rests_on(plan.settings.texts, examples),
    }
    return MeasurementFile(folder / f"{plan.method_name}_{plan.target}_{digest(settings)}.safetensors", settings)


def _read(file: Path) -> dict[str, Any]:
    try:
        return {"solved": load_file(file)}
    except SafetensorError:
        raise InputError(f"{file} is damaged; remove it and merge again") from None
