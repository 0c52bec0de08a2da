"""The estimator of an analysis with the study's defaults, and the checks that go with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tiltakeval.design.cross_section import CrossSection
from tiltakeval.design.staggered import StaggeredPanel
from tiltakeval.diagnostics.balance import balance
from tiltakeval.diagnostics.overlap import overlap
from tiltakeval.diagnostics.placebo import placebo_outcomes, placebo_together
from tiltakeval.diagnostics.rollout import rollout
from tiltakeval.diagnostics.sensitivity import sensitivity
from tiltakeval.diagnostics.support import support
from tiltakeval.diagnostics.treated_clusters import treated_clusters
from tiltakeval.diagnostics.varying_covariates import covariates_moved
from tiltakeval.estimates.check import Check
from tiltakeval.estimates.table import Estimates
from tiltakeval.estimators import ESTIMATORS, build
from tiltakeval.study.rollouts import entry_checks, run_rollout
from tiltakeval.study.spec_parts import Inference, Thresholds
from tiltakeval.study.spec_rollout import RolloutThresholds


def defaults(inference: Inference, seed: int) -> dict[str, Any]:
    """Options every analysis of a study starts from."""
    return {
        "seed": seed,
        "level": inference.level,
        "cluster": inference.cluster,
        "draws": inference.draws,
    }


def estimator_of(key: str, given: Mapping[str, Any], options: Mapping[str, Any]) -> Any:
    """The estimator with ``given`` where it has such options, then ``options``. Raises InputError."""
    known = ESTIMATORS[key].options()
    base = {name: value for name, value in given.items() if name in known}
    return build(key, **{**base, **options})


@dataclass(frozen=True)
class Checked:
    """Estimates with their checks; ``nuisance`` serves another estimand on the same units."""

    estimates: Estimates
    checks: list[Check]
    nuisance: Any = None


def estimate_and_check(
    estimator: Any,
    design: Any,
    limits: Thresholds,
    *,
    judged: tuple[int, Sequence[str]] | None = None,
) -> Checked:
    """The estimates, and every diagnostic that applies, held to the study's limits.

    ``judged`` are the month and the outcomes for which hidden selection is judged; None takes all.
    """
    if isinstance(design, StaggeredPanel) and isinstance(limits, RolloutThresholds):
        return Checked(*run_rollout(design, estimator, limits))
    if not hasattr(estimator, "nuisance") or not isinstance(design, CrossSection):
        estimates = estimator.estimate(design)
        checks = counted(estimates, limits)
        if isinstance(design, StaggeredPanel):
            checks += entry_checks(design)
            checks += treated_clusters(design=design)
            checks += covariates_moved(
                design=design, estimates=estimates, placebo_level=limits.placebo_level
            )
            checks += rollout(estimates=estimates, pretrend_level=limits.placebo_level)
        return Checked(estimates, checks)
    nuisance = estimator.nuisance(design)
    estimates = estimator.estimate(design, nuisance)
    # an estimator of scores names whom they describe in its own words
    target = (estimator.scoring() if hasattr(estimator, "scoring") else estimator).target
    checks = [
        *balance(design=design, nuisance=nuisance, balance_smd=limits.balance_smd, target=target),
        *overlap(
            design=design,
            nuisance=nuisance,
            overlap_share=limits.overlap_share,
            effective_units=limits.effective_units,
            target=target,
        ),
        *counted(estimates, limits),
        *placebo_outcomes(estimates=estimates, placebo_level=limits.placebo_level),
        *placebo_together(estimates=estimates, placebo_level=limits.placebo_level),
    ]
    checks += sensitivity(
        design=design,
        nuisance=nuisance,
        estimates=estimates,
        judged=judged,
        level=getattr(estimator, "level", 0.95),
    )
    return Checked(estimates, checks, nuisance)


def estimate_again(estimator: Any, design: Any, limits: Thresholds, nuisance: Any) -> Checked:
    """Another estimand on the same units: groups and past are the same, so only support is checked."""
    if nuisance is None:
        return estimate_and_check(estimator, design, limits)
    if hasattr(estimator, "placebo"):
        estimator = replace(estimator, placebo=False)
    estimates = estimator.estimate(design, nuisance)
    return Checked(estimates, counted(estimates, limits), nuisance)


def scoped(check: Check, **where: str) -> Check:
    """The check with more said about what it is of."""
    return replace(check, scope={**where, **check.scope})


def counted(estimates: Estimates, limits: Thresholds) -> list[Check]:
    """Whether effects have units enough on either side."""
    if not estimates.table["term"].eq("effect").any():
        return []
    return list(support(estimates=estimates, support_units=limits.support_units))
