"""What an iterative run is made of."""

from dataclasses import asdict, dataclass, field
from pathlib import Path

from merginguriel.utils.merging.examples import MeasuringOptions
from merginguriel.utils.merging.selection import SimilarityOptions
from merginguriel.utils.storage import atomic
from merginguriel.utils.training import settings


@dataclass(frozen=True)
class IterativeSettings:
    """`training` holds what all locales share; its `locales` are those that were asked for, () to choose them.

    `told`: words for the result's name, of what has not its default. `every_epoch`: a checkpoint after every epoch, not
    only before merges. `checkpoint_before_merge`: keep the latter, of as many merges as merged models, `retain`.
    `sequential`: train one locale at a time. `command`: the line for a shell that asked for it.
    """

    training: settings.TrainingSettings
    mode: str
    target: str
    num_languages: int
    similarity: SimilarityOptions
    measuring: MeasuringOptions
    results_root: Path
    preweight: str = "equal"
    weights: dict[str, float] | None = None
    hyperparameters: dict | None = None
    normalize: bool = False
    told: tuple[str, ...] = ()
    merge_frequency: int = 1
    adaptive: bool = False
    performance_trigger: bool = False
    convergence_threshold: float = 1e-4
    every_epoch: bool = True
    checkpoint_before_merge: bool = False
    retain: int = 3
    sequential: bool = True
    max_gpu_memory: int | None = None
    command: str | None = field(default=None, compare=False)

    @property
    def max_epochs(self) -> int:
        return self.training.num_train_epochs

    @property
    def folder(self) -> Path:
        return self.training.output_dir

    @property
    def record(self) -> dict:
        """What the final model rests on, as plain data."""
        elsewhere = ("output_dir", "models_root", "logging_steps", "wandb_project")
        parts = {
            "training": {name: value for name, value in asdict(self.training).items() if name not in elsewhere},
            "similarity": asdict(self.similarity),
            "measuring": asdict(self.measuring),
        }
        del parts["measuring"]["folder"]
        others = {
            name: getattr(self, name)
            for name in (
                "mode",
                "target",
                "num_languages",
                "preweight",
                "weights",
                "normalize",
                "hyperparameters",
                "merge_frequency",
                "adaptive",
                "performance_trigger",
                "convergence_threshold",
            )
        }
        plain = {name: atomic.plain(part) for name, part in parts.items()}
        plain["training"]["locales"] = list(self.training.locales)
        return {**others, **plain}
