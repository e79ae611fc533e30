"""Every source on every target."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from auto_merge_llm.errors import InputError

from merginguriel.utils.api.keywords import Keywords, results_in
from merginguriel.utils.api.results import Result
from merginguriel.utils.data.split import Split
from merginguriel.utils.data.task import DEFAULT_TASK, Task
from merginguriel.utils.evaluation import nxn as runs
from merginguriel.utils.evaluation import nxn_job, nxn_logits, nxn_summary
from merginguriel.utils.evaluation.results import Evaluation
from merginguriel.utils.flags import flag_groups
from merginguriel.utils.report import heatmaps
from merginguriel.utils.similarity.transfer import TransferMatrix

if TYPE_CHECKING:
    import pandas as pd

_NXN = Keywords("nxn")
flag_groups.add_locales(_NXN, "--locales", help="source models, and targets without targets (default: all found)")
flag_groups.add_locales(_NXN, "--targets", help="languages to evaluate on")
flag_groups.add_nxn_items(_NXN)
flag_groups.add_store(_NXN)
flag_groups.add_given(_NXN)
_NXN.add_argument("--results-dir", type=Path, help="keep the run there, as the command does (default: nowhere)")
_NXN.add_argument("--anew", action="store_true", help="start a new run, even where one could go on")
flag_groups.add_task(_NXN)


@dataclass(frozen=True, repr=False)
class NxN:
    """Scores by the task's metric: rows are source models, columns target languages.

    `folder`: of the run, for `nxn_matrix` and `nxn_dir` of merges and votes; None where it was not kept.
    """

    transfer: TransferMatrix
    cells: dict[tuple[str, str], Result]
    folder: Path | None

    @property
    def sources(self) -> tuple[str, ...]:
        return self.transfer.sources

    @property
    def targets(self) -> tuple[str, ...]:
        return self.transfer.targets

    @property
    def matrix(self) -> np.ndarray:
        """(sources, targets)"""
        return self.transfer.values

    @property
    def zero_shot(self) -> float:
        """Mean over the cells of other languages than the source's; NaN where there are none."""
        return _mean(self.matrix[~self.transfer.own_language])

    @property
    def own_language(self) -> float:
        """Mean over the cells of the source's own language; NaN where there are none."""
        return _mean(self.matrix[self.transfer.own_language])

    def for_target(self, target: str) -> dict[str, float]:
        """Source -> score on one target, best first, without its own model."""
        return self.transfer.for_target(target)

    def to_pandas(self) -> "pd.DataFrame":
        """Rows are source models, columns targets."""
        import pandas as pd

        return pd.DataFrame(self.matrix, index=list(self.sources), columns=list(self.targets))

    def table(self) -> str:
        """As the command prints it."""
        return nxn_summary.table(self.transfer, next(iter(self.cells.values())).evaluation.metric)

    def __getitem__(self, cell: tuple[str, str]) -> Result:
        """Of (source, target)."""
        return self.cells[cell]

    def __repr__(self) -> str:
        return f"<{len(self.sources)} sources on {len(self.targets)} targets: zero-shot {self.zero_shot:.4f}>"


@_NXN.describe
def nxn(*, task: Task | str | Path = DEFAULT_TASK, **settings: Any) -> NxN:
    """Evaluate every source model on every target language.

    Nothing is written without `results_dir`, where the same call goes on with what it finds. `sources` maps languages
    to models. InputError where a model cannot be read.
    """
    args = _NXN.read(task=task, **settings)
    store = flag_groups.read_store(args)
    sources = store.choose(args.locales)
    with results_in(args.results_dir) as root:
        context = nxn_job.NxnContext(store.task, root / runs.TOKENS)
        plan = runs.NxnPlan(sources, tuple(args.targets or sources), args.split, root, context, args.max_items)
        run = _done(runs.prepare(plan, anew=args.anew), args.anew, kept=args.results_dir is not None)
        cells = {
            (source, target): Result(found, split, found.folder if args.results_dir else None)
            for source in run.plan.sources
            for target, (found, split) in _answers(run, source, store.task).items()
        }
        return NxN(run.matrix(), cells, run.folder if args.results_dir else None)


def _done(run: runs.Run, anew: bool, *, kept: bool) -> runs.Run:
    """The run with all its cells, done here, source after source."""
    for source, reason in run.failures.items():
        raise InputError(f"{source}: {reason}")
    if run.is_whole:
        return run
    run, shared = runs.begin(run, anew=anew), dict[str, Any]()
    for job in run.jobs():
        if shared.get("source") != job.group:
            shared = {"context": run.plan.items, "source": job.group}
        if not job.is_done():
            job.run(shared)

    def draw(matrix: TransferMatrix) -> None:
        if kept:
            heatmaps.save_transfer(matrix, run.plan.items.task, run.plan.split, run.folder / "heatmap.png")

    nxn_summary.gather(run, draw)
    return run


def _answers(run: runs.Run, source: str, task: Task) -> dict[str, tuple[Evaluation, Split]]:
    """Target -> what a source answered there."""
    logits, found = nxn_logits.open_logits(run.folder), {}
    for target in run.plan.targets:
        split = run.plan.items_of(target)
        ids, gold, predicted = np.array(split.ids), np.array(split.labels), logits.logits(source, target).argmax(-1)
        folder = run.cell(source, target)
        found[target] = Evaluation(source, folder, ids, gold, predicted, split.label_names, task.metric), split
    return found


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else float("nan")
