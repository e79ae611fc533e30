"""A locale's training in parts: it stops at an epoch and goes on there later, from its own weights or from a merge.

Hugging Face's Trainer trains. Optimiser, learning rate schedule, step count and random numbers are those of one run
over all epochs: checkpoints carry them from part to part, whatever weights the next part starts from.
"""

import logging
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import transformers

from merginguriel.utils.models import loading, model_folder
from merginguriel.utils.training.callbacks import mean_loss
from merginguriel.utils.training.checkpoints import keep, newest
from merginguriel.utils.training.development import Development
from merginguriel.utils.training.items import encode, load
from merginguriel.utils.training.settings import TrainingRun
from merginguriel.utils.training.trainer import fit, free_memory, freeze_modules, make_trainer

log = logging.getLogger(__name__)


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

    def keep(self, epoch: int, step: int, metrics: Mapping[int, Any]) -> None:
        """Name the checkpoint that Trainer has written after `step`."""
        keep(self.folder, {"locale": self.locale, "epoch": epoch, "step": step, "metrics": metrics}, self.kept)


class Trainers:
    """Trains parts of `run`, one at a time; items and tokenizer are read once. `max_gpu_memory`: MiB."""

    def __init__(
        self, run: TrainingRun, initial: Path, max_gpu_memory: int | None = None, development: Development | None = None
    ):
        self._run, self._initial, self._max_gpu_memory = run, initial, max_gpu_memory
        self._tokenizer = loading.load_tokenizer(initial)
        self._encoded: dict[str, list[dict[str, Any]]] = {}
        self._development = development or Development(run, initial)
        freeze_modules()
        if max_gpu_memory:
            total = torch.cuda.get_device_properties(0).total_memory
            torch.cuda.set_per_process_memory_fraction(min(1.0, max_gpu_memory * 2**20 / total))

    def __call__(self, name: str, part: Part, report: Callable[..., None]) -> None:
        """As jobs/processes.py calls it."""
        try:
            self.train(part, lambda epoch: report("epoch", name, epoch))
        finally:
            free_memory()

    def train(self, part: Part, reached: Callable[[int], None]) -> None:
        """Raises InputError where the GPU's memory is too small. `reached` is told every epoch."""
        last, settings = newest(part.folder), self._run.settings
        done = last.epoch if last else 0
        if done >= part.until:
            return
        # What a killed run was writing.
        for half in part.folder.glob("checkpoint-*"):
            shutil.rmtree(half)
        start = part.merged if part.merged and done == part.merged_at else last.path if last else self._initial
        epochs = settings.num_train_epochs
        log.debug("%s: epochs %d to %d of %g, from %s", part.locale, done + 1, part.until, epochs, start)
        model = loading.load_model(start, "cpu", torch.float32)
        model_folder.tell_task(model.config, self._run.task, self._run.max_tokens)
        items = {"train": self._train_items(part.locale, model)}
        trainer = make_trainer(settings, part.folder, model, self._tokenizer, items, self._run.task.metric)
        # The weights are loaded already; those of the checkpoint may not be the ones to go on from.
        trainer._load_from_checkpoint = lambda *args, **kwargs: None
        before = last.metrics if last else {}
        trainer.add_callback(_Stopping(part, before, reached))
        fit(settings, trainer, str(last.path) if last else None, self._max_gpu_memory)
        own = trainer.accelerator.unwrap_model(trainer.model, keep_fp32_wrapper=False)
        metrics = {
            "epoch": part.until,
            "step": trainer.state.global_step,
            "train_loss": mean_loss(trainer.state.log_history, last.step if last else 0),
            "learning_rate": trainer.lr_scheduler.get_last_lr()[0],
            "eval_accuracy": self._development.score(own, part.locale),
        }
        part.keep(part.until, metrics["step"], {**before, part.until: metrics})

    def _train_items(self, locale: str, model: Any) -> list[dict[str, Any]]:
        if locale not in self._encoded:
            settings = self._run.settings
            items = load(replace(self._run, locales=(locale,)), {"train": settings.max_train_samples})["train"]
            longest = loading.longest_input(model, self._run.max_tokens)
            self._encoded[locale] = encode(self._tokenizer, items, longest, model)
        return self._encoded[locale]


class _Stopping(transformers.TrainerCallback):
    """Ends training after epoch `part.until`, and has it written."""

    def __init__(self, part: Part, metrics: Mapping[int, Any], reached: Callable[[int], None]):
        self._part, self._metrics, self._reached = part, metrics, reached

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        epoch = round(state.epoch)
        control.should_training_stop = epoch >= self._part.until
        control.should_save = self._part.every_epoch or epoch >= self._part.until
        control.should_log = True
        self._reached(epoch)

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if round(state.epoch) < self._part.until:
            self._part.keep(round(state.epoch), state.global_step, self._metrics)
