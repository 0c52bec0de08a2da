"""From spells to the rows of a result: the quantity by arm, subgroup and time, and differences."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tiltakeval import __version__
from tiltakeval.design.durations import Durations
from tiltakeval.estimates.combine import with_bands, with_inference
from tiltakeval.estimates.inference import MAX_GROUPS, Influence
from tiltakeval.estimates.table import Estimates, tidy
from tiltakeval.estimators.duration.arm_weights import (
    Adjustment,
    fit_adjustment,
    resolve,
)
from tiltakeval.estimators.duration.curve_options import CurveOptions, check_options
from tiltakeval.estimators.duration.intervals import (
    transformed,
)
from tiltakeval.estimators.duration.product_limit import (
    Curve,
    Quantity,
    Reading,
    Ties,
    fit_curve,
    followed,
    read,
)
from tiltakeval.estimators.numerics.groups import Groups, deal_groups

Floats = NDArray[np.floating]
Bools = NDArray[np.bool_]
EXACT_BELOW = 1e6


@dataclass(frozen=True)
class Wanted:
    """A quantity of the curves, its term, the outcomes' names (one, or one per exit) and their unit."""

    quantity: Quantity
    term: str
    outcomes: tuple[str, ...]
    unit: str


@dataclass(frozen=True)
class _Side:
    """One arm's curve inside a level: its readings by quantity, and who carries it."""

    readings: Sequence[Reading] | None
    at_risk: NDArray[np.int64]
    events: NDArray[np.int64]
    rows: Bools
    units: int
    effective: float


def max_groups(n: int, times: int) -> int:
    """Clusters stay as they are while the influence is small, so that errors are exact."""
    return max(n, MAX_GROUPS) if n * times <= EXACT_BELOW else MAX_GROUPS


def estimate_curves(
    estimator: CurveOptions,
    design: Durations,
    event: NDArray,
    wanted: Sequence[Wanted],
    times: NDArray[np.float64],
    *,
    key: str,
) -> Estimates:
    """The estimator's result: rows by arm, outcome, subgroup and time. Raises InputError.

    ``event`` [n] are the exits as the estimator counts them.
    """
    began = time.process_time()
    check_options(estimator)
    target = resolve(estimator.adjust, design)
    groups = deal_groups(design.person, kind="person", max_groups=max_groups(design.n, times.size))
    adjustment = None
    if target != "none":
        adjustment = fit_adjustment(design, groups, target=target, floor=estimator.floor)
    rows = _Rows(design, wanted, times, event, groups, adjustment, estimator.ties)
    for label, inside in _levels(design):
        rows.add_level(label, inside)
    population = design.population if target == "none" else f"{design.population}:{target}"
    table = tidy(rows.table()).assign(
        population=population,
        estimand=design.estimand,
        time_origin=design.time_origin,
        source=f"tiltakeval {__version__} {key}",
    )
    run = {
        "estimator": type(estimator).__name__,
        "options": asdict(estimator),
        "design": design.fingerprint,
        "version": __version__,
        "groups": groups.count,
        "adjusted": target,
    }
    if adjustment is not None:
        run["clipped"] = int((~adjustment.unclipped).sum())
    if not rows.columns:
        return Estimates(table, attrition=design.attrition, run=run)
    influence = Influence(
        frame=groups.frame,
        kind="person",
        n_clusters=groups.n_clusters,
        values={key: np.concatenate(rows.columns, axis=1)},
        rows={key: np.concatenate(rows.positions)},
    )
    out = with_inference(table, influence, level=estimator.level, attrition=design.attrition)
    if estimator.bands:
        out = with_bands(out, level=estimator.level)
    if estimator.interval != "plain":
        sizes = np.array(rows.sizes)
        out = replace(out, table=transformed(out, sizes, estimator.interval, groups.count))
    return replace(out, run={**run, "cpu_seconds": round(time.process_time() - began, 4)})


def _levels(design: Durations) -> Iterator[tuple[str, Bools]]:
    yield "all", np.ones(design.n, dtype=bool)
    for name, group in design.subgroups.items():
        for i in range(len(group.levels)):
            yield group.label(name, i), group.codes == i


