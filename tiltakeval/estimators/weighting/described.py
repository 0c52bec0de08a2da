"""Who remains: the population an overlap-weighted or trimmed result describes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tiltakeval.design.cross_section import CrossSection
from tiltakeval.estimators.weighting.nuisance import Nuisance, overlap_weight


def population_weights(
    design: CrossSection, nuisance: Nuisance, *, target: str = "overlap"
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """[n] sampling weights of all that could have entered every arm, and of those described.

    "overlap": times h, relative to the largest possible (equal propensities); any other target: of
    those not trimmed.
    """
    present = list(nuisance.present)
    inside = np.isin(design.arm, present) & design.eligible[:, present].all(axis=1)
    before = np.asarray(design.weight * inside, dtype=np.float64)
    after = np.asarray(before * nuisance.kept, dtype=np.float64)
    if target == "overlap":
        h = overlap_weight(nuisance.propensity[inside][:, present]) * len(present) ** 2
        after[inside] *= h
    return before, after


def covariate_shift(
    design: CrossSection, nuisance: Nuisance, *, target: str = "overlap"
) -> pd.DataFrame:
    """A line per covariate: ``mean_all`` of those who could have entered every arm, ``mean_described``
    of those the result describes, and their ``difference_in_sd``."""
    before, after = population_weights(design, nuisance, target=target)
    x = design.covariates.astype(np.float64)
    share, now = before / before.sum(), after / after.sum()
    mean, mean_now = share @ x, now @ x
    sd = np.sqrt(share @ (x - mean) ** 2)
    steady = sd <= 1e-9 * np.maximum(np.abs(mean), 1.0)
    return pd.DataFrame(
        {
            "covariate": design.covariate_names,
            "mean_all": mean,
            "mean_described": mean_now,
            "difference_in_sd": np.where(
                steady, 0.0, (mean_now - mean) / np.where(steady, 1.0, sd)
            ),
        }
    )


def described(
    design: CrossSection, nuisance: Nuisance, *, target: str = "overlap"
) -> dict[str, Any]:
    """For the run record: effective units of those described, of how many, and the largest shift."""
    before, after = population_weights(design, nuisance, target=target)
    table = covariate_shift(design, nuisance, target=target)
    out: dict[str, Any] = {
        "described_effective_units": float(after.sum() ** 2 / (after**2).sum()),
        "described_of_units": int((before > 0).sum()),
    }
    if len(table):
        largest = table.loc[table["difference_in_sd"].abs().idxmax()]
        out["described_largest_shift"] = {
            "covariate": str(largest["covariate"]),
            "difference_in_sd": float(largest["difference_in_sd"]),
        }
    return out
