"""A population of target trials as a cross-section: arms, baseline, outcomes, censoring weights."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc
from ibis.expr.types import Table
from numpy.typing import NDArray

from tiltakeval.design.arrays import Clock, outcome_array
from tiltakeval.design.cross_section import CrossSection, Subgroup
from tiltakeval.errors import InputError
from tiltakeval.estimates.check import Check
from tiltakeval.population.censoring import CensoringModel, at_risk_months, censoring_weights
from tiltakeval.population.covariates import LOOKBACK, needed_months, places
from tiltakeval.population.features import (
    Facts,
    blocks,
    collect,
    constant,
    dependent,
    matrix,
    parts_of,
    rare,
)
from tiltakeval.population.subgroups import subgroup
from tiltakeval.population.trials import Population
from tiltakeval.registers import prices
from tiltakeval.spells.outcomes import BENEFITS, Outcome, outcome

DEFAULT_OUTCOMES = (
    "work_unsubsidised",
    "work_any",
    "full_time",
    "earnings_nok",
    "benefits_total_nok",
    "uforetrygd_grade",
)


@dataclass(frozen=True)
class _Units:
    """Columns of the units, in unit order."""

    person: NDArray[np.int64]
    arm: NDArray[np.int16]
    weight: NDArray[np.float64]
    allowed: NDArray[np.int32]
    office: NDArray[np.int32]
    office_names: NDArray[np.object_]
    clock: Clock


def design_from_population(
    population: Population,
    *,
    outcomes: Sequence[str] = DEFAULT_OUTCOMES,
    covariates: str | Iterable[str] = "standard",
    subgroups: Sequence[str] | None = None,
    horizon: int | None = None,
    placebo_months: int | None = None,
    estimand: str | None = None,
    price_level: int | None = 2023,
    censoring: CensoringModel | None = None,
) -> tuple[CrossSection, list[Check]]:
    """The cross-section of a population and what was checked while making it.

    outcomes: names of ``spells.outcomes``. covariates: a set, or sets and blocks, of
    ``population.features``; columns that are constant, indicators hardly any unit has and linear
    combinations of others are dropped and listed in the check ``covariates``. subgroups, horizon,
    placebo_months, estimand: default to the population's.
    price_level: year of fixed prices, None for nominal kroner. censoring: options of the model of
    later decisions, used by the estimands vs_no_programme and vs_without_this_programme.

    Returns arrays as ``CrossSection`` states: outcomes [n, horizon + 1, K] float32, placebo
    [n, placebo_months, K0] for the monthly outcomes that can be measured before time zero, over the
    months just before the covariates' look-back: months that the adjustment has not seen, so that
    people who were chosen for something the covariates miss can still differ in them.
    Raises InputError for unknown names, with the nearest.
    """
    spec, work = population.spec, population.work
    wanted = tuple(outcome(name) for name in outcomes)
    chosen = blocks(covariates)
    grouped = tuple(spec.subgroups if subgroups is None else subgroups)
    groupings = [(name, subgroup(name)) for name in grouped]
    last = spec.horizon if horizon is None else horizon
    back = spec.placebo_months if placebo_months is None else placebo_months
    goal = spec.estimand if estimand is None else estimand
    if not wanted:
        raise InputError("no outcomes are named", where="outcomes", remedy="Name at least one.")
    factors = None if price_level is None else prices.load().deflators(price_level)

    units = _fetch(population)
    n = units.clock.n
    options = censoring or CensoringModel()
    at_risk = None
    persons = population.units.select("person_id").distinct()
    if goal in ("vs_no_programme", "vs_without_this_programme"):
        at_risk = at_risk_months(population, goal, horizon=last, options=options)
        persons = persons.union(at_risk.rows.select("person_id").distinct(), distinct=True)
    jobs, benefits = needed_months(
        work,
        persons,
        spec.entry[0] - LOOKBACK - back,
        spec.entry[1] + last,
        factors=factors,
        amounts=[b for b in BENEFITS if f"benefit_{b}_nok" in outcomes],
    )
    sources = {"jobs": jobs, "benefits": benefits}
    facts = collect(
        work,
        population.units,
        n,
        jobs,
        benefits,
        origin=spec.entry[0],
        parts=parts_of((*chosen, *(["work_24"] if "work_history" in grouped else []))),
    )
    facts = _with_places(population, facts, units, chosen)
    x, names = matrix(facts, chosen)
    x, names, left_out = usable(x, names)

    y = outcome_array(
        work, population.units, units.clock, wanted, sources, (0, last), death=spec.death
    )
    before = tuple(o for o in wanted if not o.lasting and o.table != "spells") if back else ()
    placebo = None
    window = (-LOOKBACK - back, -LOOKBACK - 1)
    if before:
        placebo = outcome_array(
            work, population.units, units.clock, before, sources, window, death=spec.death
        )
    checks = [*population.checks, _covariates(population, names, left_out)]
    weights = None
    if at_risk is not None:
        weights, more = censoring_weights(
            population, at_risk, jobs, benefits, horizon=last, options=options
        )
        checks += more
    checks.append(_support(population, y, wanted, units.arm))
    arms = population.arms
    design = CrossSection(
        arms=arms,
        arm=units.arm,
        eligible=(units.allowed[:, None] & (1 << np.arange(len(arms)))) > 0,
        weight=units.weight,
        person=np.cumsum(np.diff(units.person, prepend=units.person[:1]) != 0),
        office=units.office,
        covariates=x,
        covariate_names=names,
        outcomes=y,
        outcome_names=tuple(o.name for o in wanted),
        units=tuple(o.unit for o in wanted),
        horizons=tuple(range(last + 1)),
        placebo=placebo,
        placebo_names=tuple(o.name for o in before),
        placebo_horizons=tuple(range(window[0], window[1] + 1)) if before else (),
        censor_weight=weights,
        subgroups={
            name: Subgroup(levels=g.levels, codes=g.codes)
            for name, g in ((name, make(facts)) for name, make in groupings)
        },
        population=spec.base,
        estimand=goal,
        time_origin=spec.time_zero,
        attrition=population.attrition,
        fingerprint=_fingerprint(population, goal, units, x, y),
    )
    return design, checks


def _fetch(population: Population) -> _Units:
    """Identifiers stay behind: persons come as numbers, offices as codes."""
    u, p = population.units, population.work.people
    joined: Table = u.inner_join(p, "person_id").select(
        u.unit, u.person, u.k, u.arm, u.weight, u.allowed, u.office,
        p.death_month, p.emigration_month,
    )  # fmt: skip
    rows = population.work.engine.arrow(joined)
    order = np.argsort(rows["unit"].to_numpy())

    def column(name: str) -> NDArray:
        return rows[name].to_numpy()[order]

    office = pc.fill_null(rows["office"], "").to_numpy(zero_copy_only=False).astype(object)[order]
    office_names, office_codes = np.unique(office, return_inverse=True)
    return _Units(
        person=column("person").astype(np.int64),
        arm=column("arm").astype(np.int16),
        weight=column("weight").astype(np.float64),
        allowed=column("allowed").astype(np.int32),
        office=office_codes.astype(np.int32),
        office_names=office_names,
        clock=Clock(
            k=column("k").astype(np.int32),
            death=column("death_month").astype(np.int32),
            emigration=column("emigration_month").astype(np.int32),
        ),
    )


def _with_places(
    population: Population, facts: Facts, units: _Units, chosen: tuple[str, ...]
) -> Facts:
    """Adds office and municipality names where a chosen block needs them."""
    named: dict[str, NDArray] = {}
    if "office" in chosen:
        named["office"] = units.office_names[units.office]
    if "municipality" in chosen:
        rows = population.work.engine.arrow(places(population.work, population.units))
        values = np.full(facts.n, "", dtype=object)
        values[rows["unit"].to_numpy()] = pc.fill_null(rows["municipality"], "").to_numpy(
            zero_copy_only=False
        )
        named["municipality"] = values
    return Facts(facts.n, facts.columns, facts.programmes, facts.origin, named)


def usable(
    x: NDArray, names: tuple[str, ...]
) -> tuple[NDArray, tuple[str, ...], dict[str, list[str]]]:
    """The columns an estimator can use; those left out by reason."""
    left_out: dict[str, list[str]] = {}
    for reason, which in (
        ("constant", constant),
        ("rare", rare),
        ("dependent", dependent),
    ):
        drop = which(x)
        left_out[f"dropped_{reason}"] = [name for name, d in zip(names, drop) if d]
        if drop.any():
            x, names = x[:, ~drop], tuple(name for name, d in zip(names, drop) if not d)
    return x, names, left_out


def _covariates(
    population: Population, names: tuple[str, ...], left_out: dict[str, list[str]]
) -> Check:
    """Which covariates are used, and which were left out because they tell nothing."""
    return Check(
        key="covariates",
        status="informative",
        scope={"population": population.spec.base},
        statistic=float(len(names)),
        message={"used": list(names), **left_out},
    )


def _support(
    population: Population, y: NDArray, wanted: tuple[Outcome, ...], arm: NDArray[np.int16]
) -> Check:
    """Units whose month is observed, by horizon and arm, for each source table."""
    import pandas as pd

    lines = []
    tables = {o.table: j for j, o in reversed(list(enumerate(wanted)))}
    for table, j in sorted(tables.items()):
        seen = np.isfinite(y[:, :, j])
        for code, name in enumerate(population.arms):
            mine = seen[arm == code]
            for h, count in enumerate(mine.sum(axis=0)):
                lines.append((table, name, h, int(count), len(mine)))
    detail = pd.DataFrame(lines, columns=["table", "arm", "horizon", "observed", "units"])
    least = float((detail.observed / detail.units).min())
    return Check(
        key="months_observed",
        status="informative",
        scope={"population": population.spec.base},
        statistic=least,
        detail=detail,
        counts=("observed", "units"),
    )


def _fingerprint(
    population: Population, estimand: str, units: _Units, x: NDArray, y: NDArray
) -> str:
    digest = hashlib.blake2b(f"{population.fingerprint}|{estimand}".encode(), digest_size=16)
    for array in (units.person, units.clock.k, units.arm, units.weight, x, y):
        digest.update(np.ascontiguousarray(array).view(np.uint8).data)
    return digest.hexdigest()
