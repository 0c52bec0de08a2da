"""The analyses of one base population of a study on a register."""

from __future__ import annotations

import gc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tiltakeval.design.cross_section import CrossSection
from tiltakeval.design.from_population import design_from_population
from tiltakeval.disclosure.rules import load_rules
from tiltakeval.estimates.attrition import Attrition
from tiltakeval.estimates.check import Check
from tiltakeval.estimates.lockin import lock_in
from tiltakeval.estimates.table import Estimates
from tiltakeval.months import parse_month
from tiltakeval.population.spec import PopulationSpec
from tiltakeval.population.trials import Population, build_population
from tiltakeval.programmes import catalogue
from tiltakeval.registers.read import Registers
from tiltakeval.study.against import common_pairs, compare, own_pairs, takes_a_pass
from tiltakeval.study.controls import control_checks
from tiltakeval.study.estimator import Checked, estimate_again, estimate_and_check, scoped
from tiltakeval.study.for_whom import for_whom
from tiltakeval.study.for_whom_asked import Asked
from tiltakeval.study.hazards import hazards
from tiltakeval.study.leaving import leaving
from tiltakeval.study.spec_register import AGAINST, Analysis, Base, RegisterStudy
from tiltakeval.study.stages import Stages


@dataclass
class Gathered:
    """What the analyses leave, base population by base population."""

    estimates: list[Estimates] = field(default_factory=list)
    hazards: list[Estimates] = field(default_factory=list)
    for_whom: list[Estimates] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)
    attrition: list[Attrition] = field(default_factory=list)
    runs: dict[str, Any] = field(default_factory=dict)


def analyse_base(
    spec: RegisterStudy,
    base: Base,
    registers: Registers,
    estimators: Mapping[str, Any],
    asked: Sequence[Asked],
    gathered: Gathered,
    stages: Stages,
) -> None:
    """All analyses of one base population; rows of persons are dropped when it ends."""
    with stages.stage(f"{base.state}: target trials"):
        population = build_population(registers, catalogue.load(), _population(spec, base))
    try:
        with stages.stage(f"{base.state}: exits from the register"):
            gathered.estimates.append(leaving(spec, population))
        for analysis in spec.analysis:
            nuisance, seen = None, set[str]()
            for number, estimand in enumerate(_in_turn(analysis, base)):
                with stages.stage(f"{base.state}, {estimand}: covariates and outcomes"):
                    design, checks = _design(spec, analysis, population, estimand)
                # what is about the units is the same under every estimand: say it once
                new = [check for check in checks if number == 0 or check.key not in seen]
                seen |= {check.key for check in checks}
                gathered.checks += [scoped(check, estimand=estimand) for check in new]
                estimator = estimators[analysis.key]
                if number == 0:  # so is a contrast of programmes
                    pairs = own_pairs(spec, analysis, base)
                    estimator = replace(estimator, contrasts=pairs) if pairs else estimator
                name = f"{base.state}, {estimand}: {analysis.estimator}"
                with stages.stage(name):
                    if estimand == AGAINST:
                        against = common_pairs(analysis, base)
                        done = compare(estimator, design, against, spec.checks)
                    elif number == 0:
                        judged = (summary_month(spec), spec.lock_in.outcomes)
                        done = estimate_and_check(estimator, design, spec.checks, judged=judged)
                    else:
                        done = estimate_again(estimator, design, spec.checks, nuisance)
                nuisance = done.nuisance
                if number == 0 and estimand != AGAINST:
                    gathered.checks += _negative_controls(
                        spec, analysis, design, estimators[analysis.key], done, stages
                    )
                with stages.stage(f"{name}: lock-in"):
                    _gather(spec, analysis, design, done, gathered)
                del done
                gc.collect()
                for one in asked if number == 0 and estimand != AGAINST else ():
                    if one.spec.analysis == analysis.key:
                        with stages.stage(f"{base.state}: {one.spec.key} (for whom)"):
                            _for_whom(spec, one, design, nuisance, gathered, stages)
                del design
                gc.collect()
        for hazard in spec.hazard:
            with stages.stage(f"{base.state}: {hazard.key} ({hazard.estimator})"):
                found, checks, told = hazards(
                    spec, base, hazard, population, estimators[hazard.key], stages
                )
                gathered.checks += checks
                gathered.runs[f"{hazard.key}/{base.state}"] = told
                if found is not None:
                    gathered.hazards.append(found)
                    gathered.attrition.append(found.attrition)
    finally:
        population.close()


