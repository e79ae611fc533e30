"""One Trainer set-up for all training commands: shared initial head, dynamic padding, whole or resumable."""

import contextlib
import functools
import logging
import random
import shutil
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

from auto_merge_llm.errors import InputError

from merginguriel.utils import massive, models, naming, records, tracking

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
    warmup_steps: int = 0
    lr_scheduler_type: str = "linear"
    max_steps: int | None = None
    max_seq_length: int = 128
    seed: int = 42
    fp16: bool = False
    bf16: bool = False
    tf32: bool = False
    use_cpu: bool = False
    gradient_checkpointing: bool = False
    torch_compile: bool = False
    cuda_graphs: bool = False
    eval_strategy: str = "epoch"
    early_stopping_patience: int = 3
    load_best_model_at_end: bool = True
    save_total_limit: int = 2
    save_strategy: str = "epoch"
    logging_steps: int = 50
    wandb_project: str | None = None  # None: nothing is tracked
    max_train_samples: int | None = None
    max_eval_samples: int | None = None
    max_predict_samples: int | None = None
    text_column: str = "utt"
    label_column: str = "intent"

    @property
    def device(self) -> str:
        from merginguriel.utils import scoring

        return "cpu" if self.use_cpu else scoring.default_device()

    @property
    def selects_best(self) -> bool:
        """Whether the best epoch by validation accuracy is kept, not the last, and training may stop early."""
        return self.load_best_model_at_end and self.eval_strategy == self.save_strategy == "epoch"


class Item(NamedTuple):
    text: str
    label: int  # indexes massive.INTENTS
    locale: str


def train(settings: TrainingSettings, *, do_train: bool, do_eval: bool, do_predict: bool,
          overwrite: bool = False, progress: Callable[[float], None] = lambda share: None) -> dict:
    """Fine-tune from the shared initial checkpoint and return the metrics.

    `output_dir` appears only when the model is whole. Until then, checkpoints stand in
    `output_dir`.training, and the same call goes on from the newest of them. `progress` is told the share of the steps
    that are done.
    """
    from filelock import FileLock, Timeout

    if do_train and settings.output_dir.exists() and not overwrite:
        raise InputError(f"{settings.output_dir} exists already; use --overwrite-output-dir to train it again")
    if do_train:
        records.check_replaceable(settings.output_dir, overwrite)
    check_environment(settings)
    wanted = {"train": do_train, "validation": do_eval, "test": do_predict}
    limits = {"train": settings.max_train_samples, "validation": settings.max_eval_samples,
              "test": settings.max_predict_samples}
    splits = load(settings, {name: limits[name] for name, needed in wanted.items() if needed})
    if not do_train:
        # Trainer still wants a folder of its own.
        return _evaluate(settings, settings.output_dir.with_name(settings.output_dir.name + ".evaluating"), splits)
    work = unfinished(settings.output_dir)
    start = models.initial_checkpoint(settings.base_model, settings.seed, settings.models_root)
    work.parent.mkdir(parents=True, exist_ok=True)
    lock = work.with_name(f".{work.name}.lock")
    try:
        with FileLock(lock, timeout=0):
            try:
                return _train(settings, work, start, splits, overwrite, progress)
            finally:
                lock.unlink(missing_ok=True)
    except Timeout:
        raise InputError(f"another process trains {settings.output_dir}; wait for it or choose another "
                         "--output-dir") from None


def unfinished(output_dir: Path) -> Path:
    """Where the checkpoints of a run stand until its model is whole."""
    return output_dir.with_name(output_dir.name + ".training")


def _train(settings: TrainingSettings, work: Path, start: Path, splits: dict[str, list[Item]], overwrite: bool,
           progress: Callable[[float], None]) -> dict:
    record = {**records.plain(asdict(settings)), "locales": list(settings.locales)}
    _claim(work, record, overwrite)
    trainer, vocabulary = _trainer(settings, work, start, splits)
    trainer.add_callback(_reporting_progress(progress))
    metrics = {}
    with _tracking(settings, trainer, record) as tracked:
        metrics |= fit(trainer, _newest_checkpoint(work))
        if "validation" in splits:
            metrics |= trainer.evaluate(metric_key_prefix="eval")
        if vocabulary:
            vocabulary.restore()
        with records.whole_folder(settings.output_dir, overwrite=overwrite) as partial:
            trainer.save_model(partial)
            # A pickle that nothing reads; training.json says the same and more.
            (partial / "training_args.bin").unlink()
            trainer.state.save_to_json(str(partial / "trainer_state.json"))
            if "test" in splits:
                predicted, measured = _predict(partial, splits["test"], settings)
                metrics |= measured
                rows = [f"{number}\t{massive.INTENTS[label]}" for number, label in enumerate(predicted)]
                records.write_text(partial / "predict_results.txt", "\n".join(["index\tprediction", *rows, ""]))
            _write_reports(partial, metrics, record, start)
        tracked({name: value for name, value in metrics.items() if isinstance(value, (int, float))})
    shutil.rmtree(work, ignore_errors=True)
    return metrics


