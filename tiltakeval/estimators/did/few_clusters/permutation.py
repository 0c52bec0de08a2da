"""Randomisation inference: start dates permuted over clusters, everything estimated anew."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import factorial, prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiltakeval.design.intensity import IntensityRollout
from tiltakeval.design.staggered import StaggeredPanel
from tiltakeval.errors import InputError, unknown
from tiltakeval.estimates.few_clusters.inversion import Replications
from tiltakeval.estimates.inference import correction
from tiltakeval.estimates.table import Estimates
from tiltakeval.estimators.did.few_clusters.dealing import Dealing, dealing_of
from tiltakeval.estimators.did.few_clusters.rows import (
    matched,
    set_columns,
    without_bands,
    without_intervals,
)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def strata_of(design: StaggeredPanel, name: str | None) -> Ints:
    """[G] the clusters' strata: levels of a declared subgroup, or one for all. Raises InputError."""
    clusters = int(design.cluster.max()) + 1
    if name is None:
        return np.zeros(clusters, dtype=np.int64)
    if name not in design.subgroups:
        raise unknown("grouping", name, design.subgroups, where="strata")
    codes = np.asarray(design.subgroups[name].codes, dtype=np.int64)
    out = np.zeros(clusters, dtype=np.int64)
    out[design.cluster] = codes
    mixed = np.unique(design.cluster[out[design.cluster] != codes]).size
    if mixed:
        raise InputError(f"{mixed} clusters lie in several strata", where=f"strata = {name}")
    return out


def count_assignments(start: Floats, strata: Ints) -> int:
    """How many different ways there are to deal the start dates within strata."""
    total = 1
    for s in np.unique(strata):
        _, times = np.unique(start[strata == s], return_counts=True)
        total *= factorial(int(times.sum())) // prod(factorial(int(n)) for n in times)
    return total


def assignments(
    start: Floats, strata: Ints, *, draws: int, seed: int
) -> tuple[Iterator[Floats], bool]:
    """Start dates [G] dealt within strata: all ways where there are at most ``draws`` (the second value
    is then true), else ``draws`` at random."""
    if count_assignments(start, strata) <= draws:
        return _every(start, [np.flatnonzero(strata == s) for s in np.unique(strata)]), True
    rng = np.random.default_rng(seed)

    def drawn() -> Iterator[Floats]:
        for _ in range(draws):
            out = start.copy()
            for s in np.unique(strata):
                at = np.flatnonzero(strata == s)
                out[at] = rng.permutation(start[at])
            yield out

    return drawn(), False


def _every(start: Floats, parts: list[Ints]) -> Iterator[Floats]:
    if not parts:
        yield start.copy()
        return
    at = parts[0]
    values, times = np.unique(start[at], return_counts=True)
    for rest in _every(start, parts[1:]):
        for dealt in _multiset(list(values), list(times), []):
            out = rest.copy()
            out[at] = dealt
            yield out


def _multiset(values: list[float], times: list[int], so_far: list[float]) -> Iterator[list[float]]:
    if not any(times):
        yield list(so_far)
        return
    for i, value in enumerate(values):
        if times[i]:
            times[i] -= 1
            yield from _multiset(values, times, [*so_far, value])
            times[i] += 1


def permuted(
    estimator: Any,
    design: StaggeredPanel,
    estimates: Estimates,
    *,
    draws: int = 999,
    seed: int = 0,
    level: float = 0.95,
    studentised: bool = True,
    strata: str | None = None,
) -> tuple[Estimates, list[str]]:
    """p values and intervals of every row by dealing anew over clusters what they got (`dealing`).

    Under the null that every treated unit-period gains r (where treatment has several values, and for
    slopes, r a unit of it; for predicted participation r times it), outcomes less r times treatment are
    the same whoever gets what when, so every dealing is a draw from the statistic's distribution: exact
    if it was dealt at random within ``strata`` (a declared subgroup, constant in a cluster), whatever
    the number of clusters. The interval holds the r that aren't rejected (constant effects; the row's
    own scale where it sums several). ``studentised``: estimate over its error by cluster, which keeps
    its size where only the mean effect is zero and clusters are many (MacKinnon & Webb 2020, Journal of
    Econometrics 218:435-450; Ding & Dasgupta 2018). Rows before the start have a p value of no effect
    and no interval. Standard errors stay, bands are left out. The second value says what can't be had.
    Raises InputError where clusters don't start as one.
    """
    held, design = _settled(estimator, design)
    deal = dealing_of(held, design, strata_of(design, strata))
    if count_assignments(deal.code, deal.strata) < 2:
        raise InputError(f"{deal.what} can be dealt in one way only", where="strata")
    ways, exact = assignments(deal.code, deal.strata, draws=draws, seed=seed)
    quick = without_bands(held)
    own = _both(quick, deal.design, estimates, deal)
    unit = np.where(own[1] != 0, own[1], 1.0)  # what one unit of effect is in the row
    found = []
    failed = 0
    for way in ways:
        try:
            found.append(_both(quick, deal.dealt(way), estimates, deal))
        except InputError:
            failed += 1
    drawn = [np.stack([one[i] for one in found]) for i in range(5)] if found else []
    rows = np.flatnonzero(np.isfinite(own[0]))
    low, high, p = (np.full(rows.size, np.nan) for _ in range(3))
    lost = 0
    for i, k in enumerate(rows):
        values = [array[:, k] for array in drawn]
        good = np.all([np.isfinite(array) for array in values], axis=0)
        if not good.any():
            lost += 1
            continue
        values = [array[good] for array in values]
        replications = _replications(
            values, [one[k] for one in own], float(unit[k]), studentised, exact
        )
        p[i] = replications.p_value()
        if own[1][k] != 0:
            low[i], high[i] = replications.interval(level)
    out = set_columns(without_intervals(estimates), rows, conf_low=low, conf_high=high, p_value=p)
    said = [f"{len(found)} dealings of {deal.what}, {'all there are' if exact else 'drawn'}"]
    if failed:
        said.append(f"{failed} dealings can't be estimated and are left out")
    if lost:
        said.append(f"{lost} rows can't be had in any dealing")
    return out, said


