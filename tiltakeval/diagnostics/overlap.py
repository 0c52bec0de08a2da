"""Are there comparison units like those in the programme, and how many effectively?"""

from __future__ import annotations

import numpy as np
import pandas as pd

from tiltakeval.design.cross_section import CrossSection
from tiltakeval.estimates.check import Check
from tiltakeval.estimators.weighting.nuisance import Nuisance

QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)


def overlap(
    *,
    design: CrossSection,
    nuisance: Nuisance,
    overlap_share: float = 0.05,
    effective_units: float = 200,
    target: str = "att",
) -> tuple[Check, ...]:
    """A check per programme; fails when too many participants have no like, or too few units count.

    ``statistic`` is the effective number of comparison units (sum w)^2 / sum w^2 (for ate the smaller
    of both arms), to be at least ``effective_units``; ``message["outside"]`` the share of participants
    outside common support (clipped, or beyond every comparison unit), at most ``overlap_share``.
    ``detail`` has quantiles of the programme's propensity in each arm, before clipping.
    """
    return tuple(
        _one(design, nuisance, a, share=overlap_share, least=effective_units, target=target)
        for a in nuisance.present
        if a != 0
    )


def _one(
    design: CrossSection,
    nuisance: Nuisance,
    programme: int,
    *,
    share: float,
    least: float,
    target: str,
) -> Check:
    scope = {"population": design.population, "programme": design.arms[programme]}
    open_to = design.eligible[:, programme] & design.eligible[:, 0]
    inside = open_to & np.isin(design.arm, nuisance.present)
    treated, other = inside & (design.arm == programme), inside & (design.arm == 0)
    weights = nuisance.weights(design, programme, target=target)
    if min(treated.sum(), other.sum()) < 2 or (weights[other] > 0).sum() < 2:
        return Check(key="overlap", status="not_evaluated", scope=scope, threshold=least)
    arms = [0] if target == "att" else [0, programme]
    effective = min(_effective(weights[inside & (design.arm == a)]) for a in arms)
    e = nuisance.raw
    with np.errstate(divide="ignore", invalid="ignore"):  # rows of arms left out have no chances
        index = np.log(e[:, programme]) - np.log(e[:, 0])
    w = design.weight
    lost = treated & ((index > index[other].max()) | nuisance.clipped[:, 0] | nuisance.trimmed)
    outside = float(w[lost].sum() / w[treated].sum())
    relative = weights[other] / weights[other].sum()
    detail = pd.DataFrame(
        {
            "arm": np.repeat([design.arms[programme], design.arms[0]], len(QUANTILES)),
            "quantile": QUANTILES * 2,
            "propensity": np.concatenate(
                [np.quantile(e[rows, programme], QUANTILES) for rows in (treated, other)]
            ),
        }
    )
    good = outside <= share and effective >= least
    return Check(
        key="overlap",
        status="passed" if good else "failed",
        scope=scope,
        statistic=effective,
        threshold=least,
        message={
            "outside": outside,
            "outside_limit": share,
            "clipped": float(nuisance.clipped[inside][:, arms].any(axis=1).mean()),
            "trimmed": float((nuisance.trimmed & inside).sum() / inside.sum()),
            "trimmed_treated": float((nuisance.trimmed & treated).sum() / treated.sum()),
            "largest_weight": float(relative.max()),
            "comparison_units": int(other.sum()),
        },
        detail=detail,
    )


def _effective(weights: np.ndarray) -> float:
    square = float((weights**2).sum())
    return float(weights.sum() ** 2 / square) if square > 0 else 0.0