def _for_whom(
    spec: RegisterStudy,
    asked: Asked,
    design: CrossSection,
    nuisance: Any,
    gathered: Gathered,
    stages: Stages,
) -> None:
    """What works for whom, with the units of an analysis that has just been made."""
    found, checks, told = for_whom(
        asked,
        design,
        nuisance,
        threshold=load_rules(spec.rules).threshold,
        draws=spec.inference.draws,
        stages=stages,
    )
    gathered.checks += checks
    gathered.runs[f"{asked.spec.key}/{design.population}"] = told
    if found is not None:
        gathered.for_whom.append(found)


def _negative_controls(
    spec: RegisterStudy,
    analysis: Analysis,
    design: CrossSection,
    estimator: Any,
    done: Checked,
    stages: Stages,
) -> list[Check]:
    """Checks of the `[[negative_control]]` that belong to an analysis, under its first estimand."""
    first = first_analysis(spec)
    mine = [one for one in spec.negative_control if (one.analysis or first) == analysis.key]
    if not mine:
        return []
    with stages.stage(f"{design.population}: negative controls"):
        return control_checks(
            mine,
            design,
            estimator,
            done.estimates,
            done.nuisance,
            analysis=analysis.key,
            month=summary_month(spec),
            level=spec.checks.placebo_level,
            seed=spec.seed,
            stages=stages,
        )


def first_analysis(spec: RegisterStudy) -> str:
    """The analysis that tables without one belong to."""
    return next((a.key for a in spec.analysis if a.estimands != (AGAINST,)), "")


def summary_month(spec: RegisterStudy) -> int:
    """The month short answers are given for, within the horizon."""
    return min(spec.summary_month, spec.population.horizon)


def _population(spec: RegisterStudy, base: Base) -> PopulationSpec:
    """The study file's population, for one base state."""
    entry = spec.population
    groups = dict.fromkeys(name for analysis in spec.analysis for name in analysis.subgroups)
    return PopulationSpec(
        base=base.state,
        arms=base.arms,
        entry=(parse_month(entry.entry[0]), parse_month(entry.entry[1])),
        time_zero=entry.time_origin,
        estimand=spec.primary,
        age=entry.ages,
        min_months_registered=entry.min_months_registered,
        max_months_registered=entry.max_months_registered,
        max_comparison=spec.sampling.comparison_units,
        seed=spec.seed,
        horizon=entry.horizon,
        placebo_months=entry.placebo_months,
        death=entry.death,
        innsatsgrupper=entry.innsatsgrupper,
        innsatsgruppe_rules=entry.innsatsgruppe_rules,
        subgroups=tuple(groups),
        arm_conditions=base.conditions,
    )


def _design(
    spec: RegisterStudy, analysis: Analysis, population: Population, estimand: str
) -> tuple[CrossSection, list[Check]]:
    """The design of one analysis and estimand, with what was checked on the way."""
    return design_from_population(
        population,
        outcomes=analysis.outcomes,
        covariates=spec.covariates,
        subgroups=analysis.subgroups,
        estimand=estimand,
        price_level=spec.price_year,
    )


def _in_turn(analysis: Analysis, base: Base) -> list[str]:
    """The estimands that take a pass; programme against programme last, as it has other units."""
    rest = [name for name in analysis.estimands if name != AGAINST]
    return [*rest, AGAINST] if takes_a_pass(analysis, base) else rest


def _gather(
    spec: RegisterStudy,
    analysis: Analysis,
    design: CrossSection,
    done: Checked,
    gathered: Gathered,
) -> None:
    """Label the effects, add the lock-in, and keep what the report needs."""
    against = done.estimates.table["comparator"] != "none"
    named = done.estimates.table["estimand"].mask(against, AGAINST)
    effects = done.estimates.assign(analysis=analysis.key, estimand=named)
    summary = lock_in(
        effects,
        windows=spec.lock_in.windows,
        depth_window=spec.lock_in.depth_window,
        outcomes=spec.lock_in.outcomes,
        level=spec.inference.level,
        draws=spec.inference.draws,
        seed=spec.seed,
        subgroup_paths=False,
    )
    # influence stays behind: what needs it has been made, and bases don't share units
    gathered.estimates += [Estimates(part.table) for part in (effects, summary)]
    gathered.checks += [scoped(check, estimand=design.estimand) for check in done.checks]
    gathered.attrition.append(effects.attrition)
    gathered.runs[f"{analysis.key}/{design.population}/{design.estimand}"] = dict(effects.run)
