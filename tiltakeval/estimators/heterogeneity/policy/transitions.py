"""Who would gain or lose a place: from today's arms to a rule's, and what moving does for the moved."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiltakeval.estimators.heterogeneity.policy.evaluate import (
    TODAY,
    Evaluated,
    in_parts,
    split_number,
)
from tiltakeval.estimators.heterogeneity.policy.small_cells import (
    KINDS,
    hidden_cells,
    kind_of,
    told_kinds,
)
from tiltakeval.estimators.heterogeneity.rows import MIN_UNITS, Lines, level_members
from tiltakeval.estimators.heterogeneity.scores import UnitScores

Floats = NDArray[np.floating]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class _Move:
    """One row: ``cells`` [A, A] the moves it covers among ``member`` [n]."""

    cells: Bools
    member: Bools


def transition_lines(
    scores: UnitScores, evaluated: Evaluated, rule: str, *, least: int = 10
) -> Lines:
    """Rows of one rule against today, for everybody and by level of every declared subgroup.

    ``transition``: the share moved from ``comparator`` (today's arm) to ``programme`` (the rule's);
    ``place_gained``, ``place_lost``, ``programme_changed``, ``unchanged``: shares (``programme`` is the
    rule), the first and the last as one, ``place_unaffected``, where few would change programmes
    (``told_kinds``); ``transition_effect`` and ``effect_of_…``: mean effect of the move on those who
    make it, in the outcome's unit. ``n_treated`` is the expected number who make it, ``n_comparison``
    that of units with the same lot who were in the new arm, whom the effect is learnt from.

    Cells of fewer than ``least`` persons, and what would give one away (``hidden_cells``), have no
    estimate; of the latter, no count either. With e the propensities, m the fitted outcomes and pi the
    rule's probability, the effect of moving from a to b is the mean of

        pi_b [ 1{A = a} (m_b - Y) + 1{A = b} (e_a / e_b) (Y - m_b) ] / E[pi_b 1{A = a}],

    the doubly robust score of an effect on those in a (Robins, Rotnitzky & Zhao 1994), weighted by the
    rule.
    """
    arms = len(scores.arms)
    dealt = evaluated.mean(rule)
    levels = level_members(scores)
    members = [np.ones(scores.n, dtype=bool), *(m for _, _, m in levels)]
    names = ["all", *(label for _, label, _ in levels)]
    variables = list(dict.fromkeys(v for v, _, _ in levels))
    families = [-1, *(variables.index(v) for v, _, _ in levels)]
    today = np.eye(arms)[scores.arm]
    counts = np.stack([np.einsum("ia,ib->ab", today[m], dealt[m]) for m in members])
    hidden = hidden_cells(counts, families, least)
    kind = kind_of(arms)
    kinds = np.stack([counts[:, kind == k].sum(axis=1) for k in range(len(KINDS))], axis=1)
    told, hidden_kinds = told_kinds(kinds, families, least)

    labels: list[dict[str, Any]] = []
    moves: list[_Move] = []
    show: list[bool] = []
    effects: list[bool] = []

    def add(t: int, cells: Bools, count: float, covered: bool, **label: Any) -> None:
        member = members[t]
        donors = sum(
            float(dealt[member & (scores.arm == b), b].sum())
            for b in np.flatnonzero(cells.any(axis=0))
        )
        number = round(float(count))
        given_away = covered and not 0 < number < least
        labels.append(
            {
                "subgroup": names[t],
                "n_treated": None if given_away else number,
                "n_comparison": round(donors) if label["term"].count("effect") else None,
                "n_clusters": int(np.unique(scores.cluster[member]).size),
                **label,
            }
        )
        moves.append(_Move(cells, member))
        enough = number >= MIN_UNITS and not covered
        effect = "effect" in label["term"]
        show.append(enough and (not effect or donors >= max(MIN_UNITS, least)))
        effects.append(effect)

    for t in range(len(members)):
        for a, b in np.ndindex(arms, arms):
            cells = np.zeros((arms, arms), dtype=bool)
            cells[a, b] = True
            key: dict[str, Any] = {"programme": scores.arms[b], "comparator": scores.arms[a]}
            shared = (t, cells, counts[t, a, b], bool(hidden[t, a, b]))
            add(*shared, term="transition", unit="share", **key)
            if a != b:
                add(*shared, term="transition_effect", **key)
        for k, (name, members_of) in enumerate(told.items()):
            key = {"programme": rule, "comparator": TODAY}
            count = kinds[t, list(members_of)].sum()
            shared = (t, np.isin(kind, members_of), count, bool(hidden_kinds[t, k]))
            add(*shared, term=name, unit="share", **key)
            if k:
                add(*shared, term=f"effect_of_{name}", **key)

    def compute(split: UnitScores, some: range) -> tuple[Floats, Floats]:
        own = evaluated.probability[split_number(scores, split)][rule]
        theta = np.full(len(some), np.nan)
        z = np.zeros((scores.n, len(some)))
        for at, c in enumerate(some):
            if not show[c]:
                continue
            over, under = _scores(split, own, moves[c], effects[c])
            total = under.sum()
            if total > 0:
                theta[at] = over.sum() / total
                z[:, at] = (over - theta[at] * under) / total
        return theta, z

    return in_parts(scores, labels, compute, len(labels) // len(members))


def _scores(
    split: UnitScores, dealt: Floats, move: _Move, effect: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Every unit's part of numerator and denominator of a row's mean."""
    w = split.weight * move.member
    over, under = np.zeros(split.n), np.zeros(split.n)
    for a, b in _pairs(move.cells):
        mine = split.arm == a
        part = w * mine * dealt[:, b]
        if not effect:
            over += part
            continue
        under += part
        residual = split.y - split.fitted[:, b]
        other = w * (split.arm == b) * dealt[:, b]
        ratio = split.propensity[:, a] / split.propensity[:, b]
        over += -part * residual + other * ratio * residual
    return (over, under) if effect else (over, w)


def _pairs(cells: Bools) -> Iterable[tuple[int, int]]:
    return zip(*(axis.tolist() for axis in np.nonzero(cells)))
