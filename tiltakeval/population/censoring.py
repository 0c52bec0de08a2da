"""Weights for later decisions: what the comparison would have shown had it gone on without.

A comparison unit stops telling about "no programme" when its person gets a decision after time zero.
Those who remain are weighted by the inverse probability of having remained (Vikström 2017): the
product over the months m in k+1..k+h in which the person is at risk of a decision of
1 / (1 - p_m(X_m)), zero from the month of the decision on. Months out of registration, or in which
no decision can be made, contribute the factor 1. p_m is a logit per base state with the covariates
of the baseline, measured at m, and the thresholds and products of them that it lacks.

Long horizons make some weights large, and a cap alone would take from those who go on without work what
nobody gets: the comparison would look too well off. So every month the remaining units at risk are
given what all at risk weighed, in groups of about the same p (post-stratification; Cole & Hernan 2008
show what capping alone costs, American Journal of Epidemiology 168:656-664).
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from ibis.expr.types import Table
from numpy.typing import NDArray

from tiltakeval.estimates.check import Check
from tiltakeval.population.censoring_model import log_stay
from tiltakeval.population.censoring_rows import (
    AtRisk,
    CensoringModel,
    at_risk_months,
    later_events,
)
from tiltakeval.population.trials import Population
from tiltakeval.spells.build import OPEN

#: Units at risk in a month that a group must have.
LEAST_IN_GROUP = 50

__all__ = ["AtRisk", "CensoringModel", "at_risk_months", "censoring_weights"]


def censoring_weights(
    population: Population,
    at_risk: AtRisk,
    jobs: Table,
    benefits: Table,
    *,
    horizon: int,
    options: CensoringModel,
) -> tuple[NDArray[np.float32], list[Check]]:
    """[n, horizon + 1, A] weights by which comparison units' outcomes are multiplied; 1 for treated.

    Under ``vs_no_programme`` all arms share one set of weights (a broadcast view). Raises InputError
    when a model can't be fitted.
    """
    work, spec = population.work, population.spec
    u = population.units
    fetched = work.engine.arrow(u.select("unit", "person", "k", "arm", "weight"))
    order = np.argsort(fetched["unit"].to_numpy())
    person, k, arm, weight = (
        fetched[c].to_numpy()[order].astype(np.int64 if c != "weight" else np.float64)
        for c in ("person", "k", "arm", "weight")
    )
    waiting = np.flatnonzero(arm == 0)
    followed = np.unique(person[waiting])
    stayed, fit_checks = log_stay(population, at_risk, jobs, benefits, followed, horizon, options)
    months = k[waiting, None] + np.arange(horizon + 1)
    column = np.minimum(months, at_risk.last) - (at_risk.first - 1)
    row = np.searchsorted(followed, person[waiting])
    out = np.ones((len(k), horizon + 1, len(at_risk.targets)), dtype=np.float32)
    checks = list(fit_checks)
    for place, target in enumerate(at_risk.targets):
        ends = _next_event(population, person[waiting], k[waiting], target)
        found, capped = remaining_weights(
            stayed[place][row[:, None], column],
            gone=months >= ends[:, None],
            weight=weight[waiting],
            part=options.parts(spec.seed, person[waiting]) if options.persons_per_block else None,
            cap=options.cap,
            groups=options.groups,
        )
        out[waiting, :, place] = found
        against = "all" if target == 0 else population.arms[target]
        checks.append(_effective(spec.base, against, weight[waiting], found, capped, options))
    if at_risk.targets == (0,):
        shape = (len(k), horizon + 1, len(population.arms))
        return np.broadcast_to(out, shape), checks
    full = np.ones((len(k), horizon + 1, len(population.arms)), dtype=np.float32)
    full[:, :, list(at_risk.targets)] = out
    return full, checks


def remaining_weights(
    stay: NDArray[np.floating],
    *,
    gone: NDArray[np.bool_],
    weight: NDArray[np.float64],
    part: NDArray[np.int64] | None,
    cap: float | None,
    groups: int,
) -> tuple[NDArray[np.float32], float]:
    """[n, H + 1] weights of n units month by month, and the share of them that met the cap.

    ``stay`` [n, H + 1] is the cumulated -log(1 - p), the same in months not at risk; ``gone`` those with
    a decision by then. Every month the units at risk are put into ``groups`` by their p, and those who
    remain in a group are given what the group weighed before the month (sampling ``weight`` [n] times
    weight so far): what the cap takes from one goes to others at risk and with about the same chance
    of a decision, not to those who have found work. 0 ``groups`` leaves the weights as they are.
    ``part`` [n] keeps parts of the units apart.
    """
    n, columns = stay.shape
    found = np.ones((n, columns), dtype=np.float32)
    now, met, counted = np.ones(n), 0, 0
    apart = np.zeros(n, dtype=np.int64) if part is None else np.unique(part, return_inverse=True)[1]
    for h in range(1, columns):
        step = stay[:, h].astype(np.float64) - stay[:, h - 1]
        at = np.flatnonzero((step > 0) & (now > 0))
        before = weight[at] * now[at]
        now = np.where(gone[:, h], 0.0, now * np.exp(step))
        if cap is not None:
            met += int((now[at] > cap).sum())
            now[at] = np.minimum(now[at], cap)
        counted += int((now > 0).sum())
        if groups and at.size:
            group = _groups(step[at], apart[at], groups)
            total = np.bincount(group, before)
            left = np.bincount(group, weight[at] * now[at])
            now[at] *= np.divide(total, left, out=np.ones_like(total), where=left > 0)[group]
        found[:, h] = now
    found[gone] = 0.0
    return found, met / max(1, counted)


def _groups(chance: NDArray[np.float64], part: NDArray[np.int64], groups: int) -> NDArray[np.int64]:
    """[m] groups of about equal size by ``chance`` in each part, fewer where units are few."""
    order = np.lexsort((chance, part))
    size = np.bincount(part)
    start = np.cumsum(size) - size
    rank = np.empty(len(part), dtype=np.int64)
    rank[order] = np.arange(len(part)) - start[part[order]]
    number = np.clip(size // LEAST_IN_GROUP, 1, groups)
    found: NDArray[np.int64] = part * groups + rank * number[part] // np.maximum(size, 1)[part]
    return found


def _next_event(
    population: Population, person: NDArray[np.int64], k: NDArray[np.int64], target: int
) -> NDArray[np.int64]:
    """Month of each unit's first event after k, ``OPEN`` if none."""
    work = population.work
    p, month = later_events(population)
    p = p.mutate(event_at=month)
    if target > 0:
        p = p.filter(p.code == work.code(population.arms[target]))
    rows = p.inner_join(work.people, "person_id").select("person", "event_at")
    found = work.engine.arrow(rows.distinct())
    scale = np.int64(2**20)
    events = np.sort(
        found["person"].to_numpy().astype(np.int64) * scale + found["event_at"].to_numpy()
    )
    place = np.searchsorted(events, person * scale + k, side="right")
    inside = place < len(events)
    following = np.full(len(k), OPEN, dtype=np.int64)
    following[inside] = events[place[inside]]
    same = inside & (following // scale == person)
    return np.where(same, following % scale, OPEN)


def _effective(
    base: str,
    against: str,
    weight: NDArray[np.float64],
    found: NDArray,
    capped: float,
    options: CensoringModel,
) -> Check:
    """Kish effective number of comparison units by horizon, and how many remain."""
    total = weight[:, None] * found
    squares = (total**2).sum(axis=0)
    effective = np.divide(
        total.sum(axis=0) ** 2, squares, out=np.zeros_like(squares), where=squares > 0
    )
    remaining = (found > 0).sum(axis=0)
    detail = pd.DataFrame(
        {
            "horizon": np.arange(found.shape[1]),
            "remaining": remaining,
            "effective": np.round(effective, 1),
            "largest_weight": found.max(axis=0, initial=0.0),
        }
    )
    share = float(effective[-1] / max(1.0, effective[0]))
    return Check(
        key="censoring_weights",
        status="passed" if share >= options.least_effective_share else "failed",
        scope={"population": base, "programme": against},
        statistic=share,
        threshold=options.least_effective_share,
        message={"share_capped": capped, "cap": options.cap},
        detail=detail,
        counts=("remaining",),
    )
