"""Which columns are linear combinations of those before them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: A column is collinear when less than this share of its sum of squares is left by those before it.
COLLINEAR = 1e-10


def independent(gram: NDArray[np.floating], share: float = COLLINEAR) -> list[int]:
    """Columns that aren't linear combinations of those before them, from their Gram matrix [p, p].

    Pivots of a Cholesky factorisation in the given order, relative to each column's sum of squares.
    """
    left = np.array(gram, dtype=np.float64)
    own = np.diag(left).copy()
    kept: list[int] = []
    for j in range(left.shape[0]):
        if own[j] > 0 and left[j, j] > share * own[j]:
            kept.append(j)
            left -= np.outer(left[:, j], left[j, :]) / left[j, j]
    return kept
