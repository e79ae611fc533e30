"""Weights & Biases, imported only where it is asked for. Its own variables say where runs go: WANDB_MODE=offline."""

import contextlib
import importlib.util
from collections.abc import Callable, Iterator
from typing import Any

import transformers
from auto_merge_llm.errors import InputError

from merginguriel.utils.storage.naming import training_run_name
from merginguriel.utils.training import ranks
from merginguriel.utils.training.settings import TrainingRun


def check_installed() -> None:
    if importlib.util.find_spec("wandb") is None:
        raise InputError("tracking needs the package wandb: pip install wandb, or leave its flag out")


def start(project: str, name: str, config: dict[str, Any]) -> Any:
    """A run with `log(values)` and `finish()`; InputError where wandb refuses, for want of a login for example."""
    import wandb

    try:
        return wandb.init(project=project, name=name, config=config)
    except wandb.Error as error:
        raise InputError(f"wandb: {error}; log in with wandb login, or set WANDB_MODE=offline") from None


@contextlib.contextmanager
def tracked(run: TrainingRun, trainer: Any) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Inside, what `trainer` logs is tracked; yields what keeps other values. Neither, where nobody asked for it."""
    settings = run.settings
    if settings.wandb_project is None or not ranks.is_first():
        yield lambda values: None
        return
    name = training_run_name(
        run.store.base_model, run.task.name, list(run.locales), settings.learning_rate, settings.num_train_epochs
    )
    kept = start(settings.wandb_project, name, {**run.record, "num_languages": len(run.locales)})

    class Tracking(transformers.TrainerCallback):
        def on_log(self, args, state, control, logs=None, **kwargs):
            kept.log({**(logs or {}), "step": state.global_step})

    trainer.add_callback(Tracking())
    try:
        yield kept.log
    finally:
        kept.finish()
