"""What Trainer says while it runs: log lines, progress."""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import transformers

log = logging.getLogger(__name__)
_SHOWN = ("loss", "learning_rate", "eval_loss", "eval_accuracy")


def log_to_stderr(trainer: Any) -> None:
    """Losses and metrics as log lines; Trainer itself would print dicts to stdout, where results belong."""

    class Log(transformers.TrainerCallback):
        def on_log(self, args, state, control, logs=None, **kwargs):
            values = [
                f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
                for name, value in (logs or {}).items()
                if name in _SHOWN
            ]
            if values:
                level = logging.INFO if "eval_loss" in logs else logging.DEBUG
                log.log(level, "epoch %.2f: %s", state.epoch or 0, ", ".join(values))

    trainer.remove_callback(transformers.PrinterCallback)
    trainer.remove_callback(transformers.ProgressCallback)
    trainer.add_callback(Log)


def reporting_progress(progress: Callable[[float], None]) -> Any:
    """The callback that tells `progress` the share of the steps that are done."""

    class Reporting(transformers.TrainerCallback):
        def on_log(self, args, state, control, **kwargs):
            progress(state.global_step / state.max_steps)

    return Reporting()


def logging_what_is_saved() -> Any:
    """The callback that has the loss until a checkpoint logged before it is written, so that its log has all of it."""

    class Logging(transformers.TrainerCallback):
        def on_epoch_end(self, args, state, control, **kwargs):
            control.should_log = control.should_log or control.should_save

    return Logging()


def mean_loss(rows: Sequence[Mapping[str, Any]], start: int = 0) -> float:
    """Over the steps after `start`; a row of the log has the mean since the one before."""
    total, before = 0.0, start
    for row in rows:
        if "loss" in row and row["step"] > start:
            total += row["loss"] * (row["step"] - before)
            before = row["step"]
    return total / (before - start)
