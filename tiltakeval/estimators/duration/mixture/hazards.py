"""Everything the likelihood needs of the rows at given coefficients: computed once for all points."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tiltakeval.estimators.duration.mixture.kernels import integrate_rows
from tiltakeval.estimators.duration.mixture.panel import Panel

Floats = NDArray[np.float64]
#: A linear index further from zero than this means that the likelihood has no maximum.
INDEX_LIMIT = 200.0


@dataclass(frozen=True, kw_only=True)
class Hazards:
    """``beta`` [K, p] (scaled covariates); ``base`` [U] sum over events of x beta.

    ``a`` [U, C] integrated hazard at log v = 0, ``d`` [U, C, p2] its derivative by the coefficients of
    row covariates; by those of unit covariates it is a * x_unit. ``row`` [R, K] terms of ``a``.
    ``end_rate`` [E, K] (interval timing) hazards at log v = 0 in rows that end in a transition.
    """

    beta: Floats
    base: Floats
    a: Floats
    d: Floats
    row: Floats
    end_rate: Floats | None = None


def hazards(panel: Panel, beta: Floats) -> Hazards:
    """Person sufficiency: rows are read once for each ``beta``, not once for each mass point."""
    p1 = panel.x_unit.shape[1]
    index = panel.x_unit @ beta[:, :p1].T
    unit_scale = np.exp(np.clip(index, -INDEX_LIMIT, INDEX_LIMIT))
    a = np.empty((panel.units, panel.channels))
    d = np.empty((panel.units, panel.channels, panel.x_row.shape[1]))
    row = np.empty(panel.channel.shape)
    integrate_rows(
        panel.first,
        panel.length,
        panel.channel,
        panel.x_row,
        np.ascontiguousarray(beta[:, p1:]),
        unit_scale,
        panel.transition,
        a,
        d,
        row,
    )
    base = (panel.event_unit * index).sum(axis=1)
    base += np.einsum("utk,tk->u", panel.x_events, beta[:, p1:])
    rate = None
    if panel.ends is not None:
        rate = np.exp(np.clip(panel.ends.x @ beta.T, -INDEX_LIMIT, INDEX_LIMIT))
    return Hazards(beta=beta, base=base, a=a, d=d, row=row, end_rate=rate)
