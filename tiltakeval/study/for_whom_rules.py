"""Rules that deal places, for `[[for_whom]]`: what they are learnt on, and what is told of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tiltakeval.design.cross_section import CrossSection
from tiltakeval.errors import unknown
from tiltakeval.estimates.check import Check
from tiltakeval.estimates.table import Estimates
from tiltakeval.estimators.heterogeneity.policy import estimator as policies
from tiltakeval.estimators.heterogeneity.policy.evaluate import Training, scores_without
from tiltakeval.estimators.heterogeneity.policy.small_cells import KINDS, UNAFFECTED
from tiltakeval.estimators.heterogeneity.scores import UnitScores
from tiltakeval.estimators.weighting.aipw import AIPW
from tiltakeval.estimators.weighting.nuisance import Nuisance
from tiltakeval.study.for_whom_effects import is_band
from tiltakeval.study.spec_for_whom import ForWhom

#: The check that holds the tree, and the estimand of rows on rules.
TREE, RULES = "policy_tree", "assignment_rule"
#: The key that places gained and places lost share.
PLACES = "places_moved"


def fitting(policy: policies.Policy, spec: ForWhom, scores: UnitScores) -> policies.Policy:
    """The rule's options for the programmes compared, its covariates as columns of the design."""
    assert spec.policy is not None
    columns: list[str] = []
    for name in spec.policy.covariates:
        found = [n for n in scores.names if n == name] or [
            n for n in scores.names if n.startswith(f"{name}_") and not is_band(n)
        ]
        if not found:
            raise unknown("covariate", name, scores.names, where="policy, covariates")
        columns += found
    capacity = policy.capacity
    if isinstance(capacity, Mapping):
        capacity = {name: n for name, n in capacity.items() if name in scores.arms} or None
    return replace(policy, covariates=tuple(dict.fromkeys(columns)), capacity=capacity)


def training(
    design: CrossSection, options: AIPW, scores: UnitScores, nuisances: Sequence[Nuisance]
) -> Training:
    """Scores of the units that rules are judged on, computed anew without a fold: what rules are learnt
    on. Their models take covariates as they are, which is quick and enough to learn from."""
    part = replace(design.take(scores.units), weight=scores.weight)
    folds = [replace(one, fold=split.fold) for one, split in zip(nuisances, scores.splits)]
    return scores_without(part, replace(options, basis="linear"), scores, folds)


def tree_check(
    told: Mapping[str, Any],
    scores: UnitScores,
    scope: Mapping[str, str],
    policy: policies.Policy,
) -> Check:
    """The tree as it may be shown: cuts at round numbers, shares that stand for ``min_cell`` or more;
    its statistic is how many of the folds' trees begin with the same covariate."""
    rows: list[dict[str, Any]] = []
    for node in told["tree"]["nodes"]:
        name = node.get("covariate", "")
        common = {
            "node": node["id"],
            "covariate": name,
            "kind": _kind(scores, name) if name else "leaf",
            "threshold": node.get("threshold", np.nan),
            "left": node.get("left", -1),
            "right": node.get("right", -1),
            "share": np.nan if node["share"] is None else node["share"],
        }
        offers = node.get("offers") or [{"arm": "", "part": np.nan}]
        rows += [{**common, "programme": o["arm"], "part": o["part"]} for o in offers]
    first = rows[0]["covariate"] or "none"
    uses = policy.fairness_by if told["main"].startswith(policies.INDIVIDUAL) else None
    return Check(
        key=TREE,
        status="informative",
        scope=scope,
        statistic=float(told["tree"]["first_cut_in_folds"].get(first, 0.0)),
        message={
            "rule": told["tree"]["rule"],
            "main": told["main"],
            "uses": [uses] if uses else [],
        },
        detail=pd.DataFrame(rows),
    )


def apart(found: Estimates) -> Estimates:
    """Rows on rules with keys of their own, and each kind of move too: who would move isn't who took
    part, and one kind's small count says nothing of another's, so none hides the other's rows. But
    places gained and lost share a key: their difference is that of the places, which are told."""
    kind = found.table["term"].str.removeprefix("effect_of_")
    moves = kind.where(kind.isin([*KINDS, UNAFFECTED, "policy_share"]), "")
    moves = moves.replace({"place_gained": PLACES, "place_lost": PLACES})
    return Estimates(found.table.assign(estimand=RULES, period=moves))


def _kind(scores: UnitScores, name: str) -> str:
    """Whether a column is an indicator (zeros and ones), whole numbers, or any number."""
    values: NDArray = scores.x[:, scores.names.index(name)]
    if set(np.unique(values)) <= {0.0, 1.0}:
        return "indicator"
    return "whole" if (values == np.round(values)).all() else "number"
