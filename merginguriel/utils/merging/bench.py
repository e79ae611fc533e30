"""Where models are merged: streamed from their folders into a whole folder, a piece at a time.

memory_bench.py has the other bench, for many merges of the same models. Both make the same bytes and the same results.
"""

import contextlib
import logging
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from auto_merge_llm.checkpoint import Checkpoint
from auto_merge_llm.compatibility import check_checkpoints
from auto_merge_llm.errors import InputError
from auto_merge_llm.executor import Stretch
from auto_merge_llm.folder_checks import check_model_folder
from auto_merge_llm.merge import merge_checkpoints
from auto_merge_llm.merged_model import MergeReport
from auto_merge_llm.methods.base import LearningMethod, Method
from auto_merge_llm.output_folder import OutputFolder

from merginguriel.utils.data.split import Split
from merginguriel.utils.evaluation.classifier import Classifier, evaluate
from merginguriel.utils.evaluation.model_card import MODEL_CARD
from merginguriel.utils.evaluation.results import Evaluation
from merginguriel.utils.jobs.job import tells
from merginguriel.utils.merging import measuring
from merginguriel.utils.merging.details import DETAILS_JSON, DETAILS_TXT, merge_details
from merginguriel.utils.merging.examples import Examples, draw_examples
from merginguriel.utils.merging.model_card import model_card
from merginguriel.utils.merging.plan import MergePlan
from merginguriel.utils.merging.selection import Source
from merginguriel.utils.merging.settings import MergeSettings
from merginguriel.utils.models import loading
from merginguriel.utils.models.devices import default_device
from merginguriel.utils.models.model_folder import read_labels
from merginguriel.utils.models.tokens import TOKENS
from merginguriel.utils.storage import atomic, environment
from merginguriel.utils.storage.made_folders import MERGED
from merginguriel.utils.storage.progress import Progress

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prepared:
    """A method ready to merge. `measurements`: as the library takes them, by source; `files`: where they are kept."""

    method: Method
    examples: Examples | None = None
    measurements: tuple[Any, ...] = ()
    files: tuple[Path, ...] = ()

    def details(self, plan: MergePlan, record: dict[str, Any], report: MergeReport) -> dict[str, str]:
        """merge_details.txt and its twin for programs, as texts by file name."""
        timestamp = environment.utc_now()
        measured_on: dict[str, Any] = {}
        if self.examples:
            measured_on = {
                "examples": self.examples.counts,
                "fingerprint": self.examples.fingerprint(),
                "files": list(map(str, self.files)),
            }
            if isinstance(self.method, LearningMethod):
                measured_on["coefficients"] = self.method.coefficients
        told = {
            "plan": record,
            "timestamp": timestamp,
            "parameters": report.parameters,
            "measured_on": measured_on,
            "checks": asdict(report.findings),
            "counts": report.counts,
            "environment": environment.run_environment(),
        }
        by_people = merge_details(
            mode=plan.mode,
            base_model=plan.base_model,
            target=plan.target,
            sources=plan.sources,
            timestamp=timestamp,
            settings=self._told(plan),
        )
        return {DETAILS_TXT: by_people, DETAILS_JSON: atomic.as_json(told)}

    def _told(self, plan: MergePlan) -> dict[str, object]:
        """What merge_details.txt tells beside sources and weights, of what has an effect in the mode."""
        settings = plan.settings
        told: dict[str, object] = {}
        if settings.length != 1:
            told["Length"] = f"{settings.length:g}"
        if (MergeSettings.__name__, "preweight") in settings.used():
            told["Preweight"] = settings.preweight
        if self.examples:
            counts = self.examples.counts
            told["Fisher Data Mode"] = settings.texts.scope
            told["Examples"] = f"{sum(counts.values())} ({', '.join(f'{name} {n}' for name, n in counts.items())})"
        return told


class Merged(ABC):
    """A merge that was made; `evaluate` keeps how well it does in `folder`, and the accuracy in its model card."""

    @abstractmethod
    def evaluate(self, split: Split, folder: Path, *, overwrite: bool, job: str | None) -> Evaluation: ...


class Bench(measuring.Models):
    """`measurements`: the folder for what methods find out on text."""

    def __init__(self, measurements: Path):
        self.measurements, self.device = measurements, default_device()
        self._examples: dict[Any, Examples] = {}

    @abstractmethod
    def merge(self, plan: MergePlan, record: dict[str, Any], *, overwrite: bool) -> Merged:
        """Merge as planned; `record` is the plan's. InputError for whatever cannot be merged."""

    def write(self, plan: MergePlan, record: dict[str, Any], *, overwrite: bool) -> None:
        """Merge into `plan.output`, unless this very merge stands there, which is kept even with `overwrite`."""
        if not tells(plan.output / DETAILS_JSON, {"plan": record}):
            self._write(plan, record, overwrite)

    def _write(self, plan: MergePlan, record: dict[str, Any], overwrite: bool) -> None:
        self.merge(plan, record, overwrite=overwrite)

    def release(self) -> None:
        """Free what was loaded; it is loaded again where it is needed."""

    @abstractmethod
    def measured(self, plan: MergePlan, source: Source, examples: Examples) -> tuple[Path, Any]:
        """(the file for what the plan's method measures of `source`, what was measured as the library takes it)"""

    def prepare(self, plan: MergePlan) -> Prepared:
        """Measure or learn what the plan's method has to know."""
        if not plan.texts:
            return Prepared(plan.method)
        # Not after hours of measuring.
        opened = [check_model_folder(self.checkpoint(source.path)) for source in plan.sources]
        start = check_model_folder(self.checkpoint(plan.base)) if plan.base else None
        check_checkpoints(opened, start, plan.settings.allow_mismatched_heads)
        settings = plan.settings
        key = plan.task, settings.texts, plan.texts, settings.seed
        if key not in self._examples:
            self._examples[key] = draw_examples(plan.task, settings.texts, plan.texts, settings.seed)
        examples = self._examples[key]
        if isinstance(plan.method, LearningMethod):
            return Prepared(measuring.learn(self, plan, plan.method, examples, self.measurements), examples)
        of_source = {source: settings.texts.of_source(examples, source.locale) for source in plan.sources}
        files, measurements = zip(*(self.measured(plan, source, own) for source, own in of_source.items()))
        return Prepared(plan.method, examples, measurements, files)

    def measurement_file(self, plan: MergePlan, source: Source, examples: Examples) -> measuring.MeasurementFile:
        return measuring.measurement_file(
            plan.method, self.checkpoint(source.path), plan.settings.texts, examples, self.measurements
        )

    def measure(self, plan: MergePlan, source: Source, examples: Examples) -> dict[str, torch.Tensor]:
        return measuring.measure(
            plan.method,
            self.float32_model(source.path),
            TOKENS.tokenizer(source.path),
            read_labels(source.path, plan.task),
            plan.settings.texts,
            examples,
            source.locale,
        )