class _Rows:
    """Gathers the rows of the table and the influence of those that are supported."""

    def __init__(
        self,
        design: Durations,
        wanted: Sequence[Wanted],
        times: NDArray[np.float64],
        event: NDArray,
        groups: Groups,
        adjustment: Adjustment | None,
        ties: Ties,
    ) -> None:
        self.design, self.wanted, self.times, self.event = design, wanted, times, event
        self.groups, self.adjustment, self.ties = groups, adjustment, ties
        self.exits = max(int(event.max()), *(len(w.outcomes) for w in wanted))
        self.parts: list[pd.DataFrame] = []
        self.columns: list[Floats] = []
        self.positions: list[NDArray[np.int64]] = []
        self.sizes: list[float] = []
        self.count = 0

    def table(self) -> pd.DataFrame:
        """All rows."""
        return pd.concat(self.parts, ignore_index=True)

    def add_level(self, label: str, inside: Bools) -> None:
        """Rows of one subgroup: every arm, and every arm but the first against it."""
        d, att = self.design, self.adjustment is not None and self.adjustment.target == "att"
        base = self._side(inside, 0, None if att else 0)
        self._levels_of(base, label, self._name(0))
        for a in range(1, len(d.arms)):
            side = self._side(inside, a, None if att else a)
            self._levels_of(side, label, d.arms[a])
            other = base
            if att:
                other = self._side(inside, 0, a)
                self._levels_of(other, label, d.arms[a], suffix="_comparison")
            self._differences(side, other, label, d.arms[a])

    def _clusters(self, rows: Bools) -> int:
        seen = np.zeros(self.groups.n_clusters, dtype=bool)
        seen[self.groups.cluster[rows]] = True
        return int(seen.sum())

    def _name(self, a: int) -> str:
        return self.design.arms[a] if len(self.design.arms) > 1 else "all"

    def _side(self, inside: Bools, arm: int, programme: int | None) -> _Side:
        """The curve of an arm, weighted for a programme's target unless that is None."""
        d = self.design
        rows = inside & (d.arm == arm)
        weight = d.weight
        if self.adjustment is not None and programme is not None:
            weight = self.adjustment.weights(d, arm, programme)
        used = rows & (weight > 0)
        w = weight[used]
        units = int(rows.sum())
        effective = float(w.sum() ** 2 / (w @ w)) if w.size else 0.0
        nothing = np.zeros(self.times.size, dtype=np.int64)
        none = _Side(None, nothing, np.zeros((self.exits, nothing.size), int), rows, units, 0.0)
        if used.sum() < 2 or not (self.event[used] > 0).any():
            return none
        curve = fit_curve(
            duration=d.duration[used],
            event=self.event[used],
            exits=self.exits,
            weight=w,
            entry=d.entry[used],
            ties=self.ties,
        )
        loading = None
        if self.adjustment is not None and programme is not None:
            loading = self.adjustment.loading(used, weight, arm, programme)
        readings = [self._read(curve, w, used, loading) for w in self.wanted]
        at_risk, events = followed(curve, self.times)
        return _Side(readings, at_risk, events, rows, units, effective)

    def _read(self, curve: Curve, wanted: Wanted, used: Bools, loading: Floats | None) -> Reading:
        found = read(
            curve,
            wanted.quantity,
            self.times,
            group=self.groups.group[used],
            groups=self.groups.count,
            loading=loading,
        )
        if found.slope is None or self.adjustment is None:
            return found
        extra = np.stack([self.adjustment.along @ slope for slope in found.slope])
        return Reading(found.value, found.z + extra)

    def _levels_of(self, side: _Side, label: str, programme: str, suffix: str = "") -> None:
        clusters = self._clusters(side.rows)
        # who has left by another exit is known not to leave by this one: only censoring tells nothing
        told = side.at_risk + side.events.sum(axis=0)
        for k, wanted in enumerate(self.wanted):
            for j, outcome in enumerate(wanted.outcomes):
                self._append(
                    None if side.readings is None else side.readings[k].value[j],
                    None if side.readings is None else side.readings[k].z[j],
                    side.at_risk > 0,
                    sizes=np.minimum(told, max(side.effective, 1.0)),
                    programme=programme,
                    subgroup=label,
                    outcome=outcome,
                    unit=wanted.unit,
                    term=wanted.term + suffix,
                    n_treated=side.units,
                    n_clusters=clusters,
                    n_events=self._events(side, wanted, j),
                    n_effective=side.effective if side.readings is not None else np.nan,
                )

    def _events(self, side: _Side, wanted: Wanted, j: int) -> NDArray[np.int64]:
        if len(wanted.outcomes) == self.exits and wanted.quantity in ("incidence", "time_lost"):
            return side.events[j]
        return side.events.sum(axis=0)

    def _differences(self, side: _Side, other: _Side, label: str, programme: str) -> None:
        rows = side.rows | other.rows
        clusters = self._clusters(rows)
        known = side.readings is not None and other.readings is not None
        for k, wanted in enumerate(self.wanted):
            for j, outcome in enumerate(wanted.outcomes):
                value = z = None
                if side.readings is not None and other.readings is not None:
                    value = side.readings[k].value[j] - other.readings[k].value[j]
                    z = side.readings[k].z[j] - other.readings[k].z[j]
                self._append(
                    value,
                    z,
                    (side.at_risk > 0) & (other.at_risk > 0) & known,
                    sizes=np.ones(self.times.size),
                    programme=programme,
                    comparator=self.design.arms[0],
                    subgroup=label,
                    outcome=outcome,
                    unit=wanted.unit,
                    term=f"{wanted.term}_difference",
                    n_treated=side.units,
                    n_comparison=other.units,
                    n_clusters=clusters,
                    n_events=self._events(side, wanted, j),
                    n_effective=other.effective if known else np.nan,
                )

    def _append(
        self, value: Floats | None, z: Floats | None, good: Bools, *, sizes: Floats, **labels: Any
    ) -> None:
        size = self.times.size
        part = pd.DataFrame({"horizon": self.times.astype(np.int64)}).assign(**labels)
        part["estimate"] = np.nan if value is None else np.where(good, value, np.nan)
        part["status"] = (
            np.where(good, "ok", "not_supported") if value is not None else ("not_supported")
        )
        if value is not None and z is not None and good.any():
            self.columns.append(z[:, good])
            self.positions.append(self.count + np.flatnonzero(good))
        self.parts.append(part)
        self.sizes.extend(sizes)
        self.count += size
