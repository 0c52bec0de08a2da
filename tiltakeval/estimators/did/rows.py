"""From fitted cells to the rows of the result: effects, their averages, who carries them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tiltakeval.design.staggered import StaggeredPanel
from tiltakeval.estimates.lockin import CUMULATED_UNIT
from tiltakeval.estimators.did.aggregate import Average, Known, Noise, averages
from tiltakeval.estimators.did.beside import Beside
from tiltakeval.estimators.did.cells.leverage import MANY
from tiltakeval.estimators.did.chosen import Asked
from tiltakeval.estimators.did.level import Fitted, Level, Support
from tiltakeval.estimators.did.reasons import Why, why_of
from tiltakeval.estimators.did.reference import TERM as REFERENCE_TERM
from tiltakeval.estimators.did.reference import reference_of, reference_row
from tiltakeval.estimators.did.two_way.kept import Kept, Regressed, joined
from tiltakeval.estimators.numerics.groups import Groups

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

#: What each simultaneous band runs over, and the terms it is for.
BANDS = (
    (("cohort", "period", "horizon"), ("effect",)),
    (("cohort",), ("effect_by_cohort",)),
    (("period",), ("effect_by_period",)),
    (("horizon",), ("effect_by_event_time", "cumulated_path")),
)


def levels_of(design: StaggeredPanel) -> Iterator[tuple[str, Bools]]:
    """All units, then each subgroup's level: its label and who is in it [n]."""
    yield "all", np.ones(design.n, dtype=bool)
    for name, group in design.subgroups.items():
        for i in range(len(group.levels)):
            yield group.label(name, i), group.codes == i


