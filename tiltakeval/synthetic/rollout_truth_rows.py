"""Sums over the eligible with and without a roll-out as rows of the result."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiltakeval.design.rollout_register import timing
from tiltakeval.errors import InputError
from tiltakeval.estimators.did.aggregate import Average, Known, averages
from tiltakeval.months import month_label
from tiltakeval.population.rollout_spec import RolloutSpec
from tiltakeval.spells.outcomes import OUTCOMES as DECLARED

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
#: Groups of persons whose spread gives the Monte Carlo error.
BATCHES = 20


@dataclass(frozen=True)
class Sums:
    """By batch B, path (with, without the roll-out), unit U and period T; K outcomes."""

    count: Ints  # [B, 2, U, T]
    total: Ints  # [B, 2, U, T, K]


def rollout_rows(
    spec: RolloutSpec, sums: Sums, starts: Floats, inside: NDArray[np.bool_], subgroup: str,
    smallest: int, cells: Collection[tuple[str, str]] | None,
) -> list[dict[str, Any]]:  # fmt: skip
    """The rows of one subgroup (units ``inside`` [U]), every outcome."""
    periods = np.arange(spec.window[0] // spec.step, spec.window[1] // spec.step + 1)
    first, used, before = timing(spec, starts, periods)
    used = used & inside & (first > periods[0]) & (sums.count[:, 0][..., before].sum((0, 2)) > 0)
    plan = _plan(spec, periods, first, used, smallest, cells)
    if not plan:
        raise InputError("no cohort of the roll-out can be compared", where="truth of the roll-out")
    cohorts = sorted({g for g, _ in plan})
    members = [used & (first == g) for g in cohorts]
    whole = Sums(sums.count.sum(axis=0), sums.total.sum(axis=0))
    rows: list[dict[str, Any]] = []
    for k, name in enumerate(spec.outcomes):
        value, made = _values(whole, members, cohorts, plan, periods, before, k)
        deleted = [
            _values(
                Sums(whole.count - sums.count[b], whole.total - sums.total[b]),
                members, cohorts, plan, periods, before, k,
            )[0]
            for b in range(BATCHES)
            if sums.count[b].any()
        ]  # fmt: skip
        error = np.full(value.size, np.nan)
        if len(deleted) > 1:
            spread = np.stack(deleted) - np.mean(deleted, axis=0)
            error = np.sqrt((len(deleted) - 1) / len(deleted) * (spread**2).sum(axis=0))
        counted = [int(whole.count[0][m].sum()) for m in members]
        common = {
            "subgroup": subgroup,
            "outcome": name,
            "unit": DECLARED[name].unit,
            "n_treated": sum(counted),
        }
        labels = [
            {"term": "effect", "cohort": _label(spec, g), "period": _label(spec, periods[t]),
             "horizon": int(periods[t] - g)}
            for g, t in plan
        ] + [_of(spec, average, cohorts, periods) for average in made]  # fmt: skip
        rows += [
            {**common, **label, "estimate": float(v), "std_error": float(e)}
            for label, v, e in zip(labels, value, error)
        ]
    return rows


def _plan(
    spec: RolloutSpec, periods: Ints, first: Floats, used: NDArray[np.bool_], smallest: int,
    cells: Collection[tuple[str, str]] | None,
) -> list[tuple[int, int]]:  # fmt: skip
    """(cohort, position of its period) of every cell that is averaged: effects only."""
    found = []
    last = first[used].max(initial=-np.inf)
    for g in np.unique(first[used & np.isfinite(first) & (first <= periods[-1])]):
        if (used & (first == g)).sum() < smallest:
            continue
        for t, period in enumerate(periods):
            if period < g:
                continue
            named = (_label(spec, g), _label(spec, period))
            if last > period if cells is None else named in cells:
                found.append((int(g), t))
    return found


def _values(
    sums: Sums, members: list[NDArray[np.bool_]], cohorts: list[int], plan: list[tuple[int, int]],
    periods: Ints, before: NDArray[np.bool_], k: int,
) -> tuple[Floats, list[Average]]:  # fmt: skip
    """Effects of the cells, then their averages. Sums [2, U, T] and [2, U, T, K]."""
    n = sums.count
    mean = sums.total[..., k] / np.maximum(n, 1)
    gap = np.where((n > 0).all(axis=0), mean[0] - mean[1], np.nan)  # [U, T]
    weight = n[0][:, before].sum(axis=1).astype(float)
    size = np.array([weight[m].sum() for m in members])
    effects = []
    for g, t in plan:
        m = members[cohorts.index(g)] & np.isfinite(gap[:, t])
        total = weight[m].sum()
        effects.append(float(weight[m] @ gap[m, t] / total) if total > 0 else np.nan)
    att = np.array(effects)
    known = [
        Known(cohort=cohorts.index(g), period=t, event=int(periods[t] - g), att=a, effect=True)
        for (g, t), a in zip(plan, att)
    ]
    with np.errstate(divide="ignore", invalid="ignore"):  # a batch may hold all of a small cohort
        made = averages(known, size, balance=None)
    return np.concatenate([att, [average.cells @ att for average in made]]), made


def _of(spec: RolloutSpec, row: Average, cohorts: list[int], periods: Ints) -> dict[str, Any]:
    """The labels of an average."""
    found: dict[str, Any] = {"term": row.term}
    if row.cohort is not None:
        found["cohort"] = _label(spec, cohorts[row.cohort])
    if row.period is not None:
        found["period"] = _label(spec, periods[row.period])
    if row.event is not None:
        found["horizon"] = row.event
    return found


def _label(spec: RolloutSpec, period: float) -> str:
    """A period as the panel shows it."""
    number, parts = int(period), 12 // spec.step
    if parts == 12:
        return month_label(number)
    if parts == 1:
        return str(number)
    return f"{number // parts:04d}-{'Q' if parts == 4 else 'H'}{number % parts + 1}"
