"""All rows of a dose response, of one outcome in one subgroup."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiltakeval.design.doses import DosedRollout
from tiltakeval.estimators.did.beside import Beside
from tiltakeval.estimators.did.dose.averages import Part, average
from tiltakeval.estimators.did.dose.basis import Bins, Spline
from tiltakeval.estimators.did.dose.fit import Excess, Fitted, project, support_of
from tiltakeval.estimators.did.reasons import Reason, Why, together
from tiltakeval.estimators.numerics.groups import Groups

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
#: A cell's value and influence from its fit, or None where it has none.
Take = Callable[[Excess, Fitted], tuple[float, Floats]]


@dataclass(frozen=True)
class Wanted:
    """What is asked: bins, the curve (None for none) at ``doses`` [D], how cells are averaged."""

    bins: Bins
    spline: Spline | None
    doses: Floats
    by_cohort: bool
    sampling: bool
    least: int
    leverage: bool


@dataclass
class Level:
    """``cells`` of one outcome and subgroup, and what they share."""

    design: DosedRollout
    cells: Sequence[Excess]
    groups: Groups
    wanted: Wanted

    def rows(self) -> Iterator[Beside]:
        """Cells, then averages over doses, by bin, along the curve, slopes."""
        ones = {id(one): self._fit(one, np.ones((one.own.size, 1))) for one in self.cells}
        lines = {id(one): self._fit(one, self._line(one)) for one in self.cells}
        for one in self.cells:
            labels = {
                "term": "effect",
                "cohort": self.design.label(one.cell.cohort),
                "period": self.design.label(self.design.periods[one.cell.t]),
                "horizon": self._event(one),
            }
            yield self._row(labels, [one], self._average([one], ones, _first, by_cohort=False))
        after = [one for one in self.cells if one.cell.kind == "effect"]
        yield self._row(
            {"term": "effect_overall"}, after, self._average(after, ones, _first, False)
        )
        mean = self._average(after, ones, _first, True)
        yield self._row({"term": "effect_over_cohorts"}, after, mean)
        for event, chosen in self._by_event():
            labels = {"term": "effect_by_event_time", "horizon": event}
            yield self._row(labels, chosen, self._average(chosen, ones, _first, False))
        yield from self._by_bin(after)
        second: Take = lambda one, fit: (float(fit.coef[1]), fit.z[:, 1])  # noqa: E731
        yield self._row({"term": "slope_linear"}, after, self._average(after, lines, second))
        for event, chosen in self._by_event():
            labels = {"term": "slope_linear_by_event_time", "horizon": event}
            yield self._row(labels, chosen, self._average(chosen, lines, second, False))
        if self.wanted.spline is not None:
            yield from self._curve(after, self.wanted.spline)

    def _by_bin(self, after: Sequence[Excess]) -> Iterator[Beside]:
        """Effects on units of each dose bin, over all periods after the start and by event time."""
        code = self.wanted.bins.of(self.design.dose)
        for i, label in enumerate(self.wanted.bins.labels):
            inside = code == i
            fits = {
                id(one): self._fit(one, np.ones((one.own.size, 1)), inside[one.own])
                for one in self.cells
            }
            labels = {"term": "effect_by_dose", "cohort": label}
            mean = self._average(after, fits, _first, chosen=inside)
            yield self._row(labels, after, mean, inside)
            for event, chosen in self._by_event():
                labels = {"term": "effect_by_dose_and_event_time", "cohort": label}
                mean = self._average(chosen, fits, _first, False, chosen=inside)
                yield self._row({**labels, "horizon": event}, chosen, mean, inside)

    def _curve(self, after: Sequence[Excess], spline: Spline) -> Iterator[Beside]:
        """The curve and its slope at given doses, and the mean slope at the doses received."""
        fits = {id(one): self._fit(one, spline.values(self._dose(one))) for one in after}
        for term, basis in (
            ("effect_at_dose", spline.values(self.wanted.doses)),
            ("slope_at_dose", spline.slopes(self.wanted.doses)),
        ):
            for dose, lean in zip(self.wanted.doses, basis):
                take: Take = lambda one, fit, v=lean: (float(v @ fit.coef), fit.z @ v)  # type: ignore[misc]  # noqa: E731
                labels = {"term": term, "cohort": f"dose {dose:g}"}
                yield self._row(labels, after, self._average(after, fits, take))

        def mean_slope(one: Excess, fit: Fitted) -> tuple[float, Floats]:
            w = self.design.weight[one.own]
            each = spline.slopes(self._dose(one))
            lean = w @ each / w.sum()
            value = float(lean @ fit.coef)
            z = fit.z @ lean
            if self.wanted.sampling:
                off = w * (each @ fit.coef - value) / w.sum()
                z = z + self.groups.add_up(off[:, None], one.own)[:, 0]
            return value, z

        yield self._row({"term": "slope_overall"}, after, self._average(after, fits, mean_slope))

    def _fit(self, one: Excess, phi: Floats, chosen: Bools | None = None) -> Fitted:
        if one.reason:
            return Fitted(np.zeros(0), np.zeros((self.groups.size, 0)), one.reason)
        if chosen is not None:
            clusters = np.unique(self.design.cluster[one.own[chosen]]).size
            if not clusters:
                return Fitted(
                    np.zeros(0), np.zeros((0, 0)), Reason(Why.NO_TREATMENT, "no unit of this dose")
                )
        return project(self.design, one, phi, self.groups, chosen, self.wanted.leverage)

    def _average(
        self,
        cells: Sequence[Excess],
        fits: dict[int, Fitted],
        take: Take,
        by_cohort: bool | None = None,
        *,
        chosen: Bools | None = None,
    ) -> tuple[float, Floats] | str:
        """Value and influence, or why there is none."""
        parts, lost = [], []
        units: set[int] = set()
        for one in cells:
            fit = fits[id(one)]
            if fit.reason:
                lost.append(fit.reason)
                continue
            own = one.own if chosen is None else one.own[chosen[one.own]]
            units |= set(np.unique(self.design.cluster[own])[: self.wanted.least].tolist())
            held = self.groups.add_up(self.design.weight[own][:, None], own)[:, 0]
            parts.append(Part(one.cell.cohort, *take(one, fit), held))
        over = self.wanted.by_cohort if by_cohort is None else by_cohort
        found = average(parts, by_cohort=over, sampling=self.wanted.sampling)
        if found is None:
            return together(lost) or Reason(Why.NOT_SEEN, "there is no period after the start")
        if len(units) < self.wanted.least:
            return Reason(Why.TOO_FEW, f"only {len(units)} cluster of this dose")
        return found

    def _row(
        self,
        labels: dict[str, Any],
        cells: Sequence[Excess],
        found: tuple[float, Floats] | str,
        chosen: Bools | None = None,
    ) -> Beside:
        inside = np.ones(self.design.n, dtype=bool) if chosen is None else chosen
        support = support_of(self.design, cells, inside)
        if isinstance(found, str):
            return Beside(labels, support, reason=found)
        return Beside(labels, support, *found)

    def _by_event(self) -> Iterator[tuple[int, list[Excess]]]:
        for event in sorted({self._event(one) for one in self.cells}):
            yield event, [one for one in self.cells if self._event(one) == event]

    def _event(self, one: Excess) -> int:
        return int(self.design.periods[one.cell.t] - one.cell.cohort)

    def _dose(self, one: Excess) -> Floats:
        return self.design.dose[one.own]

    def _line(self, one: Excess) -> Floats:
        return np.stack([np.ones(one.own.size), self._dose(one)], axis=1)


def _first(one: Excess, fit: Fitted) -> tuple[float, Floats]:
    return float(fit.coef[0]), fit.z[:, 0]
