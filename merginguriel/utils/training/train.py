"""One training, from the shared initial checkpoint to a whole model; stopped before, it goes on where it was."""

import logging
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from auto_merge_llm.errors import InputError

from merginguriel.utils.evaluation.metrics import METRICS
from merginguriel.utils.models import devices, loading, model_folder, scoring
from merginguriel.utils.models.initial import initial_checkpoint
from merginguriel.utils.models.model_folder import TRAINING_JSON
from merginguriel.utils.models.tokens import TOKENS
from merginguriel.utils.storage import atomic
from merginguriel.utils.storage.made_folders import TRAINED
from merginguriel.utils.training import finished, ranks
from merginguriel.utils.training.callbacks import logging_what_is_saved, mean_loss, reporting_progress
from merginguriel.utils.training.items import Item, encode, load
from merginguriel.utils.training.settings import TrainingRun, TrainingSettings, TrainingSteps
from merginguriel.utils.training.tracking import tracked
from merginguriel.utils.training.trainer import (
    check_environment,
    device_of,
    evaluate,
    fit,
    make_trainer,
    trim_vocabulary,
)
from merginguriel.utils.training.unfinished import alone, claim, newest_checkpoint, remove_leftovers, unfinished
from merginguriel.utils.training.vocabulary import TrimmedVocabulary
from merginguriel.utils.training.whole_checkpoints import stopped_early

log = logging.getLogger(__name__)


def train(
    run: TrainingRun, steps: TrainingSteps, progress: Callable[[float], None] = lambda share: None
) -> dict[str, Any]:
    """Fine-tune from the shared initial checkpoint and return the metrics.

    `run.output_dir` appears only when the model is whole. Until then, checkpoints stand in `unfinished(output_dir)`,
    and the same call goes on from the newest of them; from then on, it returns the metrics that are there. `progress`
    is told the share of the steps that are done. Raises InputError, before anything is trained, for what the device,
    the data or the folder do not allow.
    """
    if steps.do_train and run.output_dir.exists() and not steps.overwrite:
        metrics = finished.metrics_of(run, steps)
        if metrics is None:
            raise InputError(
                f"{run.output_dir} exists already and is not this training, or an earlier version made it; use "
                "--overwrite-output-dir to train it again"
            )
        log.info("already trained: these settings, items and steps; --overwrite-output-dir trains again")
        remove_leftovers(run.output_dir, unfinished(run.output_dir))
        return metrics
    if steps.do_train:
        atomic.check_replaceable(run.output_dir, TRAINED, steps.overwrite)
        _check_same_languages(run)
    check_environment(run.settings)
    limits = run.settings.limits
    splits = load(run, {split: limits[split] for split in steps.splits})
    if not steps.do_train:
        return _evaluate(run, splits)
    start = initial_checkpoint(run.store, run.settings.seed)
    if not ranks.is_first():
        return _train(run, start, splits, steps.overwrite, progress)
    with alone(run.output_dir):
        claim(run, steps.overwrite)
        return _train(run, start, splits, steps.overwrite, progress)


def _check_same_languages(run: TrainingRun) -> None:
    """InputError where the model of other languages would be replaced."""
    record = run.output_dir / TRAINING_JSON
    told = atomic.read_json(record).get("settings", {}).get("locales") if record.is_file() else None
    if told and sorted(told) != sorted(run.locales):
        raise InputError(
            f"{run.output_dir} is the model of {', '.join(told)}, not of {', '.join(run.locales)}, so it is not "
            "replaced; remove it yourself or choose another --output-dir"
        )


