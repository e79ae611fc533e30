"""The settings of an adaptation: which of them have an effect, what a folder's name says of them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from merginguriel.utils.storage.argument_types import bounded_float, positive_int
from merginguriel.utils.storage.settings import declared, plain, setting, words
from merginguriel.utils.training.settings import TrainingSettings

WARM_UP = 0.1  # share of a round's steps over which the learning rate rises
SPEED = ("cuda_graphs", "tf32")  # the same result in less time
# What many texts get, and few: as many passes as make STEPS a round, at a lower rate. Chosen by the validation items of
# six locales (docs/adaptation.md).
PASSES, RATE = 3, 1e-4
STEPS, RATE_OF_FEW = 300, 3e-5


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
    epochs: int | None = setting(
        None,
        f"passes over the texts a round (default: {PASSES}, or as many as make {STEPS} steps)",
        "--adapt-epochs",
        read=positive_int,
        metavar="N",
        word="epochs{}",
    )
    learning_rate: float | None = setting(
        None,
        f"learning rate of adapting, at its highest (default: {RATE:g}, or {RATE_OF_FEW:g} where {PASSES} passes are "
        f"fewer than {STEPS} steps)",
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

    def steps_of_a_pass(self, texts: int) -> int:
        return -(-texts // self.batch_size)

    def by_default(self, texts: int) -> dict[str, Any]:
        """Passes and learning rate of so many texts, where they are not given."""
        steps = max(1, self.steps_of_a_pass(texts))
        if PASSES * steps >= STEPS:
            return {"epochs": PASSES, "learning_rate": RATE}
        return {"epochs": -(-STEPS // steps), "learning_rate": RATE_OF_FEW}

    def passes(self, texts: int) -> int:
        """Over so many texts, each round."""
        return self.epochs or self.by_default(texts)["epochs"]

    def rate(self, texts: int) -> float:
        """The learning rate with so many texts."""
        return self.by_default(texts)["learning_rate"] if self.learning_rate is None else self.learning_rate

    def record(self, texts: int) -> dict[str, Any]:
        """What the model with so many texts rests on, as JSON has it; how many there were, the texts tell."""
        told = plain(replace(self, epochs=self.passes(texts), learning_rate=self.rate(texts)))
        return {name: value for name, value in told.items() if name not in (*SPEED, "examples")}

    def asked(self, texts: int) -> dict[str, list[str]]:
        """For the record of a result: what was given though so many texts get it anyway, which other targets may not.

        The model is the same.
        """
        given = [name for name, value in self.by_default(texts).items() if getattr(self, name) == value]
        return {"asked": given} if given else {}

    def training(self, texts: int, seed: int) -> TrainingSettings:
        """A round over so many texts, as the training wing takes it; what it writes and when, student.py decides."""
        return TrainingSettings(
            num_train_epochs=self.passes(texts),
            learning_rate=self.rate(texts),
            per_device_train_batch_size=self.batch_size,
            warmup_ratio=WARM_UP,
            seed=seed,
            tf32=self.tf32,
            cuda_graphs=self.cuda_graphs,
            eval_strategy="no",
            save_strategy="no",
        )


def read_record(record: Mapping[str, Any]) -> AdaptSettings:
    """What was asked for, as the record of a result tells it: not what its number of texts gets by default."""
    told = AdaptSettings(**{name: record[name] for name in declared(AdaptSettings) if name in record})
    count = (record.get("texts") or {}).get("count")
    # Records without a number are of a time when few texts got what many get.
    usual: dict[str, Any] = told.by_default(count) if count else {"epochs": PASSES, "learning_rate": RATE}
    asked = record.get("asked", ())
    unasked: dict[str, Any] = {
        name: None for name, value in usual.items() if getattr(told, name) == value and name not in asked
    }
    return replace(told, **unasked)
