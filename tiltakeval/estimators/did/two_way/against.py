"""A two-way estimate held against the mean of effects by cohort and period, which it is often taken for.

The same regression with a column for every treated cohort and period (Wooldridge 2021) lets every effect
be its own, so the mean of these is right under parallel trends, whatever the effects.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiltakeval.estimators.did.two_way.columns import Sample, blocks_of, cell_columns
from tiltakeval.estimators.did.two_way.fit import regress
from tiltakeval.estimators.did.two_way.result import summed, test_of
from tiltakeval.estimators.numerics.groups import Groups

Floats = NDArray[np.float64]
#: Weights of cells from their cohorts [m], event times [m] and (weighted) unit-periods [m].
Weigh = Callable[[Floats, Floats, Floats], Floats]


def by_rows(cohort: Floats, event: Floats, size: Floats) -> Floats:
    """Every treated unit-period counts the same."""
    return size / size.sum()


def against_cells(
    sample: Sample, groups: Groups, estimate: float, z: Floats, scale: float, weigh: Weigh
) -> dict[str, Any]:
    """The mean over cells, the smallest and largest of them, and the test that the estimate (with its
    unscaled influence ``z`` [size]) equals the mean; ``{}`` where no cell can be had."""
    cells, size = [], []
    seen = sample.seen
    for g, units in zip(sample.cohorts, sample.members):
        held = sample.panel.weight[units] @ seen[units]
        for t in np.flatnonzero((sample.periods >= g) & (held > 0)):
            cells.append((float(g), int(t)))
            size.append(float(held[t]))
    columns = cell_columns(sample, cells)
    blocks = blocks_of(sample, columns)
    found = regress(sample.panel, blocks, columns.owner)
    good = np.flatnonzero(found.identifies(np.eye(columns.owner.size))[columns.nuisance :])
    if not good.size:
        return {}
    att = found.coef[columns.nuisance :][good]
    cohort = np.array([cells[i][0] for i in good])
    event = np.array([sample.periods[cells[i][1]] - cells[i][0] for i in good])
    share = weigh(cohort, event, np.array(size)[good])
    maps = np.zeros((found.coef.size, 1))
    maps[columns.nuisance + good, 0] = share
    mean = float(share @ att)
    own = summed(sample, blocks, found, maps, groups)[:, 0]
    test = test_of(estimate - mean, (z - own) * scale, groups)
    return {
        "two_way": estimate,
        "mean_of_cells": mean,
        "smallest": float(att.min()),
        "largest": float(att.max()),
        "cells": len(cells),
        "cells_lost": len(cells) - int(good.size),
        "difference": test["estimate"],
        "difference_error": test["std_error"],
        "p_value": test["p_value"],
    }