class FolderBench(Bench):
    """Streams from folders into folders; what is measured is kept in files."""

    def checkpoint(self, path: Path) -> Checkpoint:
        return Checkpoint(path)

    def float32_model(self, path: Path) -> Any:
        return loading.load_model(path, self.device, torch.float32)

    def float32_state(self, path: Path) -> dict[str, torch.Tensor]:
        return self.float32_model(path).state_dict()

    def measured(self, plan: MergePlan, source: Source, examples: Examples) -> tuple[Path, Path]:
        file = self.measurement_file(plan, source, examples)
        if file.path.is_file():
            log.info("already measured: %s", file.path)
        else:
            file.write(self.measure(plan, source, examples))
        return file.path, file.path

    def merge(self, plan: MergePlan, record: dict[str, Any], *, overwrite: bool) -> "MergedFolder":
        """Into `plan.output`: weights, config, tokenizer, merge_details.txt and .json, model card.

        A folder that the same plan made from the same files is kept; any other in its place is refused without
        `overwrite`. Nothing stands at `plan.output` until all of it does.
        """
        refuse_sources(plan)
        if is_merged(plan, record, overwrite):
            log.info("already merged: %s", plan.output)
            return MergedFolder(plan)
        prepared = self.prepare(plan)
        with made_at_once(plan, record), atomic.whole_folder(plan.output, MERGED, overwrite=overwrite) as partial:
            report = _stream(plan, prepared, partial)
            for name, text in {**prepared.details(plan, record, report), MODEL_CARD: model_card(plan)}.items():
                atomic.write_text(partial / name, text)
        return MergedFolder(plan)


def _stream(plan: MergePlan, prepared: Prepared, output: Path) -> MergeReport:
    title = f"merging {len(plan.sources)} sources"
    with Progress(title) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.reached(done)

        return merge_checkpoints(
            prepared.method,
            [source.path for source in plan.sources],
            [source.weight for source in plan.sources],
            OutputFolder(output, plan.settings.dtype),
            base=stretched(plan, plan.base),
            measurements=prepared.measurements,
            allow_mismatched_heads=plan.settings.allow_mismatched_heads,
            progress=progress,
        )


def stretched(plan: MergePlan, base: Any) -> Any:
    """`base` as the library takes it, for a merge that goes as far from it as planned."""
    return base if plan.settings.length == 1 else Stretch(base, plan.settings.length)


def refuse_sources(plan: MergePlan) -> None:
    """InputError where the merge would take the place of one of its sources, or of its base."""
    sources, bases = [source.path for source in plan.sources], [plan.base] if plan.base else []
    for what, models in (("a source", sources), ("the base", bases)):
        folders = [model.resolve() for model in models]
        if plan.output.resolve() in [place for folder in folders for place in (folder, *folder.parents)]:
            raise InputError(f"{plan.output} is {what} of this merge or holds one; choose another --output-dir")


@contextlib.contextmanager
def made_at_once(plan: MergePlan, record: Mapping[str, Any]) -> Iterator[None]:
    """Inside, it is no error that the same command, started twice, has put this very merge in its place before."""
    try:
        yield
    except InputError:
        if not tells(plan.output / DETAILS_JSON, {"plan": dict(record)}):
            raise


def is_merged(plan: MergePlan, record: Mapping[str, Any], overwrite: bool) -> bool:
    """Whether `plan.output` is this very merge. InputError where it is anything else and `overwrite` is false."""
    if not plan.output.exists() or overwrite:
        return False
    made = plan.output / DETAILS_JSON
    if made.is_file() and atomic.read_json(made).get("plan") == record:
        return True
    raise InputError(
        f"{plan.output} exists already and is not this merge, or it is one of an earlier version; use --overwrite to "
        "replace it or choose another folder"
    )


class MergedFolder(Merged):
    """The merge in `plan.output`."""

    def __init__(self, plan: MergePlan):
        self._plan = plan

    def evaluate(self, split: Split, folder: Path, *, overwrite: bool, job: str | None) -> Evaluation:
        plan = self._plan
        texts = {name: (plan.output / name).read_text(encoding="utf-8") for name in (DETAILS_TXT, DETAILS_JSON)}
        return evaluate(
            Classifier(plan.output, plan.task),
            split,
            folder,
            name=plan.output.name,
            overwrite=overwrite,
            experiment=atomic.read_json(plan.output / DETAILS_JSON)["plan"],
            job=job,
            attachments=texts,
            tell=lambda result: atomic.write_text(plan.output / MODEL_CARD, model_card(plan, result)),
        )
