"""One Trainer set-up for all training commands: shared initial head, dynamic padding, whole or resumable."""

import logging
import shutil
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from auto_merge_llm.errors import InputError

from merginguriel.utils import massive, models, records

log = logging.getLogger(__name__)
_SHOWN = ("loss", "learning_rate", "eval_loss", "eval_accuracy")


@dataclass(frozen=True)
class TrainingSettings:
    """What a training run is made of; the names are Hugging Face's."""

    base_model: str
    dataset_name: str
    locales: tuple[str, ...]
    output_dir: Path
    models_root: Path
    num_train_epochs: float = 15
    learning_rate: float = 5e-5
    per_device_train_batch_size: int = 128
    per_device_eval_batch_size: int = 128
    gradient_accumulation_steps: int = 1
    weight_decay: float = 0.0
    warmup_ratio: float = 0.0
    max_seq_length: int = 128
    seed: int = 42
    fp16: bool = False
    bf16: bool = False
    early_stopping_patience: int = 3
    save_total_limit: int = 2
    save_strategy: str = "epoch"
    logging_steps: float = 50
    max_train_samples: int | None = None
    max_eval_samples: int | None = None
    max_predict_samples: int | None = None
    text_column: str = "utt"
    label_column: str = "intent"


def train(settings: TrainingSettings, *, do_train: bool, do_eval: bool, do_predict: bool,
          overwrite: bool = False) -> dict:
    """Fine-tune from the shared initial checkpoint and return the metrics.

    `output_dir` appears only when the model is whole. Until then, checkpoints stand in
    `output_dir`.training, and the same call goes on from the newest of them.
    """
    if do_train and settings.output_dir.exists() and not overwrite:
        raise InputError(f"{settings.output_dir} exists already; use --overwrite-output-dir to train it again")
    if do_train:
        records.check_replaceable(settings.output_dir, overwrite)
    wanted = {"train": do_train, "validation": do_eval, "test": do_predict}
    limits = {"train": settings.max_train_samples, "validation": settings.max_eval_samples,
              "test": settings.max_predict_samples}
    splits = {name: _load(settings, name, limits[name]) for name, needed in wanted.items() if needed}

    import torch
    import transformers

    start = (models.initial_checkpoint(settings.base_model, settings.seed, settings.models_root)
             if do_train else settings.output_dir)
    model, tokenizer = models.load_classifier(start, "cpu", torch.float32)
    longest = models.longest_input(model, settings.max_seq_length)
    datasets = {name: _encode(tokenizer, rows, longest) for name, rows in splits.items() if name != "test"}
    record = {name: str(value) if isinstance(value, Path) else value for name, value in asdict(settings).items()}
    record["locales"] = list(settings.locales)
    # Without training, Trainer still wants a folder of its own.
    work = settings.output_dir.with_name(settings.output_dir.name + (".training" if do_train else ".evaluating"))
    if do_train:
        _claim(work, record, overwrite)
    trainer = transformers.Trainer(
        model=model, args=_arguments(settings, work, do_train and do_eval), processing_class=tokenizer,
        data_collator=transformers.DataCollatorWithPadding(tokenizer),
        train_dataset=datasets.get("train"), eval_dataset=datasets.get("validation"),
        compute_metrics=_metrics,
        callbacks=[transformers.EarlyStoppingCallback(settings.early_stopping_patience)]
        if _selects_best(settings, do_train and do_eval) else None)
    _log_to_stderr(trainer)

    metrics = {}
    if do_train:
        trained = trainer.train(resume_from_checkpoint=_newest_checkpoint(work))
        metrics |= trained.metrics
    if do_eval:
        metrics |= trainer.evaluate(metric_key_prefix="eval")
    if not do_train:
        if do_predict:
            metrics |= _predict(start, splits["test"], settings)[1]
    else:
        with records.whole_folder(settings.output_dir, overwrite=overwrite) as partial:
            trainer.save_model(partial)
            # A pickle that nothing reads; training.json says the same and more.
            (partial / "training_args.bin").unlink()
            trainer.state.save_to_json(str(partial / "trainer_state.json"))
            if do_predict:
                predicted, measured = _predict(partial, splits["test"], settings)
                metrics |= measured
                rows = [f"{number}\t{massive.INTENTS[label]}" for number, label in enumerate(predicted)]
                records.write_text(partial / "predict_results.txt", "\n".join(["index\tprediction", *rows, ""]))
            _write_reports(partial, metrics, record, start)
    shutil.rmtree(work, ignore_errors=True)
    return metrics


def _predict(folder: Path, rows: list[tuple[str, int]], settings: TrainingSettings):
    """Predicted labels (items,) and metrics of a saved model, by the evaluator that all commands share."""
    from merginguriel.utils import scoring

    device = scoring.default_device()
    model, tokenizer = models.load_classifier(folder, device, scoring.evaluation_dtype(device))
    texts, labels = zip(*rows)
    token_ids = scoring.tokenise(tokenizer, list(texts), models.longest_input(model, settings.max_seq_length))
    predicted = scoring.logits(model, token_ids, tokenizer.pad_token_id, "predicting").argmax(-1)
    return predicted, {"predict_accuracy": float((predicted == labels).mean()), "predict_samples": len(rows)}


