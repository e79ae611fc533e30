"""A dense matrix made sparse: top-k, then Sinkhorn. Sinkhorn & Knopp 1967."""

import numpy as np

from merginguriel.utils.similarity.matrix import SimilarityMatrix, similarities

SINKHORN_EPSILON = 1e-9


def top_k(dense: np.ndarray, k: int) -> np.ndarray:
    """Keep the k largest off-diagonal entries of each row, ties at the cut included; zero the rest."""
    off_diagonal = dense.copy()
    np.fill_diagonal(off_diagonal, 0.0)
    k = min(k, len(dense) - 1)
    cut = np.sort(off_diagonal, axis=1)[:, -k, None]
    return np.where(off_diagonal >= cut, off_diagonal, 0.0)


def sinkhorn(matrix: np.ndarray, iterations: int) -> np.ndarray:
    """`iterations` times divide rows, then columns, by their sums: columns end at 1, rows near it."""
    for _ in range(iterations):
        matrix = matrix / (matrix.sum(axis=1, keepdims=True) + SINKHORN_EPSILON)
        matrix = matrix / (matrix.sum(axis=0, keepdims=True) + SINKHORN_EPSILON)
    return matrix


def row_error(matrix: np.ndarray) -> float:
    """How far the worst row sum is from 1 (columns are exact after a Sinkhorn iteration)."""
    return float(np.abs(matrix.sum(axis=1) - 1).max())


def has_doubly_stochastic_limit(matrix: np.ndarray) -> bool:
    """Whether Sinkhorn iterations can reach row and column sums of 1.

    They do where the matrix has support, a positive entry in every row and column at once, which is
    a perfect matching (Sinkhorn & Knopp 1967). A hub that everybody keeps as neighbour breaks it.
    """
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import maximum_bipartite_matching

    return int((maximum_bipartite_matching(csr_array(matrix > 0)) >= 0).sum()) == len(matrix)


def sparsify(dense: SimilarityMatrix, k: int, iterations: int) -> SimilarityMatrix:
    """top-k, then Sinkhorn."""
    by_target = sinkhorn(top_k(dense.values.T, k), iterations)
    return similarities(dense.targets, by_target, f"{dense.origin}, top {k}, Sinkhorn {iterations}")
