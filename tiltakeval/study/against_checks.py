"""Are the programmes' participants alike once weighted to be the common population?"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tiltakeval.design.cross_section import CrossSection
from tiltakeval.diagnostics.balance import standardised_differences
from tiltakeval.estimates.check import Check
from tiltakeval.estimators.weighting.nuisance import Nuisance
from tiltakeval.study.spec_parts import Thresholds

Floats = NDArray[np.floating]
FEWEST = 2


def alike(
    design: CrossSection,
    nuisance: Nuisance,
    pairs: tuple[tuple[str, str], ...],
    limits: Thresholds,
    label: str,
) -> list[Check]:
    """Balance and overlap of each pair, held to the study's limits; as the checks of one programme.

    A unit's weight is e_T / e_own: the probability of any programme compared over that of its own.
    """
    weight = common_weights(design, nuisance)
    checks = []
    for pair in pairs:
        scope = {"population": label, "programme": pair[0], "comparator": pair[1]}
        arms = [design.arms.index(key) if key in design.arms else -1 for key in pair]
        one, other = ((design.arm == a) & (weight > 0) for a in arms)
        if min(one.sum(), other.sum()) < FEWEST or not set(arms) <= set(nuisance.present):
            checks += [
                Check(key="balance", status="not_evaluated", scope=scope),
                Check(key="overlap", status="not_evaluated", scope=scope),
            ]
            continue
        checks.append(_balance(design, weight, one, other, limits, scope))
        clipped = np.asarray(nuisance.clipped[:, arms].any(axis=1), dtype=bool)
        checks.append(_overlap(design, weight, one, other, clipped, limits, scope))
    return checks


def common_weights(design: CrossSection, nuisance: Nuisance) -> Floats:
    """[n] weights that make each programme's participants the common population; 0 outside it."""
    arms = [a for a in nuisance.present if a]
    inside = np.isin(design.arm, arms) & nuisance.kept
    inside &= design.eligible[:, list(nuisance.present)].all(axis=1)
    own = nuisance.propensity[np.arange(design.n), design.arm]
    total = nuisance.propensity[:, arms].sum(axis=1)
    return np.where(inside & (own > 0), design.weight * total / np.where(own > 0, own, 1.0), 0.0)


def _balance(
    design: CrossSection,
    weight: Floats,
    one: NDArray[np.bool_],
    other: NDArray[np.bool_],
    limits: Thresholds,
    scope: dict[str, str],
) -> Check:
    if not design.covariate_names:
        return Check(key="balance", status="not_evaluated", scope=scope)
    detail = standardised_differences(
        design.covariates.astype(np.float64),
        treated=one,
        other=other,
        before=design.weight.astype(np.float64),
        after=weight,
    )
    detail.insert(0, "covariate", list(design.covariate_names))
    detail = detail.assign(n_treated=int(one.sum()), n_comparison=int(other.sum()))
    after = detail["difference_after"].abs()
    worst = float(after.max())
    return Check(
        key="balance",
        status="passed" if worst <= limits.balance_smd else "failed",
        scope=scope,
        statistic=worst,
        threshold=limits.balance_smd,
        message={
            "covariate": str(detail["covariate"][int(after.argmax())]),
            "before": float(detail["difference_before"].abs().max()),
            "above": int((after > limits.balance_smd).sum()),
            "covariates": len(detail),
        },
        detail=detail,
        counts=("n_treated", "n_comparison"),
    )


def _overlap(
    design: CrossSection,
    weight: Floats,
    one: NDArray[np.bool_],
    other: NDArray[np.bool_],
    clipped: NDArray[np.bool_],
    limits: Thresholds,
    scope: dict[str, str],
) -> Check:
    effective = min(
        float(weight[rows].sum() ** 2 / (weight[rows] ** 2).sum()) for rows in (one, other)
    )
    both, w = one | other, design.weight
    outside = float(w[both & clipped].sum() / w[both].sum())
    good = outside <= limits.overlap_share and effective >= limits.effective_units
    return Check(
        key="overlap",
        status="passed" if good else "failed",
        scope=scope,
        statistic=effective,
        threshold=limits.effective_units,
        message={
            "outside": outside,
            "outside_limit": limits.overlap_share,
            "clipped": outside,
            "largest_weight": float(
                max(weight[rows].max() / weight[rows].sum() for rows in (one, other))
            ),
        },
    )
