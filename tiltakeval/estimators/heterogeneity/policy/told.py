"""What a run on rules tells beside its rows: the tree, the limits, what is needed before use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiltakeval.errors import InputError, unknown
from tiltakeval.estimators.heterogeneity.policy.asked import small_levels
from tiltakeval.estimators.heterogeneity.policy.drawing import drawn, stability
from tiltakeval.estimators.heterogeneity.policy.evaluate import Evaluated
from tiltakeval.estimators.heterogeneity.policy.limits import Limit
from tiltakeval.estimators.heterogeneity.policy.rules import LearntTree, Rule, within
from tiltakeval.estimators.heterogeneity.policy.statement import LABEL, needed_before_use
from tiltakeval.estimators.heterogeneity.policy.units import Units
from tiltakeval.estimators.heterogeneity.scores import UnitScores

Floats = NDArray[np.floating]
RANDOM, TREE, INDIVIDUAL, LIMITED = "rule_random", "rule_tree", "rule_individual", "_limited"


def check_options(policy: Any) -> None:
    """Raise InputError for options of a ``Policy`` that there aren't, or that don't go together."""
    choices = {
        "fairness": ("none", "equal_shares", "no_loss"),
        "main": ("tree", "individual"),
        "predictions": ("outcomes", "ridge", "boosting"),
        "search": ("auto", "exact", "hybrid"),
    }
    for name, known in choices.items():
        if getattr(policy, name) not in known:
            raise unknown(name, str(getattr(policy, name)), known, where=name)
    if (policy.fairness != "none") != (policy.fairness_by is not None):
        raise InputError(
            "fairness and fairness_by go together",
            where="fairness",
            remedy="Say what kind of fairness, and between the levels of which subgroup.",
        )
    if not 1 <= policy.depth <= 5:
        raise InputError("depth must be 1 to 5", where="depth")
    if policy.min_cell < 2 or policy.min_leaf < policy.min_cell:
        raise InputError("min_leaf must be at least min_cell, and that 2", where="min_leaf")
    if policy.tree_scores is not None and not 0 <= policy.tree_scores <= 1:
        raise InputError("must lie between 0 and 1", where="tree_scores")
    if policy.fairness_slack < 0:
        raise InputError("the slack must be 0 or more", where="fairness_slack")
    if policy.budget is not None and policy.costs is None:
        raise InputError("a budget needs costs", where="budget", remedy="Set costs.")
    if policy.value_per_unit is not None and policy.costs is None:
        raise InputError("a net value needs costs", where="value_per_unit", remedy="Set costs.")


def told_of(
    policy: Any,
    scores: UnitScores,
    found: Evaluated,
    rules: Mapping[str, Rule],
    whole: Units,
    *,
    limits: tuple[Limit, ...],
    main: str,
    names: Sequence[str],
    cost: Floats,
    net: bool,
) -> dict[str, Any]:
    """The run record's part on rules: ``names`` of the covariates of ``whole``, all units scored."""
    tree_rule = TREE + (LIMITED if limits else "")
    final = rules[tree_rule].learn(whole)
    assert isinstance(final, LearntTree)
    least = policy.min_cell
    return {
        "label": dict(LABEL),
        "needed_before_use": {
            language: needed_before_use(language, uses=_uses(policy, limits, main))
            for language in ("nb", "en")
        },
        "main": main,
        "maximises": "net_nok" if net else "outcome",
        "costs_nok": dict(zip(scores.arms, cost.tolist())) if policy.costs is not None else None,
        "tree": {
            "rule": tree_rule,
            "search": final.found.tree.search,
            "scores": round(final.scores, 3),
            "gap": None if np.isnan(final.found.gap) else round(float(final.found.gap), 6),
            "nodes": drawn(final, whole.x, whole.weight, scores.arms, list(names), least),
            "first_cut_in_folds": stability(found.learnt[tree_rule], list(names)),
        },
        "limits": {
            name: within(found.mean(name), limits, whole)
            for name in rules
            if name.endswith(LIMITED)
        },
        "levels_too_small": small_levels(policy, scores),
        "excluded": dict(scores.excluded),
    }


def _uses(policy: Any, limits: tuple[Limit, ...], main: str) -> tuple[str, ...]:
    """Traits that the main rule looks at directly when it deals places."""
    if main.startswith(INDIVIDUAL) and any(limit.group for limit in limits):
        return (str(policy.fairness_by),)
    return ()
