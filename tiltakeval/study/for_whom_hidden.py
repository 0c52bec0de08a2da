"""How strong an unseen factor would have to be for the average effects of `[[for_whom]]`."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tiltakeval.design.cross_section import CrossSection
from tiltakeval.diagnostics.sensitivity import sensitivity
from tiltakeval.errors import InputError
from tiltakeval.estimates.check import Check
from tiltakeval.estimators.heterogeneity.scores import UnitScores
from tiltakeval.estimators.weighting.aipw import AIPW
from tiltakeval.estimators.weighting.nuisance import Nuisance
from tiltakeval.estimators.weighting.targets import TargetName
from tiltakeval.study.spec_for_whom import ForWhom
from tiltakeval.study.stages import Stages

HIDDEN = "sensitivity"


def hidden_checks(
    spec: ForWhom,
    one: CrossSection,
    options: AIPW,
    scores: UnitScores,
    nuisance: Nuisance,
    stages: Stages,
) -> list[Check]:
    """A check per programme, as the main analyses have them, on the units the scores are of.

    ``one`` is the design with the outcome alone, ``nuisance`` that of the first seed. Scores weighted by
    overlap have none: their averages are of nobody in particular. What can't be calculated is not
    evaluated, with the reason on the screen.
    """
    if scores.target == "overlap":
        return []
    scope = {"population": one.population, "analysis": spec.key}
    joint, own = _common(one, scores, nuisance)
    target: TargetName = "att" if scores.target == "treated" else "ate"
    plain = replace(options, target=target, contrasts="none", placebo=False, bands=False, seeds=1)
    try:
        estimates = plain.estimate(joint, own)
        found = sensitivity(design=joint, nuisance=own, estimates=estimates, level=options.level)
    except InputError as error:
        stages.say(f"{spec.key}: hidden factors can't be bounded (not released): {error}")
        return [Check(key=HIDDEN, status="not_evaluated", scope=scope)]
    return [replace(check, scope={**scope, **check.scope}) for check in found]


def _common(
    one: CrossSection, scores: UnitScores, nuisance: Nuisance
) -> tuple[CrossSection, Nuisance]:
    """The design with weight for the units scored alone, and propensities among the arms compared."""
    inside = np.zeros(one.n, dtype=bool)
    inside[scores.units] = True
    arms = [one.arms.index(name) for name in scores.arms]
    e = np.zeros_like(nuisance.propensity)
    e[:, arms] = nuisance.propensity[:, arms]
    total = e.sum(axis=1, keepdims=True)
    e = np.divide(e, total, out=np.zeros_like(e), where=total > 0)
    joint = replace(one, weight=np.where(inside, one.weight, 0.0), subgroups={})
    return joint, replace(nuisance, propensity=e, present=tuple(sorted(arms)))
