"""What a rule may use: places by programme, money, and what groups are owed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tiltakeval.errors import InputError, unknown

Floats = NDArray[np.floating]
Ints = NDArray[np.integer]
Codes = Mapping[str, Ints]


@dataclass(frozen=True)
class Limit:
    """Mean over units of coefficient[level of the unit, arm it gets] is at most ``bound``.

    ``coefficient`` [levels + 1, A], the last row for units whose level is missing (code -1); ``group``
    names the grouping whose codes are looked up, None where all units count alike (one level).
    """

    name: str
    coefficient: NDArray[np.float64]
    bound: float
    group: str | None = None

    def load(self, codes: Codes, eligible: NDArray[np.bool_]) -> NDArray[np.float64]:
        """[n, A] what every unit adds under each arm; where it can't enter, what arm 0 adds."""
        n = eligible.shape[0]
        level = np.zeros(n, dtype=np.int64) if self.group is None else codes[self.group]
        of_unit = self.coefficient[level]
        return np.where(eligible, of_unit, of_unit[:, :1])


def capacity_limits(
    arms: Sequence[str], capacity: Mapping[str, float], units: float
) -> list[Limit]:
    """Places by programme: a share of all units (at most 1) or a number of places for ``units``.

    Arm 0 (no programme) has no limit. Raises InputError for an unknown arm or a bad number.
    """
    out = []
    for name, given in capacity.items():
        if name not in arms[1:]:
            raise unknown("programme", name, arms[1:], where="capacity")
        if not (np.isfinite(given) and given >= 0):
            raise InputError(f"{given} places can't be", where=f"capacity {name}")
        share = given if given <= 1 else given / units
        row = np.zeros(len(arms))
        row[arms.index(name)] = 1.0
        out.append(Limit(f"capacity {name}", np.stack([row, row]), float(share)))
    return out


def budget_limit(cost: Floats, budget: float) -> Limit:
    """Mean cost per unit (``cost`` [A], NOK) at most ``budget``. Raises InputError."""
    if not (np.isfinite(budget) and budget >= cost[0]):
        raise InputError(
            f"a budget of {budget} NOK per unit is below the cost of no programme", where="budget"
        )
    row = np.asarray(cost, dtype=np.float64)
    return Limit("budget", np.stack([row, row]), float(budget))


def equal_shares(
    group: str, levels: Sequence[str], share_of: Floats, arms: int, slack: float
) -> list[Limit]:
    """The share of every level with a place (any arm but 0) is within ``slack`` of everybody's.

    ``share_of`` [L] the levels' shares of all units; levels with 0 there are not held to it.
    """
    place = np.arange(arms) > 0
    out = []
    for g, part in enumerate(share_of):
        if part <= 0:
            continue
        own = np.zeros(len(levels) + 1)
        own[g] = 1.0 / part
        more = np.outer(own - 1.0, place)
        out.append(Limit(f"{group}={levels[g]} no more than others", more, slack, group))
        out.append(Limit(f"{group}={levels[g]} no less than others", -more, slack, group))
    return out


def no_loss(
    group: str,
    levels: Sequence[str],
    share_of: Floats,
    today: Floats,
    arms: int,
    slack: float,
) -> list[Limit]:
    """The share of every level with a place is at least today's ([L]) less ``slack``."""
    place = np.arange(arms) > 0
    out = []
    for g, part in enumerate(share_of):
        if part <= 0 or today[g] <= slack:
            continue
        own = np.zeros(len(levels) + 1)
        own[g] = 1.0 / part
        bound = -(today[g] - slack)
        out.append(
            Limit(f"{group}={levels[g]} keeps its places", -np.outer(own, place), bound, group)
        )
    return out


def loads(
    limits: Sequence[Limit], codes: Codes, eligible: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """[K, n, A] what every unit adds to every limit under each arm."""
    shape = (len(limits), *eligible.shape)
    return (
        np.stack([limit.load(codes, eligible) for limit in limits]) if limits else np.empty(shape)
    )


def bounds(limits: Sequence[Limit]) -> NDArray[np.float64]:
    """[K] bounds."""
    return np.array([limit.bound for limit in limits], dtype=np.float64)
