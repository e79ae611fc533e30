"""A locale's training in parts: it stops at an epoch and goes on there later, from its own weights or from a merge.

Hugging Face's Trainer trains. Optimiser, learning rate schedule, step count and random numbers are those of one run
over all epochs: checkpoints carry them from part to part, whatever weights the next part starts from.
"""

import gc
import logging
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from merginguriel.utils.data import task
from merginguriel.utils.data.split import Split
from merginguriel.utils.models import loading
from merginguriel.utils.storage import atomic
from merginguriel.utils.training.items import encode, load
from merginguriel.utils.training.settings import TrainingSettings
from merginguriel.utils.training.trainer import fit, free_memory, make_trainer

log = logging.getLogger(__name__)
METADATA = "checkpoint_metadata.json"


@dataclass(frozen=True)
class LocaleCheckpoint:
    """A whole checkpoint: what Trainer needs to go on, and the locale's accuracies until then."""

    path: Path
    epoch: int
    step: int

    @property
    def metrics(self) -> dict[int, dict]:
        """By epoch at which a part ended: accuracy on the locale's development items, training loss of the part."""
        return {int(epoch): metrics for epoch, metrics in atomic.read_json(self.path / METADATA)["metrics"].items()}


def checkpoints(folder: Path) -> list[LocaleCheckpoint]:
    """Those in a locale's folder, by epoch."""
    found = [
        (path, re.fullmatch(r"checkpoint_epoch_(\d+)\.0_step_(\d+)", path.name))
        for path in (folder.iterdir() if folder.is_dir() else ())
    ]
    return sorted(
        (LocaleCheckpoint(path, int(match[1]), int(match[2])) for path, match in found if match),
        key=lambda checkpoint: checkpoint.epoch,
    )


def newest(folder: Path) -> LocaleCheckpoint | None:
    return next(reversed(checkpoints(folder)), None)


@dataclass(frozen=True)
class Part:
    """The next part of a locale's training: until the end of epoch `until`.

    `merged`: the model that takes the place of the weights of the checkpoint of epoch `merged_at`. `every_epoch`: write
    a checkpoint after every epoch, not only after the last. `kept`: epochs whose checkpoints are not removed.
    """

    locale: str
    folder: Path
    until: int
    every_epoch: bool
    merged: Path | None = None
    merged_at: int = 0
    kept: tuple[int, ...] = ()


class Trainers:
    """Trains parts, one at a time; items and tokenizer are read once. `max_gpu_memory`: MiB."""

    def __init__(
        self,
        settings: TrainingSettings,
        initial: Path,
        max_gpu_memory: int | None = None,
        development: "Development | None" = None,
    ):
        self._settings, self._initial, self._max_gpu_memory = settings, initial, max_gpu_memory
        self._tokenizer = loading.load_tokenizer(initial)
        self._encoded: dict[str, list[dict]] = {}
        self._development = development or Development(settings, initial)
        if not gc.get_freeze_count():
            # Modules that are loaded by now stay: looking for garbage, after every part, passes them over.
            gc.collect()
            gc.freeze()
        if max_gpu_memory:
            import torch

            total = torch.cuda.get_device_properties(0).total_memory
            torch.cuda.set_per_process_memory_fraction(min(1.0, max_gpu_memory * 2**20 / total))

    def __call__(self, name: str, part: Part, report: Callable) -> None:
        """As `utils/processes.py` calls it."""
        try:
            self.train(part, lambda epoch: report("epoch", name, epoch))
        finally:
            free_memory()

    def train(self, part: Part, reached: Callable[[int], None]) -> None:
        """Raises InputError where the GPU's memory is too small. `reached` is told every epoch."""
        import torch

        last = newest(part.folder)
        done = last.epoch if last else 0
        if done >= part.until:
            return
        # What a killed run was writing.
        for half in part.folder.glob("checkpoint-*"):
            shutil.rmtree(half)
        start = part.merged if part.merged and done == part.merged_at else last.path if last else self._initial
        log.info(
            "%s: epochs %d to %d of %g, from %s",
            part.locale,
            done + 1,
            part.until,
            self._settings.num_train_epochs,
            start,
        )
        model = loading.load_model(start, "cpu", torch.float32)
        settings = replace(self._settings, locales=(part.locale,), output_dir=part.folder)
        trainer = make_trainer(
            settings, part.folder, model, self._tokenizer, {"train": self._train_items(settings, model)}
        )
        # The weights are loaded already; those of the checkpoint may not be the ones to go on from.
        trainer._load_from_checkpoint = lambda *args, **kwargs: None
        metrics = last.metrics if last else {}
        trainer.add_callback(_stopping(part, metrics, reached))
        fit(trainer, str(last.path) if last else None, self._max_gpu_memory)
        step = trainer.state.global_step
        own = trainer.accelerator.unwrap_model(trainer.model, keep_fp32_wrapper=False)
        metrics = {
            **metrics,
            part.until: {
                "epoch": part.until,
                "step": step,
                "train_loss": _mean_loss(trainer.state.log_history, last.step if last else 0),
                "learning_rate": trainer.lr_scheduler.get_last_lr()[0],
                "eval_accuracy": self._development.accuracy(own, part.locale),
            },
        }
        _keep(part, step, part.until, metrics)

    def _train_items(self, settings: TrainingSettings, model) -> list[dict]:
        (locale,) = settings.locales
        if locale not in self._encoded:
            items = load(settings, {"train": settings.max_train_samples})["train"]
            self._encoded[locale] = encode(
                self._tokenizer, items, loading.longest_input(model, settings.max_seq_length)
            )
        return self._encoded[locale]


