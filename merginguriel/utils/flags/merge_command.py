"""The job of the two commands that merge once: their flags, and what they do and print."""

import argparse
import contextlib
import logging
from dataclasses import replace
from pathlib import Path

from merginguriel.utils.data.language_arguments import locale
from merginguriel.utils.data.task import MINI
from merginguriel.utils.flags.command import answering_interrupts
from merginguriel.utils.flags.flag_groups import add_given, add_store, add_task, choose_given, read_store
from merginguriel.utils.flags.merge_flags import (
    add_adapt,
    add_merging,
    add_sources,
    check_merge_flags,
    read_merge_settings,
)
from merginguriel.utils.flags.parser import ArgumentParser
from merginguriel.utils.flags.setting_flags import add_settings, ignore_idle
from merginguriel.utils.merging import wanted
from merginguriel.utils.merging.modes import mode_lines, needs_text
from merginguriel.utils.merging.settings import MergeSettings
from merginguriel.utils.models.store import ModelStore
from merginguriel.utils.storage import naming

log = logging.getLogger(__name__)


def build_parser(prog: str, description: str) -> ArgumentParser:
    parser = ArgumentParser(prog, description=description, epilog=f"modes:\n{mode_lines()}")
    parser.add_argument("--target-lang", type=locale, default="sq-AL", metavar="LOC", help="locale to merge for")
    add_merge(parser)
    add_adapt(parser)
    output = parser.add_argument_group("output")
    output.add_argument(
        "--output-dir",
        type=Path,
        metavar="DIR",
        help="folder of the merged model; with --adapt of the adapted one, and the merge lies beside it (default: "
        "merged_models/<mode>_merge_<target>_<N>merged)",
    )
    output.add_argument("--results-dir", type=Path, default=naming.RESULTS_ROOT, metavar="DIR", help="where results go")
    add_settings(output, MergeSettings, ("dtype", "allow_mismatched_heads"))
    output.add_argument("--overwrite", action="store_true", help="replace what is there")
    output.add_argument("--no-eval", action="store_true", help="do not evaluate")
    output.add_argument("--no-baselines", action="store_true", help="evaluate the merge, not its sources")
    output.add_argument("--dry-run", action="store_true", help="print sources, weights and paths, then stop")
    return parser


def add_merge(parser: ArgumentParser) -> None:
    """Flags for `read_merge`, but --mode, --target-lang, and those of the merged weights."""
    add_store(parser)
    add_given(parser)
    add_settings(parser, MergeSettings, ("seed",))
    add_sources(parser)
    add_merging(parser)
    add_task(parser)


def read_merge(args: argparse.Namespace) -> tuple[MergeSettings, ModelStore]:
    """The merge that is asked for, without flags that have no effect."""
    check_merge_flags(args, [_read_settings(args)], f"in mode {args.mode}")
    settings = _read_settings(args)
    if args.no_eval:
        ignore_idle(args, _of_evaluation(args, settings), "with --no-eval")
    return settings, read_store(args)


def _read_settings(args: argparse.Namespace) -> MergeSettings:
    settings = read_merge_settings(args, args.mode, args.target_lang)
    return replace(settings, choice=choose_given(args, settings.choice, args.target_lang))


def _of_evaluation(args: argparse.Namespace, settings: MergeSettings) -> list[str]:
    """The flags that nothing but an evaluation of this merge reads."""
    if needs_text(settings.mode) or settings.needs_consensus or settings.adaptation.adapt:
        return ["no_baselines"]
    found = ["no_baselines", "results_dir", "text_column", "label_column"]
    # mini also names the default base model.
    return found if args.dataset_name == MINI else [*found, "dataset_name"]


def run(args: argparse.Namespace) -> int:
    settings, store = read_merge(args)
    if settings.weighs_by_hand:
        store.available()
    else:
        wanted.check_sources(store, settings.target, settings.selection)

    from merginguriel.utils.merging.plan import plan_merge

    plan = plan_merge(settings, store.task, store, output=args.output_dir)
    if args.dry_run:
        print(plan.describe())
        return 0

    # Seconds, for which a plan and a refusal need not wait.
    from merginguriel.utils.adaptation.adapt import adapt, check_device
    from merginguriel.utils.evaluation.evaluation_job import precision_on
    from merginguriel.utils.merging import adapted_merge, merge_job
    from merginguriel.utils.merging.comparison import merge_table
    from merginguriel.utils.models.devices import default_device

    if plan.settings.adaptation.adapt:
        check_device(plan.settings.adaptation)
    output = merge_job.MergeOutput(args.results_dir, overwrite=args.overwrite, keep_merged=True)
    context, merge = merge_job.FolderContext(store.task, output), plan.before
    with answering_interrupts() if plan.settings.adaptation.adapt else contextlib.nullcontext():
        if args.no_eval:
            log.info("%s", plan.describe())
            context.bench({}).merge(merge, merge.record(), overwrite=args.overwrite)
            if merge != plan:
                adapt(adapted_merge.adapt_run(plan, merge.output, plan.output), overwrite=args.overwrite)
        else:
            split, precision = context.split(args.target_lang, "test"), precision_on(default_device())
            jobs = [merge_job.merge_job(merge, split, precision, output)]
            jobs += [] if args.no_baselines else merge_job.source_jobs([plan], split, precision, output)
            jobs += [adapted_merge.adapted_merge_job(plan, split, precision, output)] if merge != plan else []
            merge_job.check_results(jobs[0])
            log.info("%s", plan.describe())
            merge_job.do_here(jobs, context)
            print(merge_table(jobs))
    print(f"merged model: {merge.output}")
    if merge != plan:
        print(f"adapted model: {plan.output}")
    return 0
