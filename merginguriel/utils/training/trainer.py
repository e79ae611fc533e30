"""One Hugging Face Trainer set-up for all training commands."""

import functools
import logging
import sys
from pathlib import Path

from auto_merge_llm.errors import InputError

from merginguriel.utils.models.devices import default_device
from merginguriel.utils.training import tracking
from merginguriel.utils.training.callbacks import log_to_stderr
from merginguriel.utils.training.settings import TrainingSettings

log = logging.getLogger(__name__)


def device_of(settings: TrainingSettings) -> str:
    return "cpu" if settings.use_cpu else default_device()


def fit(trainer, checkpoint: str | None, max_gpu_memory: int | None = None) -> dict:
    """Train, from `checkpoint` on where there is one, and return the metrics; InputError where memory ends.

    `max_gpu_memory`, in MiB, is what the caller allowed of the GPU.
    """
    import torch

    try:
        return trainer.train(resume_from_checkpoint=checkpoint).metrics
    except torch.cuda.OutOfMemoryError:
        what, more = (
            (f"--max-gpu-memory {max_gpu_memory}", "more of it")
            if max_gpu_memory
            else ("the GPU's memory", "fewer workers")
        )
        raise InputError(
            f"{what} is too small; use smaller batches with --gradient-accumulation-steps, "
            f"--gradient-checkpointing, --bf16, or {more}"
        ) from None


def free_memory() -> None:
    """Give back what a finished run holds on the GPU; a Trainer refers to itself, so it would linger."""
    import gc

    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def check_environment(settings: TrainingSettings) -> None:
    """Raise InputError where the device lacks the precision or kernels that were asked for, or wandb is missing."""
    import torch

    if settings.wandb_project is not None:
        tracking.check_installed()

    on_gpu = device_of(settings) == "cuda"
    if settings.fp16 and not on_gpu:
        raise InputError("--fp16 needs a GPU; on a CPU use --bf16 or neither")
    if settings.bf16 and on_gpu and not torch.cuda.is_bf16_supported(including_emulation=False):
        raise InputError(f"{torch.cuda.get_device_name()} has no bfloat16; use --fp16")
    if settings.tf32 and not (on_gpu and torch.cuda.get_device_capability() >= (8, 0)):
        raise InputError("--tf32 needs a GPU since Ampere; leave it out")
    if settings.cuda_graphs and not on_gpu:
        raise InputError("--cuda-graphs needs a CUDA GPU; leave it out")


def trim_vocabulary(settings: TrainingSettings, model, datasets: dict[str, list[dict]]):
    """The TrimmedVocabulary of `model` and of what `encode` made; None, and nothing changed, under weight decay."""
    from merginguriel.utils.training.vocabulary import TrimmedVocabulary

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
        from merginguriel.utils.training import cuda_graphs

        padding["pad_to_multiple_of"] = cuda_graphs.PAD_TO_MULTIPLE_OF
        kind = _graphed_trainer(settings.per_device_train_batch_size)
    trainer = kind(
        model=model,
        args=_arguments(settings, work, evaluates),
        processing_class=tokenizer,
        data_collator=transformers.DataCollatorWithPadding(tokenizer, **padding),
        train_dataset=datasets.get("train"),
        eval_dataset=datasets.get("validation"),
        compute_metrics=_metrics,
        callbacks=[transformers.EarlyStoppingCallback(settings.early_stopping_patience)]
        if evaluates and settings.selects_best
        else None,
    )
    # XLM-R's loss is the mean of its batch whatever it is told, so Trainer has to divide by the accumulation steps.
    trainer.model_accepts_loss_kwargs = False
    log_to_stderr(trainer)
    return trainer


def _graphed_trainer(batch_size: int):
    """A Trainer whose passes over full batches are CUDA graphs."""
    import torch
    import transformers

    from merginguriel.utils.training import cuda_graphs

    class GraphedTrainer(transformers.Trainer):
        _passes = None

        def training_step(self, model, inputs, num_items_in_batch=None):
            if self._passes is None:
                self._passes = cuda_graphs.GraphedPasses(lambda batch: self._loss(model, batch), model.parameters())
            inputs = {
                name: values
                for name, values in self._prepare_inputs(inputs).items()
                if isinstance(values, torch.Tensor)
            }
            full = (
                len(inputs["labels"]) == batch_size
                and self.current_gradient_accumulation_steps == self.args.gradient_accumulation_steps
            )
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


def by_version(settings: dict, known, version: str) -> dict:
    """Arguments of transformers 4's names under those that the installed version knows; None is left out."""
    settings = {name: value for name, value in settings.items() if value is not None}
    for older, newer in {
        "no_cuda": "use_cpu",
        "evaluation_strategy": "eval_strategy",
        "gradient_checkpointing": "activation_checkpointing",
    }.items():
        if older in settings and newer in known:
            settings[newer] = settings.pop(older)
    # transformers 5 takes a share of the steps, below 1, as warmup_steps.
    share = settings.pop("warmup_ratio", 0)
    if share:
        settings["warmup_ratio" if version.startswith("4.") else "warmup_steps"] = share
    return settings


def _arguments(settings: TrainingSettings, work: Path, evaluates: bool):
    import transformers

    on_gpu = device_of(settings) == "cuda"
    kind = transformers.TrainingArguments
    return kind(
        **by_version(
            dict(
                output_dir=str(work),
                use_cpu=not on_gpu,
                num_train_epochs=settings.num_train_epochs,
                max_steps=settings.max_steps,
                learning_rate=settings.learning_rate,
                lr_scheduler_type=settings.lr_scheduler_type,
                warmup_ratio=settings.warmup_ratio,
                warmup_steps=settings.warmup_steps,
                per_device_train_batch_size=settings.per_device_train_batch_size,
                per_device_eval_batch_size=settings.per_device_eval_batch_size,
                gradient_accumulation_steps=settings.gradient_accumulation_steps,
                gradient_checkpointing=settings.gradient_checkpointing,
                weight_decay=settings.weight_decay,
                optim="adamw_torch_fused" if on_gpu else "adamw_torch",
                seed=settings.seed,
                fp16=settings.fp16,
                bf16=settings.bf16,
                tf32=settings.tf32 or None,
                torch_compile=settings.torch_compile,
                save_strategy=settings.save_strategy,
                save_total_limit=settings.save_total_limit,
                evaluation_strategy=settings.eval_strategy if evaluates else "no",
                load_best_model_at_end=evaluates and settings.selects_best,
                metric_for_best_model="accuracy" if evaluates else None,
                greater_is_better=True if evaluates else None,
                logging_steps=settings.logging_steps,
                # The filter would wait for the GPU at every step; a loss that is not finite is seen in the log.
                logging_nan_inf_filter=not on_gpu,
                # Copies from pinned memory run beside the computation.
                dataloader_pin_memory=on_gpu,
                accelerator_config={"non_blocking": on_gpu},
                disable_tqdm=not sys.stderr.isatty(),
                report_to="none",
            ),
            kind.__dataclass_fields__,
            transformers.__version__,
        )
    )


def _metrics(predictions) -> dict:
    return {"accuracy": float((predictions.predictions.argmax(-1) == predictions.label_ids).mean())}
