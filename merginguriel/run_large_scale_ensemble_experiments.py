"""Let models vote on every target language: locales x votes, each source loaded once.

What is done is kept: the same command goes on where it was stopped. Exit code 1 if a target failed.
"""

if not __package__:
    import _checkout  # noqa: F401

from auto_merge_llm.errors import InputError

from merginguriel.utils.ensembles.votes import VOTES
from merginguriel.utils.flags import flag_groups, nxn_record, vote_flags
from merginguriel.utils.flags.command import command
from merginguriel.utils.flags.config import as_record, parse_with_config
from merginguriel.utils.flags.parser import ArgumentParser, PrintAndStop

REMEDY = "check --models-root and --base-model, or name targets with --target-languages"


def build_parser():
    lines = vote_flags.VOTE_LINES
    parser = ArgumentParser("run_large_scale_ensemble_experiments.py", description=__doc__, epilog=f"votes:\n{lines}")
    parser.add_argument("--list-voting-methods", action=PrintAndStop, text=lines, help="list the votes")
    flag_groups.add_targets(parser, "--target-languages", "every locale with a model, or every target of --nxn-dir")
    parser.add_argument(
        "--voting-methods", nargs="+", choices=list(VOTES), default=list(VOTES), metavar="VOTE", help="see below"
    )
    vote_flags.add_votes(parser)
    flag_groups.add_backend(parser, workers=1)
    return parser


def choose_targets(args):
    """(the targets, where they come from)"""
    if args.targets:
        targets, where = args.targets, "--target-languages"
    elif args.nxn_dir:
        from merginguriel.utils.evaluation import nxn_logits

        targets, where = list(nxn_logits.open_logits(args.nxn_dir).targets), args.nxn_dir
    else:
        targets, where = list(flag_groups.read_store(args).find()), args.models_root
    return flag_groups.choose_targets(args, targets, where, REMEDY), where


@command
def main(argv=None):
    args = parse_with_config(build_parser(), argv)
    targets, where = choose_targets(args)
    if args.list_locales:
        flag_groups.print_targets(targets, where)
        return 0
    settings = vote_flags.read_vote_settings(args)
    flag_groups.check_backend(args)
    store = nxn_record.read_store_of(args)
    vote_flags.check_models(settings, store, targets)

    from merginguriel.utils.ensembles import comparison
    from merginguriel.utils.ensembles.plan import Planner, open_kept
    from merginguriel.utils.ensembles.vote_job import VoteContext
    from merginguriel.utils.jobs.backends import backend_of
    from merginguriel.utils.jobs.engine import carry_out
    from merginguriel.utils.jobs.job import sharded
    from merginguriel.utils.jobs.ledger import Ledger, ending_of
    from merginguriel.utils.jobs.outcome import conclude
    from merginguriel.utils.merging import selection
    from merginguriel.utils.models.devices import default_device
    from merginguriel.utils.storage.messages import said_once

    context = VoteContext(store.task, open_kept(settings))
    planner = Planner(settings, store, context, default_device())
    methods, jobs, failures = list(dict.fromkeys(args.voting_methods)), [], {}
    targets, backend = sharded(targets, args.shard), backend_of(args, planner.memory_needed)
    planner.ask(targets, backend)
    with said_once(selection.log):
        for target in targets:
            try:
                jobs += planner.jobs(planner.plan(target), methods, args.results_dir, args.overwrite)
            except InputError as error:
                failures[target] = str(error)
    # One model in memory: all targets of a source before the next source.
    jobs.sort(key=lambda job: job.group if job.kind == "evaluation" else "")
    ledger = Ledger(
        args.results_dir,
        args.command,
        jobs,
        failures,
        config=as_record(args),
        prefix="ensemble_experiment",
        ending=ending_of(args.shard),
        describe=lambda jobs, outcome: comparison.described(comparison.standings(jobs, context, outcome.is_whole)),
    )
    outcome = carry_out(ledger, backend, context=context)
    return conclude(outcome, comparison.summary(jobs, context, outcome))


if __name__ == "__main__":
    raise SystemExit(main())