def _train(
    run: TrainingRun, start: Path, splits: dict[str, list[Item]], overwrite: bool, progress: Callable[[float], None]
) -> dict[str, Any]:
    work = unfinished(run.output_dir)
    trainer, trimmed = _trainer(run, work, start, splits)
    trainer.accelerator.wait_for_everyone()  # on several GPUs: for the first process to have claimed `work`
    trainer.add_callback(reporting_progress(progress))
    with tracked(run, trainer) as keep:
        metrics: dict[str, Any] = _fit(run.settings, trainer, work)
        if "validation" in splits:
            metrics |= evaluate(run.settings, trainer)
        if not ranks.is_first():
            return metrics
        if trimmed:
            trimmed.restore()
        with atomic.whole_folder(run.output_dir, TRAINED, overwrite=overwrite) as partial:
            trainer.save_model(partial)
            loading.name_portable_tokenizer(partial)
            # A pickle that nothing reads; training.json says the same and more.
            (partial / "training_args.bin").unlink()
            trainer.state.save_to_json(str(partial / "trainer_state.json"))
            if "test" in splits:
                predicted, measured = predict(partial, splits["test"], run)
                metrics |= measured
                rows = [f"{number}\t{run.task.labels[label]}" for number, label in enumerate(predicted)]
                atomic.write_text(partial / "predict_results.txt", "\n".join(["index\tprediction", *rows, ""]))
            finished.write_reports(partial, metrics, run, start, splits)
        keep({name: value for name, value in metrics.items() if isinstance(value, (int, float))})
    shutil.rmtree(work, ignore_errors=True)
    return metrics


def _fit(settings: TrainingSettings, trainer: Any, work: Path) -> dict[str, Any]:
    """Train from the newest checkpoint in `work` on; the metrics are those of a training that was never stopped."""
    checkpoint = newest_checkpoint(work, scaled=settings.fp16)
    if checkpoint and settings.selects_best and settings.early_stopping_patience:
        stopped = stopped_early(Path(checkpoint), settings.early_stopping_patience)
        if stopped is not None:  # just before its model was written: no step is left
            trainer.args.max_steps = stopped
    if settings.save_strategy == "no":  # it is never gone on with
        return fit(settings, trainer, checkpoint)
    trainer.add_callback(logging_what_is_saved())
    metrics: dict[str, Any] = fit(settings, trainer, checkpoint)
    # Trainer's is over the steps since it was started.
    loss = mean_loss(trainer.state.log_history)
    for row in trainer.state.log_history:
        row |= {"train_loss": loss} if "train_loss" in row else {}
    return metrics | {"train_loss": loss}


def _evaluate(run: TrainingRun, splits: dict[str, list[Item]]) -> dict[str, Any]:
    """The metrics of a model that is there."""
    metrics: dict[str, Any] = {}
    if "validation" in splits:
        # Trainer still wants a folder of its own.
        with tempfile.TemporaryDirectory(prefix="merginguriel.") as work:
            metrics |= evaluate(run.settings, _trainer(run, Path(work), run.output_dir, splits)[0])
    if "test" in splits:
        metrics |= predict(run.output_dir, splits["test"], run)[1]
    return metrics


def _trainer(
    run: TrainingRun, work: Path, start: Path, splits: dict[str, list[Item]]
) -> tuple[Any, TrimmedVocabulary | None]:
    """(Trainer, the TrimmedVocabulary that its model is to be given back or None)"""
    model, tokenizer = loading.load_classifier(start, "cpu", torch.float32)
    longest = loading.longest_input(model, run.max_tokens)
    model_folder.tell_task(model.config, run.task, run.max_tokens)
    datasets = {name: encode(tokenizer, items, longest, model) for name, items in splits.items() if name != "test"}
    trimmed = trim_vocabulary(run.settings, model, datasets) if "train" in splits else None
    return make_trainer(run.settings, work, model, tokenizer, datasets, run.task.metric), trimmed


def predict(folder: Path, items: list[Item], run: TrainingRun) -> tuple[np.ndarray, dict[str, Any]]:
    """Predicted labels (items,) and metrics of a saved model, by the evaluator that all commands share."""
    device = device_of(run.settings)
    model = loading.load_model(folder, device, devices.evaluation_dtype(device))
    texts, labels, locales = zip(*items)
    # A worker that trains many models parses their one tokenizer once.
    tokens = TOKENS.tokens(folder, list(texts), loading.longest_input(model, run.max_tokens))
    predicted = scoring.logits(model, tokens, "predicting").argmax(-1)
    hits = Counter(locale for locale, right in zip(locales, predicted == labels) if right)
    totals = Counter(locales)
    return predicted, {
        "predict_accuracy": hits.total() / len(items),
        "predict_samples": len(items),
        f"predict_{run.task.metric}": METRICS[run.task.metric](predicted, np.array(labels)),
        "predict_accuracy_by_locale": {
            locale: hits[locale] / totals[locale] for locale in run.locales if locale in totals
        },
    }
