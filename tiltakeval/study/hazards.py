"""Models of the hazard of leaving the register, beside the effects of a study's target trials."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pandas as pd

from tiltakeval.design.event_history_register import event_history_of_register
from tiltakeval.errors import InputError
from tiltakeval.estimates.attrition import Attrition
from tiltakeval.estimates.check import Check
from tiltakeval.estimates.table import Estimates
from tiltakeval.months import parse_month
from tiltakeval.population.exit_income import Income, exit_income
from tiltakeval.population.person_periods import PeriodSpec, RegisterPeriods, person_periods
from tiltakeval.population.trials import Population
from tiltakeval.registers import prices
from tiltakeval.study.hazard_rows import OBSERVED, follows, named, points_checks, told
from tiltakeval.study.spec_hazard import Hazard
from tiltakeval.study.spec_register import Base, RegisterStudy
from tiltakeval.study.stages import Stages

LEFT_OUT, NOT_MADE = "hazard_programmes", "hazard_model"
INCOME = "exit_income"


def hazards(
    spec: RegisterStudy,
    base: Base,
    hazard: Hazard,
    population: Population,
    estimator: Any,
    stages: Stages,
) -> tuple[Estimates | None, list[Check], Mapping[str, Any]]:
    """The model's estimates in one base population, what must be said of it, and its run.

    Programmes with few starts count among the others. A model the data can't carry gives no estimates
    and a failed check; the reason, which may tell counts, goes to the screen.
    """
    scope = {"population": base.state, "analysis": hazard.key}
    checks: list[Check] = []
    try:
        periods, few = _periods(spec, base, hazard, population)
        design = event_history_of_register(
            periods,
            exits=hazard.exits,
            persons=hazard.persons,
            seed=spec.seed,
            subgroups=hazard.subgroups,
            covariates=hazard.covariates,
            entries=hazard.entries,
            fewest=hazard.fewest,
        )
        if hasattr(estimator, "only"):  # entries matter where who enters tells of who leaves
            estimator = replace(estimator, only=tuple(hazard.exits))
        if hazard.income:
            amounts = _amounts(spec, hazard, periods)
            estimator = replace(estimator, amounts={k: i.nok for k, i in amounts.items()})
            checks.append(_income(amounts, scope))
        found = estimator.estimate(design)
    except InputError as error:
        stages.say(f"{hazard.key} can't be made (not released): {error}")
        reason = {} if error.where is None else {"reason": error.where}
        return None, [Check(key=NOT_MADE, status="failed", scope=scope, message=reason)], {}
    checks += [
        Check(
            key=LEFT_OUT,
            status="informative",
            scope={**scope, "programme": programme},
            threshold=hazard.least_starts,
        )
        for programme in few
    ]
    if found.run.get("path"):
        checks += points_checks(found.table, found.run, scope)
    checks += follows(found.table, scope)
    # the observed shares are counts of few; the check says what they tell
    table = found.table[found.table["term"] != OBSERVED]
    table = named(table).assign(analysis=hazard.key)
    # a chain of its own: these spells aren't what is left of the target trials' units
    steps = design.attrition.steps.assign(population=f"{base.state}:spells")
    return Estimates(table, attrition=Attrition(steps)), checks, told(found.run)


def _amounts(spec: RegisterStudy, hazard: Hazard, periods: RegisterPeriods) -> dict[str, Income]:
    factors = prices.load().deflators(spec.price_year)
    return exit_income(periods, hazard.exits, factors=factors)


def _income(amounts: Mapping[str, Income], scope: Mapping[str, str]) -> Check:
    """The means that months are turned into kroner by."""
    rows = [
        {"outcome": name, "nok_a_month": round(income.nok, -2), "persons": income.persons}
        for name, income in amounts.items()
    ]
    return Check(
        key=INCOME,
        status="informative",
        scope=scope,
        detail=pd.DataFrame(rows),
        counts=("persons",),
    )


def _periods(
    spec: RegisterStudy, base: Base, hazard: Hazard, population: Population
) -> tuple[RegisterPeriods, list[str]]:
    """Person-months with a status for every programme that enough have begun, and the others."""
    entry = spec.population
    first = parse_month(entry.entry[0])
    last = min(population.work.coverage[t][1] for t in population.work.coverage) - 1
    asked = PeriodSpec(
        base=base.state,
        programmes=base.arms,
        window=(first, last),
        in_from=hazard.in_from,
        after_from=hazard.after_from,
        covariates=tuple(dict.fromkeys((*hazard.covariates, *hazard.subgroups))),
        age=entry.ages,
    )
    periods = person_periods(population.work, asked)
    begun = _begun(periods)
    few = [name for name in base.arms if begun[name] < hazard.least_starts]
    if not few:
        return periods, few
    kept = tuple(name for name in base.arms if name not in few)
    if not kept:
        raise InputError(
            f"fewer than {hazard.least_starts} have begun each of the programmes",
            where=f"{base.state}, least_starts",
        )
    return person_periods(population.work, replace(asked, programmes=kept)), few


def _begun(periods: RegisterPeriods) -> dict[str, int]:
    """Persons who are in each programme in some month."""
    levels = periods.spec.levels
    inside = [i for i, level in enumerate(levels) if level.startswith("in_")]
    table = periods.table
    counts = table.agg(
        **{
            name: table.person.nunique(where=table[f"status_{name}"].isin(inside))
            for name in periods.spec.programmes
        }
    )
    row = periods.work.engine.frame(counts).iloc[0]
    return {name: int(row[name]) for name in periods.spec.programmes}
