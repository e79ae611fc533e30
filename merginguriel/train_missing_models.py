"""Train a source model for every locale that has none in --models-root, several at a time with --workers.

A folder without a finished model counts as missing. Exit code 1 if a locale failed; the same command then trains only
what is missing.
"""

import argparse
from pathlib import Path

from merginguriel import training_bert
from merginguriel.utils.data import task
from merginguriel.utils.flags import argument_types, flag_groups
from merginguriel.utils.flags.command import command
from merginguriel.utils.flags.parser import ArgumentParser
from merginguriel.utils.storage import naming

# Our short names for flags of training_bert.py; the first four always have a value.
PASSED = {
    "train_bs": "--per-device-train-batch-size",
    "eval_bs": "--per-device-eval-batch-size",
    "epochs": "--num-train-epochs",
    "lr": "--learning-rate",
    "warmup_ratio": "--warmup-ratio",
    "save_total_limit": "--save-total-limit",
    "early_stopping_patience": "--early-stopping-patience",
    "fp16": "--fp16",
    "bf16": "--bf16",
    "torch_compile": "--torch-compile",
    "wandb": "--wandb",
}


def build_parser():
    parser = ArgumentParser(prog="train_missing_models.py", description=__doc__)
    which = parser.add_mutually_exclusive_group()
    flag_groups.add_locales(which, "--locales", help="train these where they are missing (default: all)")
    which.add_argument(
        "--mapping-csv",
        type=Path,
        metavar="FILE",
        help="read the locales from a CSV's column 'locale', or from a list with one a line",
    )
    parser.add_argument("--max", type=argument_types.positive_int, metavar="N", help="train at most N in this run")
    parser.add_argument(
        "--workers",
        type=argument_types.positive_int,
        default=1,
        metavar="N",
        help="models trained at a time, over the GPUs in turn",
    )
    parser.add_argument("--dry-run", action="store_true", help="print the commands, then stop")
    flag_groups.add_base_model(parser)
    flag_groups.add_models_root(parser)
    flag_groups.add_data(parser)
    training = parser.add_argument_group("training", "The rest is training_bert.py's, see --additional-args.")
    training.add_argument("--train-bs", type=argument_types.positive_int, default=32, metavar="N", help="items a step")
    training.add_argument(
        "--eval-bs",
        type=argument_types.positive_int,
        default=64,
        metavar="N",
        help="items a batch where nothing is learnt",
    )
    training.add_argument(
        "--epochs",
        type=argument_types.bounded_float(0.001, 1e4),
        default=3,
        metavar="X",
        help="passes over the training items",
    )
    training.add_argument(
        "--lr", type=argument_types.bounded_float(0, 1), default=5e-5, metavar="X", help="learning rate"
    )
    training.add_argument(
        "--warmup-ratio",
        type=argument_types.bounded_float(0, 0.999),
        metavar="X",
        help="share of the steps over which it rises",
    )
    training.add_argument(
        "--save-total-limit", type=argument_types.positive_int, metavar="N", help="checkpoints kept while training"
    )
    training.add_argument(
        "--early-stopping-patience",
        type=argument_types.positive_int,
        metavar="N",
        help="epochs without a better validation accuracy before stopping",
    )
    training.add_argument("--fp16", action="store_true", help="mixed precision, float16 (GPU)")
    training.add_argument("--bf16", action="store_true", help="mixed precision, bfloat16")
    training.add_argument("--torch-compile", action="store_true", help="compile the model")
    training.add_argument("--wandb", action="store_true", help="track the runs with Weights & Biases")
    training.add_argument(
        "--additional-args",
        nargs=argparse.REMAINDER,
        metavar="…",
        help="last: everything after it goes to training_bert.py",
    )
    return parser


def training_flags(args) -> list[str]:
    from merginguriel.utils.training.batch import additional_flags

    flags = []
    for name, flag in PASSED.items():
        value = getattr(args, name)
        if value is True:
            flags.append(flag)
        elif value is not None and value is not False:
            flags += [flag, f"{value:g}" if isinstance(value, float) else str(value)]
    return flags + additional_flags(args.additional_args)


@command
def main(argv=None):
    args = build_parser().parse_args(argv)
    base_model = task.base_model_of(args.base_model, args.dataset_name)

    from merginguriel.utils.data import languages
    from merginguriel.utils.training import batch

    wanted = args.locales or (
        languages.read_list(args.mapping_csv) if args.mapping_csv else task.default_locales(args.dataset_name)
    )
    flags = training_flags(args)
    jobs = [
        batch.make_job(args, locale, [locale], base_model, naming.model_name(base_model, locale), flags)
        for locale in wanted
    ]
    missing = batch.missing(jobs)
    chosen = missing[: args.max]
    print(
        f"{len(missing)} of {len(jobs)} models {naming.model_name(base_model, '<locale>')} missing in "
        f"{args.models_root}" + (f", {len(chosen)} to train now" if len(chosen) < len(missing) else ""),
        flush=True,
    )
    if not args.dry_run:
        batch.remove_leftovers(jobs)
    return batch.carry_out(chosen, training_bert.parse, workers=args.workers, dry_run=args.dry_run)


if __name__ == "__main__":
    raise SystemExit(main())
