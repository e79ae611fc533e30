"""What an N×N evaluation tells of its models and data: where its logits are taken, no flag need say it again."""

import argparse
from pathlib import Path
from typing import Any

from auto_merge_llm.errors import InputError

from merginguriel.utils.data import older_names
from merginguriel.utils.data.massive import MASSIVE
from merginguriel.utils.data.task import Task
from merginguriel.utils.data.task_file import TaskSettings
from merginguriel.utils.flags.flag_groups import read_store, read_task
from merginguriel.utils.flags.setting_flags import given_fields
from merginguriel.utils.models.store import ModelStore
from merginguriel.utils.similarity.transfer import SUMMARY_JSON
from merginguriel.utils.storage import atomic
from merginguriel.utils.storage.naming import base_slug


def read_store_of(args: argparse.Namespace) -> ModelStore:
    """As `read_store`, with the base model and the task that --nxn-dir has; InputError where others are given."""
    file = args.nxn_dir / SUMMARY_JSON if args.nxn_dir else None
    if file is not None and file.is_file():
        told = atomic.read_json(file)
        _take_task(args, told)
        _take_base_model(args, told)
    return read_store(args)


def _take_task(args: argparse.Namespace, told: dict[str, Any]) -> None:
    name, origin = told.get("task"), told.get("task_origin")
    given = given_fields(TaskSettings, args)
    if "task" not in given and origin is not None:
        args.task = origin
    if name is not None and read_task(args).name != name:
        way = "--task leads to" if "task" in given else "without --task it is"
        raise InputError(
            f"{args.nxn_dir} is an N×N evaluation of task {name}, and {way} {read_task(args).name}; correct --task or "
            "give another --nxn-dir"
        )
    # Of a task that was made in Python, or that lies elsewhere now, the data are as it tells itself.
    is_same_task = not isinstance(args.task, Task) and args.task == (origin or MASSIVE.name)
    if is_same_task and "dataset_name" not in given and told.get("dataset") != read_task(args).data:
        args.dataset_name = told.get("dataset")


def _take_base_model(args: argparse.Namespace, told: dict[str, Any]) -> None:
    parsed = [older_names.parse_model(Path(model["path"]).name) for model in (told.get("models") or {}).values()]
    bases = {found[0] for found in parsed if found}
    if len(bases) != 1 or None in parsed or args.given:
        return  # models of other names, which tell no base
    (base,) = bases
    if "base_model" in args.explicit and base_slug(args.base_model) != base:
        raise InputError(
            f"{args.nxn_dir} is an N×N evaluation of models of {base}, not of {args.base_model}; leave --base-model "
            "out or give another --nxn-dir"
        )
    args.base_model = args.base_model or base
