"""Doubly robust effects of several programmes, for all outcomes, months and subgroups in one pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tiltakeval.design.cross_section import CrossSection
from tiltakeval.errors import InputError, unknown
from tiltakeval.estimates.table import Estimates
from tiltakeval.estimators.numerics.basis import Basis
from tiltakeval.estimators.numerics.ensemble import FEW_FOLDS, MORE_FOLDS
from tiltakeval.estimators.numerics.learners import Trees
from tiltakeval.estimators.numerics.outcomes import fit_outcomes
from tiltakeval.estimators.numerics.propensity import LearnerPropensity
from tiltakeval.estimators.numerics.ridge import Predictions
from tiltakeval.estimators.numerics.scores import score
from tiltakeval.estimators.weighting.nuisance import (
    Cluster,
    Nuisance,
    Trim,
    covariate_columns,
    fit_nuisance,
)
from tiltakeval.estimators.weighting.pipeline import Work, estimate_weighting
from tiltakeval.estimators.weighting.targets import Contrasts, TargetName

Floats = NDArray[np.floating]
LearnerOutcome = Literal["ridge", "products", "forest", "boosting", "ensemble", "best"]
OUTCOME_LEARNERS = ("ridge", "products", "forest", "boosting", "ensemble", "best")
PROPENSITY_LEARNERS = ("logit", "forest", "boosting", "ensemble", "best")


def scoring_of(estimator: Any, target: TargetName, **own: Any) -> AIPW:
    """The ``AIPW`` whose scores an estimator rests on: its options of the same names, save ``own``."""
    shared = {f.name for f in fields(AIPW)} & {f.name for f in fields(estimator)}
    options = {name: getattr(estimator, name) for name in shared - {"target", "bands", "draws"}}
    return AIPW(**{**options, "target": target, "placebo": False, **own})


@dataclass(frozen=True, kw_only=True)
class AIPW:
    """Augmented inverse-probability weighting, cross-fitted (Robins, Rotnitzky & Zhao 1994).

    Cross-fitting after Chernozhukov et al. (2018); several arms and targets after Cattaneo (2010).
    ``target`` says whose effect: att (each programme's own participants), ate (all units),
    programmes (all programmes on the same people: participants of any, eligible for all), overlap
    (all that could have entered every arm, weighted towards those met in all of them).
    ``contrasts`` adds programme against programme. ``seeds`` > 1 gives the median over that many
    ways of dealing folds (a tuple names them). ``floor`` and a single ``trim`` are relative to the
    arm's share of all units; ``trim`` = (low, high) drops units outside that range of the propensity
    of a single programme. ``basis`` "products" adds the thresholds and products of covariates that
    some programme's odds lack (``numerics.products``), "quadratic" all products, "linear" none.
    Learners "ensemble" and "best" combine, or choose between, linear, products, boosting and forest by
    their error on folds held out in training (``numerics.ensemble``); the run tells what they weigh.
    Outcome learner "products" is the ensemble without the trees: a tenth of the time.
    """

    target: TargetName = "att"
    learner_outcome: LearnerOutcome = "ridge"
    learner_propensity: LearnerPropensity = "logit"
    basis: Basis = "products"
    folds: int = 5
    seed: int = 0
    seeds: int | Sequence[int] = 1
    trim: Trim = None
    floor: float = 0.01
    ridge_propensity: float | None = None
    trees: int = 300
    min_leaf: int = 10
    contrasts: Contrasts = "none"
    cluster: Cluster = "person"
    min_arm: int = 20
    level: float = 0.95
    bands: bool = True
    draws: int = 999
    placebo: bool = True

    def __post_init__(self) -> None:
        if self.folds < 2:
            raise InputError("cross-fitting needs at least 2 folds", where="folds")
        for name, given, known in (
            ("learner_outcome", self.learner_outcome, OUTCOME_LEARNERS),
            ("learner_propensity", self.learner_propensity, PROPENSITY_LEARNERS),
        ):
            if given not in known:
                raise unknown("learner", given, known, where=name)
            if given in ("ensemble", "best", "products") and self.folds < 3:
                raise InputError(FEW_FOLDS, where="folds", remedy=MORE_FOLDS)
        if not 0 <= self.floor < 1:
            raise InputError("the floor must be at least 0 and below 1", where="floor")
        if not 0.5 < self.level < 1:
            raise InputError("the level must lie between 0.5 and 1", where="level")
        if not self.all_seeds:
            raise InputError("at least one seed is needed", where="seeds")

    @property
    def all_seeds(self) -> tuple[int, ...]:
        """The seeds whose median is reported."""
        if isinstance(self.seeds, int):
            return tuple(self.seed + i for i in range(self.seeds))
        return tuple(int(seed) for seed in self.seeds)

    def nuisance(self, design: CrossSection, *, seed: int | None = None) -> Nuisance:
        """Propensities, folds and groups (of the first seed): what the diagnostics look at."""
        chosen = self.all_seeds[0] if seed is None else seed
        basis, sources = covariate_columns(design, self.basis)
        return fit_nuisance(
            design,
            target=self.target,
            basis=basis,
            sources=sources,
            learner=self.learner_propensity,
            ridge=self.ridge_propensity,
            folds=self.folds,
            seed=chosen,
            trim=self.trim,
            floor=self.floor,
            cluster=self.cluster,
            trees=Trees(self.trees, self.min_leaf, chosen),
            min_arm=self.min_arm,
        )

    def estimate(self, design: CrossSection, nuisance: Nuisance | None = None) -> Estimates:
        """Effects and means of every pair x outcome x horizon x subgroup, and placebo effects.

        ``nuisance`` (of the first seed) saves fitting it again. Raises InputError.
        """
        return estimate_weighting(
            self,
            design,
            first=self.nuisance(design) if nuisance is None else nuisance,
            seeds=self.all_seeds,
            folds=self.folds,
            scores=self._scores,
            key=f"aipw_{self.target}",
        )

    def _scores(
        self, work: Work, nuisance: Nuisance, seed: int
    ) -> tuple[Sequence[Floats], Sequence[Floats]]:
        found = score(
            work.sums,
            propensity=work.propensity,
            allowed=work.allowed,
            w=work.w,
            levels=work.levels,
            block=work.block,
            predictions=self.predict(work, seed),
            layout=work.layout,
            groups=work.groups,
            main=work.main,
        )
        return found.theta, found.z

    def predict(self, work: Work, seed: int) -> Predictions:
        """Cross-fitted outcome predictions of every regression of ``work``."""
        found, weights = fit_outcomes(
            self.learner_outcome,
            work.regressions,
            x=work.x,
            w=work.w,
            block=work.block,
            layout=work.layout,
            names=work.names,
            cluster=work.cluster,
            trees=Trees(self.trees, self.min_leaf, seed),
        )
        if weights:
            work.notes["learners_outcome"] = weights
        return found
