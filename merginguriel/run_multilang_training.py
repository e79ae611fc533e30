"""Train one model on many languages: all of them, or all but one, which it is then evaluated on.

A model that is there is not trained again. Exit code 1 if a run failed; the same command then does only what is
missing.
"""

if not __package__:
    import _checkout  # noqa: F401

from pathlib import Path

from auto_merge_llm.errors import InputError

from merginguriel.utils.data.language_arguments import locale
from merginguriel.utils.data.languages import check_locale
from merginguriel.utils.flags.command import command
from merginguriel.utils.flags.flag_groups import add_locales, check_backend, read_store
from merginguriel.utils.flags.parser import ArgumentParser
from merginguriel.utils.flags.setting_flags import ignore_idle
from merginguriel.utils.flags.training_batch import add_additional, add_batch, additional_flags, carry_out, plan_batch
from merginguriel.utils.storage import naming

STEPS = ("--num-train-epochs", "15", "--do-train", "--do-eval", "--do-predict")


def build_parser():
    parser = ArgumentParser("run_multilang_training.py", description=__doc__)
    mode = parser.add_mutually_exclusive_group(required=True)
    mode.add_argument("--exclude", type=locale, metavar="LOC", help="train on all languages but this one")
    mode.add_argument("--super-model", action="store_true", help="train on all languages")
    mode.add_argument("--all-lolo", action="store_true", help="leave one language out, for each in turn")
    add_locales(parser, "--locales", help="all languages are these (default: the task's, of MASSIVE the project's 49)")
    parser.add_argument(
        "--output-dir",
        type=Path,
        metavar="NAME",
        help="name of the model's folder in --models-root (default: {base}_{task}_LOLO_…)",
    )
    parser.add_argument(
        "--results-dir",
        type=Path,
        default=naming.RESULTS_ROOT,
        metavar="DIR",
        help="where results on the languages left out go",
    )
    add_batch(parser)
    add_additional(parser)
    return parser


def check_flags(args) -> None:
    check_backend(args)
    if args.all_lolo and args.output_dir:
        raise InputError("--output-dir is one folder for the many models of --all-lolo; name them by --models-root")
    if not args.all_lolo:
        ignore_idle(args, ["workers", "workers_per_gpu", "shard"], "for one model")
    if args.super_model:
        ignore_idle(args, ["results_dir"], "with --super-model, which leaves no language out")
    output_dir = args.output_dir or Path()
    if output_dir.is_absolute() or ".." in output_dir.parts:
        raise InputError(
            f"--output-dir {output_dir} is to be a name in {args.models_root}; choose that folder with --models-root"
        )


@command
def main(argv=None):
    args = build_parser().parse_args(argv)
    check_flags(args)
    store = read_store(args)
    locales = args.locales or list(store.task.default_codes)
    if args.exclude:
        check_locale(args.exclude, locales, "the languages to train on")
    if len(locales) == 1:
        raise InputError(f"only {locales[0]} to train on; name several --locales or use training_bert.py")
    held_out = {}
    for excluded in locales if args.all_lolo else [args.exclude]:
        name = args.output_dir or naming.leave_one_out_name(store.base_model, store.task.name, excluded)
        held_out[str(name)] = excluded
    models = {name: [locale for locale in locales if locale != excluded] for name, excluded in held_out.items()}
    jobs = plan_batch(args, models, [*STEPS, *additional_flags(args)], held_out)
    return carry_out(args, jobs, jobs)


if __name__ == "__main__":
    raise SystemExit(main())
