"""What was answered on which items, and how well."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from merginguriel.utils.data.split import Split
from merginguriel.utils.evaluation.comparison import mean_interval
from merginguriel.utils.evaluation.metrics import per_label
from merginguriel.utils.evaluation.results import Evaluation
from merginguriel.utils.evaluation.statistics import mcnemar

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, repr=False)
class Result:
    """One model, merge or vote on the items of one language and split. `folder`: where it is kept; None: nowhere."""

    evaluation: Evaluation
    items: Split
    folder: Path | None = None

    @property
    def name(self) -> str:
        return self.evaluation.name

    @property
    def language(self) -> str:
        return self.items.locale

    @property
    def split(self) -> str:
        return self.items.name

    @property
    def accuracy(self) -> float:
        return self.evaluation.accuracy

    @property
    def interval(self) -> tuple[float, float]:
        """95 % Wilson interval of the accuracy."""
        return self.evaluation.interval

    @property
    def macro_f1(self) -> float:
        return self.evaluation.macro_f1

    @property
    def score(self) -> float:
        """By the task's metric."""
        return self.evaluation.score

    @property
    def predictions(self) -> list[str]:
        """The names of the labels that were answered, in the order of the items."""
        return self._names(self.evaluation.predicted)

    @property
    def labels(self) -> list[str]:
        """The names of the gold labels."""
        return self._names(self.evaluation.gold)

    def _names(self, labels: np.ndarray) -> list[str]:
        return [self.evaluation.label_names[label] for label in labels]

    def p_value(self, other: "Result") -> float:
        """Exact two-sided McNemar p of both on the same items; InputError where they are not the same."""
        from merginguriel.utils.evaluation.comparison import aligned

        return mcnemar(*aligned([self.evaluation, other.evaluation]))

    def per_label(self) -> "pd.DataFrame":
        """Precision, recall, F1 and support of every label that is gold or answered."""
        import pandas as pd

        rows = per_label(self.evaluation.predicted, self.evaluation.gold)
        return pd.DataFrame(rows, index=[self.evaluation.label_names[row.label] for row in rows]).drop(columns="label")

    def to_pandas(self) -> "pd.DataFrame":
        """A row an item: its id, text or texts, gold label, answer, and whether that is right."""
        import pandas as pd

        columns = {"id": self.items.ids, "text": self.items.texts, "label": self.labels}
        return pd.DataFrame({**columns, "prediction": self.predictions, "correct": self.evaluation.correct})

    def __len__(self) -> int:
        return len(self.items)

    def __repr__(self) -> str:
        low, high = self.interval
        where = f"{self.name} on {self.language}, {self.split}"
        return f"<{where}: accuracy {self.accuracy:.4f} [{low:.4f}, {high:.4f}], {len(self)} items>"


class Results(Mapping[str, Result]):
    """One model on several languages: language -> Result."""

    def __init__(self, results: Sequence[Result]):
        self._results = {result.language: result for result in results}

    @property
    def accuracy(self) -> float:
        """Mean over the languages."""
        return float(np.mean([result.accuracy for result in self.values()]))

    @property
    def macro_f1(self) -> float:
        """Mean over the languages."""
        return float(np.mean([result.macro_f1 for result in self.values()]))

    @property
    def interval(self) -> tuple[float, float]:
        """95 % bootstrap interval of the mean accuracy, items resampled by id; InputError where ids are not shared."""
        return mean_interval([result.evaluation for result in self.values()])

    @property
    def predictions(self) -> dict[str, list[str]]:
        return {language: result.predictions for language, result in self.items()}

    def to_pandas(self) -> "pd.DataFrame":
        """A row a language."""
        import pandas as pd

        rows = {
            language: (result.accuracy, *result.interval, result.macro_f1, len(result))
            for language, result in self.items()
        }
        columns = ["accuracy", "low", "high", "macro_f1", "items"]
        return pd.DataFrame.from_dict(rows, orient="index", columns=columns)

    def __getitem__(self, language: str) -> Result:
        return self._results[language]

    def __iter__(self) -> Iterator[str]:
        return iter(self._results)

    def __len__(self) -> int:
        return len(self._results)

    def __repr__(self) -> str:
        return "\n".join(map(repr, self.values()))


class Scored:
    """What stands for a result among others: a merge, a vote."""

    @property
    def result(self) -> Result:
        raise NotImplementedError

    @property
    def accuracy(self) -> float:
        return self.result.accuracy

    @property
    def interval(self) -> tuple[float, float]:
        """95 % Wilson interval of the accuracy."""
        return self.result.interval

    @property
    def macro_f1(self) -> float:
        return self.result.macro_f1

    @property
    def predictions(self) -> list[str]:
        """The names of the labels that were answered, in the order of the items."""
        return self.result.predictions

    def to_pandas(self) -> "pd.DataFrame":
        """A row an item: its id, text or texts, gold label, answer, and whether that is right."""
        return self.result.to_pandas()
