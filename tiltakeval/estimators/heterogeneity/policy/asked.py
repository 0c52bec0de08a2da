"""What a user asked of places, money and fairness, as limits and costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tiltakeval.errors import InputError, unknown
from tiltakeval.estimators.heterogeneity.policy.costs import place_costs
from tiltakeval.estimators.heterogeneity.policy.limits import (
    Limit,
    budget_limit,
    capacity_limits,
    equal_shares,
    no_loss,
)
from tiltakeval.estimators.heterogeneity.policy.units import shares
from tiltakeval.estimators.heterogeneity.scores import UnitScores

Floats = NDArray[np.floating]
Numbers = str | Sequence[str] | Mapping[str, float]


class Asked(Protocol):
    """The options looked at here; see ``estimator.Policy``."""

    @property
    def capacity(self) -> Numbers | None: ...
    @property
    def budget(self) -> float | None: ...
    @property
    def costs(self) -> Numbers | None: ...
    @property
    def value_per_unit(self) -> float | None: ...
    @property
    def months(self) -> float | None: ...
    @property
    def tax_financing(self) -> float: ...
    @property
    def fairness(self) -> str: ...
    @property
    def fairness_by(self) -> str | None: ...
    @property
    def fairness_slack(self) -> float: ...
    @property
    def min_cell(self) -> int: ...


def money_asked(asked: Asked, scores: UnitScores) -> tuple[float | None, NDArray[np.float64]]:
    """NOK per unit of the outcome (None: rules maximise the outcome) and costs [A]."""
    if asked.costs is None:
        return None, np.zeros(len(scores.arms))
    given = numbers_of(asked.costs, "costs", words=("catalogue",))
    cost = place_costs(scores.arms, given, months=asked.months, tax_financing=asked.tax_financing)
    if asked.value_per_unit is not None:
        if not np.isfinite(asked.value_per_unit):
            raise InputError("must be a number", where="value_per_unit")
        return float(asked.value_per_unit), cost
    return (1.0 if scores.labels.unit.lower() == "nok" else None), cost


def limits_asked(asked: Asked, scores: UnitScores, cost: Floats) -> tuple[Limit, ...]:
    """Capacity, budget and fairness as limits; today's shares are taken as given numbers."""
    out: list[Limit] = []
    arms = len(scores.arms)
    today = np.eye(arms)[scores.arm]
    if asked.capacity is not None:
        given = numbers_of(asked.capacity, "capacity", words=("today",))
        if not given and not isinstance(asked.capacity, Mapping):
            given = dict(zip(scores.arms[1:], shares(today, scores.weight)[1:].tolist()))
        out += capacity_limits(scores.arms, given, scores.n)
    if asked.budget is not None:
        out.append(budget_limit(cost, asked.budget / scores.n))
    if asked.fairness_by is not None:
        codes = codes_of(scores, asked.fairness_by)[asked.fairness_by]
        levels = scores.subgroups[asked.fairness_by].levels
        w = scores.weight
        number = np.array([(codes == g).sum() for g in range(len(levels))])
        size = np.array([w[codes == g].sum() for g in range(len(levels))])
        size = np.where(number >= asked.min_cell, size, 0.0)
        part = size / w.sum()
        if asked.fairness == "equal_shares":
            slack = asked.fairness_slack
            out += equal_shares(asked.fairness_by, levels, part, arms, slack)
        else:
            place = (scores.arm > 0).astype(np.float64)
            now = np.array([w[codes == g] @ place[codes == g] for g in range(len(levels))])
            one = asked.fairness_slack
            for g in range(len(levels)):
                if size[g] > 0:
                    alone = np.where(np.arange(len(levels)) == g, part, 0.0)
                    slack = one if one < 1 else one / number[g]
                    had = now / np.where(size > 0, size, 1.0)
                    out += no_loss(asked.fairness_by, levels, alone, had, arms, slack)
    return tuple(out)


def small_levels(asked: Asked, scores: UnitScores) -> list[str]:
    """Levels of ``fairness_by`` with too few units to be held to a limit."""
    if asked.fairness_by is None:
        return []
    group = scores.subgroups[asked.fairness_by]
    number = [int((group.codes == g).sum()) for g in range(len(group.levels))]
    return [name for name, count in zip(group.levels, number) if count < asked.min_cell]


def codes_of(scores: UnitScores, name: str) -> dict[str, NDArray[np.int64]]:
    """The codes of a declared subgroup, -1 where missing. Raises InputError."""
    if name not in scores.subgroups:
        raise unknown("subgroup", name, scores.subgroups, where="fairness_by")
    return {name: np.asarray(scores.subgroups[name].codes, dtype=np.int64)}


def numbers_of(given: Numbers | float, where: str, words: Sequence[str]) -> dict[str, float]:
    """name=number pairs as a mapping; one of ``words`` alone is an empty one. Raises InputError."""
    if isinstance(given, Mapping):
        pairs: list[tuple[str, Any]] = list(given.items())
    else:
        parts = given.split(",") if isinstance(given, str) else list(np.atleast_1d(given))
        parts = [str(part).strip() for part in parts]
        if len(parts) == 1 and parts[0] in words:
            return {}
        pairs = [(name.strip(), value) for name, _, value in (p.partition("=") for p in parts)]
    out = {}
    for name, value in pairs:
        try:
            out[str(name)] = float(value)
        except (TypeError, ValueError):
            raise InputError(
                f"'{name}' has no number",
                where=where,
                remedy=f"Write name=number, with commas between, or {' or '.join(words)}.",
            ) from None
    return out
