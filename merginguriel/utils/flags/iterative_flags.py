"""The flags of iterative training, for one target and for many."""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

from auto_merge_llm.errors import InputError

from merginguriel.utils.flags import flag_groups
from merginguriel.utils.flags.merge_flags import add_merging, add_sources, check_merge_flags, read_merge_settings
from merginguriel.utils.flags.setting_flags import add_settings, ignore_idle, read_settings
from merginguriel.utils.iterative.settings import WANDB_PROJECT, IterativeSettings, LanguageTraining
from merginguriel.utils.storage import naming
from merginguriel.utils.training.settings import TrainingRun

PRECISION = ("fp16", "bf16", "tf32")
TRAINING = (
    "num_train_epochs",
    "learning_rate",
    "warmup_ratio",
    "weight_decay",
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
    "max_seq_length",
    "max_train_samples",
    "seed",
    "cuda_graphs",
    "gradient_checkpointing",
    "logging_steps",
)
TIMES = (
    "merge_frequency",
    "adaptive",
    "performance_trigger",
    "convergence_threshold",
    "checkpoint_before_merge",
    "retain",
)


def add_output(parser: Any, folder: str, holds: str) -> None:
    """Flags of where runs and results go; `folder` is the default of --output-dir, and what it `holds` its help."""
    parser.add_argument("--output-dir", type=Path, default=Path(folder), metavar="DIR", help=holds)
    parser.add_argument(
        "--results-dir",
        type=Path,
        default=naming.RESULTS_ROOT,
        metavar="DIR",
        help="where the result of the last merge goes",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace what was made with other settings")


def add_run(parser: Any, *, num_languages: str = "--num-languages", merge_frequency: int = 1) -> None:
    """Flags of training, merging and data, for `read_iterative_settings`. `num_languages`: its names."""
    flag_groups.add_store(parser, "--model-name-or-path")
    training = parser.add_argument_group(
        "training", "Of every language by itself; the learning rate falls to 0 over all epochs, merges or not."
    )
    add_settings(training, LanguageTraining, TRAINING)
    add_settings(training.add_mutually_exclusive_group(), LanguageTraining, PRECISION)
    turns = training.add_mutually_exclusive_group()
    add_settings(turns, IterativeSettings, ("sequential",))
    turns.add_argument(
        "--no-sequential-training",
        dest="sequential_training",
        action="store_false",
        help="all languages at a time, a process each, over the GPUs in turn",
    )
    add_settings(training, IterativeSettings, ("save_strategy", "max_gpu_memory"))
    training.add_argument("--enable-wandb", action="store_true", help="track the run with Weights & Biases")
    add_settings(training, LanguageTraining, ("wandb_project",))
    times = parser.add_argument_group("when to merge", "Always at the end; docs/iterative.md has the rules.")
    add_settings(times, IterativeSettings, TIMES, defaults={"merge_frequency": merge_frequency})
    add_sources(parser, renamed={"sources": "--locales --sources", "num_languages": num_languages})
    add_merging(parser, beside_training=True)
    flag_groups.add_task(parser)


def read_iterative_settings(args: argparse.Namespace, target: str, output_dir: Path) -> IterativeSettings:
    """The run for `target` in `output_dir`."""
    merge = read_merge_settings(args, args.mode, target)
    project = (args.wandb_project or WANDB_PROJECT) if args.enable_wandb else None
    settings = read_settings(LanguageTraining, args, wandb_project=project)
    store = flag_groups.read_store(args)
    training = TrainingRun(store.task, store, merge.choice.sources or (), output_dir, settings)
    return read_settings(
        IterativeSettings,
        args,
        training=training,
        merge=replace(merge, seed=settings.seed),
        results_root=args.results_dir,
        command=args.command,
    )


def check_iterative_flags(args: argparse.Namespace, run: IterativeSettings) -> None:
    """Ignore, with a warning, a flag without effect; InputError for what contradicts. What was read is read again."""
    check_merge_flags(args, [run.merge], f"in mode {run.merge.mode}")
    merges_once = run.max_epochs <= run.merge_frequency
    adapts = run.adaptive and not merges_once
    # With merges after every epoch there is no earlier one to be had.
    triggers = run.performance_trigger and (run.merge_frequency > 1 or adapts)
    idle = [] if triggers else ["performance_merge_trigger"]
    idle += [] if adapts or triggers else ["convergence_threshold"]
    if merges_once:
        idle += ["adaptive_merge_frequency", "checkpoint_before_merge", "retain_merge_checkpoints"]
    ignore_idle(args, idle, f"with {run.max_epochs} epochs and --merge-frequency {run.merge_frequency}")
    if not args.enable_wandb:
        ignore_idle(args, ["wandb_project"], "without --enable-wandb")
    chosen = run.merge.selection.selection
    if chosen in ("real", "consensus") and not run.merge.choice.sources:
        raise InputError(
            f"--selection {chosen} needs models of its languages, and these are yet to be trained; name them with "
            "--locales"
        )
    if run.merge.needs_consensus and run.merge.choice.nxn_matrix:
        raise InputError("--nxn-matrix is of other models than those that are yet to be trained; leave it out")
    settings = run.training.settings
    if settings.cuda_graphs and (settings.fp16 or settings.gradient_checkpointing):
        raise InputError("--cuda-graphs cannot be combined with --fp16 or --gradient-checkpointing")