def fit(trainer, checkpoint: str | None, max_gpu_memory: int | None = None) -> dict:
    """Train, from `checkpoint` on where there is one, and return the metrics; InputError where memory ends.

    `max_gpu_memory`, in MiB, is what the caller allowed of the GPU.
    """
    import torch

    try:
        return trainer.train(resume_from_checkpoint=checkpoint).metrics
    except torch.cuda.OutOfMemoryError:
        what, more = (f"--max-gpu-memory {max_gpu_memory}", "more of it") if max_gpu_memory else (
            "the GPU's memory", "fewer workers")
        raise InputError(f"{what} is too small; use smaller batches with --gradient-accumulation-steps, "
                         f"--gradient-checkpointing, --bf16, or {more}") from None


def free_memory() -> None:
    """Give back what a finished run holds on the GPU; a Trainer refers to itself, so it would linger."""
    import gc

    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _evaluate(settings: TrainingSettings, work: Path, splits: dict[str, list[Item]]) -> dict:
    metrics = {}
    if "validation" in splits:
        metrics |= _trainer(settings, work, settings.output_dir, splits)[0].evaluate(metric_key_prefix="eval")
        shutil.rmtree(work, ignore_errors=True)
    if "test" in splits:
        metrics |= _predict(settings.output_dir, splits["test"], settings)[1]
    return metrics


def check_environment(settings: TrainingSettings) -> None:
    """Raise InputError where the device lacks the precision or kernels that were asked for, or wandb is missing."""
    import torch

    if settings.wandb_project is not None:
        tracking.check_installed()

    on_gpu = settings.device == "cuda"
    if settings.fp16 and not on_gpu:
        raise InputError("--fp16 needs a GPU; on a CPU use --bf16 or neither")
    if settings.bf16 and on_gpu and not torch.cuda.is_bf16_supported(including_emulation=False):
        raise InputError(f"{torch.cuda.get_device_name()} has no bfloat16; use --fp16")
    if settings.tf32 and not (on_gpu and torch.cuda.get_device_capability() >= (8, 0)):
        raise InputError("--tf32 needs a GPU since Ampere; leave it out")
    if settings.cuda_graphs and not on_gpu:
        raise InputError("--cuda-graphs needs a CUDA GPU; leave it out")


def _trainer(settings: TrainingSettings, work: Path, start: Path, splits: dict[str, list[Item]]):
    """(Trainer, the TrimmedVocabulary that its model is to be given back or None)"""
    import torch

    model, tokenizer = models.load_classifier(start, "cpu", torch.float32)
    longest = models.longest_input(model, settings.max_seq_length)
    datasets = {name: encode(tokenizer, items, longest) for name, items in splits.items() if name != "test"}
    vocabulary = trim_vocabulary(settings, model, datasets) if "train" in splits else None
    return make_trainer(settings, work, model, tokenizer, datasets), vocabulary


def trim_vocabulary(settings: TrainingSettings, model, datasets: dict[str, list[dict]]):
    """The TrimmedVocabulary of `model` and of what `encode` made; None, and nothing changed, under weight decay."""
    from merginguriel.utils.vocabulary import TrimmedVocabulary

    if settings.weight_decay:
        return None
    rows = [row for rows in datasets.values() for row in rows]
    vocabulary = TrimmedVocabulary(model, [row["input_ids"] for row in rows])
    for row in rows:
        row["input_ids"] = vocabulary.ids(row["input_ids"])
    return vocabulary


