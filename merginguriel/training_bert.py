"""Fine-tune a classifier on the MASSIVE intents of one locale, or of several together.

Every run starts from one saved initial checkpoint per base model and seed, classification head
included: that is what makes the results mergeable.
"""

from pathlib import Path

from auto_merge_llm.errors import InputError

from merginguriel.utils import arguments, naming
from merginguriel.utils.errors import command

STEPS = ("do_train", "do_eval", "do_predict")


def build_parser():
    parser = arguments.ArgumentParser(prog="training_bert.py", description=__doc__)
    arguments.add_base_model(parser, "--model-name-or-path")
    arguments.add_data(parser)
    parser.add_argument("--dataset-config-name", type=arguments.locale_list, default=["en-US"],
                        metavar="LOC[,LOC…]", help="one locale, or several to train on together")
    parser.add_argument("--output-dir", type=Path, metavar="DIR",
                        help="folder of the model (default: checkpoint_results/<name of the run>)")
    parser.add_argument("--overwrite-output-dir", **_switch(), help="replace what is there")
    arguments.add_models_root(parser)
    steps = parser.add_argument_group("steps", "All three where none is given.")
    steps.add_argument("--do-train", **_switch(), help="fine-tune")
    steps.add_argument("--do-eval", **_switch(), help="evaluate on validation, after every epoch too")
    steps.add_argument("--do-predict", **_switch(), help="predict the test split and report its accuracy")
    training = parser.add_argument_group("training")
    training.add_argument("--num-train-epochs", type=arguments.bounded_float(0.001, 1e4), default=15, metavar="X",
                          help="passes over the training items")
    training.add_argument("--learning-rate", type=arguments.bounded_float(0, 1), default=5e-5, metavar="X",
                          help="AdamW's, decaying linearly to 0")
    training.add_argument("--per-device-train-batch-size", type=arguments.positive_int, default=128, metavar="N",
                          help="items a step")
    training.add_argument("--per-device-eval-batch-size", type=arguments.positive_int, default=128, metavar="N",
                          help="items a batch where nothing is learnt")
    training.add_argument("--gradient-accumulation-steps", type=arguments.positive_int, default=1, metavar="N",
                          help="batches a step")
    training.add_argument("--weight-decay", type=arguments.bounded_float(0, 1), default=0.0, metavar="X",
                          help="AdamW's")
    training.add_argument("--warmup-ratio", type=arguments.bounded_float(0, 1), default=0.0, metavar="X",
                          help="share of the steps over which the learning rate rises")
    training.add_argument("--max-seq-length", type=arguments.positive_int, default=128, metavar="N",
                          help="longest input in tokens; batches are padded to their own longest only")
    training.add_argument("--seed", type=arguments.seed, default=42, metavar="N",
                          help="of the shared head and of the training")
    precision = training.add_mutually_exclusive_group()
    precision.add_argument("--fp16", **_switch(), help="mixed precision, float16 (GPU)")
    precision.add_argument("--bf16", **_switch(), help="mixed precision, bfloat16")
    training.add_argument("--early-stopping-patience", type=arguments.positive_int, default=3, metavar="N",
                          help="epochs without a better validation accuracy before stopping")
    training.add_argument("--save-strategy", choices=["epoch", "no"], default="epoch",
                          help="epoch: can be resumed, keeps the best epoch by validation accuracy; "
                               "no: keeps the last")
    training.add_argument("--save-total-limit", type=arguments.positive_int, default=2, metavar="N",
                          help="checkpoints kept while training")
    training.add_argument("--logging-steps", type=arguments.positive_int, default=50, metavar="N",
                          help="steps between two lines of loss")
    limits = parser.add_argument_group("samples", "Over all locales together; for quick trials.")
    for split in ("train", "eval", "predict"):
        limits.add_argument(f"--max-{split}-samples", type=arguments.positive_int, metavar="N",
                            help=f"use only N {split} items")
    return parser


def _switch() -> dict:
    return dict(type=arguments.true_or_false, nargs="?", const=True, default=False, metavar="true|false")


@command
def main(argv=None):
    args = build_parser().parse_args(argv)
    if not any(getattr(args, step) for step in STEPS):
        if args.explicit & set(STEPS):
            raise InputError("nothing to do: --do-train, --do-eval and --do-predict are all false")
        for step in STEPS:
            setattr(args, step, True)
    stops_early = args.do_train and args.do_eval and args.save_strategy == "epoch"
    if "early_stopping_patience" in args.explicit and not stops_early:
        raise InputError("--early-stopping-patience has no effect without --do-train, --do-eval and "
                         "--save-strategy epoch; leave it out")
    base_model = arguments.base_model_of(args.model_name_or_path, args.dataset_name)
    output_dir = args.output_dir or Path("checkpoint_results") / naming.training_run_name(
        base_model, args.dataset_config_name, args.learning_rate, args.num_train_epochs)

    from merginguriel.utils.training import TrainingSettings, train

    settings = TrainingSettings(
        base_model=base_model, locales=tuple(args.dataset_config_name), output_dir=output_dir,
        **{name: value for name, value in vars(args).items()
           if name in TrainingSettings.__dataclass_fields__ and name not in ("output_dir",)})
    metrics = train(settings, do_train=args.do_train, do_eval=args.do_eval, do_predict=args.do_predict,
                    overwrite=args.overwrite_output_dir)
    for name, key in (("validation", "eval_accuracy"), ("test", "predict_accuracy")):
        if key in metrics:
            print(f"{name} accuracy {metrics[key]:.4f} on {', '.join(settings.locales)}")
    print(f"model: {output_dir}")


if __name__ == "__main__":
    raise SystemExit(main())
