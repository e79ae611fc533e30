"""Train a source model for every locale that has none in --models-root, several at a time with --workers.

A folder without a finished model counts as missing. Exit code 1 if a locale failed; the same command then trains only
what is missing.
"""

if not __package__:
    import _checkout  # noqa: F401

from pathlib import Path

from merginguriel.utils.data.languages import read_list
from merginguriel.utils.flags.command import command
from merginguriel.utils.flags.flag_groups import add_locales, check_backend, read_store
from merginguriel.utils.flags.parser import ArgumentParser
from merginguriel.utils.flags.setting_flags import add_settings, given_fields, read_settings
from merginguriel.utils.flags.training_batch import add_additional, add_batch, additional_flags, carry_out, plan_batch
from merginguriel.utils.flags.training_flags import add_tracking
from merginguriel.utils.storage.argument_types import positive_int
from merginguriel.utils.storage.settings import tokens
from merginguriel.utils.training.settings import TrainingSettings

RENAMED = {
    "per_device_train_batch_size": "--train-bs",
    "per_device_eval_batch_size": "--eval-bs",
    "num_train_epochs": "--epochs",
    "learning_rate": "--lr",
}
# These always have a value, whatever the defaults of training_bert.py.
DEFAULTS = {
    "per_device_train_batch_size": 32,
    "per_device_eval_batch_size": 64,
    "num_train_epochs": 3,
    "learning_rate": 5e-5,
}
OTHERS = ("warmup_ratio", "save_total_limit", "early_stopping_patience", "fp16", "bf16", "torch_compile")


def build_parser():
    parser = ArgumentParser("train_missing_models.py", description=__doc__)
    which = parser.add_mutually_exclusive_group()
    add_locales(which, "--locales", help="train these where they are missing (default: all)")
    which.add_argument(
        "--mapping-csv",
        type=Path,
        metavar="FILE",
        help="read the locales from a CSV's column 'locale', or from a list with one a line",
    )
    parser.add_argument("--max", type=positive_int, metavar="N", help="train at most N in this run")
    add_batch(parser)
    training = parser.add_argument_group("training", "The rest is training_bert.py's, see --additional-args.")
    add_settings(training, TrainingSettings, (*DEFAULTS, *OTHERS), renamed=RENAMED, defaults=DEFAULTS)
    add_tracking(training)
    add_additional(training)
    return parser


def training_flags(args) -> list[str]:
    """What the flags of this command say, as flags of training_bert.py."""
    always = DEFAULTS.keys() | given_fields(TrainingSettings, args)
    own = tokens(read_settings(TrainingSettings, args), always=always)
    return [*own, *(["--wandb"] if args.wandb else []), *additional_flags(args)]


@command
def main(argv=None):
    args = build_parser().parse_args(argv)
    check_backend(args)
    store = read_store(args)
    listed = read_list(args.mapping_csv, "--mapping-csv") if args.mapping_csv else []
    store.task.check(listed)
    wanted = args.locales or listed or store.task.default_codes
    jobs = plan_batch(args, {store.folder(locale).name: [locale] for locale in wanted}, training_flags(args))
    missing = [job for job in jobs if not job.is_done()]
    chosen = missing[: args.max]
    print(
        f"{len(missing)} of {len(jobs)} models {store.folder('<language>').name} missing in "
        f"{args.models_root}" + (f", {len(chosen)} to train now" if len(chosen) < len(missing) else ""),
        flush=True,
    )
    return carry_out(args, chosen, jobs)


if __name__ == "__main__":
    raise SystemExit(main())
