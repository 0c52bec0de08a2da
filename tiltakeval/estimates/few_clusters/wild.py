"""The wild cluster bootstrap, without a draw of an outcome: algebra on sums by cluster.

Cameron, Gelbach & Miller (2008, Review of Economics and Statistics 90:414-427); Roodman, MacKinnon,
Nielsen & Webb (2019, Stata Journal 19:4-60), whose algebra this is: bootstrap outcomes are the fit plus
residuals whose signs (or weights) v_g are drawn for whole clusters, so the bootstrap estimate and the
bootstrap scores of all clusters are linear in v.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tiltakeval.estimates.few_clusters.inversion import Replications
from tiltakeval.estimates.few_clusters.moments import Moments
from tiltakeval.estimates.few_clusters.weights import draw_weights
from tiltakeval.estimates.inference import correction

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Wild:
    """What a residual of one cluster g does: to the estimate (``shift`` [G]) and to the influence of
    every cluster h (``spread`` [G, G], h by g). ``null_shift`` and ``null_spread`` are what the residual
    gains for each unit the null value lies below the estimate. ``influence`` [G] is the sample's."""

    estimate: float
    influence: Floats
    shift: Floats
    spread: Floats
    null_shift: Floats
    null_spread: Floats

    def replications(
        self,
        *,
        restricted: bool = True,
        weights: str = "rademacher",
        draws: int = 999,
        seed: int = 0,
    ) -> Replications:
        """Statistics under every null value; ``restricted`` imposes it on the residuals (WCR), else
        they are those of the unrestricted fit (WCU)."""
        clusters = self.influence.size
        v, exact = draw_weights(clusters, kind=weights, draws=draws, seed=seed)
        n0, d0 = v @ self.shift, v @ self.spread.T
        n1, d1 = np.zeros_like(n0), np.zeros_like(d0)
        if restricted:
            n1, d1 = v @ self.null_shift, v @ self.null_spread.T
        factor = correction(clusters)
        q = factor * np.stack([(d0**2).sum(axis=1), (d0 * d1).sum(axis=1), (d1**2).sum(axis=1)])
        variance = factor * float(self.influence @ self.influence)
        return Replications(
            estimate=self.estimate,
            n0=n0,
            n1=n1,
            q=q,
            observed=np.array([variance, 0.0, 0.0]),
            exact=exact and restricted,  # the unrestricted ones hold no copy of the sample
            scale=float(np.sqrt(variance)),
        )


def wild_of_regression(moments: Moments, combination: Floats) -> Wild:
    """The bootstrap of one combination of coefficients. Restricted residuals are e + X a d / (c'a),
    a = (X'X)^-1 c, for a null value d below the estimate."""
    a = moments.bread @ combination
    scores = moments.scores
    toward = moments.gram @ a  # [G, K] X_g'X_g a
    length = float(combination @ a)
    own, null = scores @ a, (toward @ a) / length
    return Wild(
        estimate=float(combination @ moments.coef),
        influence=own,
        shift=own,
        spread=np.diag(own) - toward @ moments.bread @ scores.T,
        null_shift=null,
        null_spread=np.diag(null) - toward @ moments.bread @ toward.T / length,
    )
