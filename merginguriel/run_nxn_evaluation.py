"""Evaluate every source model on every target locale: the N×N matrix of cross-lingual transfer.

Models are found by name in --models-root. Rows of the matrix are source models, columns target locales. A run that
was interrupted goes on where it stopped when the same command is given again.
"""

from pathlib import Path

from auto_merge_llm.errors import InputError

from merginguriel.utils.data import task
from merginguriel.utils.flags import argument_types, flag_groups
from merginguriel.utils.flags.command import command
from merginguriel.utils.flags.parser import ArgumentParser
from merginguriel.utils.storage import naming


def build_parser():
    parser = ArgumentParser(prog="run_nxn_evaluation.py", description=__doc__)
    flag_groups.add_locales(
        parser, "--locales", help="source models, and targets without --targets (default: all found)"
    )
    flag_groups.add_locales(parser, "--targets", help="locales to evaluate on")
    parser.add_argument(
        "--split",
        choices=["test", "validation"],
        default="test",
        help="validation for a matrix to choose sources by, with --selection real",
    )
    flag_groups.add_base_model(parser)
    flag_groups.add_models_root(parser)
    parser.add_argument(
        "--max-workers",
        type=argument_types.positive_int,
        default=1,
        metavar="N",
        help="processes at a time, spread over the GPUs",
    )
    parser.add_argument("--results-dir", type=Path, default=naming.NXN_ROOT, metavar="DIR", help="where runs go")
    parser.add_argument("--anew", action="store_true", help="start a new run, even where one could go on")
    parser.add_argument("--list-locales", action="store_true", help="list the locales that have a model, then stop")
    parser.add_argument("--dry-run", action="store_true", help="print what would be evaluated, then stop")
    flag_groups.add_data(parser)
    return parser


def choose_sources(available: dict[str, Path], locales: list[str] | None, base_model: str, root: Path) -> dict:
    missing = [locale for locale in locales or () if locale not in available]
    if missing:
        raise InputError(
            f"no model {naming.model_name(base_model, missing[0])} in {root} for {', '.join(missing)}; "
            f"there are {', '.join(available)}; train it with training_bert.py or leave it out"
        )
    return {locale: available[locale] for locale in locales or available}


@command
def main(argv=None):
    args = build_parser().parse_args(argv)
    base_model = task.base_model_of(args.base_model, args.dataset_name)

    from merginguriel.utils.models import store

    available = store.available_models(args.models_root, base_model)
    if args.list_locales:
        print(
            f"{len(available)} locales with a model {naming.model_name(base_model, '<locale>')} in {args.models_root}:",
            *available,
            sep="\n",
        )
        return 0
    sources = choose_sources(available, args.locales, base_model, args.models_root)

    from merginguriel.utils.evaluation import nxn

    plan = nxn.NxnPlan(
        sources,
        tuple(args.targets or sources),
        args.split,
        args.dataset_name,
        args.results_dir,
        args.text_column,
        args.label_column,
        args.max_workers,
    )
    run = nxn.prepare(plan, anew=args.anew)
    missing = run.missing()
    cells = sum(map(len, missing.values()))
    if args.dry_run:
        print(f"{plan.describe()}\n{cells} to do, in {run.folder}")
        for source, path in sources.items():
            print(f"  {source}  {path}  {run.failures.get(source) or f'{len(missing.get(source, []))} to do'}")
        return 0
    if not run.is_whole:
        nxn.evaluate(run)
    else:
        print("already evaluated: every cell of these models, this data, split and precision; --anew starts again")
    print(nxn.table(run))
    for source, reason in run.failures.items():
        print(f"failed: {source}: {reason}")
    if run.failures:
        print("repair them and run the same command again: only what is missing is evaluated")
    print(f"matrix: {run.folder / nxn.MATRIX_CSV}")
    return 1 if run.failures else 0


if __name__ == "__main__":
    raise SystemExit(main())
