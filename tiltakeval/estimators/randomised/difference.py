"""Difference in means between arms: the estimator of a randomised experiment."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tiltakeval.design.cross_section import CrossSection
from tiltakeval.estimates.table import Estimates
from tiltakeval.estimators.randomised.pairs import (
    Sample,
    estimate_pairs,
    exact_groups,
    per_group_scale,
)
from tiltakeval.estimators.weighting.nuisance import Cluster

Floats = NDArray[np.floating]


@dataclass(frozen=True, kw_only=True)
class DifferenceInMeans:
    """Weighted means of each arm and their difference, with HC2 errors (Neyman 1923).

    With one unit a person the error is HC2 exactly, s1^2/n1 + s0^2/n0; with several it is clustered
    by person (or office) with G / (G - 1).
    """

    cluster: Cluster = "person"
    level: float = 0.95
    bands: bool = True

    def estimate(self, design: CrossSection) -> Estimates:
        """effect, mean_treated, mean_comparison of each programme. Raises InputError."""
        size = design.outcomes[0].size * len(design.arms) * 3
        groups = exact_groups(design, self.cluster, size).count

        def fit(sample: Sample) -> tuple[dict[str, Floats], dict[str, Floats]]:
            return means(sample, hc2=sample.single and self.cluster == "person", groups=groups)

        terms = ("effect", "mean_treated", "mean_comparison")
        return estimate_pairs(self, design, fit, key="difference_in_means", terms=terms)


def means(sample: Sample, *, hc2: bool, groups: int) -> tuple[dict[str, Floats], dict[str, Floats]]:
    """Arm means [c], their difference, and influence [m, c] of each."""
    found, influence = {}, {}
    for term, rows in (("mean_treated", sample.treated), ("mean_comparison", ~sample.treated)):
        share = np.where(rows, sample.weight, 0.0)
        share = share / share.sum()
        found[term] = share @ sample.y
        z = share[:, None] * (sample.y - found[term])
        if hc2:
            z *= (per_group_scale(groups) / np.sqrt(1 - share))[:, None]
        influence[term] = z
    found["effect"] = found["mean_treated"] - found["mean_comparison"]
    influence["effect"] = influence["mean_treated"] - influence["mean_comparison"]
    return found, influence
