"""One Hugging Face Trainer set-up for all training commands."""

import gc
from pathlib import Path
from typing import Any

import torch
import transformers  # loads what is named: Trainer, which takes seconds, where one is made
from auto_merge_llm.errors import InputError

from merginguriel.utils.evaluation.metrics import measure_all
from merginguriel.utils.models.devices import default_device, precision_kept, tf32_products
from merginguriel.utils.storage.disk import NO_SPACE, is_full
from merginguriel.utils.training import ranks, tracking, vocabulary
from merginguriel.utils.training.batches import Collator
from merginguriel.utils.training.callbacks import log_to_stderr
from merginguriel.utils.training.cuda_graphs import PAD_TO_MULTIPLE_OF
from merginguriel.utils.training.few_rows import add_up_in_order
from merginguriel.utils.training.settings import TrainingSettings

# Settings that Trainer does not get; TF32 it would leave on in the process.
_OURS = ("max_seq_length", "cuda_graphs", "tf32", "early_stopping_patience", "wandb_project")
_LIMITS = ("max_train_samples", "max_eval_samples", "max_predict_samples")
_SMALLER = "use smaller batches with --gradient-accumulation-steps, --gradient-checkpointing, --bf16"


def device_of(settings: TrainingSettings) -> str:
    """cuda or cpu: where a run of this process trains and is evaluated."""
    return "cpu" if settings.use_cpu else default_device()


def check_environment(settings: TrainingSettings, prefix: str = "--") -> None:
    """Raise InputError where the device lacks the precision or kernels that were asked for, or wandb is missing.

    `prefix`: how the names of the flags begin.
    """
    if settings.wandb_project is not None:
        tracking.check_installed()
    on_gpu = device_of(settings) == "cuda"
    if settings.fp16 and not on_gpu:
        raise InputError("--fp16 needs a GPU; on a CPU use --bf16 or neither")
    if settings.bf16 and on_gpu and not torch.cuda.is_bf16_supported(including_emulation=False):
        raise InputError(f"{torch.cuda.get_device_name()} has no bfloat16; use --fp16")
    if settings.tf32 and not (on_gpu and torch.cuda.get_device_capability() >= (8, 0)):
        raise InputError(f"{prefix}tf32 needs a GPU since Ampere; leave it out")
    if settings.cuda_graphs and not on_gpu:
        raise InputError(f"{prefix}cuda-graphs needs a CUDA GPU; leave it out")
    if settings.cuda_graphs and ranks.count() > 1:
        raise InputError(f"{prefix}cuda-graphs is for one GPU; leave it out, or start the training without torchrun")


def make_trainer(
    settings: TrainingSettings,
    work: Path,
    model: Any,
    tokenizer: Any,
    datasets: dict[str, list[dict[str, Any]]],
    metric: str,
) -> Any:
    """A Trainer of `model` on what `encode` made of the train and validation split, or of one of them.

    Its checkpoints go to `work`; the best is that of the highest `metric`.
    """
    evaluates = "train" in datasets and "validation" in datasets
    if device_of(settings) == "cuda":
        add_up_in_order(model)
    kind, multiple = transformers.Trainer, 1
    if settings.cuda_graphs:
        from merginguriel.utils.training.graphed_trainer import GraphedTrainer

        kind, multiple = GraphedTrainer, PAD_TO_MULTIPLE_OF
    stopping: list[Any] = []
    patience = settings.early_stopping_patience
    if patience and evaluates and settings.selects_best:
        stopping = [transformers.EarlyStoppingCallback(patience)]
    trainer = kind(
        model=model,
        args=_arguments(settings, work, metric if evaluates else None),
        processing_class=tokenizer,
        data_collator=Collator(model.config.pad_token_id, multiple),
        train_dataset=datasets.get("train"),
        eval_dataset=datasets.get("validation"),
        compute_metrics=_metrics,
        callbacks=stopping,
    )
    # XLM-R's loss is the mean of its batch whatever it is told, so Trainer has to divide by the accumulation steps.
    trainer.model_accepts_loss_kwargs = False
    log_to_stderr(trainer)
    return trainer


