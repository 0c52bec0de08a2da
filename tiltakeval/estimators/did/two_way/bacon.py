"""What a two-way fixed-effects estimate of a roll-out is made of: Goodman-Bacon's decomposition.

Goodman-Bacon (2021, Journal of Econometrics 225:254-277), theorem 1: on a balanced panel the coefficient
of a treatment dummy, with unit and period effects, is a weighted mean of all two-by-two comparisons of
cohorts. Where effects change with time since start, the comparisons with units already treated are
wrong, since their change holds a change of their effect.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

TYPES = (
    "treated_vs_never",
    "earlier_vs_later",
    "later_vs_earlier",
    "later_vs_always",
)
#: Comparisons with units that are already treated, and stay so, in both of the periods compared.
FORBIDDEN = ("later_vs_earlier", "later_vs_always")


@dataclass(frozen=True)
class TwoByTwo:
    """A comparison of two cohorts: ``type`` of ``TYPES``, who is ``treated`` meanwhile and who is the
    ``control`` (first treated periods), its ``weight`` (they sum to 1) and its ``estimate``."""

    type: str
    treated: float
    control: float
    weight: float
    estimate: float


def decompose(
    mean: Floats, size: Floats, first: Floats, periods: NDArray[np.int64]
) -> tuple[TwoByTwo, ...]:
    """The two-by-two comparisons behind the two-way estimate, largest weight first.

    ``mean`` [C, T] are the cohorts' mean outcomes, ``size`` [C] their (weighted) numbers of units,
    ``first`` [C] their first treated periods, in order (infinite or after the last period: never; at or
    before the first period: always treated). Every period has every unit. Equations 10a-10g of the
    paper, with V^D left to the normalisation.
    """
    share = np.array([(periods >= g).mean() for g in first])  # D-bar
    late = np.array([periods >= g for g in first])
    found: list[TwoByTwo] = []
    for k in range(first.size):
        for u in range(first.size):
            found.extend(_pair(mean, size, first, share, late, k, u))
    total = sum(one.weight for one in found)
    scaled = [
        TwoByTwo(one.type, one.treated, one.control, one.weight / total, one.estimate)
        for one in found
    ]
    return tuple(sorted(scaled, key=lambda one: -one.weight))


def _pair(
    mean: Floats, size: Floats, first: Floats, share: Floats, late: Floats, k: int, u: int
) -> Iterator[TwoByTwo]:
    """The comparisons in which the cohort k changes and the cohort u doesn't."""
    if not 0 < share[k] < 1 or k == u or share[k] == share[u]:
        return
    both = size[k] + size[u]
    mix = (size[k] / both) * (size[u] / both)
    gap = mean[k] - mean[u]
    dk, du = share[k], share[u]
    if du == 0 or du == 1:  # a whole panel with a control that never changes
        kind = "treated_vs_never" if du == 0 else "later_vs_always"
        weight = both**2 * mix * dk * (1 - dk)
        value = gap[late[k]].mean() - gap[~late[k]].mean()
    elif dk > du:  # k starts earlier: the periods before u starts
        kind = "earlier_vs_later"
        weight = both**2 * mix * (dk - du) * (1 - dk)
        value = gap[late[k] & ~late[u]].mean() - gap[~late[k]].mean()
    else:  # k starts later: the periods after u has started
        kind = "later_vs_earlier"
        weight = both**2 * mix * dk * (du - dk)
        value = gap[late[k]].mean() - gap[~late[k] & late[u]].mean()
    yield TwoByTwo(kind, float(first[k]), float(first[u]), float(weight), float(value))


def by_type(parts: tuple[TwoByTwo, ...]) -> dict[str, tuple[float, float]]:
    """Type -> (weight, weighted mean of its estimates), types that occur."""
    out: dict[str, tuple[float, float]] = {}
    for kind in TYPES:
        mine = [one for one in parts if one.type == kind]
        weight = sum(one.weight for one in mine)
        if weight > 0:
            out[kind] = (weight, sum(one.weight * one.estimate for one in mine) / weight)
    return out
