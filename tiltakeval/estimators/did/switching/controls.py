"""Covariates that vary with time: what their changes do to the outcome among units not yet switched.

de Chaisemartin & D'Haultfoeuille (2024), web appendix 1.2: for every baseline treatment, changes of the
outcome from one row to the next are regressed on changes of the covariates and on periods, among units
that have not changed treatment yet; effects are those on the outcome less the covariates' part.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tiltakeval.design.treatment_paths import TreatmentPaths
from tiltakeval.estimators.did.reasons import Reason, Why
from tiltakeval.estimators.numerics.groups import Groups
from tiltakeval.numerics.independent import independent

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Slopes:
    """By baseline: slopes [q] and their influence [size, q] by group, or why there are none."""

    found: dict[float, tuple[Floats, Floats]]
    failed: dict[float, str]

    def of(self, baseline: float) -> Floats | None:
        """[q] slopes, None where they can't be had."""
        one = self.found.get(baseline)
        return None if one is None else one[0]

    def influence(self, baseline: float) -> Floats:
        """[size, q]."""
        return self.found[baseline][1]

    def reason(self, baseline: float) -> str:
        """Why there are no slopes."""
        return self.failed.get(
            baseline,
            Reason(Why.NOT_SEEN, "no unit that started alike is seen twice before it changes"),
        )


def slopes_of(
    design: TreatmentPaths, y: Floats, inside: Bools, groups: Groups, anticipation: int
) -> Slopes | None:
    """Slopes among units ``inside`` [n] for outcome ``y`` [n, T]; None without such covariates."""
    if design.varying is None:
        return None
    x = design.varying
    found: dict[float, tuple[Floats, Floats]] = {}
    failed: dict[float, str] = {}
    early = np.minimum(design.first - anticipation, design.until + 1.0)
    clean = (design.periods[None, :] < early[:, None]) & inside[:, None]
    seen = clean & np.isfinite(y) & np.isfinite(x).all(axis=2)
    pair = seen[:, 1:] & seen[:, :-1]
    for baseline in np.unique(design.baseline[inside]):
        unit, t = np.nonzero(pair & (design.baseline == baseline)[:, None])
        if not unit.size:
            continue
        w = design.weight[unit]
        rows = np.column_stack([y[unit, t + 1] - y[unit, t], x[unit, t + 1] - x[unit, t]])
        sums = np.zeros((pair.shape[1], rows.shape[1]))
        np.add.at(sums, t, rows * w[:, None])
        rows = rows - (sums / np.maximum(np.bincount(t, w, pair.shape[1]), 1e-300)[:, None])[t]
        dy, dx = rows[:, 0], rows[:, 1:]
        gram = dx.T @ (dx * w[:, None])
        kept = independent(gram)
        if len(kept) < dx.shape[1]:
            lost = [name for j, name in enumerate(design.varying_names) if j not in kept]
            failed[float(baseline)] = Reason(
                Why.COLLINEAR,
                f"changes of covariates don't vary, or are collinear, among units that start from "
                f"{baseline:g}: {', '.join(lost)}",
            )
            continue
        inverse = np.linalg.inv(gram)
        theta = inverse @ (dx.T @ (w * dy))
        z = (dx * (w * (dy - dx @ theta))[:, None]) @ inverse
        found[float(baseline)] = theta, groups.add_up(z, unit)
    return Slopes(found, failed)
