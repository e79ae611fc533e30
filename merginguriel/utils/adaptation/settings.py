"""The settings of an adaptation: which of them have an effect, what a folder's name says of them."""

from dataclasses import dataclass
from typing import Any

from merginguriel.utils.storage.argument_types import bounded_float, positive_int
from merginguriel.utils.storage.settings import declared, plain, setting, words
from merginguriel.utils.training.settings import TrainingSettings

WARM_UP = 0.1  # share of a round's steps over which the learning rate rises
SPEED = ("cuda_graphs", "tf32")  # the same result in less time


@dataclass(frozen=True)
class AdaptSettings:
    """How a model is adapted to a target by unlabelled text. `adapt` None: it is not."""

    adapt: str | None = setting(
        None,
        "adapt the model to the target by its unlabelled train texts, taught by the vote of its teachers, or by itself",
        "--adapt",
        choices=("vote", "self"),
        word="adapt-{}",
    )
    examples: int | None = setting(
        None, "texts to adapt on (default: all)", "--adapt-examples", read=positive_int, metavar="N", word="examples{}"
    )
    rounds: int = setting(
        2,
        "how many times it learns; from the second round on, the model of the round before teaches too",
        "--adapt-rounds",
        read=positive_int,
        metavar="N",
        word="rounds{}",
    )
    epochs: int = setting(
        3, "passes over the texts a round", "--adapt-epochs", read=positive_int, metavar="N", word="epochs{}"
    )
    learning_rate: float = setting(
        1e-4,
        "learning rate of adapting, at its highest",
        "--adapt-lr",
        read=bounded_float(0, 1),
        metavar="X",
        word="lr{:g}",
    )
    sharpen: float = setting(
        2.0,
        "power to which the teachers' probabilities are raised, so that they are surer; 1 leaves them",
        "--sharpen",
        read=bounded_float(0.1, 100),
        metavar="X",
        word="sharpen{:g}",
    )
    batch_size: int = setting(
        64, "texts a step of adapting", "--adapt-batch-size", read=positive_int, metavar="N", word="batch{}"
    )
    cuda_graphs: bool = setting(
        False, "launch a whole pass at once: several times as fast for small models (GPU)", "--adapt-cuda-graphs"
    )
    tf32: bool = setting(False, "matrix products of adapting in TF32 (GPU since Ampere)", "--adapt-tf32")

    def used(self) -> set[tuple[str, str]]:
        """The settings that have an effect beside the others, as (class, field)."""
        return {(AdaptSettings.__name__, name) for name in (declared(AdaptSettings) if self.adapt else ("adapt",))}

    def words(self) -> list[str]:
        """Of a folder's name, for what has not its default."""
        return list(words(self).values()) if self.adapt else []

    def record(self) -> dict[str, Any]:
        """What the result rests on, as JSON has it; how many texts there were, the texts tell."""
        return {name: value for name, value in plain(self).items() if name not in (*SPEED, "examples")}

    def training(self, seed: int) -> TrainingSettings:
        """A round, as the training wing takes it; what it writes and when, student.py decides."""
        return TrainingSettings(
            num_train_epochs=self.epochs,
            learning_rate=self.learning_rate,
            per_device_train_batch_size=self.batch_size,
            warmup_ratio=WARM_UP,
            seed=seed,
            tf32=self.tf32,
            cuda_graphs=self.cuda_graphs,
            eval_strategy="no",
            save_strategy="no",
        )
