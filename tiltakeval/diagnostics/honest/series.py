"""Event studies from a result: every series of effects by event time, from one base period."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from tiltakeval.diagnostics.honest.event_study import EventStudy, event_study
from tiltakeval.errors import InputError, counted
from tiltakeval.estimates.combine import families
from tiltakeval.estimates.inference import covariance, degrees_of_freedom, satterthwaite
from tiltakeval.estimates.table import Estimates

Floats = NDArray[np.floating]
Target = int | Literal["mean"] | Mapping[int, float]
Base = Literal["universal", "varying"]
TERM = "effect_by_event_time"
SUPPORT = ("n_treated", "n_comparison")


@dataclass(frozen=True)
class Series:
    """An event study with the ``matrix`` [K + P, rows of the result] that makes it, and its labels.

    ``rows`` are the positions used, ``horizons`` [K + P] event times, ``mixed`` whether other
    cohorts stand behind some event times than behind others, so that their differences mix trends
    with composition.
    """

    study: EventStudy
    matrix: Floats
    rows: NDArray[np.int64]
    horizons: NDArray[np.int64]
    mixed: bool
    base: str
    df: float

    def inflated(self, level: float) -> EventStudy:
        """The study with its covariance times (t / z)^2 of ``df`` degrees of freedom.

        A normal interval from it is the t interval that every estimator gives.
        """
        if not np.isfinite(self.df):
            return self.study
        tail = 0.5 + level / 2
        factor = float(stats.t.ppf(tail, self.df) / stats.norm.ppf(tail)) ** 2
        return replace(self.study, sigma=self.study.sigma * factor)


def series_of(
    estimates: Estimates,
    *,
    at: Target = 0,
    term: str = TERM,
    base: Base | None = None,
    anticipation: int | None = None,
    window: tuple[int, int] | None = None,
) -> Iterator[Series]:
    """Every series of rows of ``term`` that differ in event time alone (outcome by outcome, ...).

    The target is the effect at event time ``at``, the ``mean`` of all from 0 on, or weights by
    event time. ``window`` limits event times (first, last). ``base`` and ``anticipation`` are
    read from the result's ``run["options"]`` where not given. An event study needs one base
    period, the last before treatment and its anticipation (event time -1 - anticipation): with a
    varying base the changes before treatment are summed into levels, which is right while the
    same cohorts are behind all of them.

    Raises InputError: no such rows, no influence or covariance, a series with gaps or without
    estimate, no period before treatment, an unknown base, or one that varies with cohorts that
    change.
    """
    wanted = estimates.positions(term=term)
    if wanted.size == 0:
        raise InputError(
            f"no rows of term '{term}'",
            where="event study",
            remedy="Give the result of an estimator of effects by event time.",
        )
    options = estimates.run.get("options", {})
    if base is None and estimates.run.get("leads_from"):
        raise InputError(
            "the effects before treatment are measured from "
            f"{estimates.run['leads_from']}, those after it from a fit: there is no one base period",
            where="event study",
            remedy='Use group_time_att with base = "universal", or sun_abraham, for checks of trends.',
        )
    chosen = base or options.get("base")
    ahead = int(options.get("anticipation", 0) if anticipation is None else anticipation)
    for family in families(estimates, within=("horizon",)):
        if estimates.table["term"].iloc[family[0]] == term:
            yield _one(estimates, family, at, chosen, ahead, window)


def _one(
    estimates: Estimates,
    family: NDArray[np.int64],
    at: Target,
    base: str | None,
    ahead: int,
    window: tuple[int, int] | None,
) -> Series:
    rows = estimates.table.iloc[family]
    where = f"event study of {rows['outcome'].iloc[0] or 'the outcome'}"
    if rows["subgroup"].iloc[0] != "all":
        where += f", {rows['subgroup'].iloc[0]}"
    if rows["horizon"].isna().any():
        raise InputError(f"{counted(int(rows['horizon'].isna().sum()), 'row')} without event time",
                         where=where)  # fmt: skip
    last = -1 - ahead
    horizon = rows["horizon"].to_numpy(dtype=np.int64)
    if np.unique(horizon).size < horizon.size:
        raise InputError("two rows of one event time", where=where)
    base = _base(base, rows, horizon, last, where)
    if base == "universal":
        kept = horizon != last
        family, horizon = family[kept], horizon[kept]
    if window is not None:
        # a change into a period belongs to the level of the period before it
        shift = (horizon <= last) if base == "varying" else np.zeros(horizon.size, dtype=bool)
        label = horizon - shift
        kept = (label >= window[0]) & (label <= window[1])
        family, horizon = family[kept], horizon[kept]
    table = estimates.table.iloc[family]
    before = horizon <= last
    k, p = int(before.sum()), int((~before).sum())
    times = np.concatenate([np.arange(last - k, last), np.arange(last + 1, last + 1 + p)])
    label = horizon - (before if base == "varying" else 0)
    if not np.array_equal(label, times):
        full = np.arange(min(label.min(), last), max(label.max(), last) + 1)
        gaps = [str(h) for h in full if h not in set(label.tolist()) and h != last]
        raise InputError(
            f"no estimate at event time {', '.join(gaps[:10])}",
            where=where,
            remedy="Changes from period to period are compared, so none may be missing: limit "
            "event times with window.",
        )
    lost = table[table["estimate"].isna() | (table["status"] != "ok")]
    if len(lost):
        raise InputError(
            f"{counted(len(lost), 'event time')} without estimate: "
            + ", ".join(str(h) for h in lost["horizon"][:10]),
            where=where,
            remedy="Limit event times with window.",
        )
    mixed = _cohorts_change(estimates, table, horizon)
    if base == "varying" and k and _cohorts_change(estimates, table[before], horizon[before]):
        raise InputError(
            "changes before treatment rest on other cohorts at some event times than at others, so "
            "they can't be summed to levels",
            where=where,
            remedy='Estimate with base = "universal", or limit event times with window.',
        )
    local = np.eye(k + p)
    if base == "varying":
        local[:k, :k] = -np.triu(np.ones((k, k)))
    matrix = np.zeros((k + p, len(estimates)))
    matrix[:, family] = local
    point = local @ table["estimate"].to_numpy(dtype=np.float64)
    # the units behind the rows that are tested before treatment, as in `rollout`
    groups = float(table.loc[before, list(SUPPORT)].astype("float64").min().min())
    influence = estimates.influence
    if influence is not None:
        sigma = covariance(influence.columns(family) @ local.T, influence.form)
        groups = float(np.fmin(groups, influence.groups))
    elif estimates.covariance is not None:
        sigma = local @ estimates.covariance[np.ix_(family, family)] @ local.T
        groups = np.inf if np.isnan(groups) else groups
    else:
        raise InputError(
            "these estimates carry neither influence nor covariance",
            where=where,
            remedy="Use the result of the estimator itself, not one read back from a file.",
        )
    weights = _weights(at, times[k:], where) if p else np.zeros(0)
    study = event_study(point, sigma, k, p, weights, groups=groups, where=where)
    df = np.inf
    if influence is not None:
        carry = table[~before][weights != 0]
        units = [carry[name].to_numpy("float64", na_value=np.nan) for name in SUPPORT]
        df = float(degrees_of_freedom(influence.groups, *units).min())
        if influence.strata is not None and p:
            target = influence.columns(family)[:, k:] @ weights
            df = min(df, float(satterthwaite(target[:, None], influence.strata)[0]))
    return Series(study, matrix, family, times, mixed, base, df)


def _base(
    base: str | None, rows: pd.DataFrame, horizon: NDArray[np.int64], last: int, where: str
) -> str:
    """Whether the series has one base period; its own row, if any, is zero without error."""
    if base not in (None, "universal", "varying"):
        raise InputError("the base is universal or varying", where=f"{where}, base")
    own = rows[horizon == last]
    nothing = own.empty or bool(
        (own["estimate"].fillna(0.0) == 0).all() and (own["std_error"].fillna(0.0) == 0).all()
    )
    if base is None:
        if not nothing:
            raise InputError(
                f"there is an effect at event time {last}, which should be the base period",
                where=where,
                remedy='Say base = "varying" if effects before treatment are changes from the '
                "period before, or give the anticipation.",
            )
        return "universal"
    if base == "universal" and not nothing:
        raise InputError(
            f"there is an effect at event time {last}, the base period",
            where=where,
            remedy="Give the right base or anticipation.",
        )
    return base


def _cohorts_change(estimates: Estimates, table: pd.DataFrame, horizon: NDArray[np.int64]) -> bool:
    """Whether event times rest on different cohorts (by their cells, or else their units)."""
    first = table.iloc[0]
    same = ["population", "estimand", "programme", "comparator", "subgroup", "outcome"]
    cells = estimates.table
    hit = (cells["term"] == "effect") & (cells["cohort"] != "") & (cells["status"] == "ok")
    for name in same:
        hit &= cells[name] == first[name]
    cells = cells[hit & cells["horizon"].isin(horizon.tolist()).fillna(False)]
    if len(cells):
        sets = {frozenset(part) for _, part in cells.groupby("horizon")["cohort"]}
        return len(sets) > 1
    return table["n_treated"].dropna().nunique() > 1


def _weights(at: Target, after: NDArray[np.int64], where: str) -> Floats:
    """[P] weights of the target over the event times after the base."""
    if at == "mean":
        at = {int(h): 1.0 for h in after if h >= 0}
        at = {h: 1.0 / len(at) for h in at}
    chosen = dict(at) if isinstance(at, Mapping) else {at: 1.0}
    missing = [str(h) for h in chosen if h not in set(after.tolist()) or int(h) < 0]
    if missing or not chosen:
        raise InputError(
            f"no effect at event time {', '.join(missing) or '0 or later'}",
            where=f"{where}, at",
            remedy=f"There are {', '.join(str(h) for h in after if h >= 0) or 'none'}.",
        )
    return np.array([float(chosen.get(int(h), 0.0)) for h in after])
