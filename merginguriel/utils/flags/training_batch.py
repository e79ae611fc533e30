"""The job of the two commands that train many models: their flags, their trainings, and how these are carried out."""

import argparse
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from auto_merge_llm.errors import InputError

from merginguriel.utils.data.task_file import TaskSettings
from merginguriel.utils.flags.flag_groups import add_backend, add_store, add_task, read_store
from merginguriel.utils.flags.setting_flags import ignore_idle, read_settings
from merginguriel.utils.flags.training_flags import build_parser, read_training
from merginguriel.utils.jobs.job import Job, shard
from merginguriel.utils.jobs.ledger import Ledger
from merginguriel.utils.jobs.outcome import conclude
from merginguriel.utils.storage import naming
from merginguriel.utils.storage.command_lines import as_called
from merginguriel.utils.storage.messages import said_once
from merginguriel.utils.storage.settings import tokens

# What the batch decides for every run; it cannot be given to training_bert.py beside it.
DECIDED = (
    "--task",
    "--dataset-name",
    "--dataset-config-name",
    "--model-name-or-path",
    "--base-model",
    "--output-dir",
    "--models-root",
    "--overwrite-output-dir",
    "--text-column",
    "--label-column",
)
RENAMED = {"--batch-size": "--per-device-train-batch-size"}


def add_batch(parser: Any) -> None:
    """Flags for `plan_batch` and `carry_out`."""
    parser.add_argument("--dry-run", action="store_true", help="print the commands, then stop")
    add_store(parser)
    add_task(parser)
    add_backend(parser, workers=1)


def add_additional(group: Any) -> None:
    group.add_argument(
        "--additional-args",
        nargs=argparse.REMAINDER,
        metavar="…",
        help="last: everything after it goes to training_bert.py; --batch_size is the training's",
    )


def additional_flags(args: argparse.Namespace) -> list[str]:
    """What stands after --additional-args, as training_bert.py has it; InputError where the batch decides it."""
    flags = []
    for token in args.additional_args or ():
        flag, equals, value = token.partition("=")
        if flag in DECIDED:
            raise InputError(
                f"{flag} cannot stand among --additional-args: every run has its own; see --help for "
                "what this command takes"
            )
        flags.append(RENAMED.get(flag, flag) + equals + value)
    return flags


def plan_batch(
    args: argparse.Namespace,
    models: Mapping[str, Sequence[str]],
    flags: Sequence[str],
    held_out: Mapping[str, str | None] | None = None,
) -> list[Job]:
    """A job for every model, by the name of its folder, on its locales with these flags, as far as --shard goes.

    `held_out`: name -> the locale that the model is evaluated on afterwards.
    """
    base_model, parser = read_store(args).base_model, build_parser()
    given = {
        name: parser.parse_args([*_decided(args, base_model, name, locales), *flags])
        for name, locales in models.items()
    }
    with said_once(logging.getLogger(ignore_idle.__module__)):
        runs = {name: read_training(one) for name, one in given.items()}

    from merginguriel.utils.training.training_job import training_job

    jobs = []
    for name, (run, steps) in runs.items():
        locale, folder = (held_out or {}).get(name), run.output_dir.name
        result = (locale, args.results_dir / naming.evaluation_name(folder, locale)) if locale else None
        jobs.append(training_job(run, steps, given[name].command, result))
    return shard(jobs, args.shard)


def _decided(args: argparse.Namespace, base_model: str, name: str, locales: Sequence[str]) -> list[str]:
    """The flags of training_bert.py that differ from run to run, or say what the batch says by flags of its own."""
    line = ["--dataset-config-name", ",".join(locales), "--model-name-or-path", base_model]
    line += [*tokens(read_settings(TaskSettings, args)), "--output-dir", str(args.models_root / name)]
    return [*line, "--models-root", str(args.models_root)]


def carry_out(args: argparse.Namespace, jobs: Sequence[Job], planned: Sequence[Job]) -> int:
    """Print the commands of a dry run, or do the jobs, some of the planned ones; the command's exit code."""
    if args.dry_run:
        for job in jobs:
            print(as_called(job.options["command"]))
        return 0

    from merginguriel.utils.jobs.backends import backend_of, get_ready
    from merginguriel.utils.jobs.engine import work_off
    from merginguriel.utils.training.trainer import check_environment
    from merginguriel.utils.training.training_job import memory_needed, remove_leftovers, table

    remove_leftovers(planned)
    if not jobs:
        return 0
    run = jobs[0].options["run"]
    if args.backend == "local":  # what machines of a cluster have, they say themselves
        check_environment(run.settings)
    get_ready(args, {"training"}, len(jobs))  # while the initial checkpoint is made
    backend = backend_of(args, memory_needed(run))
    # All that are planned, so that it is the same list when the command goes on.
    ledger = Ledger(jobs[0].folder.parent, args.command, planned)
    ledger.begin()
    outcome = work_off(jobs, backend, ledger.changed, unit="models")
    ledger.end(outcome)
    return conclude(outcome, table(jobs, outcome))