class Rows:
    """Gathers rows with their influence; ``notes`` are for the run.

    With ``small`` averages count that cohorts' sizes are estimated without what errors of the effects
    add to it (`aggregate.averages`), which matters where clusters are few. ``asked`` are the user's
    own averages. With ``keep`` regressions behind rows are in ``kept``. With
    ``one_base`` all cells of a cohort are measured from one period, which has a row (`reference`).
    """

    def __init__(
        self,
        design: StaggeredPanel,
        groups: Groups,
        balance: int | None,
        divisor: str,
        missing: str = "each cell uses the units seen in both of its periods",
        small: bool = False,
        asked: Asked | None = None,
        keep: bool = False,
        one_base: bool = False,
    ) -> None:
        self.one_base = one_base
        self.keep, self.kept = keep, list[Kept]()
        self.design, self.groups, self.balance = design, groups, balance
        self.scale = np.sqrt((groups.count - 1) / groups.count) if divisor == "g" else 1.0
        self.asked = asked
        # with the masks themselves, so that no other object gets the identity of one
        self.counted: dict[tuple[int, ...], tuple[int, Sequence[NDArray[np.uint8]]]] = {}
        self.small = small and groups.form is None and groups.count <= MANY
        self.records: list[dict[str, Any]] = []
        self.columns: list[Floats] = []
        self.places: list[NDArray[np.int64]] = []
        self.notes: dict[str, Any] = {
            "not_supported": [],
            "collinear": [],
            "collinear_in_cells": [],
            "trimmed": [],
        }
        gaps = int(np.isnan(design.outcomes).sum())
        self.missing = f"{gaps} of {design.outcomes.size} unit-periods; " + (
            missing if gaps else "none missing"
        )

    def table(self) -> pd.DataFrame:
        """All rows."""
        return pd.DataFrame(self.records)

    def values(self) -> Iterator[tuple[str, Floats]]:
        """Influence by block."""
        return ((f"did/{i}", z) for i, z in enumerate(self.columns))

    def positions(self) -> Iterator[tuple[str, NDArray[np.int64]]]:
        """Rows by block."""
        return ((f"did/{i}", at) for i, at in enumerate(self.places))

    def add(self, label: str, outcome: int, inside: Bools, level: Level) -> None:
        """The rows of one outcome in one subgroup."""
        design, name = self.design, self.design.outcome_names[outcome]
        common = {"subgroup": label, "outcome": name, "unit": design.units[outcome]}
        columns: list[Floats] = []
        places: list[int] = []
        for one in level.cells:
            cell = one.cell
            if one.z is not None:
                places.append(len(self.records))
                columns.append(one.z)
            self.records.append(
                {
                    **common,
                    "term": "effect",
                    "cohort": design.label(cell.cohort),
                    "period": design.label(design.periods[cell.t]),
                    "horizon": self._event(one),
                    "estimate": one.att,
                    "status": "ok" if one.z is not None else "not_supported",
                    **self._counts([one.support] if one.support else []),
                }
            )
            if one.reason:
                self.notes["not_supported"].append(
                    {
                        "subgroup": label,
                        "outcome": name,
                        "cohort": design.label(cell.cohort),
                        "period": design.label(design.periods[cell.t]),
                        "reason": one.reason,
                        "kind": str(why_of(one.reason)),
                    }
                )
            if one.support is not None and one.support.trimmed:
                self.notes["trimmed"].append(
                    {
                        "subgroup": label,
                        "outcome": name,
                        "cohort": design.label(cell.cohort),
                        "period": design.label(design.periods[cell.t]),
                        "units": one.support.trimmed,
                    }
                )
        for key, found in (
            ("collinear", level.dropped),
            ("collinear_in_cells", level.dropped_in_cells),
        ):
            self.notes[key] += [c for c in found if c not in self.notes[key]]
        weights = self._averages(common, inside, level, columns, places)
        if columns:
            if self.keep and level.regressed is not None:
                self._hold(level.regressed.times(weights), places)
            self.columns.append(np.stack(columns, axis=1) * self.scale)
            self.places.append(np.array(places, dtype=np.int64))

    def _hold(self, regressed: Regressed, places: Sequence[int]) -> None:
        self.kept.append(Kept(regressed, np.array(places, dtype=np.int64), self.design))

    def add_beside(self, label: str, outcome: int, beside: Sequence[Beside]) -> None:
        """Rows that aren't averages of cells, of one outcome in one subgroup."""
        name = self.design.outcome_names[outcome]
        common = {"subgroup": label, "outcome": name, "unit": self.design.units[outcome]}
        good = [(i, one.z) for i, one in enumerate(beside) if one.z is not None]
        if good:
            at = [len(self.records) + i for i, _ in good]
            self.places.append(np.array(at, dtype=np.int64))
            self.columns.append(np.stack([z for _, z in good], axis=1) * self.scale)
            of = [one.of for one in beside if one.z is not None and one.of is not None]
            if self.keep and len(of) == len(at):
                self._hold(joined(of), at)
        for one in beside:
            status = "ok" if one.z is not None else "not_supported"
            counts = self._counts([one.support])
            record = {**common, **one.labels, "estimate": one.estimate, "status": status, **counts}
            if one.reference:
                row = reference_row(int(one.labels["horizon"]), one.labels["term"])
                record = {**common, **one.labels, **row}
            self.records.append(record)
            if one.reason:
                self.notes["not_supported"].append(
                    {"subgroup": label, "outcome": name, "cohort": "", "period": "",
                     **one.labels, "reason": one.reason, "kind": str(why_of(one.reason))}
                )  # fmt: skip

    def _event(self, one: Fitted) -> int:
        return int(self.design.periods[one.cell.t] - one.cell.cohort)

    def _averages(
        self,
        common: dict[str, Any],
        inside: Bools,
        level: Level,
        columns: list[Floats],
        places: list[int],
    ) -> Floats:
        """Adds averages; [cells, rows] the weights of the cells in every row with an estimate."""
        design = self.design
        cohorts = design.cohorts
        good = [one for one in level.cells if one.z is not None]
        known = [
            Known(
                cohort=int(np.searchsorted(cohorts, one.cell.cohort)),
                period=one.cell.t,
                event=self._event(one),
                att=one.att,
                effect=one.cell.kind == "effect",
            )
            for one in good
        ]
        own = inside & np.isfinite(design.first)
        code = np.searchsorted(cohorts, design.first[own])
        labels, width = self.groups.labels, cohorts.size
        place = self.groups.label[own].astype(np.int64) * width + code
        held: Floats = np.bincount(
            place, weights=design.weight[own], minlength=labels * width
        ).astype(np.float64)
        held = held.reshape(labels, width)
        size: Floats = held.sum(axis=0)
        by_group = self.groups.gather(held)
        att = np.array([one.att for one in good])
        weights = list(np.eye(len(good)))
        z = np.stack(columns, axis=1) if columns else np.zeros((self.groups.size, 0))
        noise = None
        if self.small and columns:
            noise = Noise(_root(z[:, : len(good)]), np.asarray(by_group, dtype=np.float64))
        base = None
        if self.one_base:
            base = reference_of(design.periods, (one.cell for one in good), self.asked)
        for row in averages(
            known, size, balance=self.balance, mass=level.mass, noise=noise, asked=self.asked
        ):
            if base is not None and row.term == REFERENCE_TERM and (row.event or 0) > base:
                self.records.append({**common, **reference_row(base)})
                base = None
            if row.reason:
                key = "averages" if row.known else "not_supported"
                where = {"subgroup": common["subgroup"], "outcome": common["outcome"], "cohort": ""}
                self.notes.setdefault(key, []).append(
                    {
                        **where,
                        "period": row.name,
                        "term": row.term,
                        "reason": row.reason,
                        "kind": str(Why.NO_PART),
                    }
                )
            record = {**common, **self._labels(row, common["unit"]), "status": "not_supported"}
            if row.known:
                used = np.flatnonzero(row.cells)
                places.append(len(self.records))
                weights.append(row.cells)
                if level.combine is not None:
                    columns.append(level.combine(row))
                else:
                    columns.append(z[:, used] @ row.cells[used] + by_group @ row.sizes)
                carried = [one.support for one in (good[i] for i in used) if one.support]
                record |= {"estimate": float(row.cells @ att), "status": "ok"}
                record |= self._counts(carried)
            self.records.append(record)
        return np.array(weights).reshape(len(weights), len(good)).T

    def _labels(self, row: Average, unit: str) -> dict[str, Any]:
        design = self.design
        labels: dict[str, Any] = {"term": row.term}
        if row.cohort is not None:
            labels["cohort"] = design.label(design.cohorts[row.cohort])
        if row.period is not None:
            labels["period"] = design.label(design.periods[row.period])
        if row.event is not None:
            labels["horizon"] = row.event
        if row.name:
            labels["period"] = row.name
        if row.term == "cumulated_path" and design.monthly:
            labels["unit"] = CUMULATED_UNIT.get(unit, unit)
        return labels

    def _counts(self, carried: Sequence[Support]) -> dict[str, Any]:
        """Distinct units and clusters behind a row; the effective number of its weakest cell."""
        if not carried:
            return {}
        return {
            "n_treated": self._ones([one.treated for one in carried]),
            "n_comparison": self._ones([one.comparison for one in carried]),
            "n_clusters": self._ones([one.clusters for one in carried]),
            "n_effective": min(one.effective for one in carried),
        }

    def _ones(self, masks: Sequence[NDArray[np.uint8]]) -> int:
        """How many are in any of the ``masks``; the same few are asked for over and over."""
        distinct = {id(mask): mask for mask in masks}
        key = tuple(sorted(distinct))
        if key not in self.counted:
            any_of = np.bitwise_or.reduce(list(distinct.values()))
            self.counted[key] = int(np.bitwise_count(any_of).sum()), masks
        return self.counted[key][0]


def _root(z: Floats) -> Floats:
    """[r, k] with the crossproduct of ``z`` [G, k], no larger than need be."""
    if z.shape[0] <= z.shape[1]:
        return z
    return np.asarray(np.linalg.qr(z, mode="r"), dtype=np.float64)
