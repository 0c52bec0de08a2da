"""Values of rules from doubly robust scores: rows with influence, never where a rule was learnt."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiltakeval.design.cross_section import CrossSection
from tiltakeval.estimators.heterogeneity.policy.rules import Learnt, Rule, cross_fit
from tiltakeval.estimators.heterogeneity.policy.small_cells import hidden_columns
from tiltakeval.estimators.heterogeneity.policy.units import Units
from tiltakeval.estimators.heterogeneity.rows import (
    MIN_UNITS,
    Lines,
    level_members,
    mean_of,
    over_splits,
)
from tiltakeval.estimators.heterogeneity.scores import UnitScores, unit_scores
from tiltakeval.estimators.weighting.aipw import AIPW
from tiltakeval.estimators.weighting.nuisance import Nuisance

Floats = NDArray[np.floating]
TODAY = "today"
#: What a rule maximises, from the scores of one split: Units of the same people.
MakeUnits = Callable[[UnitScores], Units]
#: Scores of the units outside a fold of a split, computed without the fold.
Training = Callable[[int, int], UnitScores]


@dataclass(frozen=True)
class Evaluated:
    """``probability[split][rule]`` [n, A], each from a rule learnt on other folds than the unit's;
    ``learnt[rule]`` the rules themselves, of all folds and splits."""

    probability: tuple[Mapping[str, NDArray[np.float64]], ...]
    learnt: Mapping[str, Sequence[Learnt]] = field(default_factory=dict)

    def mean(self, rule: str) -> NDArray[np.float64]:
        """[n, A] mean over the splits."""
        return np.asarray(np.mean([one[rule] for one in self.probability], axis=0))


def evaluate(
    scores: UnitScores, rules: Mapping[str, Rule], make: MakeUnits, training: Training
) -> Evaluated:
    """Every rule cross-fitted in every split, learnt on ``training(split, fold)``. Raises InputError."""
    out = []
    learnt: dict[str, list[Learnt]] = {name: [] for name in rules}
    for number in range(len(scores.splits)):
        units = make(scores.of_split(number))
        folds = np.unique(units.fold).tolist()
        others = {fold: make(training(number, fold)) for fold in folds}
        out.append(
            {
                name: cross_fit(rule, units, training=others, keep=learnt[name])
                for name, rule in rules.items()
            }
        )
    return Evaluated(tuple(out), learnt)


def scores_without(
    design: CrossSection, options: AIPW, scores: UnitScores, nuisances: Sequence[Nuisance]
) -> Training:
    """Scores cross-fitted anew on the design without one fold of one split.

    The scores of the other folds' units won't do to learn on: their outcome models saw the fold, and a
    tree learnt on them finds what is noise there (with 2,000 units its gain is overstated by more than
    a standard error). ``nuisances`` are those of ``scores``. Raises InputError.
    """

    def training(number: int, fold: int) -> UnitScores:
        seed = options.all_seeds[number]
        # an arm just large enough for everybody is smaller without a fold
        inner = replace(options, seeds=1, seed=seed + fold + 1, min_arm=options.min_arm // 2)
        return unit_scores(
            design.take(nuisances[number].fold != fold),
            inner,
            outcome=scores.labels.outcome,
            horizon=scores.labels.horizon,
            arms=scores.arms,
        )

    return training


def observed(scores: UnitScores) -> NDArray[np.float64]:
    """[n, A] one in the arm each unit was in: today's practice."""
    return np.eye(len(scores.arms))[scores.arm]


def unit_values(
    scores: UnitScores, probability: Floats | None, worth: float, cost: Floats
) -> NDArray[np.float64]:
    """[n] scores of a rule's value: sum over arms of probability times (worth psi - cost).

    None is today's practice, whose score is the outcome itself: psi of the arm each unit was in would
    count the residuals 1 / e times, and rest on the outcome model where nothing need be modelled.
    """
    if probability is None:
        return np.asarray(worth * scores.y - cost[scores.arm])
    return np.asarray((probability * (worth * scores.psi - cost)).sum(axis=1))


