"""How alike languages are."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from merginguriel.utils.data.task import Task
from merginguriel.utils.similarity import matrix, sparsify, uriel

if TYPE_CHECKING:
    import pandas as pd

FEATURES = "syntax_knn"


@dataclass(frozen=True, repr=False)
class Similarity:
    """A matrix of how alike languages are, to look at, or to keep for `similarity_matrix` of merges and votes."""

    kept: matrix.SimilarityMatrix

    @classmethod
    def of(
        cls, languages: Iterable[str], *, task: Task | None = None, feature_type: str = "syntax_knn"
    ) -> "Similarity":
        """Half cosine of URIEL's vectors. `task`: whose codes these are, where the codes alone do not tell.

        InputError for a language that URIEL lacks.
        """
        codes = list(languages)
        return cls(uriel.dense_matrix(map(task.language, codes) if task else codes, feature_type))

    @classmethod
    def read(cls, file: str | Path) -> "Similarity":
        """A CSV file with languages as rows and columns; InputError where it is none."""
        return cls(matrix.read_matrix(Path(file)))

    @classmethod
    def default(cls) -> "Similarity":
        """The Sinkhorn shares that merges take where they have the target: of the working folder, else as shipped."""
        return cls(matrix.read_matrix(matrix.find_matrix(matrix.SPARSE_CSV) or Path(matrix.SPARSE_CSV)))

    @property
    def languages(self) -> tuple[str, ...]:
        return self.kept.targets

    @property
    def matrix(self) -> np.ndarray:
        """(targets, sources), as in the file."""
        return self.kept.values.T

    def sparse(self, k: int = 20, iterations: int = 20) -> "Similarity":
        """The k nearest of each target, then so many Sinkhorn iterations: shares that penalise hubs."""
        return Similarity(sparsify.sparsify(self.kept, k, iterations))

    def for_target(self, target: str) -> dict[str, float]:
        """Source -> similarity to one target, best first, without the target and zeros."""
        return self.kept.for_target(target)

    def to_pandas(self) -> "pd.DataFrame":
        """A row is a target, a column a source."""
        import pandas as pd

        return pd.DataFrame(self.matrix, index=list(self.languages), columns=list(self.languages))

    def save(self, file: str | Path) -> Path:
        """Write it as CSV, as commands and `similarity_matrix` read it; `file`."""
        self.kept.to_csv(Path(file))
        return Path(file)

    def __repr__(self) -> str:
        return f"<similarity of {len(self.languages)} languages, {self.kept.origin}>"
