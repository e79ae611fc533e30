"""Adapt a model to a target language by the target's unlabelled texts, and evaluate it.

It learns what the vote of its teachers, models of other languages, says of them, or what it says itself. Prints the
test accuracy before and after, beside that of the teachers and of their vote. What is done is kept: the same command
goes on where it was stopped.
"""

if not __package__:
    import _checkout  # noqa: F401

from auto_merge_llm.errors import InputError

from merginguriel.utils.flags import adapt_flags, flag_groups
from merginguriel.utils.flags.command import answering_interrupts, command
from merginguriel.utils.flags.config import as_record, parse_with_config
from merginguriel.utils.flags.parser import ArgumentParser
from merginguriel.utils.storage import naming


def build_parser():
    parser = ArgumentParser("adapt_to_target.py", description=__doc__)
    adapt_flags.add_adaptation(parser)
    return parser


def jobs_of(run, args, context):
    """What is to be done for one target."""
    from merginguriel.utils.adaptation import adapt_job

    return adapt_job.jobs_of(
        run,
        context,
        adapt_job.AdaptOutput(args.results_dir, args.overwrite),
        adapt_flags.experiment_of(run.start, run.target),
        evaluates=not args.no_eval,
        baselines=not args.no_baselines,
    )


def described(runs, args):
    """What is said of runs that are done."""
    from merginguriel.utils.adaptation import comparison
    from merginguriel.utils.adaptation.adapt_job import AdaptOutput

    output, tables = AdaptOutput(args.results_dir), []
    if not runs:
        return ""
    if args.no_baselines:
        tables = [comparison.adapted_table(runs, output)]
    elif not args.no_eval:
        found = [comparison.standing(run, output) for run in runs]
        tables = [one.table() for one in found] if args.target_lang else [comparison.summary(found)]
    return "\n".join([*tables, *(f"adapted model: {run.output}" for run in runs)])


def one_by_one(planned, args, context):
    """The jobs of one target, here; InputError where one fails."""
    shared = {"context": context}
    for jobs in planned.values():
        for job in jobs:
            if not job.is_done():
                job.run(shared)
    print(described(planned, args))
    return 0


def as_batch(planned, failures, args, context):
    """Those of several, as the flags of the backend say."""
    from merginguriel.utils.adaptation.adapt_job import memory_needed
    from merginguriel.utils.jobs.backends import backend_of
    from merginguriel.utils.jobs.engine import carry_out
    from merginguriel.utils.jobs.ledger import Ledger, ending_of
    from merginguriel.utils.jobs.outcome import conclude

    ledger = Ledger(
        naming.MERGED_ROOT if args.no_eval else args.results_dir,
        args.command,
        [job for jobs in planned.values() for job in jobs],
        failures,
        config=as_record(args),
        prefix="adaptation",
        ending=ending_of(args.shard),
    )
    backend = backend_of(args, max(map(memory_needed, planned), default=0))
    outcome = carry_out(ledger, backend, context=context)
    whole = [run for run, jobs in planned.items() if all(outcome.is_whole(job.name) for job in jobs)]
    return conclude(outcome, described(whole, args))


@command
def main(argv=None):
    args = parse_with_config(build_parser(), argv)
    settings, store = adapt_flags.read_adapt_settings(args), flag_groups.read_store(args)
    adapt_flags.check_models(args, store)

    from merginguriel.utils.adaptation.adapt import check_device
    from merginguriel.utils.adaptation.adapt_job import remove_leftovers
    from merginguriel.utils.adaptation.run import log as adaptation_log
    from merginguriel.utils.evaluation.evaluation_job import EvaluationContext
    from merginguriel.utils.jobs.job import sharded
    from merginguriel.utils.storage.messages import said_once

    if args.backend == "local":  # what machines of a cluster have, they say themselves
        check_device(settings)
    context, planned, failures = EvaluationContext(store.task), {}, {}
    with said_once(adaptation_log):
        for target in [args.target_lang] if args.target_lang else sharded(args.targets, args.shard):
            try:
                run = adapt_flags.plan_run(args, settings, store, target)
                planned[run] = jobs_of(run, args, context)
            except InputError as error:
                if args.target_lang:
                    raise
                failures[target] = str(error)
    if args.dry_run:
        print(
            *(run.describe() for run in planned), *(f"impossible: {one}: {failures[one]}" for one in failures), sep="\n"
        )
        return 1 if failures else 0
    remove_leftovers(planned)
    with answering_interrupts():
        if args.target_lang:
            return one_by_one(planned, args, context)
        return as_batch(planned, failures, args, context)


if __name__ == "__main__":
    raise SystemExit(main())