def make_trainer(settings: TrainingSettings, work: Path, model, tokenizer, datasets: dict[str, list[dict]]):
    """A Trainer of `model` on what `encode` made of the train and validation split, or of one of them.

    Its checkpoints go to `work`.
    """
    import transformers

    evaluates = "train" in datasets and "validation" in datasets
    padding = {}
    kind = transformers.Trainer
    if settings.cuda_graphs:
        from merginguriel.utils import cuda_graphs

        padding["pad_to_multiple_of"] = cuda_graphs.PAD_TO_MULTIPLE_OF
        kind = _graphed_trainer(settings.per_device_train_batch_size)
    trainer = kind(
        model=model, args=_arguments(settings, work, evaluates), processing_class=tokenizer,
        data_collator=transformers.DataCollatorWithPadding(tokenizer, **padding),
        train_dataset=datasets.get("train"), eval_dataset=datasets.get("validation"), compute_metrics=_metrics,
        callbacks=[transformers.EarlyStoppingCallback(settings.early_stopping_patience)]
        if evaluates and settings.selects_best else None)
    # XLM-R's loss is the mean of its batch whatever it is told, so Trainer has to divide by the accumulation steps.
    trainer.model_accepts_loss_kwargs = False
    _log_to_stderr(trainer)
    return trainer


def _graphed_trainer(batch_size: int):
    """A Trainer whose passes over full batches are CUDA graphs."""
    import torch
    import transformers

    from merginguriel.utils import cuda_graphs

    class GraphedTrainer(transformers.Trainer):
        _passes = None

        def training_step(self, model, inputs, num_items_in_batch=None):
            if self._passes is None:
                self._passes = cuda_graphs.GraphedPasses(lambda batch: self._loss(model, batch), model.parameters())
            inputs = {name: values for name, values in self._prepare_inputs(inputs).items()
                      if isinstance(values, torch.Tensor)}
            full = (len(inputs["labels"]) == batch_size
                    and self.current_gradient_accumulation_steps == self.args.gradient_accumulation_steps)
            if full:
                if not model.training:
                    model.train()
                return self._passes(inputs)
            self._passes.hold_gradients()
            return super().training_step(model, inputs, num_items_in_batch)

        @functools.cached_property
        def _operations_a_token(self):
            return 6 * self.model.num_parameters(exclude_embeddings=True)

        def floating_point_ops(self, inputs):
            # As Trainer counts them, which goes through all parameters again at each step.
            return self._operations_a_token * inputs["input_ids"].numel()

        def _loss(self, model, batch):
            with self.compute_loss_context_manager():
                return self.compute_loss(model, batch) / self.args.gradient_accumulation_steps

    return GraphedTrainer


def _predict(folder: Path, items: list[Item], settings: TrainingSettings):
    """Predicted labels (items,) and metrics of a saved model, by the evaluator that all commands share."""
    from merginguriel.utils import scoring

    device = settings.device
    model = models.load_model(folder, device, scoring.evaluation_dtype(device))
    texts, labels, locales = zip(*items)
    # A worker that trains many models parses their one tokenizer once.
    tokens = scoring.TOKENS.tokens(folder, list(texts), models.longest_input(model, settings.max_seq_length))
    predicted = scoring.logits(model, tokens, model.config.pad_token_id, "predicting").argmax(-1)
    hits = Counter(locale for locale, right in zip(locales, predicted == labels) if right)
    totals = Counter(locales)
    return predicted, {"predict_accuracy": hits.total() / len(items), "predict_samples": len(items),
                       "predict_accuracy_by_locale": {locale: hits[locale] / totals[locale]
                                                      for locale in settings.locales if locale in totals}}


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


def _reporting_progress(progress: Callable[[float], None]):
    import transformers

    class Reporting(transformers.TrainerCallback):
        def on_log(self, args, state, control, **kwargs):
            progress(state.global_step / state.max_steps)

    return Reporting()


@contextlib.contextmanager
def _tracking(settings: TrainingSettings, trainer, record: dict):
    """Yield what keeps values in the tracked run, or does nothing where none was asked for."""
    if settings.wandb_project is None:
        yield lambda values: None
        return
    import transformers

    name = naming.training_run_name(settings.base_model, settings.locales, settings.learning_rate,
                                    settings.num_train_epochs)
    run = tracking.start(settings.wandb_project, name, {**record, "num_languages": len(settings.locales)})

    class Tracking(transformers.TrainerCallback):
        def on_log(self, args, state, control, logs=None, **kwargs):
            run.log({**(logs or {}), "step": state.global_step})

    trainer.add_callback(Tracking())
    try:
        yield run.log
    finally:
        run.finish()


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


