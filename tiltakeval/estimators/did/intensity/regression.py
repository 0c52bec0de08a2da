"""The regression as published: exposure times predicted participation, with unit and period effects."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiltakeval.design.intensity import IntensityRollout
from tiltakeval.estimators.did.beside import Beside
from tiltakeval.estimators.did.reasons import Reason, Why
from tiltakeval.estimators.did.two_way.columns import (
    Columns,
    Sample,
    blocks_of,
    sample_of,
    with_periods,
)
from tiltakeval.estimators.did.two_way.fit import regress
from tiltakeval.estimators.did.two_way.kept import Fit, Regressed
from tiltakeval.estimators.did.two_way.result import summed, support_of, too_few
from tiltakeval.estimators.numerics.groups import Groups

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class TwoWay:
    """One outcome and subgroup. With ``exposure`` the programme's coming may matter by itself, to all
    alike; period effects differ by predicted participation in any case."""

    design: IntensityRollout
    inside: Bools
    outcome: int
    groups: Groups
    least: int
    reference: int
    exposure: bool

    def __call__(self, predicted: Floats) -> list[Beside]:
        """The static coefficient, and one for each event time but the reference."""
        sample = sample_of(self.design, self.inside, self.outcome)
        panel = sample.panel
        x = np.column_stack([panel.x, predicted])
        sample = replace(sample, panel=replace(panel, x=x))
        own = self.inside & (self.design.first <= self.design.periods[-1])
        other = self.inside & ~own
        if not other.any():  # units treated later compare while they aren't
            other = own
        support = support_of(self.design, own, other)
        labels: list[dict[str, Any]] = [{"term": "effect_overall"}]
        events = self._events(sample)
        labels += [{"term": "effect_by_event_time", "horizon": int(e)} for e in events]
        reason = too_few(self.design, own, other, self.least)
        if reason:
            return [Beside(one, support, reason=reason) for one in labels]
        rows = self._rows(sample, labels[:1], self._static(sample), support)
        return rows + self._rows(sample, labels[1:], self._dynamic(sample, events), support)

    def _events(self, sample: Sample) -> Ints:
        grid = sample.periods
        found = {int(t - g) for g in sample.cohorts if np.isfinite(g) for t in grid}
        return np.array(sorted(found - {self.reference}), dtype=np.int64)

    def _static(self, sample: Sample) -> Columns:
        def effects(g: float) -> Floats:
            on = (sample.periods >= g).astype(np.float64)[:, None]
            return np.hstack([on] * (2 if self.exposure else 1))

        return with_periods(sample, effects, self._owner(sample, 1))

    def _dynamic(self, sample: Sample, events: Ints) -> Columns:
        def effects(g: float) -> Floats:
            on = np.zeros((sample.periods.size, events.size))
            if np.isfinite(g):
                since = (sample.periods - int(g))[:, None]
                on = (since == events[None, :]).astype(np.float64)
            return np.hstack([on] * (2 if self.exposure else 1))

        return with_periods(sample, effects, self._owner(sample, events.size))

    def _owner(self, sample: Sample, count: int) -> Ints:
        """The prediction (the last of x) owns the first columns, the constant the rest."""
        last = sample.panel.x.shape[1] - 1
        parts = [np.full(count, last)]
        if self.exposure:
            parts.append(np.zeros(count, dtype=np.int64))
        return np.concatenate(parts).astype(np.int64)

    def _rows(
        self, sample: Sample, labels: list[dict[str, Any]], columns: Columns, support: Any
    ) -> list[Beside]:
        blocks = blocks_of(sample, columns)
        found = regress(sample.panel, blocks, columns.owner)
        maps = np.zeros((found.coef.size, len(labels)))
        maps[columns.nuisance + np.arange(len(labels)), np.arange(len(labels))] = 1.0
        told = found.identifies(maps)
        z = summed(sample, blocks, found, maps, self.groups)
        values = found.coef @ maps
        given = "predicted participation is taken as given"
        kept = Regressed((Fit(sample.panel, blocks, columns.owner),), maps, given)
        why = Reason(
            Why.NO_COMPARISON,
            "collinear with periods: no unit without the programme to tell them apart",
        )
        return [
            Beside(one, support, float(values[i]), z[:, i], of=kept.one(i))
            if told[i]
            else Beside(one, support, reason=why)
            for i, one in enumerate(labels)
        ]
