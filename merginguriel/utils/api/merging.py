"""A merge in memory, and how well it does."""

from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from auto_merge_llm.errors import InputError

from merginguriel.utils.api.keywords import Keywords, results_in
from merginguriel.utils.api.results import Result, Scored
from merginguriel.utils.data.language_arguments import locale
from merginguriel.utils.data.task import DEFAULT_TASK, Task
from merginguriel.utils.evaluation.comparison import best_first, comparison_table
from merginguriel.utils.evaluation.evaluation_job import precision_on
from merginguriel.utils.evaluation.results import read_evaluation
from merginguriel.utils.flags import merge_command
from merginguriel.utils.flags.merge_flags import add_mode
from merginguriel.utils.flags.setting_flags import add_settings
from merginguriel.utils.merging import merge_job
from merginguriel.utils.merging.bench import is_merged
from merginguriel.utils.merging.memory_bench import MergedInMemory
from merginguriel.utils.merging.plan import MergePlan, plan_merge
from merginguriel.utils.merging.selection import Source
from merginguriel.utils.merging.settings import MergeSettings
from merginguriel.utils.models.devices import default_device

_MERGE = Keywords("merge")
_MERGE.add_argument("--target-lang", type=locale, required=True, help="language to merge for")
add_mode(_MERGE, required=True)
merge_command.add_merge(_MERGE)
add_settings(_MERGE, MergeSettings, ("dtype", "allow_mismatched_heads"))
_MERGE.add_argument("--output-dir", type=Path, help="write the merged model there (default: nowhere, see Merge.save)")
_MERGE.add_results()
_MERGE.add_argument("--no-eval", action="store_true", help="do not evaluate")
_MERGE.add_argument("--no-baselines", action="store_true", help="evaluate the merge, not its sources")


@dataclass(frozen=True, repr=False)
class Merge(Scored):
    """A merged model. `alone`: each source's own result on the target's items, by language, best first."""

    plan: MergePlan
    merged: MergedInMemory
    evaluated: Result | None
    alone: dict[str, Result]

    @property
    def result(self) -> Result:
        if self.evaluated is None:
            raise InputError("this merge was made with no_eval=True; evaluate it with evaluate(merge, language)")
        return self.evaluated

    @property
    def task(self) -> Task:
        return self.plan.task

    @property
    def sources(self) -> tuple[Source, ...]:
        """Each with its locale, path and weight."""
        return self.plan.sources

    @property
    def weights(self) -> dict[str, float]:
        """Language -> weight of its model."""
        return {source.locale: source.weight for source in self.sources}

    @property
    def fingerprint(self) -> str:
        """sha256 of the merged weights: equal bytes are equal models."""
        return self.merged.weights_fingerprint

    def save(self, folder: str | Path, *, overwrite: bool = False) -> Path:
        """Write the whole model, which transformers and every command can read; `folder`.

        InputError where there is something and `overwrite` is false, or that is nothing that this toolkit made.
        """
        result = self.evaluated.evaluation if self.evaluated else None
        self.merged.save(Path(folder), result, overwrite=overwrite)
        return Path(folder)

    def table(self) -> str:
        """The sources alone and the merge, tested against the best source, as the command prints them."""
        alone = [result.evaluation for result in self.alone.values()]
        return comparison_table([*alone, self.result.evaluation], alone[0] if alone else None)

    def __repr__(self) -> str:
        what = f"<{self.plan.mode} of {', '.join(self.weights)} for {self.plan.target}"
        return f"{what}: accuracy {self.accuracy:.4f}>" if self.evaluated else f"{what}>"


@_MERGE.describe
def merge(target_lang: str, mode: str, *, task: Task | str | Path = DEFAULT_TASK, **settings: Any) -> Merge:
    """Merge models of other languages into one for `target_lang`, in memory, and evaluate it there on test.

    Nothing is written but what `output_dir` and `results_dir` ask for, and adapters among the `sources`, which are
    merged into their bases once, in `models_root`/.adapters. `sources` is a list of languages, or maps each to its
    model. InputError for whatever the command refuses.
    """
    args = _MERGE.read(target_lang=target_lang, mode=mode, task=task, **settings)
    chosen, store = merge_command.read_merge(args)
    plan = plan_merge(chosen, store.task, store, output=args.output_dir)
    record = plan.record()
    # What stands there and is no such merge is refused before any work.
    is_wanted = args.output_dir is not None and not is_merged(plan, record, args.overwrite)
    with results_in(args.results_dir) as root:
        output = merge_job.MergeOutput(root, overwrite=args.overwrite)
        context = merge_job.MergeContext(store.task, output)
        if args.no_eval:
            made = context.bench({}).merge(plan, record, overwrite=args.overwrite)
            found = Merge(plan, made, None, {})
        else:
            found = _evaluated(plan, context, output, args)
    if is_wanted:
        found.save(args.output_dir, overwrite=args.overwrite)
    found.merged.release()
    return found


def _evaluated(
    plan: MergePlan, context: merge_job.MergeContext, output: merge_job.MergeOutput, args: Namespace
) -> Merge:
    """As the job of a sweep merges and evaluates, but the merge is kept in memory."""
    split, precision = context.split(plan.target, "test"), precision_on(default_device())
    job = merge_job.merge_job(plan, split, precision, output)
    merge_job.check_results(job)
    shared: dict[str, Any] = {"context": context}
    made = context.bench(shared).merge(plan, job.settings["experiment"], overwrite=args.overwrite)
    overwrite = args.overwrite or job.has_result()
    result = made.evaluate(split, job.folder, overwrite=overwrite, job=job.hash)
    singles = [] if args.no_baselines else merge_job.source_jobs([plan], split, precision, output)
    for single in singles:
        single.run(shared)
    alone = [read_evaluation(single.folder, f"{single.options['source']} alone") for single in singles]
    first, *others = [
        Result(one, split, one.folder if args.results_dir else None) for one in (result, *best_first(alone))
    ]
    return Merge(plan, made, first, {one.name.removesuffix(" alone"): one for one in others})
