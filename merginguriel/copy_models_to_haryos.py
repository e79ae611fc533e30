"""Copy training runs of one locale from checkpoint_results/ into --models-root, under the names that merging looks for.

Only finished runs are copied. Exit code 1 if a run could not be copied.
"""

if not __package__:
    import _checkout  # noqa: F401

from pathlib import Path

from auto_merge_llm.errors import InputError

from merginguriel.utils.flags.command import command
from merginguriel.utils.flags.parser import ArgumentParser
from merginguriel.utils.storage import naming


def build_parser():
    parser = ArgumentParser("copy_models_to_haryos.py", description=__doc__)
    parser.add_argument(
        "--runs",
        nargs="+",
        type=Path,
        metavar="DIR",
        help=f"runs to copy (default: every one in {naming.CHECKPOINTS_ROOT}/)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace models that are there")
    parser.add_argument("--dry-run", action="store_true", help="print what would be copied, then stop")
    parser.add_argument(
        "--models-root", type=Path, default=naming.MODELS_ROOT, metavar="DIR", help="where the fine-tuned models are"
    )
    return parser


@command
def main(argv=None):
    args = build_parser().parse_args(argv)

    from merginguriel.utils.training.copies import copy, is_copied, plan  # opens the models

    copies, refused = plan(args.runs, args.models_root)
    if not copies and not refused:
        raise InputError(f"no runs in {naming.CHECKPOINTS_ROOT}; train with training_bert.py, or name some with --runs")
    for source, target in copies.items():
        if is_copied(source, target):
            print(f"copied already: {source} -> {target}")
            continue
        try:
            if not args.dry_run:
                copy(source, target, args.overwrite)
            print(
                f"{'would copy' if args.dry_run else 'copied'} {source} -> {target}"
                + (" (exists)" if args.dry_run and target.exists() else "")
            )
        except InputError as error:
            refused[source] = str(error)
    for source, reason in refused.items():
        print(f"not copied: {source}: {reason}")
    return 1 if refused else 0


if __name__ == "__main__":
    raise SystemExit(main())
