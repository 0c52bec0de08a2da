"""A study on a register: extract → population → design → estimates, with checks and known truth."""

from __future__ import annotations

import gc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tiltakeval.design.cross_section import CrossSection
from tiltakeval.design.from_population import design_from_population
from tiltakeval.disclosure.rules import load_rules
from tiltakeval.engine import connect
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
from tiltakeval.study.estimator import (
    Checked,
    defaults,
    estimate_again,
    estimate_and_check,
    estimator_of,
    scoped,
)
from tiltakeval.study.for_whom import for_whom
from tiltakeval.study.for_whom_asked import Asked, prepared
from tiltakeval.study.for_whom_truth import true_for_whom
from tiltakeval.study.found import Found
from tiltakeval.study.hazards import hazards
from tiltakeval.study.known_truth import TIMES, known_truth
from tiltakeval.study.leaving import leaving
from tiltakeval.study.opened import MEMORY_LIMIT, open_register, read_checked
from tiltakeval.study.spec_register import AGAINST, Analysis, Base, RegisterStudy
from tiltakeval.study.stages import Stages


@dataclass
class _Gathered:
    """What the analyses leave, base population by base population."""

    estimates: list[Estimates] = field(default_factory=list)
    hazards: list[Estimates] = field(default_factory=list)
    for_whom: list[Estimates] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)
    attrition: list[Attrition] = field(default_factory=list)
    runs: dict[str, Any] = field(default_factory=dict)


def run(
    spec: RegisterStudy,
    data: Path | None,
    source: str,
    work: Path,
    persons: int | None,
    stages: Stages,
) -> Found:
    """Every analysis on every base population, checks first. Raises InputError."""
    estimators = {
        a.key: estimator_of(a.estimator, defaults(spec.inference, spec.seed), a.options)
        for a in spec.models
    }
    asked = for_whom_asked(spec, estimators)
    opened = open_register(spec, data, work, persons, stages)
    synthetic, truth_of = opened.synthetic, opened.truth_of
    gathered = _Gathered()
    with connect(memory_limit=MEMORY_LIMIT) as engine:
        registers, findings = read_checked(opened.folder, source, engine, stages)
        gathered.checks += findings
        for base in spec.base:
            analyse_base(spec, base, registers, estimators, asked, gathered, stages)
        fingerprint, count = registers.fingerprint, engine.count(registers["persons"])
    truth = None
    if truth_of is not None:
        size = min(spec.truth_persons, TIMES * count)
        with stages.stage(f"true effects: {size:,} persons of the same invented world"):
            truth = known_truth(spec, truth_of, size)
            beside = None
            if gathered.for_whom:
                found = Estimates.concat(gathered.for_whom)
                beside = true_for_whom(spec, truth_of, size, found, gathered.checks)
            parts = [part for part in (truth, beside) if part is not None]
            truth = Estimates.concat(parts) if parts else None
    return Found(
        estimates=Estimates.concat(gathered.estimates),
        hazards=Estimates.concat(gathered.hazards) if gathered.hazards else None,
        for_whom=Estimates.concat(gathered.for_whom) if gathered.for_whom else None,
        checks=tuple(gathered.checks),
        attrition=Attrition.concat(gathered.attrition),
        data={
            "source": source,
            "fingerprint": fingerprint,
            "invented": synthetic,
            **({"persons": count} if synthetic else {}),
        },
        runs=gathered.runs,
        truth=truth,
        synthetic=synthetic,
        facts={
            "register": spec.register_ if data is None else source,
            "persons": count if synthetic else None,
        },
    )


def analyse_base(
    spec: RegisterStudy,
    base: Base,
    registers: Registers,
    estimators: Mapping[str, Any],
    asked: Sequence[Asked],
    gathered: _Gathered,
    stages: Stages,
) -> None:
    """All analyses of one base population; rows of persons are dropped when it ends."""
    with stages.stage(f"{base.state}: target trials"):
        population = build_population(registers, catalogue.load(), population_spec(spec, base))
    try:
        with stages.stage(f"{base.state}: exits from the register"):
            gathered.estimates.append(leaving(spec, population))
        for analysis in spec.analysis:
            nuisance, seen = None, set[str]()
            for number, estimand in enumerate(_in_turn(analysis, base)):
                with stages.stage(f"{base.state}, {estimand}: covariates and outcomes"):
                    design, checks = make_design(spec, analysis, population, estimand)
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
                    gathered.checks += negative_controls(
                        spec, analysis, design, estimators[analysis.key], done, stages
                    )
                with stages.stage(f"{name}: lock-in"):
                    gather(spec, analysis, design, done, gathered)
                del done
                gc.collect()
                for one in asked if number == 0 and estimand != AGAINST else ():
                    if one.spec.analysis == analysis.key:
                        with stages.stage(f"{base.state}: {one.spec.key} (for whom)"):
                            gather_for_whom(spec, one, design, nuisance, gathered, stages)
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


def for_whom_asked(spec: RegisterStudy, estimators: Mapping[str, Any]) -> list[Asked]:
    """The tables `[[for_whom]]`, each with an analysis and a month. Raises InputError."""
    first = next((a.key for a in spec.analysis if a.estimands != (AGAINST,)), "")
    out = []
    for one in spec.for_whom:
        one = one if one.analysis else one.model_copy(update={"analysis": first})
        out.append(
            prepared(
                one,
                estimators[str(one.analysis)],
                defaults(spec.inference, spec.seed),
                horizon=summary_month(spec) if one.horizon is None else one.horizon,
                threshold=load_rules(spec.rules).threshold,
            )
        )
    return out


def gather_for_whom(
    spec: RegisterStudy,
    asked: Asked,
    design: CrossSection,
    nuisance: Any,
    gathered: _Gathered,
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


def negative_controls(
    spec: RegisterStudy,
    analysis: Analysis,
    design: CrossSection,
    estimator: Any,
    done: Checked,
    stages: Stages,
) -> list[Check]:
    """Checks of the `[[negative_control]]` that belong to an analysis, under its first estimand."""
    first = next((a.key for a in spec.analysis if a.estimands != (AGAINST,)), "")
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


def summary_month(spec: RegisterStudy) -> int:
    """The month short answers are given for, within the horizon."""
    return min(spec.summary_month, spec.population.horizon)


def population_spec(spec: RegisterStudy, base: Base) -> PopulationSpec:
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


def make_design(
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


def gather(
    spec: RegisterStudy,
    analysis: Analysis,
    design: CrossSection,
    done: Checked,
    gathered: _Gathered,
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
