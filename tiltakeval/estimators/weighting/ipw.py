"""Inverse-probability weighting: the plain counterpart of the doubly robust estimator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tiltakeval.design.cross_section import CrossSection
from tiltakeval.errors import InputError
from tiltakeval.estimates.table import Estimates
from tiltakeval.estimators.numerics.basis import Basis
from tiltakeval.estimators.numerics.hajek import hajek
from tiltakeval.estimators.numerics.learners import Trees
from tiltakeval.estimators.weighting.nuisance import (
    Cluster,
    Nuisance,
    Trim,
    covariate_columns,
    fit_nuisance,
)
from tiltakeval.estimators.weighting.pipeline import Work, estimate_weighting
from tiltakeval.estimators.weighting.targets import Contrasts

Floats = NDArray[np.floating]


@dataclass(frozen=True, kw_only=True)
class IPW:
    """Weighted means with weights that add up to one (Hajek 1971), propensities by logit.

    One multinomial logit fitted to all units; its estimation is part of the errors (Lunceford &
    Davidian 2004), except where a propensity was clipped. Options as in ``AIPW``.
    """

    target: Literal["att", "ate"] = "att"
    basis: Basis = "linear"
    trim: Trim = None
    floor: float = 0.01
    ridge_propensity: float = 0.1
    contrasts: Contrasts = "none"
    cluster: Cluster = "person"
    min_arm: int = 20
    level: float = 0.95
    bands: bool = True
    draws: int = 999
    placebo: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.floor < 1:
            raise InputError("the floor must be at least 0 and below 1", where="floor")
        if not 0.5 < self.level < 1:
            raise InputError("the level must lie between 0.5 and 1", where="level")

    def nuisance(self, design: CrossSection, *, seed: int | None = None) -> Nuisance:
        """Propensities and groups: what the diagnostics look at."""
        basis, sources = covariate_columns(design, self.basis)
        return fit_nuisance(
            design,
            target=self.target,
            basis=basis,
            sources=sources,
            learner="logit",
            ridge=self.ridge_propensity,
            folds=1,
            seed=0,
            trim=self.trim,
            floor=self.floor,
            cluster=self.cluster,
            trees=Trees(),
            min_arm=self.min_arm,
        )

    def estimate(self, design: CrossSection, nuisance: Nuisance | None = None) -> Estimates:
        """Effects and means of every pair x outcome x horizon x subgroup, and placebo effects."""
        return estimate_weighting(
            self,
            design,
            first=self.nuisance(design) if nuisance is None else nuisance,
            seeds=(0,),
            folds=1,
            scores=self._scores,
            key=f"ipw_{self.target}",
        )

    def _scores(
        self, work: Work, nuisance: Nuisance, seed: int
    ) -> tuple[Sequence[Floats], Sequence[Floats]]:
        assert nuisance.score_sums is not None and nuisance.inverse is not None
        clipped = np.asarray(nuisance.clipped[work.units].any(axis=1), dtype=bool)
        return hajek(
            work.sums,
            x=np.column_stack([np.ones(work.w.size), work.x]),
            propensity=work.propensity,
            unclipped=~clipped,
            allowed=work.allowed,
            w=work.w,
            levels=work.levels,
            block=work.block,
            layout=work.layout,
            groups=work.groups,
            main=work.main,
            score_sums=nuisance.score_sums,
            inverse=nuisance.inverse,
        )
