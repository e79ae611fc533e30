"""What Trainer says while it runs: log lines, progress."""

import logging
import sys
from collections.abc import Callable
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
                log.info("epoch %.2f: %s", state.epoch or 0, ", ".join(values))

    class Progress(transformers.ProgressCallback):
        def on_log(self, args, state, control, logs=None, **kwargs):
            pass

    trainer.remove_callback(transformers.PrinterCallback)
    trainer.remove_callback(transformers.ProgressCallback)
    if sys.stderr.isatty():
        trainer.add_callback(Progress)
    trainer.add_callback(Log)


def reporting_progress(progress: Callable[[float], None]) -> Any:
    """The callback that tells `progress` the share of the steps that are done."""

    class Reporting(transformers.TrainerCallback):
        def on_log(self, args, state, control, **kwargs):
            progress(state.global_step / state.max_steps)

    return Reporting()
