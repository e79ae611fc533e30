"""A model adapted to a language by its unlabelled texts, and how well it does."""

import shutil
import tempfile
import weakref
from argparse import Namespace
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from auto_merge_llm.checkpoint import Checkpoint
from auto_merge_llm.errors import InputError

from merginguriel.utils.adaptation import adapt_job, comparison
from merginguriel.utils.adaptation.adapt import AdaptReport, read_report
from merginguriel.utils.adaptation.model_card import model_card
from merginguriel.utils.adaptation.run import AdaptRun
from merginguriel.utils.api.keywords import Keywords, results_in
from merginguriel.utils.api.merging import Merge
from merginguriel.utils.api.results import Result, Scored
from merginguriel.utils.data.language_arguments import locale
from merginguriel.utils.data.task import DEFAULT_TASK, Task
from merginguriel.utils.evaluation.comparison import comparison_table
from merginguriel.utils.evaluation.evaluation_job import EvaluationContext
from merginguriel.utils.evaluation.model_card import MODEL_CARD
from merginguriel.utils.evaluation.results import read_evaluation
from merginguriel.utils.flags import adapt_flags, flag_groups
from merginguriel.utils.storage import atomic
from merginguriel.utils.storage.made_folders import ADAPTED

_ADAPT = Keywords("adapt")
adapt_flags.add_model(_ADAPT)
_ADAPT.add_argument("--target-lang", type=locale, required=True, help="language to adapt to")
adapt_flags.add_taught(_ADAPT)
_ADAPT.add_argument(
    "--output-dir", type=Path, help="write the adapted model there (default: nowhere, see Adapted.save)"
)
_ADAPT.add_results()
adapt_flags.add_evaluated(_ADAPT)


@dataclass(frozen=True, repr=False)
class Adapted(Scored):
    """An adapted model, in `folder`: a temporary one, as long as this object, where no `output_dir` was given.

    On the target's test items: `before`, the model that it started from; `alone`, each teacher by its language, best
    first; `vote`, of the teachers. They are None or empty with no_eval and no_baselines, the last two also where the
    model taught itself.
    """

    run: AdaptRun
    report: AdaptReport
    evaluated: Result | None
    before: Result | None
    alone: dict[str, Result]
    vote: Result | None

    @property
    def task(self) -> Task:
        return self.run.task

    @property
    def folder(self) -> Path:
        return self.run.output

    @property
    def result(self) -> Result:
        if self.evaluated is None:
            raise InputError("this model was adapted with no_eval=True; evaluate it with evaluate(adapted, language)")
        return self.evaluated

    @property
    def weights(self) -> dict[str, float]:
        """Language -> share of its model in the vote that taught; empty where the model taught itself."""
        return {teacher["locale"]: teacher["weight"] for teacher in self.report.details["run"]["teachers"]}

    @property
    def rounds(self) -> list[dict[str, Any]]:
        """Of each round: its number, mean loss by epoch, agreement with the vote over the texts, seconds."""
        return self.report.rounds

    @property
    def fingerprint(self) -> str:
        """sha256 of the weights: equal bytes are equal models."""
        return Checkpoint(self.folder).weights_fingerprint

    def table(self) -> str:
        """Teachers, vote, the model before and the adapted one, tested against the model before, as the command's."""
        beside = [*self.alone.values(), *filter(None, [self.vote, self.before])]
        before = self.before.evaluation if self.before else None
        rows = [one.evaluation for one in (*beside, self.result)]
        return comparison_table(rows, before, "the model before") if before else comparison_table(rows)

    def save(self, folder: str | Path, *, overwrite: bool = False) -> Path:
        """Write the whole model, which transformers and every command can read; `folder`.

        InputError where there is something and `overwrite` is false, or that is nothing that this toolkit made.
        """
        place, measured = Path(folder), self.evaluated.evaluation if self.evaluated else None
        self.run.check_place(place)
        with atomic.whole_folder(place, ADAPTED, overwrite=overwrite) as partial:
            shutil.copytree(self.folder, partial, dirs_exist_ok=True)
            card = model_card(replace(self.run, output=place), self.report.details["run"], measured)
            atomic.write_text(partial / MODEL_CARD, card)
        return place

    def __repr__(self) -> str:
        what = f"<{self.run.start.name} adapted to {self.run.target}"
        return f"{what}: accuracy {self.accuracy:.4f}>" if self.evaluated else f"{what}>"


@_ADAPT.describe
def adapt(
    model: Merge | str | Path, target_lang: str | None = None, *, task: Task | str | Path | None = None, **settings: Any
) -> Adapted:
    """Make a model better in `target_lang` by that language's unlabelled texts; no label of theirs is read.

    `model`: a merge, or the folder of any classifier of the task. `target_lang` and `task`: by default a merge's own.
    It learns what its `teachers` say, models of other languages: by default the sources of the merge. Nothing is
    written but what `output_dir` and `results_dir` ask for. InputError for whatever the command refuses.
    """
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="merginguriel.")))
        start, sha256 = model, None
        if isinstance(model, Merge):
            target_lang, task = target_lang or model.plan.target, task or model.task
            start, sha256 = model.save(place / "before" / model.plan.output.name), model.fingerprint
        args = _ADAPT.read(model=start, target_lang=target_lang, task=task or DEFAULT_TASK, **settings)
        told, store = adapt_flags.read_taught(args), flag_groups.read_store(args)
        run = replace(adapt_flags.plan_run(args, told, store, args.target_lang), start_sha256=sha256)
        if args.output_dir is None:
            run = replace(run, output=place / run.output.name)
        found = _carried_out(run, args)
        shutil.rmtree(place / "before", ignore_errors=True)
        # The model stays as long as what stands for it, and goes at the end of the program at the latest.
        weakref.finalize(found, stack.pop_all().close)
    return found


def _carried_out(run: AdaptRun, args: Namespace) -> Adapted:
    """As the command does it, here."""
    context, evaluates, baselines = EvaluationContext(run.task), not args.no_eval, not args.no_baselines
    known = adapt_flags.experiment_of(run.start, run.target)
    with results_in(args.results_dir) as root:
        output = adapt_job.AdaptOutput(root, args.overwrite)
        shared: dict[str, Any] = {"context": context}
        for job in adapt_job.jobs_of(run, context, output, known, evaluates=evaluates, baselines=baselines):
            if not job.is_done():
                job.run(shared)
        report = read_report(run.output)
        if args.no_eval:
            return Adapted(run, report, None, None, {}, None)
        split, folder = context.split(run.target, "test"), root / run.output.name
        if args.no_baselines:
            only = read_evaluation(folder, run.output.name)
            return Adapted(run, report, Result(only, split, folder if args.results_dir else None), None, {}, None)
        standing = comparison.standing(run, output)
    adapted, before, *teachers = [
        Result(one, split, one.folder if args.results_dir else None)
        for one in (standing.adapted, standing.before, *standing.teachers)
    ]
    alone = {one.name.removesuffix(" alone"): one for one in teachers}
    return Adapted(run, report, adapted, before, alone, Result(standing.vote, split) if standing.vote else None)
