"""What works for whom in a study: heterogeneity and rules from one set of scores."""

from __future__ import annotations

from typing import Any

import pandas as pd

from tiltakeval.design.cross_section import CrossSection
from tiltakeval.errors import InputError
from tiltakeval.estimates.check import Check
from tiltakeval.estimates.table import Estimates
from tiltakeval.estimators.heterogeneity.scores import nuisances_for, unit_scores
from tiltakeval.estimators.weighting.nuisance import Nuisance
from tiltakeval.study.for_whom_asked import Asked, same_propensities
from tiltakeval.study.for_whom_effects import effects
from tiltakeval.study.for_whom_hidden import hidden_checks
from tiltakeval.study.for_whom_rules import apart, fitting, training, tree_check
from tiltakeval.study.for_whom_units import compared, fewer, one_outcome
from tiltakeval.study.stages import Stages

NOT_MADE, LEFT_OUT = "for_whom_not_made", "for_whom_programmes"


def for_whom(
    asked: Asked,
    design: CrossSection,
    nuisance: Nuisance | None,
    *,
    threshold: int,
    draws: int,
    stages: Stages,
) -> tuple[Estimates | None, list[Check], dict[str, Any]]:
    """The estimates of one table in one population, what must be said of it, and its run.

    ``nuisance`` of the analysis saves fitting propensities where its learners are the same. Programmes
    with few participants are left out. What the data can't carry gives no estimates and a failed check;
    the reason, which may tell counts, goes to the screen.
    """
    spec = asked.spec
    scope = {"population": design.population, "analysis": spec.key}
    try:
        one = one_outcome(asked, design)
        arms, few = compared(one, spec)
        options = asked.heterogeneity.scoring()
        shared = nuisance is not None and same_propensities(options, asked.estimator)
        nuisances = (nuisance,) if shared and nuisance else nuisances_for(one, options)
        scores = unit_scores(one, options, arms=arms, nuisances=nuisances)
        parts = [effects(asked, scores, threshold=threshold, draws=draws)]
        checks, told = list[Check](), dict[str, Any]()
        if "hidden" in spec.parts:
            checks += hidden_checks(spec, one, options, scores, nuisances[0], stages)
        if asked.policy is not None:
            policy = fitting(asked.policy, spec, scores)
            assert spec.policy is not None
            less = fewer(scores, spec.policy.units, asked.heterogeneity.seed)
            found = policy.of_scores(less, training(one, options, less, nuisances))
            parts.append(apart(found))
            told = {"main_rule": found.run["policy"]["main"]}
            checks.append(tree_check(found.run["policy"], scores, scope, policy))
    except InputError as error:
        stages.say(f"{spec.key} can't be made (not released): {error}")
        reason = {} if error.where is None else {"reason": error.where}
        return None, [Check(key=NOT_MADE, status="failed", scope=scope, message=reason)], {}
    checks += [
        Check(
            key=LEFT_OUT,
            status="informative",
            scope={**scope, "programme": programme},
            threshold=spec.least,
        )
        for programme in few
    ]
    table = pd.concat([part.table for part in parts], ignore_index=True).assign(analysis=spec.key)
    if spec.cumulated:
        table = table.assign(
            period=table["period"].mask(table["period"] == "", f"0-{asked.horizon}")
        )
    run = {"estimator": "heterogeneity", "arms": list(scores.arms), "shared": shared}
    return Estimates(table), checks, {**run, **told}
