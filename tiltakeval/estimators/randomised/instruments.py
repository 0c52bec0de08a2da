"""Two-stage least squares with the offer as instrument: a thin layer over linearmodels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tiltakeval.design.cross_section import CrossSection
from tiltakeval.errors import InputError, unknown
from tiltakeval.estimates.table import Estimates
from tiltakeval.estimators.randomised.pairs import (
    Sample,
    estimate_pairs,
    exact_groups,
    per_group_scale,
)
from tiltakeval.estimators.randomised.regression import independent_columns
from tiltakeval.estimators.weighting.nuisance import Cluster

Floats = NDArray[np.floating]


@dataclass(frozen=True, kw_only=True)
class TwoStageLeastSquares:
    """The effect of taking part, with the arm (the offer) as instrument for ``uptake``.

    ``uptake`` names the outcome that says whether a unit took part; the other outcomes are explained.
    With a binary uptake, randomised offers that work only through it and no one who does the
    opposite, this is the effect on compliers (Imbens & Angrist 1994), estimand ``late``. Errors are
    robust (HC0 as linearmodels' "robust"), or clustered when persons recur. Units without the uptake
    observed are left out.
    """

    uptake: str = ""
    uptake_horizon: int | None = None
    cluster: Cluster = "person"
    level: float = 0.95
    bands: bool = False

    def estimate(self, design: CrossSection) -> Estimates:
        """effect of uptake for each offer. Raises InputError."""
        if self.uptake not in design.outcome_names:
            raise unknown("outcome", self.uptake, design.outcome_names, where="uptake")
        if self.uptake_horizon not in design.horizons:
            raise InputError(
                f"the uptake isn't observed at horizon {self.uptake_horizon}",
                where="uptake_horizon",
                remedy=f"Use one of: {', '.join(map(str, design.horizons))}.",
            )
        k = design.outcome_names.index(self.uptake)
        t = list(design.horizons).index(self.uptake_horizon)
        taken = design.outcomes[:, t, k].astype(np.float64)
        column = t * len(design.outcome_names) + k
        kept = design.take(np.isfinite(taken))
        taken = taken[np.isfinite(taken)]
        groups = exact_groups(kept, self.cluster, kept.outcomes[0].size * len(kept.arms)).count

        def fit(sample: Sample) -> tuple[dict[str, Floats], dict[str, Floats]]:
            return two_stage(
                sample,
                taken[sample.rows],
                kept.covariates[sample.rows].astype(np.float64),
                skip=column,
                groups=groups,
                clustered=not sample.single,
            )

        return estimate_pairs(
            self, kept, fit, key="iv_2sls", terms=("effect",), estimand="late", effective=False
        )


def two_stage(
    sample: Sample, taken: Floats, covariates: Floats, *, skip: int, groups: int, clustered: bool
) -> tuple[dict[str, Floats], dict[str, Floats]]:
    """Coefficient of ``taken`` [c] and its influence [m, c]; NaN for the uptake's own column."""
    from linearmodels.iv import IV2SLS

    offer = sample.treated.astype(np.float64)
    root = np.sqrt(sample.weight)
    exogenous = independent_columns(
        np.column_stack([np.ones_like(offer), offer, covariates]) * root[:, None], keep=2
    )
    controls = np.delete(exogenous, 1, axis=1)
    endogenous = (taken * root)[:, None]
    first = exogenous @ np.linalg.lstsq(exogenous, endogenous, rcond=None)[0]
    x_hat = np.hstack([controls, first])
    m, k = x_hat.shape
    if m <= k or np.linalg.matrix_rank(x_hat) < k:
        raise InputError(
            "the offer doesn't change the uptake in this sample",
            where="uptake",
            remedy="An instrument must move what it stands for.",
        )
    row = x_hat @ np.linalg.inv(x_hat.T @ x_hat)[-1]
    size = sample.columns.size
    effect, influence = np.full(size, np.nan), np.zeros((m, size))
    for i, c in enumerate(sample.columns):
        if c == skip:
            continue
        y = sample.y[:, i] * root
        fit = IV2SLS(y, controls, endogenous, exogenous[:, [1]]).fit(cov_type="robust")
        effect[i] = float(fit.params.iloc[-1])
        residual = np.asarray(fit.resids, dtype=np.float64).reshape(-1)
        influence[:, i] = row * residual * (1.0 if clustered else per_group_scale(groups))
    return {"effect": effect}, {"effect": influence}
