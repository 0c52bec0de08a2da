"""Prepared panel files: a row a unit and period, straight to a cross-section with months."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tiltakeval.design.columns import (
    code_arms,
    frame_fingerprint,
    listed,
    numeric_covariates,
    outcome_column,
    refuse_missing,
    require_columns,
    subgroup_of,
    unit_of,
)
from tiltakeval.design.cross_section import CrossSection
from tiltakeval.design.panel_rows import Errors, Ints, PanelRows, panel_rows, refuse_changing
from tiltakeval.estimates.attrition import Attrition

#: More periods than this from first to last is a coding error, not a panel.
MAX_PERIODS = 1200


def panel_from_frame(
    df: pd.DataFrame,
    *,
    unit: str,
    period: str,
    treatment: str,
    outcome: str | Sequence[str],
    start: str | None = None,
    month_zero: int | str | None = None,
    covariates: str | Sequence[str] = (),
    baseline: int | None = None,
    horizon: int | None = None,
    placebo_months: int | None = None,
    weight: str | None = None,
    cluster: str | None = None,
    subgroups: str | Sequence[str] | Mapping[str, str] = (),
    comparison: str | float | int | bool | None = None,
    units: Mapping[str, str] | None = None,
    arms: Mapping[str, str] | None = None,
    population: str = "file",
    estimand: str = "vs_comparison",
    where: str = "panel file",
) -> CrossSection:
    """A cross-section with months from a long file: a row a ``unit`` and ``period``.

    ``treatment`` is constant in a unit and names its arm, as in ``cross_section_from_frame``. Month
    zero is the unit's value of ``start``; ``month_zero`` is that of units without one (or of all).
    Periods, starts and ``month_zero`` are whole numbers, or months written YYYY-MM. Outcomes are
    [n, horizon + 1, K] from month zero on, NaN where the unit has no row or value: an unbalanced
    panel needs no filling. ``covariates`` and ``subgroups`` are read strictly before month zero: in
    the period ``baseline`` (below 0, counted from month zero), or in the unit's last row before.
    An outcome may be a covariate; its value before is called name_before. Placebo outcomes are those
    of the ``placebo_months`` periods (all, if left out) before the baseline; between baseline and
    month zero nothing is used. ``weight`` and ``cluster`` are constant in a unit.

    Raises InputErrors naming everything that is wrong, with counts, never a unit.
    """
    outcomes, names = listed(outcome), listed(covariates)
    groups = (
        dict(subgroups) if isinstance(subgroups, Mapping) else {k: k for k in listed(subgroups)}
    )
    errors = Errors()
    if not outcomes:
        errors.add("no outcome is declared", where=where, remedy="Say outcome = a column.")
    if baseline is not None and baseline >= 0:
        errors.add(
            f"the baseline period {baseline} isn't before month zero",
            where=f"{where}, baseline",
            remedy="Give a number below 0: -1 is the period just before.",
        )
    if start is None and month_zero is None:
        errors.add(
            "no unit has a month zero",
            where=where,
            remedy="Say start = the column of the unit's first treated period, or month_zero = a "
            "period for all units.",
        )
    used = [treatment, unit, period, start]
    for name in dict.fromkeys(name for name in names if name in used):
        errors.add(f"'{name}' can't be a covariate: it is the design", where=where)
    read = [*used, *outcomes, *names, weight, cluster, *groups.values()]
    errors.attempt(lambda: require_columns(df, read, where=where))
    if df.empty:
        errors.add("the file has no rows", where=where)
    errors.stop(where)
    errors.attempt(lambda: refuse_missing(df[unit], column=unit, what="unit", where=where))
    errors.stop(where)
    number = pd.factorize(df[unit])[0].astype(np.int64)
    rows = panel_rows(df, number, (unit, period, start), month_zero, errors, where=where)
    for what, column in (("treatment", treatment), ("weight", weight), ("cluster", cluster)):
        if column is not None:
            errors.attempt(lambda w=what, c=column: refuse_changing(df, number, c, w, where))  # type: ignore[misc]
    values = {
        name: found
        for name in outcomes
        if (found := errors.attempt(lambda n=name: outcome_column(df, n, where=where))) is not None  # type: ignore[misc]
    }
    errors.stop(where)
    assert rows is not None
    at, before = _baseline_rows(rows, baseline)
    persons = df.iloc[rows.first].reset_index(drop=True)
    needed = bool(names or groups)
    lost = int((at < 0).sum()) if needed else 0
    if lost:
        which = "before month zero" if baseline is None else f"in the baseline period {baseline}"
        errors.add(
            f"{lost} of {rows.n} units have no row {which}",
            where=where,
            remedy="Leave these units out, or declare another baseline period.",
        )
        errors.stop(where)
    known = df.iloc[at].reset_index(drop=True) if needed else persons
    coded = errors.attempt(
        lambda: code_arms(persons[treatment], comparison=comparison, where=where, names=arms)
    )
    numeric = errors.attempt(lambda: numeric_covariates(known, names, where=where))
    levels = {
        name: errors.attempt(lambda c=column: subgroup_of(known[c]))  # type: ignore[misc]
        for name, column in groups.items()
    }
    errors.stop(where)
    assert coded is not None and numeric is not None
    months = _months(rows.offset, horizon, errors, where=where)
    errors.stop(where)
    earlier = _earlier(rows, before, placebo_months)
    y = _spread(rows, values, months)
    y0 = _spread(rows, values, earlier, before=before) if earlier else None
    person = np.arange(rows.n, dtype=np.int64)
    if cluster is not None:
        person = pd.factorize(persons[cluster], sort=True)[0].astype(np.int64)
    w = np.ones(rows.n)
    if weight is not None:
        w = persons[weight].to_numpy(dtype=np.float64)
    declared = units or {}
    return CrossSection(
        arms=coded[0],
        arm=coded[1],
        eligible=np.ones((rows.n, len(coded[0])), dtype=bool),
        weight=w,
        person=person,
        covariates=numeric[0],
        covariate_names=tuple(
            f"{name}_before" if name in outcomes else name for name in numeric[1]
        ),
        outcomes=y,
        outcome_names=outcomes,
        units=tuple(declared.get(k, unit_of(values[k])) for k in outcomes),
        horizons=months,
        placebo=y0,
        placebo_names=outcomes if earlier else (),
        placebo_horizons=earlier,
        subgroups={name: found for name, found in levels.items() if found is not None},
        population=population,
        estimand=estimand,
        time_origin="none",
        attrition=Attrition.of(
            population, [("units_of_panel", int(np.unique(person).size), rows.n)]
        ),
        fingerprint=frame_fingerprint(df[[c for c in dict.fromkeys(read) if c]]),
    )


def _baseline_rows(rows: PanelRows, baseline: int | None) -> tuple[Ints, Ints]:
    """Row [n] of every unit's baseline, -1 for none, and its period [n]; all below month zero."""
    candidate = rows.offset < 0 if baseline is None else rows.offset == baseline
    at = np.full(rows.n, -1, dtype=np.int64)
    places = np.flatnonzero(candidate)
    order = places[np.argsort(rows.offset[places], kind="stable")]
    at[rows.unit[order]] = order  # the last one written is the latest
    before = np.where(at >= 0, rows.offset[at], 0 if baseline is None else baseline)
    return at, before.astype(np.int64)


