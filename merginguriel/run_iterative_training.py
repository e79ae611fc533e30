"""Train several languages in turn and merge them every few epochs; each goes on from the merge.

Prints the accuracy of every merge on validation items and of the last one on the target's test items. A run that was
stopped goes on when the same command is given again.
"""

from pathlib import Path

from auto_merge_llm.errors import InputError

from merginguriel import run_merging_pipeline_refactored as pipeline
from merginguriel.run_merging_pipeline_refactored import mode_lines
from merginguriel.utils.data import task
from merginguriel.utils.flags import argument_types, flag_groups
from merginguriel.utils.flags.command import answering_interrupts, command
from merginguriel.utils.flags.config import flags_given, with_config
from merginguriel.utils.flags.parser import ArgumentParser
from merginguriel.utils.storage import naming

# Names of training flags -> those of TrainingSettings, where they differ.
RENAMED = {
    "max_epochs": "num_train_epochs",
    "batch_size": "per_device_train_batch_size",
    "log_frequency": "logging_steps",
    "max_train_samples": "max_train_samples",
}
SAME = (
    "learning_rate",
    "max_seq_length",
    "fp16",
    "bf16",
    "tf32",
    "cuda_graphs",
    "gradient_checkpointing",
    "gradient_accumulation_steps",
    "warmup_ratio",
    "weight_decay",
    "models_root",
    "output_dir",
    "seed",
    "dataset_name",
    "text_column",
    "label_column",
)
# Flags that the name of a result tells where they have not their defaults.
TOLD = (
    "max_epochs",
    "merge_frequency",
    "learning_rate",
    "batch_size",
    "gradient_accumulation_steps",
    "warmup_ratio",
    "weight_decay",
    "max_seq_length",
    "max_train_samples",
    "adaptive_merge_frequency",
    "performance_merge_trigger",
    "convergence_threshold",
)


