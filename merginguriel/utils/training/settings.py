"""What a training run is made of."""

from dataclasses import dataclass
from pathlib import Path


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
        from merginguriel.utils.models import devices

        return "cpu" if self.use_cpu else devices.default_device()

    @property
    def selects_best(self) -> bool:
        """Whether the best epoch by validation accuracy is kept, not the last, and training may stop early."""
        return self.load_best_model_at_end and self.eval_strategy == self.save_strategy == "epoch"
