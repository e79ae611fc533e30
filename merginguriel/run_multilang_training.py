"""Train one model on many languages: all of them, or all but one, which it is then evaluated on.

A model that is there is not trained again. Exit code 1 if a run failed; the same command then does only what is
missing.
"""

import argparse
from pathlib import Path

from auto_merge_llm.errors import InputError

from merginguriel import training_bert
from merginguriel.utils.data import task
from merginguriel.utils.data.languages import check_locale
from merginguriel.utils.flags import argument_types, flag_groups
from merginguriel.utils.flags.command import command
from merginguriel.utils.flags.parser import ArgumentParser
from merginguriel.utils.storage import naming


def build_parser():
    parser = ArgumentParser(prog="run_multilang_training.py", description=__doc__)
    mode = parser.add_mutually_exclusive_group(required=True)
    mode.add_argument(
        "--exclude", type=argument_types.locale, metavar="LOC", help="train on all languages but this one"
    )
    mode.add_argument("--super-model", action="store_true", help="train on all languages")
    mode.add_argument("--all-lolo", action="store_true", help="leave one language out, for each in turn")
    flag_groups.add_locales(
        parser, "--locales", help="all languages are these (default: the project's 49, or mini's 12)"
    )
    parser.add_argument(
        "--output-dir",
        type=Path,
        metavar="NAME",
        help="name of the model's folder in --models-root (default: {base}_massive_LOLO_…)",
    )
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
    parser.add_argument(
        "--results-dir",
        type=Path,
        default=naming.RESULTS_ROOT,
        metavar="DIR",
        help="where results on the languages left out go",
    )
    flag_groups.add_data(parser)
    parser.add_argument(
        "--additional-args",
        nargs=argparse.REMAINDER,
        metavar="…",
        help="last: everything after it goes to training_bert.py; --batch_size is the training's",
    )
    return parser


def output_name(args, base_model: str, excluded: str | None) -> str:
    if args.output_dir is None:
        return naming.leave_one_out_name(base_model, excluded)
    if args.output_dir.is_absolute() or ".." in args.output_dir.parts:
        raise InputError(
            f"--output-dir {args.output_dir} is to be a name in {args.models_root}; choose that folder "
            "with --models-root"
        )
    return str(args.output_dir)


@command
def main(argv=None):
    args = build_parser().parse_args(argv)
    base_model = task.base_model_of(args.base_model, args.dataset_name)

    from merginguriel.utils.training import batch

    flag_groups.refuse_idle(args, ["output_dir"] if args.all_lolo else [])
    flag_groups.refuse_idle(args, ["results_dir"] if args.super_model else [])
    flag_groups.refuse_idle(args, [] if args.all_lolo else ["workers"])
    locales = args.locales or list(task.default_locales(args.dataset_name))
    if args.exclude:
        check_locale(args.exclude, locales, "the languages to train on")
    if len(locales) == 1:
        raise InputError(f"only {locales[0]} to train on; name several --locales or use training_bert.py")
    flags = batch.additional_flags(args.additional_args)
    jobs = []
    for excluded in locales if args.all_lolo else [args.exclude]:
        name = output_name(args, base_model, excluded)
        jobs.append(
            batch.make_job(
                args,
                name,
                [locale for locale in locales if locale != excluded],
                base_model,
                name,
                ["--num-train-epochs", "15", "--do-train", "--do-eval", "--do-predict", *flags],
                held_out=excluded,
                results_root=args.results_dir,
            )
        )
    if not args.dry_run:
        batch.remove_leftovers(jobs)
    return batch.carry_out(jobs, training_bert.parse, workers=args.workers, dry_run=args.dry_run)


if __name__ == "__main__":
    raise SystemExit(main())
