"""Are the arms alike in their covariates once weighted?"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tiltakeval.design.cross_section import CrossSection
from tiltakeval.estimates.check import Check
from tiltakeval.estimators.weighting.nuisance import Nuisance

Floats = NDArray[np.floating]


def balance(
    *, design: CrossSection, nuisance: Nuisance, balance_smd: float = 0.1, target: str = "att"
) -> tuple[Check, ...]:
    """A check per programme: largest absolute standardised mean difference after weighting.

    The difference of a covariate's means between the programme and the comparison over the root of
    the average of their variances before weighting (Austin 2009). ``detail`` has a line per
    covariate: means of both sides, difference before and after.
    """
    return tuple(
        _one(design, nuisance, a, limit=balance_smd, target=target)
        for a in nuisance.present
        if a != 0
    )


def standardised_differences(
    x: Floats,
    *,
    treated: NDArray[np.bool_],
    other: NDArray[np.bool_],
    before: Floats,
    after: Floats,
) -> pd.DataFrame:
    """Means and standardised differences of the columns of ``x`` [n, p] under two sets of weights."""

    def moments(rows: NDArray[np.bool_], weight: Floats) -> tuple[Floats, Floats]:
        share = weight[rows] / weight[rows].sum()
        mean = share @ x[rows]
        return mean, share @ (x[rows] - mean) ** 2

    mean_1, var_1 = moments(treated, before)
    mean_0, var_0 = moments(other, before)
    weighted_1, _ = moments(treated, after)
    weighted_0, _ = moments(other, after)
    spread = np.sqrt((var_1 + var_0) / 2)
    # what is the same for all who may enter has no spread but rounding, and is balanced
    spread = np.where(spread > 1e-9 * np.maximum(np.abs(mean_1) + np.abs(mean_0), 1.0), spread, 0.0)
    safe = np.where(spread > 0, spread, 1.0)
    return pd.DataFrame(
        {
            "mean_treated": weighted_1,
            "mean_comparison": weighted_0,
            "mean_comparison_unweighted": mean_0,
            "difference_before": np.where(spread > 0, (mean_1 - mean_0) / safe, 0.0),
            "difference_after": np.where(spread > 0, (weighted_1 - weighted_0) / safe, 0.0),
        }
    )


def _one(
    design: CrossSection, nuisance: Nuisance, programme: int, *, limit: float, target: str
) -> Check:
    scope = {"population": design.population, "programme": design.arms[programme]}
    weights = nuisance.weights(design, programme, target=target)
    treated = (design.arm == programme) & (weights > 0)
    other = (design.arm == 0) & (weights > 0)
    if min(treated.sum(), other.sum()) < 2 or not design.covariate_names:
        return Check(key="balance", status="not_evaluated", scope=scope, threshold=limit)
    detail = standardised_differences(
        design.covariates.astype(np.float64),
        treated=treated,
        other=other,
        before=design.weight.astype(np.float64),
        after=weights,
    )
    detail.insert(0, "covariate", list(design.covariate_names))
    detail = detail.assign(n_treated=int(treated.sum()), n_comparison=int(other.sum()))
    after = detail["difference_after"].abs()
    worst = float(after.max())
    return Check(
        key="balance",
        status="passed" if worst <= limit else "failed",
        scope=scope,
        statistic=worst,
        threshold=limit,
        message={
            "covariate": str(detail["covariate"][int(after.argmax())]),
            "before": float(detail["difference_before"].abs().max()),
            "above": int((after > limit).sum()),
            "covariates": len(detail),
        },
        detail=detail,
        counts=("n_treated", "n_comparison"),
    )
