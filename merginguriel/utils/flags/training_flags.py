"""The flags of a training, those of training_bert.py, and the run that they ask for."""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from auto_merge_llm.errors import InputError

from merginguriel.utils.data.language_arguments import locale_list
from merginguriel.utils.flags.flag_groups import add_store, add_task, read_store
from merginguriel.utils.flags.parser import ArgumentParser
from merginguriel.utils.flags.setting_flags import add_settings, given_fields, ignore_idle, options_of, read_settings
from merginguriel.utils.storage.argument_types import true_or_false
from merginguriel.utils.storage.naming import CHECKPOINTS_ROOT, training_run_name
from merginguriel.utils.storage.settings import Setting
from merginguriel.utils.training.settings import TrainingRun, TrainingSettings, TrainingSteps

SCRIPT = "training_bert.py"
STEPS = ("do_train", "do_eval", "do_predict")
SAMPLES = ("max_train_samples", "max_eval_samples", "max_predict_samples")
EXCLUSIVE = (("warmup_ratio", "warmup_steps"), ("fp16", "bf16", "tf32"))
PROJECT = "MergingUriel"


def build_parser(description: str | None = None) -> ArgumentParser:
    parser = ArgumentParser(SCRIPT, description=description)
    add_store(parser, "--model-name-or-path")
    add_task(parser)
    parser.add_argument(
        "--dataset-config-name",
        type=locale_list,
        default=["en-US"],
        metavar="LOC[,LOC…]",
        help="one locale, or several to train on together",
    )
    parser.add_argument(
        "--output-dir",
        type=Path,
        metavar="DIR",
        help="folder of the model (default: checkpoint_results/<name of the run>)",
    )
    add_settings(parser, TrainingSteps, ("overwrite",))
    add_settings(parser.add_argument_group("steps", "All three where none is given."), TrainingSteps, STEPS)
    training = parser.add_argument_group("training")
    apart = {"wandb_project", *SAMPLES, *(name for names in EXCLUSIVE for name in names)}
    add_settings(training, TrainingSettings, TrainingSettings.__dataclass_fields__.keys() - apart)
    for names in EXCLUSIVE:
        add_settings(training.add_mutually_exclusive_group(), TrainingSettings, names)
    tracking = parser.add_argument_group("tracking", "Variables of wandb apply, such as WANDB_MODE=offline.")
    add_tracking(tracking)
    add_settings(tracking, TrainingSettings, ("wandb_project",))
    samples = parser.add_argument_group("samples", "Over all locales together; for quick trials.")
    add_settings(samples, TrainingSettings, SAMPLES)
    return parser


def add_tracking(group: Any) -> None:
    """--wandb, which gives `wandb_project` a value."""
    group.add_argument("--wandb", **options_of(Setting("track with Weights & Biases", read=true_or_false), False))


def parse_training(
    argv: Sequence[str] | None = None, description: str | None = None
) -> tuple[TrainingRun, TrainingSteps]:
    """What a command line of training_bert.py asks for."""
    return read_training(build_parser(description).parse_args(argv))


def read_training(args: argparse.Namespace) -> tuple[TrainingRun, TrainingSteps]:
    """The same of arguments, without flags that have no effect; InputError for what cannot be together."""
    steps = read_settings(TrainingSteps, args)
    if not steps.splits:
        if given_fields(TrainingSteps, args) & set(STEPS):
            raise InputError("nothing to do: --do-train, --do-eval and --do-predict are all false")
        steps = replace(steps, **dict.fromkeys(STEPS, True))
    _check(args, read_settings(TrainingSettings, args, wandb_project=None), steps)
    project = (args.wandb_project or PROJECT) if args.wandb else None
    settings = read_settings(TrainingSettings, args, wandb_project=project)
    store, locales = read_store(args), args.dataset_config_name
    name = training_run_name(
        store.base_model, store.task.name, locales, settings.learning_rate, settings.num_train_epochs
    )
    output_dir = args.output_dir or CHECKPOINTS_ROOT / name
    return TrainingRun(store.task, store, tuple(locales), output_dir, settings), steps


def _check(args: argparse.Namespace, settings: TrainingSettings, steps: TrainingSteps) -> None:
    given = given_fields(TrainingSettings, args)
    selects = steps.do_train and steps.do_eval and settings.selects_best
    if not selects:
        needed = "--do-train, --do-eval, --eval-strategy epoch, --save-strategy epoch and --load-best-model-at-end true"
        ignore_idle(args, ["early_stopping_patience"], f"without {needed}")
    if not selects and "load_best_model_at_end" in given and settings.load_best_model_at_end:
        raise InputError(
            "--load-best-model-at-end needs --do-train, --do-eval, --eval-strategy epoch and --save-strategy epoch"
        )
    if not steps.do_train:
        ignore_idle(args, ["wandb"] if args.wandb else [], "without --do-train")
    if not args.wandb:
        ignore_idle(args, ["wandb_project"], "without --wandb")
    if settings.cuda_graphs and (settings.fp16 or settings.torch_compile or settings.gradient_checkpointing):
        raise InputError("--cuda-graphs cannot be combined with --fp16, --torch-compile or --gradient-checkpointing")
