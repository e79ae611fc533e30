"""The flags of votes, for one target and for many."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from merginguriel.utils.ensembles.settings import VoteSettings
from merginguriel.utils.ensembles.votes import VOTES
from merginguriel.utils.evaluation import nxn_logits
from merginguriel.utils.flags.flag_groups import add_given, add_store, add_task, choose_given
from merginguriel.utils.flags.merge_flags import add_sources, check_named, ignore_unused_choice, read_choice
from merginguriel.utils.flags.setting_flags import add_settings, ignore_idle, ignore_unused, read_settings
from merginguriel.utils.merging import wanted
from merginguriel.utils.models.store import ModelStore
from merginguriel.utils.storage import naming

VOTE_LINES = "\n".join(f"  {name:<19}{text}" for name, (_, text) in VOTES.items())


def add_votes(parser: Any) -> None:
    add_store(parser)
    add_given(parser)
    add_sources(parser)
    add_settings(parser, VoteSettings, ("preweight", "nxn_dir"))
    add_settings(parser.add_argument_group("items"), VoteSettings, ("split", "num_examples", "seed"))
    add_task(parser)
    output = parser.add_argument_group("output")
    output.add_argument(
        "--results-dir", "--output-dir", type=Path, default=naming.RESULTS_ROOT, metavar="DIR", help="where results go"
    )
    output.add_argument("--overwrite", action="store_true", help="replace what is there")


def read_vote_settings(args: argparse.Namespace) -> VoteSettings:
    """The settings, without flags that have no effect."""
    settings = _read(args)
    used, where = settings.used(), "with the other flags given"
    check_named(args, used, settings.choice.sources or ())
    ignore_unused_choice(args, used, where)
    ignore_unused(args, used | {setting for setting in args.settings if setting[0] != VoteSettings.__name__}, where)
    ignore_idle(args, ["models_root"] if args.nxn_dir else [], "with --nxn-dir")
    return _read(args)


def check_models(settings: VoteSettings, store: ModelStore, targets: Sequence[str]) -> None:
    """InputError where the models that are to vote on `targets` are not there; of an N×N its folder must be."""
    if settings.nxn_dir is not None:
        nxn_logits.open_logits(settings.nxn_dir)
    elif len(targets) == 1:
        wanted.check_sources(store, targets[0], settings.merge(targets[0]).selection)
    else:  # what one of them lacks is told beside the others' results
        wanted.available(store, targets, settings.choice.num_languages)


def _read(args: argparse.Namespace) -> VoteSettings:
    choice = choose_given(args, read_choice(args), getattr(args, "target_lang", ""))
    return read_settings(VoteSettings, args, choice=choice)
