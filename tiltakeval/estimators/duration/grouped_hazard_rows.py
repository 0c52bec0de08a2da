"""From fitted transitions to the rows of the one result type."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiltakeval.design.person_periods import PersonPeriods
from tiltakeval.estimates.inference import Influence
from tiltakeval.estimators.duration.grouped_hazard_fit import Columns, Transition, influence
from tiltakeval.estimators.numerics.groups import Groups


@dataclass
class Rows:
    """Collects rows and their influence, fit by fit."""

    periods: PersonPeriods
    groups: Groups
    exponential: bool
    records: list[dict[str, Any]] = field(default_factory=list)
    values: dict[str, NDArray[np.floating]] = field(default_factory=dict)
    positions: dict[str, NDArray[np.int64]] = field(default_factory=dict)

    def add(self, columns: Columns, fitted: list[Transition]) -> list[NDArray[np.float64]]:
        """Rows of one model: baseline and all columns, or (in subgroups) those of status alone.

        Returns the influence [G, width] of each transition's coefficients.
        """
        z = influence(
            self.periods,
            columns,
            fitted,
            self.groups.group,
            self.groups.count,
            exponential=self.exponential,
        )
        part = set(columns.within) != {"all"} and bool(columns.within)
        for k, tr in enumerate(fitted):
            rows, at = [], []
            if not part:
                for step in range(tr.steps.count):
                    rows.append(self._baseline(tr, step))
                    at.append(step)
            entering = np.flatnonzero(columns.enters[tr.number])
            place = {int(c): tr.steps.count + i for i, c in enumerate(tr.columns)}
            for c in entering:
                if part and columns.within[c] == "all":
                    continue
                rows.append(self._column(columns, tr, int(c), place.get(int(c))))
                at.append(place.get(int(c), -1))
            self._keep(rows, np.array(at, dtype=np.int64), z[k])
        return z

    def influence(self) -> Influence:
        """The influence of every row that has an estimate."""
        return Influence(
            frame=self.groups.frame,
            kind=self.periods.cluster_kind,
            n_clusters=self.groups.n_clusters,
            values=self.values,
            rows=self.positions,
        )

    def _keep(
        self, rows: list[dict[str, Any]], at: NDArray[np.int64], z: NDArray[np.floating]
    ) -> None:
        good = np.flatnonzero(at >= 0)
        if good.size:
            block = f"model {len(self.values)}"
            self.values[block] = z[:, at[good]]
            self.positions[block] = len(self.records) + good
        self.records += rows

    def _baseline(self, tr: Transition, step: int) -> dict[str, Any]:
        inside = tr.steps.of_time[self.periods.time[tr.cells]] == step
        events = self.periods.counts[tr.cells[inside], tr.number].sum()
        return {
            "programme": "all",
            "outcome": self.periods.transitions[tr.number],
            "time_origin": self.periods.time_origin,
            "horizon": int(np.floor(tr.steps.begin[step])),
            "period": tr.steps.label(step),
            "term": "baseline",
            "estimate": float(tr.fit.coef[step]),
            "n_treated": self.periods.persons,
            "n_events": int(events),
            "n_clusters": self.groups.n_clusters,
        }

    def _column(
        self, columns: Columns, tr: Transition, c: int, place: int | None
    ) -> dict[str, Any]:
        label = columns.status[c]
        values = np.asarray(columns.x[:, c])
        cells = tr.cells if place is not None else np.arange(self.periods.cells)
        code = self.periods.code[cells]
        counts = self.periods.counts[cells, tr.number]
        flag = np.isin(values, (0.0, 1.0)).all()
        events = counts[values[code] != 0].sum() if flag else counts.sum()
        row = {
            "programme": columns.names[c] if label is None else label.programme,
            "subgroup": columns.within[c],
            "outcome": self.periods.transitions[tr.number],
            "time_origin": self.periods.time_origin if label is None else label.time_origin,
            "term": "coefficient" if label is None else "log_hazard_ratio",
            "estimate": np.nan if place is None else float(tr.fit.coef[place]),
            "status": "not_supported" if place is None else "ok",
            "n_treated": int(columns.on[c]) if columns.on[c] >= 0 else self.periods.persons,
            "n_events": int(events),
            "n_clusters": self.groups.n_clusters,
        }
        if columns.off[c] >= 0:
            row["n_comparison"] = int(columns.off[c])
        if label is not None:
            row["period"] = label.period
            if label.horizon is not None:
                row["horizon"] = label.horizon
        return row