def value_lines(
    scores: UnitScores,
    evaluated: Evaluated,
    names: Sequence[str],
    *,
    against: Sequence[tuple[str, str]],
    worth: float = 1.0,
    cost: Floats | None = None,
    prefix: str = "policy",
    unit: str | None = None,
) -> Lines:
    """Rows ``policy_value`` of every rule and of today, ``policy_gain`` of every pair in ``against``,
    for everybody and by level of every declared subgroup.

    With ``worth`` (NOK per unit of outcome), ``cost`` [A] and ``prefix`` "policy_net" values are net.
    Gains have ``n_treated`` the units whose arm the two rules differ in (expected number). A gain for
    nobody has no estimate. The median over splits; see ``rows.over_splits``.
    """
    charge = np.zeros(len(scores.arms)) if cost is None else cost
    everyone = np.ones(scores.n, dtype=bool)
    members = [("all", everyone), *((label, m) for _, label, m in level_members(scores))]
    rules = [TODAY, *names]
    seen = {name: observed(scores) if name == TODAY else evaluated.mean(name) for name in rules}
    labels: list[dict[str, Any]] = []
    columns: list[tuple[NDArray[np.bool_], str, str | None]] = []
    more = {} if unit is None else {"unit": unit}
    for subgroup, member in members:
        clusters = int(np.unique(scores.cluster[member]).size)
        count = {"subgroup": subgroup, "n_clusters": clusters, **more}
        for name in rules:
            columns.append((member, name, None))
            labels.append(
                {
                    "term": f"{prefix}_value",
                    "programme": name,
                    "n_treated": int(member.sum()),
                    **count,
                }
            )
        for name, other in against:
            moved = np.abs(seen[name] - seen[other]).sum(axis=1)[member].sum() / 2
            columns.append((member, name, other))
            labels.append(
                {
                    "term": f"{prefix}_gain",
                    "programme": name,
                    "comparator": other,
                    "n_treated": round(float(moved)),
                    **count,
                }
            )
    enough = np.array(
        [label["n_treated"] >= MIN_UNITS and label["n_clusters"] >= MIN_UNITS for label in labels]
    )

    def compute(split: UnitScores, some: range) -> tuple[Floats, Floats]:
        dealt = evaluated.probability[split_number(scores, split)]
        value = {
            name: unit_values(split, None if name == TODAY else dealt[name], worth, charge)
            for name in rules
        }
        theta = np.full(len(some), np.nan)
        z = np.zeros((scores.n, len(some)))
        for at, c in enumerate(some):
            member, name, other = columns[c]
            if enough[c]:
                own = value[name] - (0.0 if other is None else value[other])
                found, part = mean_of(split.weight * member, own[:, None])
                theta[at], z[:, at] = found[0], part[:, 0]
        return theta, z

    return in_parts(scores, labels, compute, len(labels) // len(members))


def split_number(scores: UnitScores, split: UnitScores) -> int:
    """Which of the splits of ``scores`` it is."""
    return next(i for i, s in enumerate(scores.splits) if s is split.splits[0])


def in_parts(
    scores: UnitScores,
    labels: Sequence[Mapping[str, Any]],
    compute: Callable[..., tuple[Floats, Floats]],
    size: int,
) -> Lines:
    """Rows computed ``size`` at a time, so that units x rows need not fit in memory.

    ``compute(split, some=range)`` gives theta and influence of some of the rows.
    """
    theta, z = [], []
    for start in range(0, len(labels), size):
        some = range(start, min(start + size, len(labels)))
        found, part = over_splits(scores, partial(compute, some=some))
        theta.append(found)
        z.append(part)
    return Lines(tuple(labels), np.concatenate(theta), np.concatenate(z, axis=1))


def share_lines(
    scores: UnitScores, evaluated: Evaluated, names: Sequence[str], *, least: int = 10
) -> Lines:
    """Rows ``policy_share``: the share each arm (``programme``) gets under each rule (``comparator``)
    and today, for everybody and by level; ``n_treated`` expected number of people. Means over splits.

    A share of 1 to ``least`` - 1 persons, and what would give it away, has no estimate.
    """
    levels = level_members(scores)
    members = [("all", np.ones(scores.n, dtype=bool)), *((label, m) for _, label, m in levels)]
    variables = list(dict.fromkeys(v for v, _, _ in levels))
    families = [-1, *(variables.index(v) for v, _, _ in levels)]
    labels: list[dict[str, Any]] = []
    theta: list[float] = []
    z = []
    for rule in (TODAY, *names):
        dealt = observed(scores) if rule == TODAY else evaluated.mean(rule)
        counts = np.stack([dealt[member].sum(axis=0) for _, member in members])
        hidden = hidden_columns(counts, families, least)
        for t, (subgroup, member) in enumerate(members):
            clusters = int(np.unique(scores.cluster[member]).size)
            found, part = mean_of(scores.weight * member, dealt)
            for a, arm in enumerate(scores.arms):
                number = round(float(counts[t, a]))
                given_away = hidden[t, a] and not 0 < number < least
                shown = number >= MIN_UNITS and clusters >= MIN_UNITS and not hidden[t, a]
                labels.append(
                    {
                        "term": "policy_share",
                        "programme": arm,
                        "comparator": rule,
                        "subgroup": subgroup,
                        "unit": "share",
                        "n_treated": None if given_away else number,
                        "n_clusters": clusters,
                    }
                )
                theta.append(float(found[a]) if shown else np.nan)
                z.append(part[:, a])
    influence = scores.groups.add_up(np.stack(z, axis=1), scores.units)
    return Lines(tuple(labels), np.array(theta), influence)
