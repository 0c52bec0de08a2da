"""The classic event-study regression: unit and period effects, a coefficient for each lead and lag."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tiltakeval.design.staggered import StaggeredPanel
from tiltakeval.errors import InputError
from tiltakeval.estimates.lockin import CUMULATED_UNIT
from tiltakeval.estimates.table import Estimates
from tiltakeval.estimators.did.beside import Beside, reference_beside
from tiltakeval.estimators.did.reasons import Reason, Why
from tiltakeval.estimators.did.result import groups_of, result_of
from tiltakeval.estimators.did.rows import Rows
from tiltakeval.estimators.did.two_way.against import Weigh, against_cells
from tiltakeval.estimators.did.two_way.columns import (
    Sample,
    blocks_of,
    dropped_of,
    event_columns,
    sample_of,
)
from tiltakeval.estimators.did.two_way.fit import regress
from tiltakeval.estimators.did.two_way.kept import Fit, Kept, Regressed
from tiltakeval.estimators.did.two_way.result import (
    MISSING,
    Errors,
    check_options,
    clusters_of,
    every_level,
    scale_of,
    summed,
    support_of,
    too_few,
    two_way,
)
from tiltakeval.estimators.did.two_way.weights import cell_weights, foreign_weight
from tiltakeval.estimators.did.varying import note_collinear, said_of
from tiltakeval.estimators.numerics.groups import Groups

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class TwoWayEventStudy:
    """y_it = a_i + f_t + sum over e of b_e 1{t - g_i = e} (+ covariates times periods, those that
    vary with time with one slope each), least squares.

    The event time ``reference`` is left out (default the last before treatment and its
    ``anticipation``, -1 - anticipation). Event times before ``earliest`` count as it, those after
    ``latest`` as it (binned ends; None: every event time has a coefficient). ``units =
    "ever_treated"`` leaves out units never treated inside the panel; then, or where there are none,
    event times without binned ends are collinear with periods and can't all be had.

    A coefficient mixes in effects of other event times where cohorts' effects differ (Sun & Abraham
    2021): the run and the check ``foreign_weights`` say how much, ``two_way_misleads`` compares the mean
    after the start with that of effects by cohort and period. Otherwise as `TwoWayEffects`.
    """

    anticipation: int = 0
    reference: int | None = None
    earliest: int | None = None
    latest: int | None = None
    units: Literal["all", "ever_treated"] = "all"
    errors: Errors = "clustered"
    min_clusters: int = 2
    level: float = 0.95
    bands: bool = True
    draws: int = 999
    seed: int = 0

    def estimate(self, design: StaggeredPanel) -> Estimates:
        """Rows ``effect_by_event_time`` (the reference is zero), their mean from 0 on
        ``effect_over_event_times``, their sums ``cumulated_path``. Raises InputError."""
        return self._estimate(design)[0]

    def with_regressions(self, design: StaggeredPanel) -> tuple[Estimates, Sequence[Kept]]:
        """`estimate`, with the regressions behind its rows."""
        return self._estimate(design, keep=True)

    def _estimate(
        self, design: StaggeredPanel, keep: bool = False
    ) -> tuple[Estimates, Sequence[Kept]]:
        began = time.process_time()
        check_options(self, units=("all", "ever_treated"))
        reference = self._reference()
        groups = groups_of(design, 2 * design.periods.size)
        rows = Rows(design, groups, None, "g_minus_1", MISSING, keep=keep)
        rows.notes |= {"foreign_weights": [], "against_cells": [], **said_of(design)}
        for label, inside, k in every_level(design):
            if self.units == "ever_treated":
                inside = inside & (design.first <= design.periods[-1])
            sample = sample_of(design, inside, k)
            note_collinear(rows.notes, sample.dropped)
            where = {"subgroup": label, "outcome": design.outcome_names[k]}
            rows.add_beside(label, k, self._rows(design, sample, groups, rows, where, reference))
        out = result_of(
            design, rows, groups, self, key="twfe_event_study", options=asdict(self), began=began,
            varying=True,
        )  # fmt: skip
        return two_way(out, design), rows.kept

    def _rows(
        self,
        design: StaggeredPanel,
        sample: Sample,
        groups: Groups,
        rows: Rows,
        where: dict[str, str],
        reference: int,
    ) -> list[Beside]:
        """The coefficients, their mean and sums; what they are made of goes to the notes of ``rows``."""
        low, high, binned = self._range(sample)
        held = _held(sample, low, high)
        events = np.unique(held[np.isfinite(held)]).astype(np.int64)
        events = events[events != reference]
        sides = [_sides(design, sample, held, int(e)) for e in events]
        carried = [support_of(design, *side) for side in sides]
        after = [side for e, side in zip(events, sides) if e >= 0]
        either = (_any([s[0] for s in after], design.n), _any([s[1] for s in after], design.n))
        mean_labels = {"term": "effect_over_event_times"}
        whole = support_of(design, *either)
        reason = too_few(design, *either, self.min_clusters)
        if reason:
            return [Beside(mean_labels, whole, reason=reason)]
        columns = event_columns(sample, events, low, high)
        blocks = blocks_of(sample, columns)
        found = regress(sample.panel, blocks, columns.owner)
        note_collinear(rows.notes, dropped_of(sample, found, columns.nuisance))
        why = [
            self._why(design, side[0], bool(ok))
            for side, ok in zip(
                sides, found.identifies(np.eye(columns.owner.size))[columns.nuisance :]
            )
        ]
        known = np.array([not said for said in why])
        picks = np.flatnonzero(known)
        used = picks[events[picks] >= 0]
        matrix = [np.eye(events.size)[i] for i in picks]
        if used.size:
            matrix.append(np.isin(np.arange(events.size), used) / used.size)
        path = _path(events, used, high if binned else None)
        matrix += [np.isin(np.arange(events.size), path[: i + 1]) * 1.0 for i in range(len(path))]
        maps = np.zeros((found.coef.size, len(matrix)))
        maps[columns.nuisance :] = np.array(matrix).reshape(-1, events.size).T
        z = summed(sample, blocks, found, maps, groups)
        kept = Regressed((Fit(sample.panel, blocks, columns.owner),), maps)
        rows.scale = scale_of(self.errors, design, sample, found, groups)
        value = np.where(known, found.coef[columns.nuisance :], 0.0) @ maps[columns.nuisance :]
        out = []
        before = int((events < reference).sum())
        column = np.cumsum(known) - 1
        for i, e in enumerate(events):
            if i == before and known.any():
                out.append(reference_beside(reference, whole))
            labels = {"term": "effect_by_event_time", "horizon": int(e)}
            j = column[i]
            out.append(
                Beside(labels, carried[i], float(value[j]), z[:, j], of=kept.one(j))
                if known[i]
                else Beside(labels, carried[i], reason=why[i])
            )
        j = picks.size
        if used.size:
            out.append(Beside(mean_labels, whole, float(value[j]), z[:, j], of=kept.one(j)))
            against = against_cells(
                sample,
                groups,
                float(value[j]),
                z[:, j],
                rows.scale,
                _by_event_time(high, events[used]),
            )
            rows.notes["against_cells"].append({**where, **against})
        for step, i in enumerate(path):
            labels = {"term": "cumulated_path", "horizon": int(events[i])}
            if design.monthly:
                unit = design.units[design.outcome_names.index(where["outcome"])]
                labels["unit"] = CUMULATED_UNIT.get(unit, unit)
            at = j + 1 + step
            out.append(Beside(labels, carried[i], float(value[at]), z[:, at], of=kept.one(at)))
        omega = cell_weights(blocks, found, maps[:, : picks.size])
        late = np.where(np.isfinite(held), sample.periods - sample.cohorts[:, None], -np.inf)
        mixed = [
            {
                "event_time": int(events[i]),
                "foreign": foreign_weight(omega[:, :, m], late, held == events[i]),
            }
            for m, i in enumerate(picks)
        ]
        rows.notes["foreign_weights"].append({**where, "by_event_time": mixed})
        return out

    def _why(self, design: StaggeredPanel, treated: Bools, estimable: bool) -> str:
        """Why an event time has no estimate, or nothing."""
        if not estimable:
            return Reason(
                Why.NO_COMPARISON,
                "event times are collinear with periods: bin the ends (earliest, latest), or add "
                "units never treated",
            )
        if clusters_of(design, treated).sum() < self.min_clusters:
            return Reason(Why.TOO_FEW, f"fewer than {self.min_clusters} clusters treated")
        return ""

    def _range(self, sample: Sample) -> tuple[int, int, bool]:
        """The first and last event time that has a coefficient or is the reference, and whether the last
        stands for later ones too."""
        finite = sample.cohorts[np.isfinite(sample.cohorts)]
        if not finite.size:
            return 0, 0, False
        low, high = int(sample.periods[0] - finite[-1]), int(sample.periods[-1] - finite[0])
        return (
            low if self.earliest is None else max(low, self.earliest),
            high if self.latest is None else min(high, self.latest),
            self.latest is not None and self.latest < high,
        )

    def _reference(self) -> int:
        """The event time left out. Raises InputError for event times that make no sense."""
        reference = -1 - self.anticipation if self.reference is None else self.reference
        if reference >= 0:
            raise InputError(
                "the reference is an event time before the start, below 0", where="reference"
            )
        if self.earliest is not None and self.earliest > reference:
            raise InputError(
                f"the earliest event time {self.earliest} lies after the reference {reference}",
                where="earliest",
                remedy="Give an earlier one, or none.",
            )
        if self.latest is not None and self.latest < 0:
            raise InputError("the latest event time is at least 0", where="latest")
        return reference


def _held(sample: Sample, low: int, high: int) -> Floats:
    """[cohorts, T] the event time each cohort's periods count as; NaN where never treated or where no
    unit of it has a row."""
    held = np.full((sample.cohorts.size, sample.periods.size), np.nan)
    seen = sample.seen
    for c, (g, units) in enumerate(zip(sample.cohorts, sample.members)):
        if np.isfinite(g):
            there = seen[units].any(axis=0)
            held[c, there] = np.clip(sample.periods - g, low, high)[there]
    return held


def _path(events: Ints, used: Ints, binned: int | None) -> list[int]:
    """Positions of event times 0, 1, ... up to the first gap, or the end that stands for several."""
    out: list[int] = []
    for step, i in enumerate(used):
        if events[i] != step or events[i] == binned:
            break
        out.append(int(i))
    return out


def _by_event_time(high: int, used: Ints) -> Weigh:
    """The event times ``used`` (those from ``high`` on are one) count alike, cohorts in each by their
    unit-periods."""

    def weigh(cohort: Floats, event: Floats, size: Floats) -> Floats:
        event = np.minimum(event, high)
        share = np.where(np.isin(event, used), size, 0.0)
        for e in np.unique(event):
            share[event == e] /= size[event == e].sum()
        return share / share.sum()

    return weigh


def _sides(design: StaggeredPanel, sample: Sample, held: Floats, event: int) -> tuple[Bools, Bools]:
    """Treated: seen at the event time. Comparison: seen in a period in which a cohort is at it, at
    another event time or never treated."""
    treated, others = np.zeros(design.n, dtype=bool), np.zeros(design.n, dtype=bool)
    at = held == event
    when = at.any(axis=0)
    for c, units in enumerate(sample.members):
        _mark(treated, sample, units, at[c])
        _mark(others, sample, units, when & ~at[c])
    return treated, others


def _mark(mask: Bools, sample: Sample, units: Ints, when: Bools) -> None:
    """Set ``mask`` [n] at the units seen in one of the periods ``when`` [T]."""
    if not when.any():
        return
    if sample.complete:
        mask[units] = True
        return
    mask[units] = sample.seen[units][:, when].any(axis=1)


def _any(masks: list[Bools], n: int) -> Bools:
    return np.logical_or.reduce(masks) if masks else np.zeros(n, dtype=bool)
