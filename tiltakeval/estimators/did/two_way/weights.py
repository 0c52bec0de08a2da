"""What the coefficients of a two-way regression weigh together: effects by cohort and period.

With parallel trends and no anticipation a coefficient is a weighted sum of the effects on each cohort in
each period (de Chaisemartin & D'Haultfoeuille 2020, American Economic Review 110:2964-2996, theorem 1;
for leads and lags Sun & Abraham 2021, Journal of Econometrics 225:175-199, proposition 2). The weights
follow from who is treated when, not from outcomes; they may be negative.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tiltakeval.estimators.did.two_way.columns import Sample
from tiltakeval.estimators.did.two_way.fit import Block, Regression, moving_columns

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


def cell_weights(blocks: Sequence[Block], found: Regression, maps: Floats) -> Floats:
    """[blocks, T, r]: what one unit more of outcome of a block in a period does to ``maps`` [K, r] of
    the coefficients (of all the block's units seen in the period, each by its weight)."""
    turned = found.bread @ maps
    mine = moving_columns(found.owner)
    out = []
    for block, inner, beside in zip(blocks, found.inner, found.beside):
        total = np.zeros((block.columns.shape[0], maps.shape[1]))
        for a in range(inner.shape[0]):
            k = np.flatnonzero(found.owner == a)
            total += inner[0, a] @ (block.columns[:, k] @ turned[k])
        if mine.size:
            total += beside[0] @ turned[mine]
        out.append(total)
    return np.stack(out)


@dataclass(frozen=True)
class StaticWeights:
    """Weights of a static coefficient on the treated cells: how many there are, how many are negative,
    the sum of the negative ones (all sum to 1), and how much effects would have to differ.

    ``sd_to_zero``: the smallest standard deviation of effects over treated unit-periods with which the
    coefficient agrees with a mean effect of zero; ``sd_all_opposite``: with every effect of the other
    sign (NaN where no weight is negative). Corollary 1 of the paper.
    """

    cells: int
    negative: int
    negative_sum: float
    sd_to_zero: float
    sd_all_opposite: float


def static_weights(
    sample: Sample, blocks: Sequence[Block], found: Regression
) -> tuple[StaticWeights, list[dict[str, float]]]:
    """The weights of the last coefficient, summed up and cell by cell (cohort, period, weight)."""
    maps = np.zeros((found.coef.size, 1))
    maps[-1] = 1.0
    omega = cell_weights(blocks, found, maps)[:, :, 0]
    seen = sample.seen
    held, weights, cells = [], [], []
    for c, (g, units) in enumerate(zip(sample.cohorts, sample.members)):
        size = sample.panel.weight[units] @ seen[units]
        for t in np.flatnonzero((sample.periods >= g) & (size > 0)):
            held.append(size[t])
            weights.append(omega[c, t])
            cells.append(
                {
                    "cohort": float(g),
                    "period": float(sample.periods[t]),
                    "weight": float(omega[c, t]),
                }
            )
    share, weight = np.array(held) / np.sum(held), np.array(weights)
    beta = abs(float(found.coef[-1]))
    ratio = weight / share
    spread = np.sqrt(share @ (ratio - 1) ** 2)
    negative = weight < -1e-12
    return StaticWeights(
        cells=weight.size,
        negative=int(negative.sum()),
        negative_sum=float(weight[negative].sum()),
        sd_to_zero=float(beta / spread) if spread > 1e-10 else np.inf,
        sd_all_opposite=_all_opposite(beta, share, ratio) if negative.any() else np.nan,
    ), cells


def _all_opposite(beta: float, share: Floats, ratio: Floats) -> float:
    """|b| / sqrt(T_s + S_s^2 / (1 - P_s)), sums over cells from the s-th largest weight downwards."""
    order = np.argsort(-ratio, kind="stable")
    p, w = share[order], ratio[order]
    tail_p = np.cumsum(p[::-1])[::-1]
    tail_s = np.cumsum((p * w)[::-1])[::-1]
    tail_t = np.cumsum((p * w**2)[::-1])[::-1]
    with np.errstate(divide="ignore", invalid="ignore"):
        # before the first cell P = 1 and S = 1: no bound from below
        bound = np.where(tail_p < 1 - 1e-12, -tail_s / (1 - tail_p), -np.inf)
    s = int(np.flatnonzero(w < bound)[0])
    return float(beta / np.sqrt(tail_t[s] + tail_s[s] ** 2 / (1 - tail_p[s])))


def foreign_weight(omega: Floats, event: Floats, own: Bools) -> float:
    """Half the sum of absolute weights ``omega`` [C, T] that a coefficient of a lead or lag gives to
    effects (``event`` >= 0) of event times that aren't its ``own``.

    The weights of each other event time sum to zero, so they do no harm where all cohorts have the same
    path of effects: this is the largest effect of differences between cohorts, per unit of difference.
    """
    return float(np.abs(omega[(event >= 0) & ~own]).sum() / 2)
