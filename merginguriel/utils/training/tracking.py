"""Weights & Biases, imported only where it is asked for. Its own variables say where runs go: WANDB_MODE=offline."""

import importlib.util

from auto_merge_llm.errors import InputError


def check_installed() -> None:
    if importlib.util.find_spec("wandb") is None:
        raise InputError("tracking needs the package wandb: pip install wandb, or leave its flag out")


def start(project: str, name: str, config: dict):
    """A run with `log(values)` and `finish()`; InputError where wandb refuses, for want of a login for example."""
    import wandb

    try:
        return wandb.init(project=project, name=name, config=config)
    except wandb.Error as error:
        raise InputError(f"wandb: {error}; log in with wandb login, or set WANDB_MODE=offline") from None
