"""Treatment that isn't switched on once for good: it ends, comes back, or takes several values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tiltakeval.design.columns import listed, refuse_missing, require_columns
from tiltakeval.design.panel_rows import Errors
from tiltakeval.design.staggered import StaggeredPanel
from tiltakeval.design.staggered_read import staggered_from_frame
from tiltakeval.design.staggered_rows import number_column, periods_of, places, repeated
from tiltakeval.errors import InputError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: More baseline values than this are no groups to compare within.
MAX_BASELINES = 200
_FIRST = "_first_change"


@dataclass(frozen=True, kw_only=True)
class TreatmentPaths(StaggeredPanel):
    """A panel with every unit's treatment in every period: ``status`` [n, T], NaN before the unit's
    first row, the last one known where a row is missing. ``first`` [n] is the period in which treatment
    first differs from the unit's first one (its ``baseline`` [n]), infinite where it never does.
    ``until`` [n] is the last period in which the unit is known not to have changed. ``unclear`` counts
    units whose first change falls in a gap between rows: they aren't followed beyond it, and never
    switch.
    """

    status: Floats
    baseline: Floats
    until: Ints
    unclear: int = 0

    def __post_init__(self) -> None:
        """Raise InputError where the paths are those of other units or periods."""
        super().__post_init__()
        if self.status.shape != self.outcomes.shape[:2]:
            raise InputError(
                f"treatment paths are {self.status.shape[0]} units by {self.status.shape[1]} "
                f"periods, outcomes {self.outcomes.shape[0]} by {self.outcomes.shape[1]}",
                where="treatment",
            )


@dataclass(frozen=True)
class Changes:
    """Of every unit: ``baseline`` [n]; the position of the first change, or the number of periods;
    the last position without one; and whether the first change falls in a gap."""

    baseline: Floats
    first: Ints
    until: Ints
    unclear: NDArray[np.bool_]


def changes_of(status: Floats) -> Changes:
    """First changes of ``status`` [n, T], NaN where there is no row.

    Where rows are missing between two equal values the treatment is taken not to have changed meanwhile.
    """
    n, periods = status.shape
    known = np.isfinite(status)
    start = known.argmax(axis=1)
    baseline = status[np.arange(n), start]
    differs = known & (status != baseline[:, None])
    first = np.where(differs.any(axis=1), differs.argmax(axis=1), periods).astype(np.int64)
    at = np.arange(periods)
    before = known & (at < first[:, None])
    until = np.where(before, at, 0).max(axis=1).astype(np.int64)
    unclear = (first < periods) & (until < first - 1)
    until = np.where(first == periods, periods - 1, until)
    return Changes(baseline, np.where(unclear, periods, first), until, unclear)


def carried(status: Floats) -> Floats:
    """``status`` [n, T] with the last value known where there is none."""
    at = np.where(np.isfinite(status), np.arange(status.shape[1]), 0)
    at = np.maximum.accumulate(at, axis=1)
    return np.asarray(np.take_along_axis(status, at, axis=1))


def paths_from_frame(
    df: pd.DataFrame,
    *,
    outcome: str | Sequence[str],
    unit: str,
    treatment: str,
    period: str | None = None,
    time: str | None = None,
    covariates: str | Sequence[str] = (),
    covariate_period: int | str | None = None,
    varying: str | Sequence[str] = (),
    weight: str | None = None,
    cluster: str | Sequence[str] | None = None,
    subgroups: str | Sequence[str] | Mapping[str, str] = (),
    programme: str = "treated",
    population: str = "file",
    estimand: str = "vs_comparison",
    units: Mapping[str, str] | None = None,
    entry: str | None = None,
    override: str | None = None,
    where: str = "panel file",
) -> TreatmentPaths:
    """Treatment paths from a long file: a row a ``unit`` and ``period`` (also called ``time``), with the
    ``treatment`` in that period: 0/1, or any number (a dose, months, an intensity).

    Rows may be absent. A unit's baseline is the treatment in its first row. All else is as in
    `staggered.staggered_from_frame`, whose ``first`` is the period of the first change. Raises
    InputErrors naming everything that is wrong, with counts only.
    """
    errors = Errors()
    when_column = period if period is not None else time
    if when_column is None or (period is not None and time is not None):
        errors.add("give the column of periods once", where=where, remedy="Say period = a column.")
    moving = listed(varying)
    clash = {treatment} & {unit, when_column, *listed(outcome), *listed(covariates), *moving}
    if clash:
        errors.add(f"'{treatment}' can't be the treatment and something else too", where=f"{where}")
    errors.attempt(lambda: require_columns(df, [unit, when_column, treatment], where=where))
    if df.empty:
        errors.add("the file has no rows", where=where)
    errors.stop(where)
    assert when_column is not None
    errors.attempt(lambda: refuse_missing(df[unit], column=unit, what="unit", where=where))
    errors.attempt(
        lambda: refuse_missing(df[treatment], column=treatment, what="treatment", where=where)
    )
    found = errors.attempt(lambda: periods_of(df, when_column, where=where))
    value = errors.attempt(lambda: number_column(df, treatment, where=where, what="a treatment"))
    errors.stop(where)
    assert found is not None and value is not None
    number = pd.factorize(df[unit])[0].astype(np.int64)
    twice = repeated(number, found[0], found[1])
    if twice:
        raise InputError(
            f"{twice} rows repeat a unit and period",
            where=f"{where}, columns '{unit}' and '{when_column}'",
            remedy="A panel has one row for each: add them up, or drop the copies.",
        )
    place = places(found[0], found[1])
    status = np.full((int(number.max()) + 1, found[1].size), np.nan)
    status[number, place] = value
    changes = changes_of(status)
    _refuse_baselines(changes.baseline, where=f"{where}, column '{treatment}'")
    _refuse_no_change(changes, found[1].size, where=f"{where}, column '{treatment}'")
    shown = df[when_column].iloc[np.unique(place, return_index=True)[1]].reset_index(drop=True)
    own = shown.reindex(changes.first[number])  # missing for units that never change
    framed = df.assign(**{_FIRST: own.array})
    panel = staggered_from_frame(
        framed, outcome=outcome, unit=unit, period=when_column, first=_FIRST, covariates=covariates,
        covariate_period=covariate_period, varying=(*moving, treatment), weight=weight,
        cluster=cluster, subgroups=subgroups, programme=programme, population=population,
        estimand=estimand, units=units, entry=entry, override=override, where=where,
    )  # fmt: skip
    return with_paths(panel)


def with_paths(panel: StaggeredPanel) -> TreatmentPaths:
    """The panel whose last covariate that varies is the treatment, as treatment paths."""
    assert panel.varying is not None
    status = np.ascontiguousarray(panel.varying[:, :, -1])
    rest = np.ascontiguousarray(panel.varying[:, :, :-1]) if panel.varying.shape[2] > 1 else None
    own = {f.name: getattr(panel, f.name) for f in fields(StaggeredPanel)}
    return paths_of(
        status,
        **{**own, "varying": rest, "varying_names": panel.varying_names[:-1]},
    )


def paths_of(status: Floats, **panel: object) -> TreatmentPaths:
    """Treatment paths from ``status`` [n, T] (NaN where there is no row) and the fields of a panel, but
    for ``first``, which follows."""
    changes = changes_of(status)
    periods = np.asarray(panel["periods"])
    never = changes.first == periods.size
    first = np.where(never, np.inf, periods[np.minimum(changes.first, periods.size - 1)])
    return TreatmentPaths(
        **{**panel, "first": first},  # type: ignore[arg-type]
        status=carried(status),
        baseline=changes.baseline,
        until=periods[changes.until],
        unclear=int(changes.unclear.sum()),
    )


def _refuse_baselines(baseline: Floats, *, where: str) -> None:
    values = np.unique(baseline).size
    if values > MAX_BASELINES:
        raise InputError(
            f"units start from {values} different treatments, more than {MAX_BASELINES}",
            where=where,
            remedy="Units are compared with others that start alike: round the treatment.",
        )


def _refuse_no_change(changes: Changes, periods: int, *, where: str) -> None:
    """An error unless some unit is seen to change."""
    if (changes.first < periods).any():
        return
    lost = int(changes.unclear.sum())
    raise InputError(
        f"{lost} units change, all while no row is seen" if lost else "no unit's treatment changes",
        where=where,
        remedy="Check that the column is the treatment in the row's period.",
    )
