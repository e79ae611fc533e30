"""A merge beside what it is made of, on the same test items."""

from collections.abc import Sequence

from merginguriel.utils.adaptation.comparison import voted
from merginguriel.utils.evaluation.comparison import best_first, comparison_table
from merginguriel.utils.evaluation.results import read_evaluation
from merginguriel.utils.jobs.job import Job


def merge_table(jobs: Sequence[Job]) -> str:
    """Of jobs that are done: sources alone, best first, and the merge; of an adapted one also the sources' vote.

    All are tested against the best source, where there are sources.
    """
    merges = [read_evaluation(job.folder, job.name) for job in jobs if job.kind != "evaluation"]
    sources = [job for job in jobs if job.kind == "evaluation"]
    alone = [read_evaluation(job.folder, f"{job.options['source']} alone") for job in sources]
    votes = [voted(alone, [1.0] * len(alone), "sources")] if alone and len(merges) > 1 else []
    alone = best_first(alone)
    return comparison_table([*alone, *votes, *merges], alone[0] if alone else None)
