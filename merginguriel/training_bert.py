"""Fine-tune a classifier on the MASSIVE intents of one locale, or of several together.

Every run starts from one saved initial checkpoint per base model and seed, classification head
included: that is what makes the results mergeable.
"""

from pathlib import Path

from auto_merge_llm.errors import InputError

from merginguriel.utils.data import task
from merginguriel.utils.flags import argument_types, flag_groups
from merginguriel.utils.flags.command import command
from merginguriel.utils.flags.parser import ArgumentParser
from merginguriel.utils.storage import naming
from merginguriel.utils.storage.naming import CHECKPOINTS_ROOT

STEPS = ("do_train", "do_eval", "do_predict")
# A switch as Hugging Face's scripts have it, --flag or --flag true.
SWITCH: dict = dict(type=argument_types.true_or_false, nargs="?", const=True, default=False, metavar="true|false")


def build_parser():
    parser = ArgumentParser(prog="training_bert.py", description=__doc__)
    flag_groups.add_base_model(parser, "--model-name-or-path")
    flag_groups.add_data(parser)
    parser.add_argument(
        "--dataset-config-name",
        type=argument_types.locale_list,
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
    parser.add_argument("--overwrite-output-dir", **SWITCH, help="replace what is there")
    flag_groups.add_models_root(parser)
    steps = parser.add_argument_group("steps", "All three where none is given.")
    steps.add_argument("--do-train", **SWITCH, help="fine-tune")
    steps.add_argument("--do-eval", **SWITCH, help="evaluate on validation, after every epoch too")
    steps.add_argument("--do-predict", **SWITCH, help="predict the test split and report its accuracy")
    training = parser.add_argument_group("training")
    training.add_argument(
        "--num-train-epochs",
        type=argument_types.bounded_float(0.001, 1e4),
        default=15,
        metavar="X",
        help="passes over the training items",
    )
    training.add_argument(
        "--learning-rate",
        type=argument_types.bounded_float(0, 1),
        default=5e-5,
        metavar="X",
        help="AdamW's, at its highest",
    )
    training.add_argument(
        "--lr-scheduler-type",
        default="linear",
        metavar="NAME",
        choices=["linear", "cosine", "constant", "constant_with_warmup"],
        help="linear and cosine fall to 0; constant, constant_with_warmup",
    )
    training.add_argument(
        "--per-device-train-batch-size", type=argument_types.positive_int, default=128, metavar="N", help="items a step"
    )
    training.add_argument(
        "--per-device-eval-batch-size",
        type=argument_types.positive_int,
        default=128,
        metavar="N",
        help="items a batch where nothing is learnt",
    )
    training.add_argument(
        "--gradient-accumulation-steps", type=argument_types.positive_int, default=1, metavar="N", help="batches a step"
    )
    training.add_argument(
        "--weight-decay", type=argument_types.bounded_float(0, 1), default=0.0, metavar="X", help="AdamW's"
    )
    warmup = training.add_mutually_exclusive_group()
    warmup.add_argument(
        "--warmup-ratio",
        type=argument_types.bounded_float(0, 0.999),
        default=0.0,
        metavar="X",
        help="share of the steps over which the learning rate rises",
    )
    warmup.add_argument(
        "--warmup-steps", type=argument_types.whole_number, default=0, metavar="N", help="the same as a number of steps"
    )
    training.add_argument(
        "--max-steps", type=argument_types.positive_int, metavar="N", help="stop after N steps, whatever the epochs"
    )
    training.add_argument(
        "--max-seq-length",
        type=argument_types.positive_int,
        default=128,
        metavar="N",
        help="longest input in tokens; batches are padded to their own longest only",
    )
    training.add_argument(
        "--seed", type=argument_types.seed, default=42, metavar="N", help="of the shared head and of the training"
    )
    precision = training.add_mutually_exclusive_group()
    precision.add_argument("--fp16", **SWITCH, help="mixed precision, float16 (GPU)")
    precision.add_argument("--bf16", **SWITCH, help="mixed precision, bfloat16")
    precision.add_argument("--tf32", **SWITCH, help="float32, matrix products in TF32 (GPU since Ampere)")
    training.add_argument("--use-cpu", "--no-cuda", **SWITCH, help="leave the GPU alone")
    training.add_argument(
        "--gradient-checkpointing",
        **SWITCH,
        help="compute activations twice instead of keeping them: less memory, a third more time",
    )
    training.add_argument("--torch-compile", **SWITCH, help="compile the model: minutes first, faster steps then")
    training.add_argument(
        "--cuda-graphs", **SWITCH, help="launch a whole pass at once, for models whose steps are bound by launches"
    )
    training.add_argument(
        "--eval-strategy",
        "--evaluation-strategy",
        choices=["epoch", "no"],
        default="epoch",
        help="evaluate on validation after every epoch, or at the end only",
    )
    training.add_argument(
        "--load-best-model-at-end",
        **{**SWITCH, "default": True},
        help="keep the best epoch by validation accuracy, not the last",
    )
    training.add_argument(
        "--early-stopping-patience",
        type=argument_types.positive_int,
        default=3,
        metavar="N",
        help="epochs without a better validation accuracy before stopping",
    )
    training.add_argument(
        "--save-strategy",
        choices=["epoch", "no"],
        default="epoch",
        help="epoch: can be resumed, and the best epoch can be kept; no: keeps the last",
    )
    training.add_argument(
        "--save-total-limit",
        type=argument_types.positive_int,
        default=2,
        metavar="N",
        help="checkpoints kept while training",
    )
    training.add_argument(
        "--logging-steps",
        type=argument_types.positive_int,
        default=50,
        metavar="N",
        help="steps between two lines of loss",
    )
    tracking = parser.add_argument_group("tracking", "Variables of wandb apply, such as WANDB_MODE=offline.")
    tracking.add_argument("--wandb", **SWITCH, help="track the run with Weights & Biases")
    tracking.add_argument("--wandb-project", default="MergingUriel", metavar="NAME", help="its project")
    limits = parser.add_argument_group("samples", "Over all locales together; for quick trials.")
    for split in ("train", "eval", "predict"):
        limits.add_argument(
            f"--max-{split}-samples", type=argument_types.positive_int, metavar="N", help=f"use only N {split} items"
        )
    return parser


def parse(argv):
    """(TrainingSettings, the keywords of `train`), once every flag is known to have an effect."""
    args = build_parser().parse_args(argv)
    if not any(getattr(args, step) for step in STEPS):
        if args.explicit & set(STEPS):
            raise InputError("nothing to do: --do-train, --do-eval and --do-predict are all false")
        for step in STEPS:
            setattr(args, step, True)
    evaluates = args.do_train and args.do_eval and args.eval_strategy == "epoch"
    if not (evaluates and args.save_strategy == "epoch" and args.load_best_model_at_end):
        if "early_stopping_patience" in args.explicit:
            raise InputError(
                "--early-stopping-patience has no effect without --do-train, --do-eval, --eval-strategy "
                "epoch, --save-strategy epoch and --load-best-model-at-end true; leave it out"
            )
    if not (evaluates and args.save_strategy == "epoch") and args.explicit >= {"load_best_model_at_end"}:
        if args.load_best_model_at_end:
            raise InputError(
                "--load-best-model-at-end needs --do-train, --do-eval, --eval-strategy epoch and --save-strategy epoch"
            )
    if "wandb_project" in args.explicit and not args.wandb:
        raise InputError("--wandb-project has no effect without --wandb; leave it out")
    if args.wandb and not args.do_train:
        raise InputError("--wandb tracks training, and --do-train is false; leave it out")
    if args.cuda_graphs and (args.fp16 or args.torch_compile or args.gradient_checkpointing):
        raise InputError("--cuda-graphs cannot be combined with --fp16, --torch-compile or --gradient-checkpointing")
    base_model = task.base_model_of(args.model_name_or_path, args.dataset_name)
    if args.output_dir is None:
        args.output_dir = CHECKPOINTS_ROOT / naming.training_run_name(
            base_model, args.dataset_config_name, args.learning_rate, args.num_train_epochs
        )
    if not args.wandb:
        args.wandb_project = None

    from merginguriel.utils.training.settings import TrainingSettings

    settings = TrainingSettings(
        base_model=base_model,
        locales=tuple(args.dataset_config_name),
        **{name: value for name, value in vars(args).items() if name in TrainingSettings.__dataclass_fields__},
    )
    return settings, {**{step: getattr(args, step) for step in STEPS}, "overwrite": args.overwrite_output_dir}


@command
def main(argv=None):
    settings, steps = parse(argv)

    from merginguriel.utils.training.train import train

    metrics = train(settings, **steps)
    for name, key in (("validation", "eval_accuracy"), ("test", "predict_accuracy")):
        if key in metrics:
            print(f"{name} accuracy {metrics[key]:.4f} on {', '.join(settings.locales)}")
    by_locale = metrics.get("predict_accuracy_by_locale", {})
    if len(by_locale) > 1:
        print(*(f"  {locale}  {accuracy:.4f}" for locale, accuracy in by_locale.items()), sep="\n")
    print(f"model: {settings.output_dir}")


if __name__ == "__main__":
    raise SystemExit(main())