def _log_to_stderr(trainer) -> None:
    """Losses and metrics as log lines; Trainer itself would print dicts to stdout, where results belong."""
    import transformers

    class Log(transformers.TrainerCallback):
        def on_log(self, args, state, control, logs=None, **kwargs):
            values = [f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
                      for name, value in (logs or {}).items() if name in _SHOWN]
            if values:
                log.info("epoch %.2f: %s", state.epoch or 0, ", ".join(values))

    class Progress(transformers.ProgressCallback):
        def on_log(self, args, state, control, logs=None, **kwargs):
            pass

    trainer.remove_callback(transformers.PrinterCallback)
    trainer.remove_callback(transformers.ProgressCallback)
    if sys.stderr.isatty():
        trainer.add_callback(Progress)
    trainer.add_callback(Log)


def _claim(work: Path, record: dict, overwrite: bool) -> None:
    """Make the folder of an unfinished run, or find the one that the same settings have left."""
    if overwrite or not list(work.glob("checkpoint-*")):
        shutil.rmtree(work, ignore_errors=True)
    settings = work / "settings.json"
    elsewhere = ("output_dir", "models_root")
    if settings.exists() and {**records.read_json(settings), **{name: record[name] for name in elsewhere}} != record:
        raise InputError(f"{work} holds an unfinished run with other settings; repeat those to finish it, or use "
                         "--overwrite-output-dir to start again")
    records.write_json(settings, record)


def _load(settings: TrainingSettings, split: str, limit: int | None) -> list[tuple[str, int]]:
    """(text, label) of all locales; the limit counts over them together, after a seeded shuffle."""
    rows = []
    for locale in settings.locales:
        part = massive.load_split(settings.dataset_name, locale, split, settings.text_column,
                                  settings.label_column)
        log.info("✓ %s: %d %s samples", locale, len(part), "training" if split == "train" else split)
        rows += zip(part.texts, part.labels)
    if limit is not None:
        import random

        random.Random(settings.seed).shuffle(rows)
        rows = rows[:limit]
    return rows


def _encode(tokenizer, rows, max_length: int) -> list[dict]:
    texts, labels = zip(*rows)
    encoded = tokenizer(list(texts), truncation=True, max_length=max_length)
    return [{"input_ids": ids, "attention_mask": mask, "labels": label}
            for ids, mask, label in zip(encoded["input_ids"], encoded["attention_mask"], labels)]


def _selects_best(settings: TrainingSettings, evaluates: bool) -> bool:
    return evaluates and settings.save_strategy == "epoch"


def _arguments(settings: TrainingSettings, work: Path, evaluates: bool):
    import torch
    import transformers

    warmup = ({"warmup_ratio": settings.warmup_ratio} if transformers.__version__.startswith("4.")
              else {"warmup_steps": settings.warmup_ratio})
    return transformers.TrainingArguments(
        output_dir=str(work),
        num_train_epochs=settings.num_train_epochs,
        learning_rate=settings.learning_rate,
        per_device_train_batch_size=settings.per_device_train_batch_size,
        per_device_eval_batch_size=settings.per_device_eval_batch_size,
        gradient_accumulation_steps=settings.gradient_accumulation_steps,
        weight_decay=settings.weight_decay,
        seed=settings.seed, fp16=settings.fp16, bf16=settings.bf16,
        save_strategy=settings.save_strategy, save_total_limit=settings.save_total_limit,
        eval_strategy="epoch" if evaluates else "no",
        load_best_model_at_end=_selects_best(settings, evaluates),
        metric_for_best_model="accuracy" if evaluates else None,
        greater_is_better=True if evaluates else None,
        logging_steps=settings.logging_steps,
        dataloader_pin_memory=torch.cuda.is_available(), disable_tqdm=not sys.stderr.isatty(),
        report_to="none", **warmup)


def _metrics(predictions) -> dict:
    return {"accuracy": float((predictions.predictions.argmax(-1) == predictions.label_ids).mean())}


def _newest_checkpoint(work: Path) -> str | None:
    """The newest checkpoint that is whole: Trainer writes trainer_state.json last."""
    steps = {int(path.name.rpartition("-")[2]): path for path in work.glob("checkpoint-*")
             if (path / "trainer_state.json").is_file()}
    if not steps:
        return None
    log.info("going on from %s", steps[max(steps)])
    return str(steps[max(steps)])


def _write_reports(folder: Path, metrics: dict, record: dict, start: Path) -> None:
    for prefix in ("train", "eval", "predict"):
        part = {name: value for name, value in metrics.items() if name.startswith(f"{prefix}_")}
        if part:
            records.write_json(folder / f"{prefix}_results.json", part)
    records.write_json(folder / "all_results.json", metrics)
    records.write_json(folder / "training.json", {
        "settings": record, "initial_checkpoint": str(start), "finished": records.utc_now(),
        "environment": records.run_environment()})