def _months(offset: Ints, horizon: int | None, errors: Errors, *, where: str) -> tuple[int, ...]:
    """The periods followed, from month zero to the last one seen or wanted."""
    last = int(offset.max())
    if last < 0:
        errors.add(
            "no unit has a row in or after month zero",
            where=where,
            remedy="Check the column of periods and month zero.",
        )
        return ()
    if last - int(offset.min()) > MAX_PERIODS:
        errors.add(
            f"rows lie up to {last - int(offset.min())} periods apart, more than {MAX_PERIODS}",
            where=where,
            remedy="Check the column of periods and month zero; dates must be months or numbers.",
        )
        return ()
    return tuple(range((last if horizon is None else min(horizon, last)) + 1))


def _earlier(rows: PanelRows, before: Ints, placebo_months: int | None) -> tuple[int, ...]:
    """The placebo periods: those some unit has a row in before its baseline, the latest of them."""
    seen = np.unique(rows.offset[rows.offset < before[rows.unit]])
    if not seen.size or placebo_months == 0:
        return ()
    low = int(seen[0])
    high = int(seen[-1])
    if placebo_months is not None:
        low = max(low, high - placebo_months + 1)
    return tuple(range(low, high + 1))


def _spread(
    rows: PanelRows,
    values: Mapping[str, NDArray[np.float32]],
    months: tuple[int, ...],
    *,
    before: Ints | None = None,
) -> NDArray[np.float32]:
    """[n, T, K] of the outcomes by unit and period; ``before`` keeps periods below it, unit by unit."""
    out = np.full((rows.n, len(months), len(values)), np.nan, dtype=np.float32)
    inside = (rows.offset >= months[0]) & (rows.offset <= months[-1])
    if before is not None:
        inside &= rows.offset < before[rows.unit]
    places = np.flatnonzero(inside)
    for k, column in enumerate(values.values()):
        out[rows.unit[places], rows.offset[places] - months[0], k] = column[places]
    return out