class Development:
    """Accuracy on a locale's development items, by the evaluator that all commands share."""

    def __init__(self, settings: TrainingSettings, initial: Path):
        self._settings, self._initial = settings, initial
        self._splits: dict[str, Split] = {}
        self._batches: dict[str, Any] = {}

    def split(self, locale: str) -> Split:
        if locale not in self._splits:
            self._splits[locale] = task.load_split(
                self._settings.dataset_name,
                locale,
                "validation",
                self._settings.text_column,
                self._settings.label_column,
            )
        return self._splits[locale]

    def accuracy(self, model, locale: str) -> float:
        """Of `model`, which is left in the evaluator's precision."""
        from merginguriel.utils.models import devices, scoring
        from merginguriel.utils.models.tokens import TOKENS

        device = self._settings.device
        model.to(device, devices.evaluation_dtype(device)).eval()
        split = self.split(locale)
        if locale not in self._batches:
            tokens = TOKENS.tokens(
                self._initial, split.texts, loading.longest_input(model, self._settings.max_seq_length)
            )
            self._batches[locale] = scoring.make_batches(tokens, model.config.pad_token_id, device)
        predicted = scoring.batch_logits(model, self._batches[locale], f"validation of {locale}").argmax(-1)
        return float((predicted == split.labels).mean())


def _stopping(part: Part, metrics: dict, reached: Callable[[int], None]):
    """Ends training after epoch `part.until`, and has it written."""
    import transformers

    class Stopping(transformers.TrainerCallback):
        def on_epoch_end(self, args, state, control, **kwargs):
            epoch = round(state.epoch)
            control.should_training_stop = epoch >= part.until
            control.should_save = part.every_epoch or epoch >= part.until
            control.should_log = True
            reached(epoch)

        def on_save(self, args, state, control, **kwargs):
            if round(state.epoch) < part.until:
                _keep(part, state.global_step, round(state.epoch), metrics)

    return Stopping()


def _mean_loss(rows: list[dict], start: int) -> float:
    """Over the steps after `start`; a row has the mean since the one before."""
    total, before = 0.0, start
    for row in rows:
        if "loss" in row and row["step"] > start:
            total += row["loss"] * (row["step"] - before)
            before = row["step"]
    return total / (before - start)


def _keep(part: Part, step: int, epoch: int, metrics: dict) -> None:
    """Name a checkpoint that Trainer has written whole."""
    written = part.folder / f"checkpoint-{step}"
    # A pickle that nothing reads.
    (written / "training_args.bin").unlink(missing_ok=True)
    atomic.write_json(written / METADATA, {"locale": part.locale, "epoch": epoch, "step": step, "metrics": metrics})
    before = checkpoints(part.folder)
    written.rename(part.folder / f"checkpoint_epoch_{epoch}.0_step_{step}")
    for old in before:
        if old.epoch not in part.kept:
            shutil.rmtree(old.path)
