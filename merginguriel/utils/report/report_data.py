"""What pictures and the report are made from, wherever it was read."""

import functools
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd

from merginguriel.utils.data.task import DEFAULT_TASK
from merginguriel.utils.evaluation.metrics import METRICS
from merginguriel.utils.results.comparison import Comparison
from merginguriel.utils.results.formatting import many
from merginguriel.utils.results.pairs import item_test
from merginguriel.utils.results.summary import summarise
from merginguriel.utils.similarity.matrix import LanguageMatrix
from merginguriel.utils.similarity.transfer import TransferMatrix
from merginguriel.utils.storage import naming


@dataclass(frozen=True)
class ReportData:
    """`comparison`, and the frame that `summarise` gives of it; matrices where there are any.

    `damaged`: file -> why it was left out. `own_codes`: code -> ISO 639-3 of languages that the task tells by one.
    """

    comparison: Comparison
    transfer: TransferMatrix | None = None
    similarity: LanguageMatrix | None = None
    damaged: dict[Path, str] = field(default_factory=dict)
    own_codes: dict[str, str] = field(default_factory=dict)

    @property
    def frame(self) -> pd.DataFrame:
        """A row a merge or ensemble."""
        return self.comparison.frame

    @property
    def metric(self) -> str:
        """The task's, by its name for people."""
        return METRICS[self.comparison.metric].title

    @property
    def item_test(self) -> str:
        """The paired test on the same items, as headings have it."""
        return item_test(self.comparison.metric)

    @functools.cached_property
    def summary(self) -> pd.DataFrame:
        """A row a variant and baseline."""
        return summarise(self.comparison)

    @property
    def best(self) -> str:
        """The variant with the largest mean gain over the best source, of those that are compared on most locales."""
        against = self.summary[self.summary["baseline"] == "best_source"]
        widest = against[against["compared"] == against["compared"].max()]
        return str(widest.sort_values("mean_gain", ascending=False, kind="stable")["variant"].iloc[0])

    @functools.cached_property
    def titles(self) -> dict[str, str]:
        """Variant -> its name in pictures: without what all variants share, unless two would be named alike."""
        numbers, tasks = set(self.frame["num_sources"].dropna()), set(self.frame["task"].dropna())
        number = f"_{int(numbers.pop())}lang" if len(numbers) == 1 else ""
        task = f"_{naming.word(tasks.pop())}" if len(tasks) == 1 else ""
        variants = self.frame["variant"].unique()
        short = {
            variant: variant.removeprefix("ensemble_").replace(task, "", 1).replace(number, "", 1)
            for variant in variants
        }
        taken = list(short.values())
        return {variant: name if taken.count(name) == 1 else variant for variant, name in short.items()}

    def described(self, origin: str, place: str = "locale") -> str:
        """How much there is, and from where."""
        results, methods = many(len(self.frame), "result"), many(len(self.titles), "method")
        of_task = "".join(f", task {name}" for name in sorted({*self.frame["task"].dropna()} - {DEFAULT_TASK}))
        return f"{results} of {methods} on {many(self.frame['locale'].nunique(), place)}{of_task}, from {origin}"

    def only(self, locales: list[str]) -> "ReportData":
        """Of some locales; p values stay adjusted for all of them."""
        frame = self.frame[self.frame["locale"].isin(locales)]
        return replace(self, comparison=replace(self.comparison, frame=frame))

    def interval(self, row: int, baseline: str) -> tuple[float, float]:
        """95 % interval of a row's gain, items resampled; NaN where they are not kept."""
        return self.comparison.pairs.interval([(row, baseline)])
