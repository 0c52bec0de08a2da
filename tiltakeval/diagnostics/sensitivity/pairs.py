"""Rosenbaum's bounds for matched pairs: how far from a coin toss the choice within pairs may be.

Of two persons alike in what is observed, one may be ``gamma`` times as likely (odds) as the other to
be the participant. Rosenbaum (2002, Observational Studies, 2nd edition, sections 4.3-4.4): for each
gamma the largest and smallest one-sided p value of the signed-rank and McNemar tests, and the range
of Hodges-Lehmann estimates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from tiltakeval.errors import InputError

Floats = NDArray[np.floating]
#: Gamma beyond which a conclusion is called unbreakable.
MOST = 1e4


@dataclass(frozen=True)
class PairBounds:
    """At one ``gamma``: one-sided p values, smallest and largest."""

    gamma: float
    p_low: float
    p_high: float


def differences_of(treated: ArrayLike, control: ArrayLike) -> NDArray[np.float64]:
    """Treated less control outcome of every pair. Raises InputError for unequal lengths, missing or
    infinite values, or fewer than 2 pairs."""
    one, other = (np.asarray(v, dtype=np.float64).reshape(-1) for v in (treated, control))
    if one.size != other.size:
        raise InputError(
            f"{one.size} treated and {other.size} controls aren't pairs", where="pairs"
        )
    bad = int((~(np.isfinite(one) & np.isfinite(other))).sum())
    if bad:
        raise InputError(
            f"{bad} pair(s) lack an outcome",
            where="pairs",
            remedy="Leave such pairs out, and say so.",
        )
    if one.size < 2:
        raise InputError("at least 2 pairs are needed", where="pairs")
    return np.asarray(one - other)


def signed_rank(differences: ArrayLike, gammas: Sequence[float] = (1.0,)) -> list[PairBounds]:
    """Bounds on the p value of Wilcoxon's signed-rank test that the treatment raises the outcome.

    Normal approximation. Tied pairs share ranks; pairs without a difference take part in the ranking and
    then count for nothing. Turn the differences round for a treatment that lowers it. Raises InputError.
    """
    d = _checked(differences)
    ranks = np.where(d != 0, stats.rankdata(np.abs(d)), 0.0)
    statistic = float(ranks[d > 0].sum())
    total, square = float(ranks.sum()), float((ranks**2).sum())
    return _normal(statistic, total, square, gammas)


def mcnemar(
    treated_only: int, control_only: int, gammas: Sequence[float] = (1.0,)
) -> list[PairBounds]:
    """Exact bounds on the one-sided p value of McNemar's test, from the numbers of pairs in which only
    the treated, or only the control, has the event. Raises InputError."""
    if min(treated_only, control_only) < 0 or treated_only + control_only < 1:
        raise InputError("the pairs that differ must be at least one", where="pairs")
    n = treated_only + control_only
    found = []
    for gamma in gammas:
        p = _share(gamma)
        tails = [float(stats.binom.sf(treated_only - 1, n, q)) for q in (1 - p, p)]
        found.append(PairBounds(float(gamma), *tails))
    return found


def hodges_lehmann(differences: ArrayLike, gamma: float = 1.0) -> tuple[float, float]:
    """Smallest and largest Hodges-Lehmann estimate of a constant effect at ``gamma``.

    The effects at which the signed-rank statistic of what is left equals its largest, and smallest,
    expectation: quantiles of the averages of all pairs of differences. Raises InputError.
    """
    d = _checked(differences)
    if d.size > 5_000:
        raise InputError(
            f"{d.size} pairs have too many averages of two",
            where="pairs",
            remedy="Use a random part of the pairs.",
        )
    first, second = np.triu_indices(d.size)
    walsh = np.sort((d[first] + d[second]) / 2)
    p = _share(gamma)
    return _crossed(walsh, p * walsh.size), _crossed(walsh, (1 - p) * walsh.size)


def breaking_gamma(differences: ArrayLike, *, alpha: float = 0.05) -> float:
    """Largest gamma at which the signed-rank test still finds a raised outcome at ``alpha``.

    1 where it doesn't even without hidden bias. Raises InputError.
    """
    d = _checked(differences)
    if signed_rank(d, (1.0,))[0].p_high > alpha:
        return 1.0
    low, high = 1.0, MOST
    if signed_rank(d, (high,))[0].p_high <= alpha:
        return high
    for _ in range(60):
        middle = np.sqrt(low * high)
        low, high = (
            (middle, high) if signed_rank(d, (middle,))[0].p_high <= alpha else (low, middle)
        )
    return float(low)


def amplified(gamma: float, *, outcome: float) -> float:
    """How many times as likely to take part a factor must make people that makes them ``outcome`` times
    as likely to do better, to amount to ``gamma`` (Rosenbaum & Silber 2009, JASA 104:1398-1405)."""
    _share(gamma)
    if not outcome > gamma:
        raise InputError(
            "the factor's strength for the outcome must be above gamma", where="outcome"
        )
    return float((gamma * outcome - 1) / (outcome - gamma))


def _checked(differences: ArrayLike) -> NDArray[np.float64]:
    d = np.asarray(differences, dtype=np.float64).reshape(-1)
    return differences_of(d, np.zeros_like(d))


def _share(gamma: float) -> float:
    if not (np.isfinite(gamma) and gamma >= 1):
        raise InputError("gamma must be at least 1", where="gamma")
    return float(gamma / (1 + gamma))


def _normal(
    statistic: float, total: float, square: float, gammas: Sequence[float]
) -> list[PairBounds]:
    found = []
    for gamma in gammas:
        p = _share(gamma)
        spread = np.sqrt(p * (1 - p) * square)
        tails = [
            float(stats.norm.sf((statistic - q * total) / spread)) if spread > 0 else 1.0
            for q in (1 - p, p)
        ]
        found.append(PairBounds(float(gamma), *tails))
    return found


def _crossed(walsh: Floats, wanted: float) -> float:
    """The value above which ``wanted`` of the sorted averages lie; midway where that is a stretch."""
    above = walsh.size - wanted
    at = int(np.floor(above + 1e-9))
    if abs(above - at) < 1e-9 and 0 < at < walsh.size:
        return float((walsh[at - 1] + walsh[at]) / 2)
    return float(walsh[min(max(at, 0), walsh.size - 1)])