def trim_vocabulary(
    settings: TrainingSettings, model: Any, datasets: dict[str, list[dict[str, Any]]]
) -> vocabulary.TrimmedVocabulary | None:
    """The TrimmedVocabulary of `model` and of what `encode` made.

    None, and nothing changed, under weight decay and where more than the embeddings knows the vocabulary.
    """
    if settings.weight_decay or not vocabulary.can_be_trimmed(model):
        return None
    rows = [row for rows in datasets.values() for row in rows]
    trimmed = vocabulary.TrimmedVocabulary(model, [row["input_ids"] for row in rows])
    for row in rows:
        row["input_ids"] = trimmed.ids(row["input_ids"])
    return trimmed


def fit(
    settings: TrainingSettings,
    trainer: Any,
    checkpoint: str | None,
    max_gpu_memory: int | None = None,
    advice: str = _SMALLER,
) -> dict[str, float]:
    """Train, from `checkpoint` on where there is one, and return the metrics; InputError where memory or disk end.

    `max_gpu_memory`, in MiB, is what the caller allowed of the GPU; `advice` says by which flags it needs less.
    """
    try:
        with tf32_products(settings.tf32):
            return trainer.train(resume_from_checkpoint=checkpoint).metrics
    except torch.cuda.OutOfMemoryError:
        what, more = (
            (f"--max-gpu-memory {max_gpu_memory}", "more of it")
            if max_gpu_memory
            else ("the GPU's memory", "fewer workers")
        )
        raise InputError(f"{what} is too small; {advice}, or {more}") from None
    except Exception as error:
        if is_full(error):
            raise InputError(NO_SPACE) from None
        raise


def evaluate(settings: TrainingSettings, trainer: Any) -> dict[str, float]:
    """The metrics on the validation items, in the precision of the training."""
    with tf32_products(settings.tf32):
        return trainer.evaluate(metric_key_prefix="eval")


def free_memory() -> None:
    """Give back what a finished run holds on the GPU; a Trainer refers to itself, so it would linger."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def freeze_modules() -> None:
    """Modules that are loaded by now stay: looking for garbage, in every training, passes them over from now on."""
    if not gc.get_freeze_count():
        _ = transformers.Trainer  # loads it
        gc.collect()
        gc.freeze()


def by_version(settings: dict[str, Any], known: Any, version: str) -> dict[str, Any]:
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


def _arguments(settings: TrainingSettings, work: Path, metric: str | None) -> Any:
    """`metric`: by which the best epoch is kept, None where nothing is evaluated."""
    kind, evaluates, on_gpu = transformers.TrainingArguments, metric is not None, device_of(settings) == "cuda"
    arguments = {name: value for name, value in vars(settings).items() if name not in (*_OURS, *_LIMITS)}
    arguments |= dict(
        output_dir=str(work),
        use_cpu=not on_gpu,
        optim="adamw_torch_fused" if on_gpu else "adamw_torch",
        eval_strategy=settings.eval_strategy if evaluates else "no",
        load_best_model_at_end=evaluates and settings.selects_best,
        metric_for_best_model=metric,
        greater_is_better=True if evaluates else None,
        # How long early stopping has waited is a part of where a training is.
        restore_callback_states_from_checkpoint=True,
        # The filter would wait for the GPU at every step; a loss that is not finite is seen in the log.
        logging_nan_inf_filter=not on_gpu,
        # Copies from pinned memory run beside the computation.
        dataloader_pin_memory=on_gpu,
        accelerator_config={"non_blocking": on_gpu},
        disable_tqdm=True,  # the commands have bars of their own
        report_to="none",
    )
    with precision_kept():  # to compile it would turn on TF32
        return kind(**by_version(arguments, kind.__dataclass_fields__, transformers.__version__))


def _metrics(told: Any) -> dict[str, float]:
    return measure_all(told.predictions.argmax(-1), told.label_ids)
