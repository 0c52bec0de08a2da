"""Do the forest's effects hold up out of bag, and how far should they be pulled to the average?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from tiltakeval.estimators.heterogeneity.forest.effects import Prediction

Floats = NDArray[np.floating]
MOST = 1.25
FLOOR = 0.01
CAUTION = 4.0
GATE = (2.0, 4.0)
#: Out-of-bag effects are dependent: without heterogeneity, slope / error has about this standard
#: deviation (1.5-1.7 over 40 samples of 2,000 units in five arms, benchmarks/causal_forest.py).
WIDER = 1.6


@dataclass(frozen=True)
class Calibration:
    """For each of K effects: ``slope`` of the true effects on the out-of-bag ones (1: they hold up, 0:
    they are noise) with ``error``, clustered and times ``WIDER``, and ``p`` that it isn't positive;
    ``factor`` by which deviations from the average are multiplied; ``centre`` mean out-of-bag effect,
    ``average`` the doubly robust one, ``spread`` standard deviation of the out-of-bag effects.
    """

    slope: NDArray[np.float64]
    error: NDArray[np.float64]
    p: NDArray[np.float64]
    factor: NDArray[np.float64]
    centre: NDArray[np.float64]
    average: NDArray[np.float64]
    spread: NDArray[np.float64]

    def shrunk(self, found: Prediction) -> Prediction:
        """The effects pulled towards the average."""
        return found.with_effects(self.average + (found.forest - self.centre) * self.factor)


def calibrate(
    effects: Floats,
    *,
    treat: Floats,
    outcome: Floats,
    weight: Floats,
    cluster: NDArray[np.int64],
    arm: NDArray[np.uint8],
    e: Floats,
) -> Calibration:
    """Regress residual outcomes on residual arms and their products with the out-of-bag deviations.

    The best linear predictor of Chernozhukov, Demirer, Duflo & Fernandez-Val (2018) with residuals, all
    arms at once. The factor is the slope, between 0 and ``MOST``, times the positive part of
    1 - CAUTION (error / slope)^2 (James & Stein; error before it is widened): noise is pulled all the
    way to the average. All factors fall to 0 together where the squares of the positive slopes over
    their errors are, on average over arms, at the lower end of ``GATE``: one arm's luck doesn't count.
    """
    k = effects.shape[1]
    total = weight.sum()
    centre = weight @ effects / total
    deviation = effects - centre
    z = np.column_stack([treat, treat * deviation])
    spread = np.sqrt(weight @ deviation**2 / total)
    # a column without spread (a forest of stumps) has no slope
    live = np.concatenate([np.ones(k, bool), spread > 1e-9 * (1 + np.abs(centre))])
    zl = z[:, live]
    zw = zl * weight[:, None]
    inverse = np.linalg.pinv(zw.T @ zl)
    beta = inverse @ (zw.T @ outcome)
    scores = zw * (outcome - zl @ beta)[:, None]
    clusters = int(cluster.max()) + 1
    sums = np.stack([np.bincount(cluster, scores[:, j], clusters) for j in range(zl.shape[1])], 1)
    covariance = inverse @ (sums.T @ sums) @ inverse * clusters / (clusters - 1)
    slope, error = np.zeros(k), np.full(k, np.inf)
    slope[live[k:]] = beta[k:]
    error[live[k:]] = np.sqrt(np.diag(covariance))[k:]
    with np.errstate(divide="ignore", invalid="ignore"):
        keep = np.where(slope > 0, 1 - CAUTION * (error / slope) ** 2, 0.0)
    together = float(np.mean((np.maximum(slope, 0.0) / error) ** 2))
    gate = min(max((together - GATE[0]) / (GATE[1] - GATE[0]), 0.0), 1.0)
    factor = np.clip(slope, 0.0, MOST) * np.maximum(keep, 0.0) * gate
    return Calibration(
        slope=slope,
        error=error * WIDER,
        p=norm.sf(slope / (error * WIDER)),
        factor=factor,
        centre=centre,
        average=_average(effects, treat, outcome, weight, arm, e),
        spread=spread,
    )


def _average(
    effects: Floats, treat: Floats, outcome: Floats, weight: Floats, arm: NDArray, e: Floats
) -> NDArray[np.float64]:
    """Mean doubly robust score of each effect, propensities no smaller than ``FLOOR``."""
    residual = outcome - (treat * effects).sum(axis=1)
    low = np.maximum(e, FLOOR)
    inverse = residual / low[np.arange(len(arm)), arm]
    total = weight.sum()
    base = (weight * inverse)[arm == 0].sum() / total
    out = weight @ effects / total - base
    for a in range(1, e.shape[1]):
        out[a - 1] += (weight * inverse)[arm == a].sum() / total
    return np.asarray(out)
