"""Least squares of the outcome on the programme and covariates, with robust errors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

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
from tiltakeval.estimators.weighting.nuisance import Cluster
from tiltakeval.numerics.independent import independent

Floats = NDArray[np.floating]
ERRORS = ("HC0", "HC1", "HC2", "HC3", "cluster")


@dataclass(frozen=True, kw_only=True)
class Regression:
    """The coefficient of the programme in a (weighted) linear regression, arm by arm against none.

    ``interacted`` adds products of the programme with the covariates' deviations from their means
    (Lin 2013), so that the coefficient is the average effect over both arms (of these units: their
    means are taken as fixed). ``errors``: HC0 to HC3
    by unit (MacKinnon & White 1985), or "cluster" by person or office with
    G/(G-1) (n-1)/(n-k). Covariates that the others determine are left out.
    """

    errors: Literal["HC0", "HC1", "HC2", "HC3", "cluster"] = "HC1"
    interacted: bool = False
    cluster: Cluster = "person"
    level: float = 0.95
    bands: bool = True

    def __post_init__(self) -> None:
        if self.errors not in ERRORS:
            raise unknown("kind of errors", self.errors, ERRORS, where="errors")

    def estimate(self, design: CrossSection) -> Estimates:
        """The effect of each programme. Raises InputError."""
        size = design.outcomes[0].size * len(design.arms)
        groups = exact_groups(design, self.cluster, size).count

        def fit(sample: Sample) -> tuple[dict[str, Floats], dict[str, Floats]]:
            if self.errors != "cluster" and not sample.single:
                raise InputError(
                    f"{self.errors} errors treat units as independent, but persons recur",
                    where="errors",
                    remedy="Use errors = 'cluster'.",
                )
            return least_squares(
                sample,
                design.covariates[sample.rows].astype(np.float64),
                interacted=self.interacted,
                errors=self.errors,
                groups=groups,
            )

        return estimate_pairs(
            self,
            design,
            fit,
            key="regression",
            terms=("effect",),
            least=2,
            effective=False,
        )


def independent_columns(x: Floats, *, keep: int) -> Floats:
    """``x`` without columns that earlier ones determine; the first ``keep`` are always kept.

    Raises InputError when the second (the programme) is determined by the rest.
    """
    chosen = independent(x.T @ x, share=1e-12)
    if not set(range(keep)) <= set(chosen):
        raise InputError("the programme is the same for all units of the sample", where="treatment")
    return x[:, chosen]


def least_squares(
    sample: Sample, covariates: Floats, *, interacted: bool, errors: str, groups: int
) -> tuple[dict[str, Floats], dict[str, Floats]]:
    """Coefficient of the programme [c] and its influence [m, c]."""
    w = sample.weight
    d = sample.treated.astype(np.float64)
    centred = covariates - (w @ covariates) / w.sum()
    parts = [np.ones_like(d)[:, None], d[:, None], centred]
    if interacted:
        parts.append(d[:, None] * centred)
    root = np.sqrt(w)
    x = independent_columns(np.hstack(parts) * root[:, None], keep=2)
    m, k = x.shape
    if m <= k:
        return {}, {}
    inverse = np.linalg.inv(x.T @ x)
    b = inverse @ (x.T @ (sample.y * root[:, None]))
    residual = sample.y * root[:, None] - x @ b
    row = x @ inverse[1]  # the programme's row of (X'X)^-1 X'
    leverage = np.clip(np.einsum("ij,jk,ik->i", x, inverse, x), 0.0, 1 - 1e-12)
    scale = np.full(m, per_group_scale(groups))
    if errors == "HC1":
        scale = scale * np.sqrt(m / (m - k))
    elif errors == "HC2":
        scale = scale / np.sqrt(1 - leverage)
    elif errors == "HC3":
        scale = scale / (1 - leverage)
    elif errors == "cluster":
        scale = np.full(m, np.sqrt((m - 1) / (m - k)))
    z = (row * scale)[:, None] * residual
    return {"effect": b[1]}, {"effect": z}
