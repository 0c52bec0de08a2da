"""Slopes on predicted participation, compared between a cohort and those not yet reached."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiltakeval.design.intensity import IntensityRollout
from tiltakeval.estimators.did.beside import Beside
from tiltakeval.estimators.did.dose.leverage import by_group
from tiltakeval.estimators.did.level import Support, too_few
from tiltakeval.estimators.did.plan import Cell
from tiltakeval.estimators.did.reasons import Reason, Why, together
from tiltakeval.estimators.did.two_way.result import support_of
from tiltakeval.estimators.numerics.groups import Groups
from tiltakeval.numerics.independent import independent

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Fitted:
    """A cell's difference of slopes, its influence ``z`` [size], the predicted participants ``mass`` in
    the cohort and theirs by group ``held`` [size]; or the ``reason`` there is none."""

    cell: Cell
    support: Support
    value: float = np.nan
    z: Floats | None = None
    mass: float = 0.0
    held: Floats | None = None
    reason: str = ""


@dataclass(frozen=True)
class Slopes:
    """Cells of one outcome and subgroup: ``y`` [n, T]; ``x`` [n, p] covariates, whose slopes are each
    side's own."""

    design: IntensityRollout
    plan: Sequence[Cell]
    inside: Bools
    y: Floats
    x: Floats
    groups: Groups
    least: int
    leverage: bool

    def __call__(self, predicted: Floats) -> list[Beside]:
        """Rows by cohort and period, and averages that weigh by predicted participants."""
        cells = [self._cell(cell, predicted) for cell in self.plan]
        rows = [self._row(one) for one in cells]
        after = [one for one in cells if one.cell.kind == "effect"]
        rows.append(_mean({"term": "effect_overall"}, after))
        for event in sorted({self._event(one) for one in cells}):
            chosen = [one for one in cells if self._event(one) == event]
            rows.append(_mean({"term": "effect_by_event_time", "horizon": event}, chosen))
        return rows

    def _cell(self, cell: Cell, predicted: Floats) -> Fitted:
        design = self.design
        seen = self.inside & np.isfinite(self.y[:, cell.t]) & np.isfinite(self.y[:, cell.b])
        own = np.flatnonzero(seen & (design.first == cell.cohort))
        other = np.flatnonzero(seen & (design.first > cell.after) & (design.first != cell.cohort))
        support = support_of(design, _mask(own, design.n), _mask(other, design.n))
        reason = cell.reason or too_few(
            design, design.cluster[own], design.cluster[other], self.least
        )
        if reason:
            return Fitted(cell, support, reason=reason)
        dy = self.y[:, cell.t] - self.y[:, cell.b]
        one, theirs = (self._slope(at, dy, predicted) for at in (own, other))
        if one is None or theirs is None:
            side = "in the cohort" if one is None else "to compare with"
            reason = Reason(
                Why.NO_DIFFERENCE,
                f"predicted participation doesn't vary, or is collinear, among units {side}",
            )
            return Fitted(cell, support, reason=reason)
        z = one[1] - theirs[1]
        mass = design.weight[own] * predicted[own]
        held = self.groups.add_up(mass[:, None], own)[:, 0]
        return Fitted(cell, support, one[0] - theirs[0], z, float(mass.sum()), held)

    def _slope(self, at: Ints, dy: Floats, predicted: Floats) -> tuple[float, Floats] | None:
        """The slope of changes on the prediction among units ``at`` [m], and its influence [size]."""
        x = np.column_stack([predicted[at], np.ones(at.size), self.x[at]])
        w = self.design.weight[at]
        gram = x.T @ (x * w[:, None])
        if at.size <= x.shape[1] or len(independent(gram)) < x.shape[1]:
            return None
        inverse = np.linalg.inv(gram)
        coef = inverse @ (x.T @ (w * dy[at]))
        z = by_group(x, w, dy[at] - x @ coef, inverse, at, self.groups, self.leverage)
        return float(coef[0]), z[:, 0]

    def _row(self, one: Fitted) -> Beside:
        labels = {
            "term": "effect",
            "cohort": self.design.label(one.cell.cohort),
            "period": self.design.label(self.design.periods[one.cell.t]),
            "horizon": self._event(one),
        }
        return Beside(labels, one.support, one.value, one.z, one.reason)

    def _event(self, one: Fitted) -> int:
        return int(self.design.periods[one.cell.t] - one.cell.cohort)


def _mean(labels: dict[str, Any], cells: Sequence[Fitted]) -> Beside:
    """Cells weighing by their predicted participants, which are those of a sample."""
    good = [one for one in cells if one.z is not None]
    held = [one.support for one in good or cells]
    support = Support(
        treated=np.bitwise_or.reduce([one.treated for one in held]),
        comparison=np.bitwise_or.reduce([one.comparison for one in held]),
        clusters=np.bitwise_or.reduce([one.clusters for one in held]),
        effective=min(one.effective for one in held),
        trimmed=0,
    )
    total = sum(one.mass for one in good)
    if not good or not total > 0:
        reasons = together(one.reason for one in cells)
        return Beside(
            labels,
            support,
            reason=reasons or Reason(Why.NO_DIFFERENCE, "nobody is predicted to take part"),
        )
    value = sum(one.mass * one.value for one in good) / total
    z = np.zeros_like(good[0].held)
    for one in good:
        assert one.z is not None and one.held is not None
        z = z + (one.mass * one.z + one.held * (one.value - value)) / total
    return Beside(labels, support, float(value), z)


def _mask(at: Ints, n: int) -> Bools:
    out = np.zeros(n, dtype=bool)
    out[at] = True
    return out