def build_parser(prog="run_iterative_training.py"):
    from merginguriel.utils.merging.modes import ALIASES, MODES

    parser = ArgumentParser(prog=prog, description=__doc__, epilog=f"modes:\n{mode_lines()}")
    parser.add_argument(
        "--mode",
        required=True,
        choices=list(MODES),
        metavar="MODE",
        type=lambda name: ALIASES.get(name, name),
        help="how to merge, see below",
    )
    parser.add_argument(
        "--target-lang",
        type=argument_types.locale,
        default="sq-AL",
        metavar="LOC",
        help="locale to merge for; it is not trained on",
    )
    parser.add_argument(
        "--output-dir",
        type=Path,
        default=Path("iterative_training_results"),
        metavar="DIR",
        help="folder of the run: checkpoints, merged models, history",
    )
    parser.add_argument(
        "--results-dir",
        type=Path,
        default=naming.RESULTS_ROOT,
        metavar="DIR",
        help="where the result of the last merge goes",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace a run of other settings")
    parser.add_argument(
        "--config-file", type=Path, metavar="JSON", help="flags by name; those of the command line count more"
    )
    parser.add_argument(
        "--save-config",
        action="store_true",
        help="keep the flags in <output-dir>/experiment_config.json, for --config-file",
    )
    add_run(parser)
    return parser


def add_run(parser) -> None:
    """Flags of training, merging and data, which runs for many targets have too."""
    add_training(parser)
    add_merge_times(parser)
    flag_groups.add_sources(parser, names=("--locales", "--sources"))
    pipeline.add_merging(parser, beside_training=True)
    flag_groups.add_data(parser)


def add_training(parser) -> None:
    flag_groups.add_base_model(parser, "--model-name-or-path")
    flag_groups.add_models_root(parser)
    training = parser.add_argument_group("training", "Of every language by itself.")
    training.add_argument(
        "--max-epochs",
        type=argument_types.positive_int,
        default=15,
        metavar="N",
        help="epochs of every language in all",
    )
    training.add_argument(
        "--learning-rate",
        type=argument_types.bounded_float(0, 1),
        default=5e-5,
        metavar="X",
        help="AdamW's, at its highest; it falls to 0 over all epochs, merges or not",
    )
    training.add_argument(
        "--warmup-ratio",
        type=argument_types.bounded_float(0, 0.999),
        default=0.1,
        metavar="X",
        help="share of all steps over which it rises",
    )
    training.add_argument(
        "--weight-decay", type=argument_types.bounded_float(0, 1), default=0.01, metavar="X", help="AdamW's"
    )
    training.add_argument(
        "--batch-size", type=argument_types.positive_int, default=128, metavar="N", help="items a step"
    )
    training.add_argument(
        "--gradient-accumulation-steps", type=argument_types.positive_int, default=1, metavar="N", help="batches a step"
    )
    training.add_argument(
        "--max-seq-length",
        type=argument_types.positive_int,
        default=128,
        metavar="N",
        help="tokens after which a text is cut",
    )
    training.add_argument(
        "--max-train-samples", type=argument_types.positive_int, metavar="N", help="use only N items of every language"
    )
    training.add_argument(
        "--seed",
        type=argument_types.seed,
        default=42,
        metavar="N",
        help="of the initial checkpoint, the training, and methods that draw numbers",
    )
    precision = training.add_mutually_exclusive_group()
    precision.add_argument("--fp16", action="store_true", help="mixed precision, float16 (GPU)")
    precision.add_argument("--bf16", action="store_true", help="mixed precision, bfloat16")
    precision.add_argument("--tf32", action="store_true", help="float32, matrix products in TF32 (GPU since Ampere)")
    training.add_argument(
        "--cuda-graphs",
        action="store_true",
        help="launch a whole pass at once, for models whose steps are bound by launches",
    )
    training.add_argument(
        "--gradient-checkpointing", action="store_true", help="compute activations twice instead of keeping them"
    )
    training.add_argument(
        "--save-strategy",
        choices=["epoch", "merge"],
        default="epoch",
        help="a checkpoint after every epoch, or only before merges: less to write, more to repeat after a kill",
    )
    turns = training.add_mutually_exclusive_group()
    turns.add_argument(
        "--sequential-training", action="store_true", default=True, help="one language at a time (the default)"
    )
    turns.add_argument(
        "--no-sequential-training",
        dest="sequential_training",
        action="store_false",
        help="all languages at a time, a process each, over the GPUs in turn",
    )
    training.add_argument(
        "--max-gpu-memory", type=argument_types.positive_int, metavar="MB", help="fail rather than take more of the GPU"
    )
    training.add_argument(
        "--log-frequency",
        type=argument_types.positive_int,
        default=100,
        metavar="N",
        help="steps between two lines of loss",
    )
    training.add_argument("--enable-wandb", action="store_true", help="track the run with Weights & Biases")
    training.add_argument("--wandb-project", default="MergingUriel-Iterative", metavar="NAME", help="its project")


def add_merge_times(parser) -> None:
    times = parser.add_argument_group("when to merge", "Always at the end; docs/iterative.md has the rules.")
    times.add_argument(
        "--merge-frequency", type=argument_types.positive_int, default=1, metavar="N", help="epochs between two merges"
    )
    times.add_argument(
        "--adaptive-merge-frequency",
        action="store_true",
        help="an epoch less after a merge that cost its sources accuracy, else one more",
    )
    times.add_argument(
        "--performance-merge-trigger",
        action="store_true",
        help="merge earlier where validation accuracy has stopped to rise",
    )
    times.add_argument(
        "--convergence-threshold",
        type=argument_types.bounded_float(0, 1),
        default=1e-4,
        metavar="X",
        help="accuracy: less is no rise, more is a cost",
    )
    times.add_argument(
        "--checkpoint-before-merge", action="store_true", help="keep the languages' checkpoints from before merges"
    )
    times.add_argument(
        "--retain-merge-checkpoints",
        type=argument_types.positive_int,
        default=3,
        metavar="N",
        help="merges, the last ones, that are kept; their checkpoints too with the flag above",
    )


def check_flags(args) -> None:
    """A flag without effect beside the others is refused, not ignored."""
    idle = {
        {"batch_size": "fisher_batch_size", "max_seq_length": "fisher_max_seq_length"}.get(name, name)
        for name in pipeline.idle_flags(args)
    }
    if args.sources:
        ignored = idle & args.explicit & {"top_k", "sinkhorn_iters"}
        if ignored:
            flag_groups.log.warning("warning: --top-k and --sinkhorn-iters choose sources, and --locales names them")
        idle -= ignored
    if not (args.adaptive_merge_frequency or args.performance_merge_trigger):
        idle |= {"convergence_threshold"}
    if args.merge_frequency == 1 and not args.adaptive_merge_frequency:
        idle |= {"performance_merge_trigger"}
    if args.max_epochs <= args.merge_frequency:
        idle |= {"adaptive_merge_frequency", "checkpoint_before_merge", "retain_merge_checkpoints"}
    if not args.enable_wandb:
        idle |= {"wandb_project"}
    flag_groups.refuse_idle(args, sorted(idle))
    pipeline.check_weight_flags(args)
    if args.selection == "real":
        raise InputError(
            "--selection real needs models of its languages, and these are yet to be trained; name them with --locales"
        )
    if args.cuda_graphs and (args.fp16 or args.gradient_checkpointing):
        raise InputError("--cuda-graphs cannot be combined with --fp16 or --gradient-checkpointing")


def parse(argv=None):
    """(IterativeSettings, the arguments), once every flag is known to have an effect."""
    parser = build_parser()
    tokens = with_config(parser, argv, "--config-file")
    args = parser.parse_args(tokens)
    args.flags = flags_given(tokens)
    check_flags(args)
    return read_settings(args, parser), args


def read_settings(args, parser):
    """IterativeSettings; `parser` knows the defaults."""
    from merginguriel.utils.iterative.settings import IterativeSettings
    from merginguriel.utils.merging.examples import MeasuringOptions
    from merginguriel.utils.training.settings import TrainingSettings

    told = [name for name in TOLD if getattr(args, name) != parser.get_default(name)]
    names = {**dict(zip(SAME, SAME)), **RENAMED}
    training = TrainingSettings(
        base_model=task.base_model_of(args.model_name_or_path, args.dataset_name),
        locales=tuple(args.sources or ()),
        eval_strategy="no",
        save_strategy="no",
        load_best_model_at_end=False,
        wandb_project=args.wandb_project if args.enable_wandb else None,
        **{setting: getattr(args, name) for name, setting in names.items()},
    )
    return IterativeSettings(
        training=training,
        mode=args.mode,
        target=args.target_lang,
        num_languages=args.num_languages,
        similarity=flag_groups.similarity_options(args, "cosine" if args.mode == "uriel" else "sinkhorn"),
        measuring=MeasuringOptions(
            args.dataset_name,
            args.dataset_split,
            args.fisher_data_mode,
            args.num_fisher_examples,
            args.fisher_batch_size,
            args.fisher_max_seq_length,
            args.text_column,
            args.label_column,
        ),
        results_root=args.results_dir,
        preweight=args.preweight,
        weights=pipeline.read_weights(args),
        normalize=args.normalize_weights,
        hyperparameters={
            name: getattr(args, name)
            for name in pipeline.HYPERPARAMETER_NAMES & args.explicit
            if hasattr(args, name) and name not in names
        },
        told=tuple(
            name.replace("_", "-") + ("" if getattr(args, name) is True else f"-{getattr(args, name)}") for name in told
        ),
        merge_frequency=args.merge_frequency,
        adaptive=args.adaptive_merge_frequency,
        performance_trigger=args.performance_merge_trigger,
        convergence_threshold=args.convergence_threshold,
        every_epoch=args.save_strategy == "epoch",
        checkpoint_before_merge=args.checkpoint_before_merge,
        retain=args.retain_merge_checkpoints,
        sequential=args.sequential_training,
        max_gpu_memory=args.max_gpu_memory,
        command=args.command,
    )


@command
def main(argv=None):
    settings, args = parse(argv)

    from merginguriel.utils.evaluation.comparison import comparison_table
    from merginguriel.utils.iterative import run

    plan = run.plan(settings)
    config = (
        {name: value for name, value in args.flags.items() if name not in ("save_config", "config_file", "overwrite")}
        if args.save_config
        else None
    )
    with answering_interrupts():
        final = run.run(settings, plan, overwrite=args.overwrite, config=config)
    print(run.history_table(settings.folder))
    print(f"\ntest items of {settings.target}:\n{comparison_table([final])}")
    print(f"merged model: {plan.output}")


if __name__ == "__main__":
    raise SystemExit(main())
