"""Sources that vote, and how well their votes do."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from merginguriel.utils.api.keywords import Keywords, results_in
from merginguriel.utils.api.results import Result, Scored
from merginguriel.utils.data.language_arguments import locale
from merginguriel.utils.data.task import DEFAULT_TASK, Task
from merginguriel.utils.ensembles.comparison import Standing, held
from merginguriel.utils.ensembles.plan import Planner, open_kept
from merginguriel.utils.ensembles.vote_job import VoteContext
from merginguriel.utils.ensembles.votes import VOTES
from merginguriel.utils.flags import nxn_record, vote_flags
from merginguriel.utils.merging.selection import Source
from merginguriel.utils.models.devices import default_device

_VOTE = Keywords("vote")
_VOTE.add_argument("--target-lang", type=locale, required=True, help="whose items are voted on")
_VOTE.add_argument("--voting-method", choices=list(VOTES), default="majority", help="how")
vote_flags.add_votes(_VOTE)
_VOTE.set_defaults(results_dir=None)


@dataclass(frozen=True, repr=False)
class Vote(Scored):
    """A vote. `alone`: each source's own result, by language, best first; `logits` (sources, items, labels)."""

    method: str
    sources: tuple[Source, ...]
    elected: Result
    alone: dict[str, Result]
    logits: np.ndarray

    @property
    def result(self) -> Result:
        return self.elected

    @property
    def weights(self) -> dict[str, float]:
        """Language -> weight of its model."""
        return {source.locale: source.weight for source in self.sources}

    def by(self, voting_method: str) -> "Vote":
        """Another vote of the same sources; no model is loaded again."""
        args = _VOTE.read(target_lang=self.result.language, voting_method=voting_method)
        predicted = VOTES[args.voting_method][0](self.logits, list(self.weights.values()))
        told = replace(self.result.evaluation, name=f"ensemble_{voting_method}", predicted=predicted)
        return replace(self, method=voting_method, elected=Result(told, self.result.items))

    def table(self) -> str:
        """The sources alone and the vote, tested against the best source, as the command prints them."""
        alone = [result.evaluation for result in self.alone.values()]
        return Standing(self.result.language, alone, {self.method: self.result.evaluation}).table()

    def __repr__(self) -> str:
        return f"<{self.method} vote of {', '.join(self.weights)}: accuracy {self.accuracy:.4f}>"


@_VOTE.describe
def vote(
    target_lang: str, voting_method: str = "majority", *, task: Task | str | Path = DEFAULT_TASK, **settings: Any
) -> Vote:
    """Let models of other languages vote on the items of `target_lang`; nothing is merged.

    Nothing is written without `results_dir`. `sources` is a list of languages, or maps each to its model. InputError
    for whatever the command refuses.
    """
    args = _VOTE.read(target_lang=target_lang, voting_method=voting_method, task=task, **settings)
    chosen = vote_flags.read_vote_settings(args)
    store = nxn_record.read_store_of(args)
    context = VoteContext(store.task, open_kept(chosen))
    planner = Planner(chosen, store, context, default_device())
    plan = planner.plan(args.target_lang)
    with results_in(args.results_dir) as root:
        jobs = planner.jobs(plan, [args.voting_method], root, args.overwrite)
        standing = held(jobs, context)
        logits = np.stack(context.logits(jobs[-1], plan.split))

    elected, *alone = [
        Result(one, plan.split, one.folder if args.results_dir else None)
        for one in (standing.votes[args.voting_method], *standing.alone)
    ]
    by_language = {one.name.removesuffix(" alone"): one for one in alone}
    return Vote(args.voting_method, plan.merge.sources, elected, by_language, logits)
