"""Remaining and leaving over time, by arm: Kaplan-Meier and Aalen-Johansen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tiltakeval import __version__
from tiltakeval.design.durations import Durations
from tiltakeval.errors import InputError, unknown
from tiltakeval.estimates.combine import with_bands, with_inference
from tiltakeval.estimates.inference import MAX_GROUPS, Influence
from tiltakeval.estimates.table import Estimates, tidy
from tiltakeval.estimators.duration.product_limit import ProductLimit, product_limit
from tiltakeval.estimators.numerics.groups import deal_groups

Floats = NDArray[np.floating]
MAX_TIMES = 120
EXACT_BELOW = 1e6


@dataclass(frozen=True, kw_only=True)
class KaplanMeier:
    """Probability of remaining beyond each time (Kaplan & Meier 1958), for each arm and subgroup.

    ``event`` names the exit that counts (others are then censoring); left out, any exit does.
    ``times`` are whole times to report, by default every one up to the longest spell (at most 120).
    Differences between each arm and the first are rows with term ``survival_difference``.
    """

    event: str | None = None
    times: Sequence[int] = ()
    level: float = 0.95
    bands: bool = True

    def estimate(self, design: Durations) -> Estimates:
        """Rows by arm, subgroup and time. Raises InputError."""
        if self.event is not None and self.event not in design.event_names:
            raise unknown("exit", self.event, design.event_names, where="event")
        code = design.event
        if self.event is not None:
            code = np.where(code == design.event_names.index(self.event) + 1, 1, 0)
        else:
            code = np.minimum(code, 1)
        single = design.event_names[0] if len(design.event_names) == 1 else "any_exit"
        return _estimate(
            self, design, code, (self.event or single,), key="kaplan_meier", term="survival"
        )


@dataclass(frozen=True, kw_only=True)
class AalenJohansen:
    """Probability of having left by each exit by each time (Aalen & Johansen 1978).

    Ties between exits are exact. ``times`` as in ``KaplanMeier``; differences between arms have term
    ``cumulative_incidence_difference``.
    """

    times: Sequence[int] = ()
    level: float = 0.95
    bands: bool = True

    def estimate(self, design: Durations) -> Estimates:
        """Rows by arm, exit, subgroup and time. Raises InputError."""
        return _estimate(
            self,
            design,
            design.event,
            design.event_names,
            key="aalen_johansen",
            term="cumulative_incidence",
        )


def max_groups(n: int, times: int) -> int:
    """Clusters stay as they are while the influence is small, so that errors are exact."""
    return max(n, MAX_GROUPS) if n * times <= EXACT_BELOW else MAX_GROUPS


def _times(given: Sequence[int], design: Durations) -> NDArray[np.float64]:
    if given:
        times = np.array(sorted(set(given)), dtype=np.float64)
        if (times < 0).any():
            raise InputError("times can't be negative", where="times")
        return times
    longest = int(np.floor(design.duration.max()))
    return np.arange(1, min(max(longest, 1), MAX_TIMES) + 1, dtype=np.float64)


def _estimate(
    estimator: Any, design: Durations, event: NDArray, names: Sequence[str], *, key: str, term: str
) -> Estimates:
    times = _times(estimator.times, design)
    groups = deal_groups(design.person, kind="person", max_groups=max_groups(design.n, times.size))
    exits = len(names)
    records: list[dict[str, Any]] = []
    columns: list[Floats] = []
    positions: list[int] = []
    levels = [("all", np.ones(design.n, dtype=bool))] + [
        (group.label(name, i), group.codes == i)
        for name, group in design.subgroups.items()
        for i in range(len(group.levels))
    ]

    def add(row: dict[str, Any], value: float, z: Floats, good: bool) -> None:
        records.append(
            {
                **row,
                "estimate": value if good else np.nan,
                "status": "ok" if good else "not_supported",
            }
        )
        if good:
            positions.append(len(records) - 1)
            columns.append(z)

    for label, inside in levels:
        curves: list[ProductLimit | None] = []
        for a in range(len(design.arms)):
            rows = inside & (design.arm == a) & (design.weight > 0)
            curves.append(
                product_limit(
                    duration=design.duration[rows],
                    event=event[rows],
                    exits=exits,
                    times=times,
                    weight=design.weight[rows],
                    entry=design.entry[rows],
                    group=groups.group[rows],
                    groups=groups.count,
                )
                if rows.sum() >= 2 and (event[rows] > 0).any()
                else None
            )
        for a, curve in enumerate(curves):
            rows = inside & (design.arm == a)
            size = int(rows.sum())
            used = int(np.unique(groups.cluster[rows]).size)
            for j, name in enumerate(names):
                for t, time in enumerate(times):
                    supported = curve is not None and int(curve.at_risk[t]) > 0
                    row = {
                        "programme": design.arms[a] if len(design.arms) > 1 else "all",
                        "subgroup": label,
                        "outcome": name,
                        "horizon": int(time),
                        "term": term,
                        "n_treated": size,
                        "n_clusters": used,
                        "n_events": int(curve.events[j, t]) if curve is not None else 0,
                    }
                    value, z = _read(curve, term, j, t)
                    add(row, value, z, supported)
                    if a == 0:
                        continue
                    base = curves[0]
                    other, z0 = _read(base, term, j, t)
                    both = supported and base is not None and int(base.at_risk[t]) > 0
                    row = {
                        **row,
                        "term": f"{term}_difference",
                        "comparator": design.arms[0],
                        "n_comparison": int((inside & (design.arm == 0)).sum()),
                        "n_clusters": int(
                            np.unique(groups.cluster[inside & np.isin(design.arm, (0, a))]).size
                        ),
                    }
                    add(row, value - other, z - z0, both)
    table = tidy(pd.DataFrame(records)).assign(
        population=design.population,
        estimand=design.estimand,
        unit=design.unit,
        time_origin=design.time_origin,
        source=f"tiltakeval {__version__} {key}",
    )
    run = {
        "estimator": type(estimator).__name__,
        "options": asdict(estimator),
        "design": design.fingerprint,
        "version": __version__,
        "groups": groups.count,
    }
    if not columns:
        return Estimates(table, attrition=design.attrition, run=run)
    influence = Influence(
        frame=groups.frame,
        kind="person",
        n_clusters=groups.n_clusters,
        values={key: np.stack(columns, axis=1)},
        rows={key: np.array(positions)},
    )
    out = with_inference(
        table, influence, level=estimator.level, attrition=design.attrition, run=run
    )
    return with_bands(out, level=estimator.level) if estimator.bands else out


def _read(curve: ProductLimit | None, term: str, exit_: int, t: int) -> tuple[float, Floats]:
    if curve is None:
        return np.nan, np.zeros(1)
    if term == "survival":
        return float(curve.survival[t]), curve.survival_z[:, t]
    return float(curve.incidence[exit_, t]), curve.incidence_z[exit_, :, t]
