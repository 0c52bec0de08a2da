"""A roll-out on a register: extract → offices by period → estimates, with checks and known truth."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from tiltakeval.design.intensity_register import intensity_of
from tiltakeval.design.rollout_register import composition_of, panel_of
from tiltakeval.diagnostics.placebo import wald
from tiltakeval.engine import connect
from tiltakeval.errors import InputError
from tiltakeval.estimates.attrition import Attrition
from tiltakeval.estimates.check import Check
from tiltakeval.estimates.table import Estimates
from tiltakeval.estimators.did.group_time import GroupTimeATT
from tiltakeval.population.rollout import OfficePeriods, office_periods
from tiltakeval.programmes import catalogue
from tiltakeval.study.estimator import defaults, estimator_of, scoped
from tiltakeval.study.found import Found
from tiltakeval.study.known_truth import TIMES, TRUTH_SEED, threads
from tiltakeval.study.opened import MEMORY_LIMIT, open_register, read_checked
from tiltakeval.study.rollout_cohorts import large_cohorts
from tiltakeval.study.rollout_kinds import kind_of
from tiltakeval.study.rollouts import run_rollout
from tiltakeval.study.spec_rollout_register import RegisterRolloutStudy
from tiltakeval.study.stages import Stages
from tiltakeval.synthetic.rollout_truth import rollout_truth
from tiltakeval.synthetic.world import World

#: The check of who the eligible are, and of its detail.
COMPOSITION = "composition"
#: What is known of the effect on participants, and the columns that are in the outcome's unit.
PER_PARTICIPANT = ("effect_by_event_time", "effect_overall")
SCALED = ("estimate", "std_error", "conf_low", "conf_high", "band_low", "band_high")


def run(
    spec: RegisterRolloutStudy,
    data: Path | None,
    source: str,
    work: Path,
    persons: int | None,
    stages: Stages,
) -> Found:
    """Every analysis of the roll-out. Raises InputError."""
    estimators = {
        a.key: estimator_of(a.estimator, defaults(spec.inference, spec.seed), a.options)
        for a in spec.analysis
    }
    opened = open_register(spec, data, work, persons, stages)
    synthetic, truth_of = opened.synthetic, opened.truth_of
    with connect(memory_limit=MEMORY_LIMIT) as engine:
        registers, findings = read_checked(opened.folder, source, engine, stages)
        with stages.stage(
            f"{spec.rollout.programme}: the eligible by office and {spec.rollout.period}"
        ):
            found = office_periods(registers, catalogue.load(), spec.declared())
        fingerprint, count = registers.fingerprint, engine.count(registers["persons"])
    designs = {"staggered": panel_of(found, covariates=spec.rollout.covariates)}
    if any(kind_of(analysis.estimator) == "intensity" for analysis in spec.analysis):
        designs["intensity"] = intensity_of(found)
    checks = [*findings, *composition_check(found, spec)]
    parts, runs = [], {}
    attrition = Attrition()
    for number, analysis in enumerate(spec.analysis):
        with stages.stage(f"analysis {analysis.key}: {analysis.estimator}"):
            estimates, said = run_rollout(
                designs[kind_of(analysis.estimator)], estimators[analysis.key], spec.checks
            )
        checks += [scoped(check, analysis=analysis.key) for check in said]
        if number == 0:
            attrition = Attrition.concat([found.attrition, estimates.attrition])
        parts.append(Estimates(estimates.assign(analysis=analysis.key).table))
        runs[analysis.key] = dict(estimates.run)
    estimates = Estimates.concat(parts)
    truth = None
    if truth_of is not None:
        size = min(spec.truth_persons, TIMES * count)
        with stages.stage(f"true effects: {size:,} persons of the same invented world"):
            truth = known_rollout(spec, truth_of, size, parts[0])
            if truth is not None and kind_of(spec.analysis[0].estimator) == "intensity":
                truth = per_participant(truth, found)
    return Found(
        estimates=estimates,
        checks=tuple(checks),
        attrition=attrition,
        data={
            "source": source,
            "fingerprint": fingerprint,
            "invented": synthetic,
            **({"persons": count} if synthetic else {}),
        },
        runs=runs,
        truth=truth,
        synthetic=synthetic,
        facts={
            "register": spec.register_ if data is None else source,
            "persons": count if synthetic else None,
        },
    )


def known_rollout(
    spec: RegisterRolloutStudy, world: World, persons: int, estimates: Estimates
) -> Estimates | None:
    """The true effects in the world, averaged over the cells that are estimated; None where it knows
    nothing of the roll-out's rules."""
    table = estimates.table
    cells = table[(table["term"] == "effect") & (table["status"] == "ok")]
    named = set(zip(cells["cohort"], cells["period"]))
    try:
        return rollout_truth(
            world, persons, TRUTH_SEED, replace(spec.declared(), predictors=()), threads=threads(),
            smallest_cohort=spec.checks.smallest_cohort, cells=named,
        )  # fmt: skip
    except InputError:
        return None


def per_participant(truth: Estimates, found: OfficePeriods) -> Estimates:
    """The true effects on the eligible over the share of those exposed who take part: effects on
    participants, where the programme does nothing to others. Only averages, which cohorts' differences
    in that share hardly move."""
    assert found.exposed is not None and found.took is not None
    share = float(found.took.sum() / found.exposed.sum())
    table = truth.table
    table = table[table["term"].isin(PER_PARTICIPANT) & (table["subgroup"] == "all")]
    scaled = {name: table[name] / share for name in SCALED if name in table}
    return Estimates(table.assign(**scaled).reset_index(drop=True))


def composition_check(found: OfficePeriods, spec: RegisterRolloutStudy) -> list[Check]:
    """Whether the programme changed who the eligible are: one joint test of the mean effects on their
    characteristics, all known before the outcome. A change means that the effects aren't on persons."""
    panel, _ = large_cohorts(composition_of(found), spec.checks.smallest_cohort)
    estimates = GroupTimeATT(bands=False, seed=spec.seed).estimate(panel)
    mean = estimates.select(term="effect_overall", subgroup="all")
    scope, level = {"population": panel.population}, spec.checks.pretrend_level
    at = np.flatnonzero((mean.table["std_error"] > 1e-12).to_numpy())
    tested = None
    if at.size and mean.influence is not None:
        part = mean.take(at)
        assert part.influence is not None
        units = float(part.table[["n_treated", "n_comparison"]].min().min())
        theta = part.table["estimate"].to_numpy()
        tested = wald(theta, part.influence.columns(np.arange(at.size)), units)
    if tested is None:
        return [Check(key=COMPOSITION, status="not_evaluated", scope=scope, threshold=level)]
    return [
        Check(
            key=COMPOSITION,
            status="passed" if tested.p_value >= level else "failed",
            scope=scope,
            statistic=tested.p_value,
            threshold=level,
            detail=part.table[["outcome", "estimate", "std_error", "n_treated"]],
            counts=("n_treated",),
        )
    ]
