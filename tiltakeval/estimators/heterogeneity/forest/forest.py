"""A causal forest for several arms: effects of every arm against arm 0 by covariates, with variances.

Athey, Tibshirani & Wager (2019): generalised random forests; the moments are residual on residual,
E[(W - e(X))(Y - m(X) - (W - e(X))' theta(x))] = 0 with W the indicators of arms 1..K, as in Nie & Wager
(2021). Means over people are not to be taken from here but from doubly robust scores.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tiltakeval.errors import InputError
from tiltakeval.estimators.heterogeneity.forest.calibration import Calibration, calibrate
from tiltakeval.estimators.heterogeneity.forest.effects import Part, Prediction, predict_effects
from tiltakeval.estimators.heterogeneity.forest.inputs import Units, check_nuisances, make_units
from tiltakeval.estimators.heterogeneity.forest.options import ForestOptions
from tiltakeval.estimators.heterogeneity.forest.trees import Growing, Rows, grow_trees

Floats = NDArray[np.floating]
#: Least units of an arm.
LEAST = 20
#: Honest gain, in units of the noise, at which a covariate is tried as often as any.
SURE = 8.0
RARELY = 0.01
LEVELS = 3


def least_units(how: ForestOptions) -> int:
    """Units that every arm must have."""
    return max(LEAST, 4 * how.min_arm)


@dataclass(frozen=True)
class Forest:
    """K = A - 1 effects, of arms 1..K against arm 0. ``importance`` [parts, p] is what each covariate
    gained among rows that didn't choose its cuts, in units of the noise (about 0: nothing), by effect
    or for all together, and ``calibration`` how the out-of-bag effects hold up."""

    parts: tuple[Part, ...]
    units: Units
    treat: NDArray[np.float32]
    outcome: NDArray[np.float64]
    m: NDArray[np.float64]
    e: NDArray[np.float64]
    options: ForestOptions
    importance: NDArray[np.float64]
    calibration: Calibration
    out_of_bag: Prediction

    def predict(self, x: ArrayLike | None = None, *, variance: bool = True) -> Prediction:
        """Effects for x [n, p], or, without x, out-of-bag for the units the forest was fitted to."""
        if x is None:
            return self.out_of_bag
        try:
            values = np.asarray(x, dtype=np.float64)
        except (TypeError, ValueError):
            raise InputError("covariates that aren't numbers", where="x") from None
        found = predict_effects(
            self.parts,
            self.units.bins.encode(values, check_codes=self.options.check_codes),
            None,
            arms=self.units.arms,
            variance=variance,
            threads=self.options.workers,
        )
        return self.calibration.shrunk(found) if self.options.shrink else found

    def fitted(self) -> NDArray[np.float64]:
        """[n, A] out-of-bag predicted outcomes under every arm: m - sum_b e_b theta_b + theta_a."""
        theta = self.units.back(self.out_of_bag.effects[self.units.order])
        e, m = self.units.back(self.e), self.units.back(self.m)
        base = m - (e[:, 1:] * theta).sum(axis=1)
        return np.column_stack([base, base[:, None] + theta])


def fit_forest(
    x: ArrayLike,
    arm: ArrayLike,
    y: ArrayLike,
    m: ArrayLike,
    e: ArrayLike,
    weight: ArrayLike | None = None,
    cluster: ArrayLike | None = None,
    options: ForestOptions | None = None,
    *,
    names: tuple[str, ...] | None = None,
    variance: bool = True,
) -> Forest:
    """Fit to x [n, p] (NaN: missing), arm [n] in 0..A-1, y [n], and cross-fitted nuisances: m [n] the
    mean outcome and e [n, A] the propensities. Units without weight are predicted, not fitted to.

    Units of a cluster stay together in bags, in honest halves and out of bag. Raises InputError.
    """
    how = options or ForestOptions()
    units = make_units(
        x, arm, y, weight, cluster, names=names, bins=how.bins, least=least_units(how)
    )
    mean, odds = check_nuisances(m, e, units.n, units.arms)
    mean, odds = mean[units.order], odds[units.order]
    outcome = units.y - mean
    treat = -odds[:, 1:].astype(np.float32)
    treat += np.equal.outer(units.arm, np.arange(1, units.arms))
    used = slice(0, units.used)
    rows = Rows(
        bins=units.coded[used],
        used=units.bins.used,
        arm=units.arm[used],
        treat=treat[used],
        outcome=outcome[used],
        weight=units.weight[used],
        first=units.first,
        causal=True,
    )
    parts, gains = _grow(rows, how, units.arms - 1)
    raw = predict_effects(
        parts,
        units.coded,
        units.cluster,
        arms=units.arms,
        variance=variance,
        threads=how.workers,
    )
    found = calibrate(
        raw.effects[used],
        treat=treat[used],
        outcome=outcome[used],
        weight=units.weight[used],
        cluster=units.cluster[used],
        arm=units.arm[used],
        e=odds[used],
    )
    final = found.shrunk(raw) if how.shrink else raw
    return Forest(
        parts=parts,
        units=units,
        treat=treat,
        outcome=outcome,
        m=mean,
        e=odds,
        options=how,
        importance=gains,
        calibration=found,
        out_of_bag=final.ordered(units.back),
    )


def _grow(
    rows: Rows, how: ForestOptions, effects: int
) -> tuple[tuple[Part, ...], NDArray[np.float64]]:
    """The parts of a forest, and the honest gains [parts, p] that chose their covariates."""
    columns = rows.bins.shape[1]
    everything = tuple(range(effects))
    parts, found = [], []
    for only in everything if how.targets == "each" and effects > 1 else (-1,):
        base = Growing(
            trees=how.share(effects),
            bag=how.bag,
            honesty=how.honesty,
            columns=how.tried(columns),
            chance=np.ones(columns),
            least_arm=how.min_arm,
            least=how.min_leaf,
            share=how.min_share,
            depth=how.max_depth,
            penalty=how.penalty,
            standard=how.criterion == "standard",
            seed=how.seed,
            threads=how.workers,
            only=only,
            stream=only + 1,
        )
        chance, gains = _screen(rows, base, how.screening)
        trees = grow_trees(rows, replace(base, chance=chance))
        parts.append(Part(trees, everything if only < 0 else (only,)))
        found.append(gains)
    return tuple(parts), np.array(found)


def _screen(rows: Rows, base: Growing, screening: int) -> tuple[Floats, Floats]:
    """Odds [p] of each covariate, and its honest gain a tree, from short trees that try all.

    The odds grow with the square of the gain until the gain is surely not noise.
    """
    columns = rows.bins.shape[1]
    number = screening - screening % base.bag
    if number == 0:
        return np.ones(columns), np.zeros(columns)
    wide: dict[str, Any] = {"columns": columns, "honesty": 0.5, "depth": LEVELS, "screened": LEVELS}
    short = replace(base, trees=number, seed=base.seed ^ 0x5C4EE9, **wide)
    gains = grow_trees(rows, short).gains[:, 0] / number
    return np.clip(np.maximum(gains, 0) / SURE, 0, 1) ** 2 + RARELY, gains