def _settled(estimator: Any, design: StaggeredPanel) -> tuple[Any, StaggeredPanel]:
    """The estimator and design with what they would take from the data as it is in all of them: bins and
    doses that are shown, the prediction of participation."""
    held = estimator.held(design) if hasattr(estimator, "held") else estimator
    if isinstance(design, IntensityRollout) and design.predicted is None:
        design = replace(
            design,
            predicted=held.predicted(design),
            predictors=None,
            predictor_names=(),
            participation=None,
        )
    return held, design


def _both(
    estimator: Any, design: StaggeredPanel, estimates: Estimates, deal: Dealing
) -> tuple[Floats, Floats, Floats, Floats, Floats]:
    """By row: the estimate, that of treatment as an outcome, and the influence's squares and product."""
    found = estimator.estimate(design)
    if found.influence is None:
        raise InputError("no row can be estimated", where="inference")
    table = estimates.table
    second = table.assign(outcome=table["outcome"] + table["term"].map(deal.held))
    first_at, second_at = matched(table, found.table), matched(second, found.table)
    values = found.table["estimate"].to_numpy(dtype=np.float64)
    covered = found.influence.covered(len(found.table))
    there = (first_at >= 0) & (second_at >= 0) & covered[first_at] & covered[second_at]
    there &= np.isfinite(values[first_at]) & np.isfinite(values[second_at])
    out = [np.full(len(table), np.nan) for _ in range(5)]
    out[0][there], out[1][there] = values[first_at[there]], values[second_at[there]]
    out[1][np.abs(out[1]) < 1e-9] = 0.0
    y = found.influence.columns(first_at[there])
    d = found.influence.columns(second_at[there])
    factor = correction(found.influence.groups)
    for i, product in enumerate((y * y, y * d, d * d)):
        out[2 + i][there] = factor * product.sum(axis=0)
    return out[0], out[1], out[2], out[3], out[4]


def _replications(
    drawn: list[Floats], own: list[float], unit: float, studentised: bool, exact: bool
) -> Replications:
    """Statistics of outcomes less r times treatment, r = the row's value over ``unit``."""
    estimate = own[0]

    def squares(yy: Any, yd: Any, dd: Any) -> Floats:
        if not studentised:
            one = np.ones_like(np.asarray(yy, dtype=np.float64))
            return np.stack([one, 0 * one, 0 * one])
        b = estimate / unit
        return np.stack([yy - 2 * b * yd + b**2 * dd, (yd - b * dd) / unit, dd / unit**2])

    effect = own[1] != 0
    n1 = drawn[1] / unit if effect else np.zeros_like(drawn[1])
    n0 = drawn[0] - (estimate / unit) * drawn[1] if effect else drawn[0]
    q = squares(*drawn[2:]) if effect else _plain(drawn[2], studentised)
    observed = squares(*own[2:]) if effect else _plain(np.asarray(own[2]), studentised)
    scale = float(np.sqrt(own[2])) if own[2] > 0 else max(abs(estimate), 1e-12)
    return Replications(estimate, n0, n1, q, observed, exact, scale)


def _plain(square: Floats, studentised: bool) -> Floats:
    """No effect to take away: the error of the outcome itself."""
    held = square if studentised else np.ones_like(square)
    return np.stack([held, 0 * held, 0 * held])
