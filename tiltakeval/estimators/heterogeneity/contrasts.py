"""One programme against another on the people whom the target describes."""

from __future__ import annotations

from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from tiltakeval.errors import InputError
from tiltakeval.estimators.heterogeneity.rows import (
    Lines,
    level_members,
    over_splits,
    ratio_of,
    support,
    supported,
)
from tiltakeval.estimators.heterogeneity.scores import UnitScores

Floats = NDArray[np.floating]


def contrasts(scores: UnitScores) -> Lines:
    """Effects of every programme against every later one, on average and by level.

    Rows ``effect`` with the second programme as ``comparator``. Both are compared on the same people:
    those the target describes, and under ``treated`` the participants of either. The band is over all
    rows. Raises InputError where there is a single programme.
    """
    pairs = list(combinations(range(1, len(scores.arms)), 2))
    if not pairs:
        raise InputError("there is a single programme: nothing to contrast", where="parts")
    everybody = np.ones(scores.n, dtype=bool)
    levels = [("all", everybody), *((name, m) for _, name, m in level_members(scores))]
    labels = [
        {
            "programme": scores.arms[a],
            "comparator": scores.arms[b],
            "subgroup": name,
            "term": "effect",
            **support(scores, member, a, b),
        }
        for a, b in pairs
        for name, member in levels
    ]
    enough = np.array([supported(label) for label in labels])

    def compute(split: UnitScores) -> tuple[Floats, Floats]:
        theta, values = np.empty(len(labels)), np.empty((scores.n, len(labels)))
        row = 0
        for a, b in pairs:
            n, d = split.scores_of(a, b)
            for _, member in levels:
                found, each = ratio_of(split.weight * member, n[:, None], d[:, None])
                theta[row], values[:, row] = found[0], each[:, 0]
                row += 1
        return np.where(enough, theta, np.nan), np.where(enough, values, 0.0)

    theta, z = over_splits(scores, compute)
    return Lines(tuple(labels), theta, z, "over subgroup, programme, comparator")