def load(settings: TrainingSettings, limits: dict[str, int | None]) -> dict[str, list[Item]]:
    """Items of all locales by split; a limit counts over the locales together, after a seeded shuffle."""
    locales = list(settings.locales)
    several = len(locales) > 1
    if several:
        log.info("Loading and combining %d language configurations: %s", len(locales), locales)
    splits = {split: [] for split in limits}
    for locale in locales:
        if several:
            log.info("Loading %s...", locale)
        for split, items in splits.items():
            part = massive.load_split(settings.dataset_name, locale, split, settings.text_column,
                                      settings.label_column)
            items += (Item(text, label, locale) for text, label in zip(part.texts, part.labels))
            if split == "train" or "train" not in limits:
                log.info("✓ %s: %d %s samples", locale, len(part), "training" if split == "train" else split)
    if several:
        log.info("Combining datasets...")
        for split, items in splits.items():
            log.info("Combined %s set: %d samples", "training" if split == "train" else split, len(items))
        log.info("Shuffling datasets with seed %d", settings.seed)
    for split, limit in limits.items():
        if several or limit is not None:
            random.Random(settings.seed).shuffle(splits[split])
            splits[split] = splits[split][:limit]
    if "train" in splits:
        counts = Counter(item.label for item in splits["train"])
        log.info("Class distribution in train set:")
        if several:
            log.info("  Languages: %d languages: %s", len(locales), locales)
        log.info("  Total samples: %d", len(splits["train"]))
        log.info("  Intents: %d, of %d to %d samples", len(counts), min(counts.values()), max(counts.values()))
    return splits


def encode(tokenizer, items: list[Item], max_length: int) -> list[dict]:
    encoded = tokenizer([item.text for item in items], truncation=True, max_length=max_length)
    return [{"input_ids": ids, "attention_mask": mask, "labels": item.label}
            for ids, mask, item in zip(encoded["input_ids"], encoded["attention_mask"], items)]


def by_version(settings: dict, known, version: str) -> dict:
    """Arguments of transformers 4's names under those that the installed version knows; None is left out."""
    settings = {name: value for name, value in settings.items() if value is not None}
    for older, newer in {"no_cuda": "use_cpu", "evaluation_strategy": "eval_strategy",
                         "gradient_checkpointing": "activation_checkpointing"}.items():
        if older in settings and newer in known:
            settings[newer] = settings.pop(older)
    # transformers 5 takes a share of the steps, below 1, as warmup_steps.
    share = settings.pop("warmup_ratio", 0)
    if share:
        settings["warmup_ratio" if version.startswith("4.") else "warmup_steps"] = share
    return settings


def _arguments(settings: TrainingSettings, work: Path, evaluates: bool):
    import transformers

    on_gpu = settings.device == "cuda"
    kind = transformers.TrainingArguments
    return kind(**by_version(dict(
        output_dir=str(work), use_cpu=not on_gpu,
        num_train_epochs=settings.num_train_epochs, max_steps=settings.max_steps,
        learning_rate=settings.learning_rate, lr_scheduler_type=settings.lr_scheduler_type,
        warmup_ratio=settings.warmup_ratio, warmup_steps=settings.warmup_steps,
        per_device_train_batch_size=settings.per_device_train_batch_size,
        per_device_eval_batch_size=settings.per_device_eval_batch_size,
        gradient_accumulation_steps=settings.gradient_accumulation_steps,
        gradient_checkpointing=settings.gradient_checkpointing,
        weight_decay=settings.weight_decay, optim="adamw_torch_fused" if on_gpu else "adamw_torch",
        seed=settings.seed, fp16=settings.fp16, bf16=settings.bf16, tf32=settings.tf32 or None,
        torch_compile=settings.torch_compile,
        save_strategy=settings.save_strategy, save_total_limit=settings.save_total_limit,
        evaluation_strategy=settings.eval_strategy if evaluates else "no",
        load_best_model_at_end=evaluates and settings.selects_best,
        metric_for_best_model="accuracy" if evaluates else None,
        greater_is_better=True if evaluates else None,
        logging_steps=settings.logging_steps,
        # The filter would wait for the GPU at every step; a loss that is not finite is seen in the log.
        logging_nan_inf_filter=not on_gpu,
        # Copies from pinned memory run beside the computation.
        dataloader_pin_memory=on_gpu, accelerator_config={"non_blocking": on_gpu}, disable_tqdm=not sys.stderr.isatty(),
        report_to="none"), kind.__dataclass_fields__, transformers.__version__))


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
