"""A table `[[for_whom]]` of a study file with the estimators it leads to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from tiltakeval.estimators import build
from tiltakeval.estimators.heterogeneity.estimator import Heterogeneity
from tiltakeval.estimators.heterogeneity.policy import estimator as policies
from tiltakeval.estimators.weighting.aipw import AIPW
from tiltakeval.study.spec_for_whom import ForWhom

#: Parts that need predictions better than the average.
PREDICTED = ("sorted", "classification")
#: Fewest persons in a cell of what a rule does, whatever the disclosure rules say.
LEAST = 10
_SHARED = frozenset(f.name for f in fields(AIPW)) - {
    *("target", "contrasts", "bands", "placebo", "min_arm", "draws"),
}


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A table of the study file, and the estimators it leads to."""

    spec: ForWhom
    estimator: Any
    heterogeneity: Heterogeneity
    policy: policies.Policy | None
    horizon: int | None


def prepared(
    spec: ForWhom, estimator: Any, given: Mapping[str, Any], *, horizon: int | None, threshold: int
) -> Asked:
    """The estimators with the study's defaults, the analysis's learners, and the table's own options.

    ``estimator`` is the analysis's, ``given`` the study's seed, level, cluster and draws, ``threshold``
    that of the disclosure rules. Raises InputError for options that don't fit.
    """
    known = Heterogeneity.__dataclass_fields__
    base = {name: value for name, value in given.items() if name in known}
    if isinstance(estimator, AIPW):
        base |= {name: getattr(estimator, name) for name in _SHARED if name in known}
    parts = tuple(part for part in spec.parts if part not in (*PREDICTED, "hidden"))
    if set(spec.parts) & set(PREDICTED) and "calibration" not in parts:
        parts += ("calibration",)
    own = {"parts": parts, "target": spec.target}
    heterogeneity = build("heterogeneity", **{**base, **spec.options, **own})
    policy = None
    if spec.policy is not None:
        asked, least = spec.policy, max(LEAST, threshold)
        same = {
            name: getattr(heterogeneity, name) for name in ("seed", "level", "cluster", "folds")
        }
        policy = build(
            "policy",
            **same,
            depth=asked.depth,
            capacity=None if asked.capacity == "none" else asked.capacity,
            fairness=asked.fairness,
            fairness_by=asked.fairness_by,
            fairness_slack=asked.fairness_slack,
            min_cell=least,
            min_leaf=max(asked.min_leaf, least),
            **asked.options,
        )
    return Asked(
        spec=spec, estimator=estimator, heterogeneity=heterogeneity, policy=policy, horizon=horizon
    )


def same_propensities(options: AIPW, estimator: Any) -> bool:
    """Whether the analysis's propensities are those that would be fitted here."""
    if not isinstance(estimator, AIPW) or estimator.target == "overlap":
        return False
    if options.target == "overlap" or options.trim is not None or len(options.all_seeds) > 1:
        return False
    return all(getattr(options, name) == getattr(estimator, name) for name in _SHARED - {"level"})
