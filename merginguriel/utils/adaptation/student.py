"""The model that is adapted: round after round it starts from the same weights and learns what its teacher says.

Of the vocabulary it has the part that the texts use, until it is saved.
"""

import copy
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from auto_merge_llm.tokenizer_files import tokenizer_files

from merginguriel.utils.adaptation.run import AdaptRun
from merginguriel.utils.adaptation.soft_labels import cross_entropy, probabilities
from merginguriel.utils.data.split import Texts
from merginguriel.utils.evaluation.classifier import in_task_order
from merginguriel.utils.models import devices, loading, model_folder, scoring
from merginguriel.utils.models.tokens import TOKENS, Tokens
from merginguriel.utils.training.trainer import fit, make_trainer, trim_vocabulary
from merginguriel.utils.training.unfinished import newest_checkpoint

CHECKPOINT_SECONDS = 60.0  # between two checkpoints of a round: one takes about as long as a hundred steps
_ADVICE = "use smaller batches with --adapt-batch-size"


class Student:
    """The model in `run.start`, and the texts as it reads them."""

    def __init__(self, run: AdaptRun, texts: Texts):
        self._task, self._start = run.task, run.start
        self._settings = run.settings.training(len(texts), run.seed)
        self._labels = model_folder.read_labels(run.start, run.task)
        # Where among the task's labels those of the model are, in the model's order.
        self._columns = [run.task.labels.index(label) for label in self._labels]
        self._model = loading.load_model(run.start, "cpu", torch.float32)
        longest = model_folder.max_tokens(self._model.config.to_dict(), run.task)
        model_folder.tell_task(self._model.config, run.task, longest)
        whole = TOKENS.tokens(run.start, texts.texts, loading.longest_input(self._model, longest))
        self._rows = _rows(whole)
        self._trimmed = trim_vocabulary(self._settings, self._model, {"train": self._rows})
        ids = np.concatenate([np.array(row["input_ids"], np.int32) for row in self._rows])
        device = devices.default_device()
        self._batches = scoring.make_batches(replace(whole, ids=ids), self._model.config, device)
        self._initial = {name: values.clone() for name, values in self._model.state_dict().items()}

    def of_its_labels(self, teacher: np.ndarray) -> np.ndarray:
        """`teacher` (texts, the task's labels) with 0 for labels that the model lacks."""
        known = np.zeros(len(self._task.labels))
        known[self._columns] = 1
        return teacher * known

    def learn(self, labels: np.ndarray, checkpoints: Path, moved: Callable[[float], None]) -> list[float]:
        """Train a round from the initial weights, or on from the newest of `checkpoints`; the mean loss of each epoch.

        `labels` (texts, the task's labels) are 0 for those that the model lacks. `moved` is told the share of the steps
        that are done, first of all that of the checkpoint.
        """
        self._model.load_state_dict(self._initial)
        items = [{**row, "labels": label} for row, label in zip(self._rows, labels[:, self._columns])]
        trainer = make_trainer(self._settings, checkpoints, self._model, None, {"train": items}, self._task.metric)
        trainer.compute_loss = cross_entropy
        trainer.args.logging_strategy = "epoch"
        trainer.remove_callback(transformers.ProgressCallback)  # the adaptation has a bar over everything
        trainer.add_callback(_Round(moved))
        fit(self._settings, trainer, newest_checkpoint(checkpoints), advice=_ADVICE)
        return _epoch_losses(trainer.state.log_history, trainer.state.max_steps, round(trainer.state.epoch))

    def opinion(self, scored: Callable[[int], None]) -> np.ndarray:
        """Probabilities (texts, the task's labels) in the evaluator's precision, as the model is now."""
        device = devices.default_device()
        model = copy.deepcopy(self._model).to(device, devices.evaluation_dtype(device)).eval()
        logits = scoring.batch_logits(model, self._batches, f"{self._start} while it is adapted", scored)
        return probabilities(in_task_order(logits, self._labels, self._task.labels))

    def save(self, folder: Path) -> None:
        """Whole, as it is now; it learns no more."""
        self._model.to("cpu")
        if self._trimmed:
            self._trimmed.restore()
        self._model.save_pretrained(folder)
        for file in tokenizer_files(self._start):
            shutil.copy(file, folder / file.name)


class _Round(transformers.TrainerCallback):
    """Has checkpoints written from time to time, and the losses until then with them."""

    def __init__(self, moved: Callable[[float], None]):
        self._moved, self._saved = moved, time.monotonic()

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._moved(state.global_step / state.max_steps)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._moved(state.global_step / state.max_steps)
        if time.monotonic() - self._saved >= CHECKPOINT_SECONDS:
            control.should_log = control.should_save = True

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._saved = time.monotonic()


def _rows(tokens: Tokens) -> list[dict[str, Any]]:
    """As Trainer takes them."""
    rows: list[dict[str, Any]] = []
    for text in range(len(tokens)):
        ids = tokens[text]
        row: dict[str, Any] = {"input_ids": ids, "attention_mask": [1] * len(ids)}
        if tokens.types is not None:
            row["token_type_ids"] = tokens.types[tokens.starts[text] : tokens.starts[text + 1]].tolist()
        rows.append(row)
    return rows


def _epoch_losses(rows: Sequence[dict[str, Any]], steps: int, epochs: int) -> list[float]:
    """The mean over the steps of each epoch; a row has the mean since the row before."""
    totals, before = [0.0] * epochs, 0
    for row in rows:
        if "loss" in row:
            totals[(row["step"] - 1) * epochs // steps] += row["loss"] * (row["step"] - before)
            before = row["step"]
    return [round(total * epochs / steps, 6) for total in totals]
