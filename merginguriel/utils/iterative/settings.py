"""What an iterative run is made of: how its languages are trained, how they are merged, and when."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from merginguriel.utils.merging.settings import MergeSettings
from merginguriel.utils.storage import naming
from merginguriel.utils.storage.argument_types import bounded_float, positive_int
from merginguriel.utils.storage.settings import declared, plain, setting, words
from merginguriel.utils.training.settings import TrainingRun, TrainingSettings

WANDB_PROJECT = "MergingUriel-Iterative"
ELSEWHERE = ("output_dir", "models_root", "logging_steps", "wandb_project")  # no model rests on these


def _own(name: str, default: Any, flag: str, **more: Any) -> Any:
    """The field `name` of TrainingSettings with another flag, default or help; results' names tell it by its flag."""
    changed = {"flags": (flag,), "word": f"{flag[2:]}-{{}}", **more}
    return field(default=default, metadata={"setting": replace(declared(TrainingSettings)[name], **changed)})


@dataclass(frozen=True)
class LanguageTraining(TrainingSettings):
    """How every language is trained: to the last epoch, and by other defaults than a training that nothing follows."""

    num_train_epochs: int = _own(
        "num_train_epochs", 15, "--max-epochs", read=positive_int, metavar="N", help="epochs of every language in all"
    )
    learning_rate: float = _own("learning_rate", 5e-5, "--learning-rate")
    per_device_train_batch_size: int = _own("per_device_train_batch_size", 128, "--batch-size")
    gradient_accumulation_steps: int = _own("gradient_accumulation_steps", 1, "--gradient-accumulation-steps")
    weight_decay: float = _own("weight_decay", 0.01, "--weight-decay")
    warmup_ratio: float = _own("warmup_ratio", 0.1, "--warmup-ratio")
    max_seq_length: int | None = _own("max_seq_length", None, "--max-seq-length")
    max_train_samples: int | None = _own(
        "max_train_samples", None, "--max-train-samples", help="use only N items of every language"
    )
    seed: int = _own(
        "seed", 42, "--seed", word=None, help="of the initial checkpoint, the training, and methods that draw numbers"
    )
    logging_steps: int = _own("logging_steps", 100, "--log-frequency", word=None)
    wandb_project: str | None = _own(
        "wandb_project", None, "--wandb-project", word=None, help=f"its project (default: {WANDB_PROJECT})"
    )
    eval_strategy: str = "no"
    save_strategy: str = "no"
    load_best_model_at_end: bool = False


@dataclass(frozen=True)
class IterativeSettings:
    """`training` holds what all languages share; its `locales` are those that were asked for, () to choose them.

    `retain`: of so many merges, None for all, the models are kept, and with `checkpoint_before_merge` the languages'
    checkpoints from before them. `command`: the line for a shell that asked for the run. What has a word changes the
    final model.
    """

    training: TrainingRun
    merge: MergeSettings
    results_root: Path = naming.RESULTS_ROOT
    merge_frequency: int = setting(
        1, "epochs between two merges", "--merge-frequency", read=positive_int, metavar="N", word="merge-frequency-{}"
    )
    adaptive: bool = setting(
        False,
        "an epoch less after a merge that cost its sources accuracy, else one more",
        "--adaptive-merge-frequency",
        word="adaptive-merge-frequency",
    )
    performance_trigger: bool = setting(
        False,
        "merge earlier where validation accuracy has stopped to rise",
        "--performance-merge-trigger",
        word="performance-merge-trigger",
    )
    convergence_threshold: float = setting(
        1e-4,
        "accuracy: less is no rise, more is a cost",
        "--convergence-threshold",
        read=bounded_float(0, 1),
        metavar="X",
        word="convergence-threshold-{}",
    )
    checkpoint_before_merge: bool = setting(
        False, "keep the languages' checkpoints from before merges", "--checkpoint-before-merge"
    )
    retain: int | None = setting(
        None,
        "keep the last N merges only, and their checkpoints with the flag above (default: all)",
        "--retain-merge-checkpoints",
        read=positive_int,
        metavar="N",
    )
    save_strategy: str = setting(
        "epoch",
        "a checkpoint after every epoch, or only before merges: less to write, more to repeat after a kill",
        "--save-strategy",
        choices=("epoch", "merge"),
    )
    sequential: bool = setting(True, "one language at a time (the default)", "--sequential-training")
    max_gpu_memory: int | None = setting(
        None, "fail rather than take more of the GPU", "--max-gpu-memory", read=positive_int, metavar="MB"
    )
    command: str | None = field(default=None, compare=False)

    @property
    def max_epochs(self) -> int:
        return int(self.training.settings.num_train_epochs)

    @property
    def target(self) -> str:
        return self.merge.target

    @property
    def folder(self) -> Path:
        return self.training.output_dir

    @property
    def way(self) -> dict[str, Any]:
        """How languages are trained and when they are merged, as plain data."""
        told = {name: getattr(self, name) for name, told in declared(IterativeSettings).items() if told.word}
        training = {name: value for name, value in self.training.record.items() if name not in ELSEWHERE}
        return {**told, "training": training}

    @property
    def record(self) -> dict[str, Any]:
        """Everything that the final model rests on beside its items, as plain data."""
        return {**self.way, "merge": plain(self.merge.effective())}

    def words(self) -> list[str]:
        """What the result's folder name says beside the merge's own words, in the order of earlier versions."""
        told = words(self.training.settings) | words(self)
        first = [told.pop(name) for name in ("num_train_epochs", "merge_frequency") if name in told]
        return [*first, *told.values()]
