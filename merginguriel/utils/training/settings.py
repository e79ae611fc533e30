"""What a training run is made of; the names are Hugging Face's."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from merginguriel.utils.data.task import Task
from merginguriel.utils.models.store import ModelStore
from merginguriel.utils.storage.argument_types import bounded_float, positive_int, seed, true_or_false, whole_number
from merginguriel.utils.storage.settings import plain, setting
from merginguriel.utils.training import ranks


def _switch(text: str, *flags: str, default: bool = False) -> Any:
    """A switch as Hugging Face's scripts have it, --flag or --flag true."""
    return setting(default, text, *flags, read=true_or_false)


def _count(default: int | None, text: str, flag: str) -> Any:
    return setting(default, text, flag, read=positive_int, metavar="N")


@dataclass(frozen=True)
class TrainingSettings:
    """What models are fine-tuned with. `wandb_project` None: nothing is tracked."""

    num_train_epochs: float = setting(
        15, "passes over the training items", "--num-train-epochs", read=bounded_float(0.001, 1e4), metavar="X"
    )
    learning_rate: float = setting(
        5e-5, "AdamW's, at its highest", "--learning-rate", read=bounded_float(0, 1), metavar="X"
    )
    lr_scheduler_type: str = setting(
        "linear",
        "linear and cosine fall to 0; constant, constant_with_warmup",
        "--lr-scheduler-type",
        choices=("linear", "cosine", "constant", "constant_with_warmup"),
        metavar="NAME",
    )
    per_device_train_batch_size: int = _count(128, "items a step", "--per-device-train-batch-size")
    per_device_eval_batch_size: int = _count(
        128, "items a batch where nothing is learnt", "--per-device-eval-batch-size"
    )
    gradient_accumulation_steps: int = _count(1, "batches a step", "--gradient-accumulation-steps")
    weight_decay: float = setting(0.0, "AdamW's", "--weight-decay", read=bounded_float(0, 1), metavar="X")
    warmup_ratio: float = setting(
        0.0,
        "share of the steps over which the learning rate rises",
        "--warmup-ratio",
        read=bounded_float(0, 0.999),
        metavar="X",
    )
    warmup_steps: int = setting(0, "the same as a number of steps", "--warmup-steps", read=whole_number, metavar="N")
    max_steps: int | None = _count(None, "stop after N steps, whatever the epochs", "--max-steps")
    max_seq_length: int | None = _count(
        None,
        "longest input in tokens; batches are padded to their own longest only (default: the task's, 128)",
        "--max-seq-length",
    )
    seed: int = setting(42, "of the shared head and of the training", "--seed", read=seed, metavar="N")
    fp16: bool = _switch("mixed precision, float16 (GPU)", "--fp16")
    bf16: bool = _switch("mixed precision, bfloat16", "--bf16")
    tf32: bool = _switch("float32, matrix products in TF32 (GPU since Ampere)", "--tf32")
    use_cpu: bool = _switch("leave the GPU alone", "--use-cpu", "--no-cuda")
    gradient_checkpointing: bool = _switch(
        "compute activations twice instead of keeping them: less memory, a third more time", "--gradient-checkpointing"
    )
    torch_compile: bool = _switch("compile the model: minutes first, faster steps then", "--torch-compile")
    cuda_graphs: bool = _switch(
        "launch a whole pass at once, for models whose steps are bound by launches", "--cuda-graphs"
    )
    eval_strategy: str = setting(
        "epoch",
        "evaluate on validation after every epoch, or at the end only",
        "--eval-strategy",
        "--evaluation-strategy",
        choices=("epoch", "no"),
    )
    load_best_model_at_end: bool = _switch(
        "keep the best epoch by the task's metric on validation, not the last", "--load-best-model-at-end", default=True
    )
    early_stopping_patience: int | None = _count(
        None,
        "stop after N epochs without a better validation accuracy (default: train all epochs)",
        "--early-stopping-patience",
    )
    save_strategy: str = setting(
        "epoch",
        "epoch: can be resumed, and the best epoch can be kept; no: keeps the last",
        "--save-strategy",
        choices=("epoch", "no"),
    )
    save_total_limit: int = _count(2, "checkpoints kept while training", "--save-total-limit")
    logging_steps: int = _count(50, "steps between two lines of loss", "--logging-steps")
    wandb_project: str | None = setting(None, "its project (default: MergingUriel)", "--wandb-project", metavar="NAME")
    max_train_samples: int | None = _count(None, "use only N train items", "--max-train-samples")
    max_eval_samples: int | None = _count(None, "use only N eval items", "--max-eval-samples")
    max_predict_samples: int | None = _count(None, "use only N predict items", "--max-predict-samples")

    @property
    def selects_best(self) -> bool:
        """Whether the best epoch by validation accuracy is kept, not the last, and training may stop early."""
        return self.load_best_model_at_end and self.eval_strategy == self.save_strategy == "epoch"

    @property
    def limits(self) -> dict[str, int | None]:
        """How many items of a split are used at most."""
        return {"train": self.max_train_samples, "validation": self.max_eval_samples, "test": self.max_predict_samples}


@dataclass(frozen=True)
class TrainingSteps:
    """What is done in a run. `overwrite`: a model that stands in the run's place is replaced."""

    do_train: bool = _switch("fine-tune", "--do-train")
    do_eval: bool = _switch("evaluate on validation, after every epoch too", "--do-eval")
    do_predict: bool = _switch("predict the test split and report its accuracy", "--do-predict")
    overwrite: bool = _switch("replace what is there", "--overwrite-output-dir")

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that are read."""
        wanted = {"train": self.do_train, "validation": self.do_eval, "test": self.do_predict}
        return tuple(split for split, read in wanted.items() if read)


@dataclass(frozen=True)
class TrainingRun:
    """One model to train: on which items of which locales, from whose initial checkpoint, into which folder."""

    task: Task
    store: ModelStore
    locales: tuple[str, ...]
    output_dir: Path
    settings: TrainingSettings = field(default_factory=TrainingSettings)

    @property
    def max_tokens(self) -> int:
        """Where texts are cut."""
        return self.settings.max_seq_length or self.task.max_tokens

    @property
    def record(self) -> dict[str, Any]:
        """Everything that the model rests on, and where it goes, as JSON has it."""
        return {
            **plain(self.settings),
            **self.task.record(),
            "dataset_name": self.task.data,
            "text_column": ",".join(self.task.text),
            "label_column": self.task.label,
            "max_seq_length": self.max_tokens,
            "base_model": self.store.base_model,
            "models_root": str(self.store.root),
            "locales": list(self.locales),
            "output_dir": str(self.output_dir),
            # A step is over so many batches.
            **({"gpus": ranks.count()} if ranks.count() > 1 else {}),
        }

    def is_told_by(self, record: Any) -> bool:
        """Whether `record` is this run's, wherever its data, models and output lay then."""
        elsewhere = {name: self.record[name] for name in ("output_dir", "models_root", "dataset_name")}
        return isinstance(record, dict) and {**record, **elsewhere} == self.record
