"""Rankings of MASSIVE's languages that know nothing of URIEL's syntax, as matrices for --similarity-matrix.

chance: drawn; geography: half cosines of URIEL's geographic vectors; english: en-US before all others. Rankings are
what counts of them: the merges that take their sources from here weigh them equally.

    python experiments/rankings.py      # writes experiments/rankings/*.csv; needs lang2vec
"""

from pathlib import Path

import numpy as np

from merginguriel.utils.data.massive_languages import DEFAULT_LOCALES
from merginguriel.utils.similarity import uriel
from merginguriel.utils.similarity.matrix import SimilarityMatrix, similarities

HERE = Path(__file__).parent / "rankings"


def rankings(locales: tuple[str, ...]) -> dict[str, SimilarityMatrix]:
    drawn = np.triu(np.random.default_rng(42).uniform(0.1, 0.9, (len(locales), len(locales))), 1)
    chance = drawn + drawn.T
    english = chance.copy()
    english[:, locales.index("en-US")] = english[locales.index("en-US")] = 0.95
    found = {"chance": chance, "english": english}
    for values in found.values():
        np.fill_diagonal(values, 1)
    made = {name: similarities(locales, values, name) for name, values in found.items()}
    return {**made, "geography": uriel.dense_matrix(locales, "geo")}


def main() -> None:
    HERE.mkdir(exist_ok=True)
    for name, matrix in rankings(tuple(DEFAULT_LOCALES)).items():
        matrix.to_csv(HERE / f"{name}.csv")


if __name__ == "__main__":
    main()
