"""How strong would an unseen factor have to be to overturn a result?

Omitted-variable bounds for the ATT (Chernozhukov, Cinelli, Newey, Sharma & Syrgkanis 2022): the bias
from leaving out U is at most sqrt(sigma^2 nu^2 C_Y C_D), with sigma^2 the outcome's residual variance,
nu^2 the mean square of the weights alpha = (1{A = a} - 1{A = 0} e_a / e_0) / p, C_Y the share of the
residual outcome variance that U explains, and C_D = r / (1 - r) where r is the share of the variation
of the full weights that U adds. The robustness value is the r = C_Y at which the bound reaches the
estimate (or the end of its interval nearest zero).
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tiltakeval.design.cross_section import CrossSection
from tiltakeval.estimates.check import Check
from tiltakeval.estimates.table import Estimates
from tiltakeval.estimators.weighting.nuisance import Nuisance

Floats = NDArray[np.floating]
BENCHMARKS = 5


def robustness_value(gap: float, *, sigma: float, nu: float) -> float:
    """The r at which sqrt(r * r / (1 - r)) sigma nu equals ``gap`` >= 0."""
    if sigma * nu <= 0:  # nothing is left for a hidden factor to explain
        return float(gap > 0)
    q = (max(gap, 0.0) / (sigma * nu)) ** 2
    return float((-q + np.sqrt(q**2 + 4 * q)) / 2)


def bias_bound(*, sigma: float, nu: float, y: float, d: float) -> float:
    """Largest bias from a factor that explains shares ``y`` of the outcome and ``d`` of the weights."""
    return float(np.sqrt(y * d / (1 - d)) * sigma * nu)


def sensitivity(
    *, design: CrossSection, nuisance: Nuisance, estimates: Estimates
) -> tuple[Check, ...]:
    """An informative check per programme against none (ATT only), all outcomes and months.

    ``detail`` has a line per effect: estimate, robustness value of the estimate and of its interval,
    and the bias a factor as strong as the strongest observed covariate could cause. ``message`` names
    that covariate and the shares it explains (partial R^2 in linear regressions, in which a
    transformed covariate counts as linear). ``statistic`` is the median robustness value.
    """
    found = []
    for a in nuisance.present:
        if a != 0:
            found.append(_one(design, nuisance, estimates, a))
    return tuple(found)


def _one(design: CrossSection, nuisance: Nuisance, estimates: Estimates, programme: int) -> Check:
    scope = {"population": design.population, "programme": design.arms[programme]}
    table = estimates.table
    part = table[
        (table["programme"] == design.arms[programme])
        & (table["comparator"] == design.arms[0])
        & (table["term"] == "effect")
        & (table["subgroup"] == "all")
        & table["estimate"].notna()
        & table["source"].str.endswith("_att")
    ]
    open_to = design.eligible[:, programme] & design.eligible[:, 0] & nuisance.kept
    rows = np.flatnonzero(open_to & np.isin(design.arm, (0, programme)))
    if part.empty or rows.size == 0:
        return Check(key="sensitivity", status="not_evaluated", scope=scope)
    w = design.weight[rows] / design.weight[rows].sum()
    treated = design.arm[rows] == programme
    e = nuisance.propensity[rows]
    p = w[treated].sum()
    alpha = np.where(treated, 1.0, -e[:, programme] / np.where(e[:, 0] > 0, e[:, 0], 1.0)) / p
    nu = float(np.sqrt(w @ alpha**2))
    lines = []
    strongest: tuple[str, float, float] = ("", 0.0, 0.0)
    for _, row in part.iterrows():
        y = _outcome(design, row)[rows].astype(np.float64)
        seen = np.isfinite(y)
        sigma, shares = _partial(
            y[seen],
            treated[seen],
            nuisance.basis[rows[seen]],
            design.covariates[rows[seen]],
            w[seen],
        )
        gap = abs(row["estimate"])
        nearest = max(0.0, gap - (row["conf_high"] - row["estimate"]))
        name, r_y, r_d = "", 0.0, 0.0
        if len(shares):
            best = int(np.argmax(shares[:, 0] * shares[:, 1]))
            name, (r_y, r_d) = design.covariate_names[best], shares[best]
            if r_y * r_d >= strongest[1] * strongest[2]:
                strongest = (name, float(r_y), float(r_d))
        lines.append(
            {
                "outcome": row["outcome"],
                "horizon": row["horizon"],
                "estimate": row["estimate"],
                "robustness_value": float(robustness_value(gap, sigma=sigma, nu=nu)),
                "robustness_value_interval": float(robustness_value(nearest, sigma=sigma, nu=nu)),
                "benchmark": name,
                "benchmark_bias": float(bias_bound(sigma=sigma, nu=nu, y=r_y, d=r_d)),
            }
        )
    detail = pd.DataFrame(lines)
    return Check(
        key="sensitivity",
        status="informative",
        scope=scope,
        statistic=float(detail["robustness_value"].median()),
        message={
            "benchmark": strongest[0],
            "benchmark_outcome_share": strongest[1],
            "benchmark_treatment_share": strongest[2],
            "robustness_value_interval": float(detail["robustness_value_interval"].median()),
        },
        detail=detail,
    )


def _outcome(design: CrossSection, row: pd.Series) -> Floats:
    k = design.outcome_names.index(str(row["outcome"]))
    horizon = None if pd.isna(row["horizon"]) else int(row["horizon"])
    return design.outcomes[:, list(design.horizons).index(horizon), k]


def _partial(
    y: Floats, treated: NDArray[np.bool_], basis: Floats, covariates: Floats, w: Floats
) -> tuple[float, NDArray[np.float64]]:
    """Residual standard deviation of y, and partial R^2 of every covariate with y and the treatment.

    y on the treatment and ``basis`` within arms for the residuals; linear in ``covariates`` [n, p] for
    the shares [p, 2].
    """
    weight = w / w.sum()
    residual = np.empty_like(y)
    for rows in (treated, ~treated):
        root = np.sqrt(weight[rows])[:, None]
        x = np.column_stack([np.ones(int(rows.sum())), basis[rows]])
        beta = np.linalg.lstsq(x * root, y[rows] * root[:, 0], rcond=None)[0]
        residual[rows] = y[rows] - x @ beta
    sigma = float(np.sqrt(weight @ residual**2))
    centred = covariates - weight @ covariates
    spread = np.sqrt(weight @ centred**2)
    safe = np.where(spread > 0, spread, 1.0)
    z = np.column_stack([np.ones_like(y), centred / safe])
    d = treated.astype(np.float64)
    share_d = _shares(d, z, weight)
    share_y = _shares(y, np.column_stack([z, d]), weight)[: z.shape[1]]
    return sigma, np.stack([share_y[1:], share_d[1:]], axis=1)


def _shares(target: Floats, x: Floats, weight: Floats) -> NDArray[np.float64]:
    """Partial R^2 of each column of x in a weighted regression of the target."""
    gram = (x * weight[:, None]).T @ x
    inverse = np.linalg.pinv(gram, hermitian=True)
    beta = inverse @ ((x * weight[:, None]).T @ target)
    left = float(weight @ (target - x @ beta) ** 2)
    diagonal = np.clip(np.diag(inverse), 1e-300, None)
    gain = beta**2 / diagonal
    return np.where(np.diag(gram) > 1e-12, gain / (gain + max(left, 1e-300)), 0.0)
