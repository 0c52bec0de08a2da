"""Rules that assign programmes: learnt on some people, applied to others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tiltakeval.errors import InputError
from tiltakeval.estimators.heterogeneity.policy.cuts import Cuts
from tiltakeval.estimators.heterogeneity.policy.individual import assign, best_of, priced
from tiltakeval.estimators.heterogeneity.policy.limited_tree import (
    LimitedTree,
    fit_limited_tree,
    share_out,
)
from tiltakeval.estimators.heterogeneity.policy.limits import Limit, bounds, loads
from tiltakeval.estimators.heterogeneity.policy.tree import Search
from tiltakeval.estimators.heterogeneity.policy.trust import trust
from tiltakeval.estimators.heterogeneity.policy.units import Units

Floats = NDArray[np.floating]


class Learnt(Protocol):
    """A rule ready to be applied."""

    def assign(self, units: Units) -> NDArray[np.float64]:
        """[m, A] probabilities of each arm; outcomes of ``units`` aren't looked at."""
        ...


class Rule(Protocol):
    """A way of making a rule from some people's scores."""

    def learn(self, units: Units) -> Learnt:
        """The rule these people's scores (or predictions) lead to."""
        ...


def enterable(probability: Floats, eligible: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Probabilities with those of arms a unit can't enter given to arm 0."""
    out = np.where(eligible, probability, 0.0)
    out[:, 0] += 1.0 - out.sum(axis=1)
    return out


@dataclass(frozen=True)
class Everyone:
    """Everybody who could enter it is offered one arm."""

    arm: int

    def learn(self, units: Units) -> Everyone:
        """Nothing to learn."""
        return self

    def assign(self, units: Units) -> NDArray[np.float64]:
        """That arm, or arm 0."""
        return enterable(np.tile(np.eye(units.arms)[self.arm], (units.n, 1)), units.eligible)


@dataclass(frozen=True)
class Random:
    """By lot with given shares [A] (today's): what a rule must beat to be worth anything.

    Where some can't enter some arms, the odds of each arm are raised until the shares are met by those
    who can (iterative proportional fitting), as far as they can be.
    """

    share: tuple[float, ...]

    def learn(self, units: Units) -> Random:
        """Nothing to learn."""
        return self

    def assign(self, units: Units) -> NDArray[np.float64]:
        """Probabilities whose weighted means are the shares."""
        target = np.asarray(self.share)
        w = units.weight / units.weight.sum()
        odds = target.copy()
        out = np.tile(target, (units.n, 1))
        for _ in range(1 if units.eligible.all() else 200):
            raw = units.eligible * odds
            raw[:, 0] = np.where(raw.sum(axis=1) > 0, raw[:, 0], 1.0)
            out = raw / raw.sum(axis=1, keepdims=True)
            now = w @ out
            odds = odds * np.where(now > 0, target / np.where(now > 0, now, 1.0), 1.0)
        return out


@dataclass(frozen=True)
class Individual:
    """Everybody's best arm by out-of-fold predictions, within limits.

    ``batch``: the people it is applied to are dealt places together, so that shares are exact;
    otherwise one by one at the prices learnt on others, with the shares that leads to.
    """

    limits: tuple[Limit, ...] = ()
    batch: bool = True
    seed: int = 0

    def learn(self, units: Units) -> PricedBest:
        """Prices of the limits among these people's predictions."""
        if not self.limits:
            return PricedBest(self, np.empty(0))
        found = assign(
            units.predicted,
            eligible=units.eligible,
            weight=units.weight,
            limits=self.limits,
            codes=units.codes,
            seed=self.seed,
        )
        return PricedBest(self, found.prices)


@dataclass(frozen=True)
class PricedBest:
    """``Individual`` with prices [K]."""

    rule: Individual
    prices: NDArray[np.float64]

    def assign(self, units: Units) -> NDArray[np.float64]:
        """Best arms, dealt together or one by one."""
        limits = self.rule.limits
        if limits and self.rule.batch:
            return assign(
                units.predicted,
                eligible=units.eligible,
                weight=units.weight,
                limits=limits,
                codes=units.codes,
                start=self.prices,
                seed=self.rule.seed,
            ).probability
        load = loads(limits, units.codes, units.eligible)
        net = priced(units.predicted, self.prices, load)
        return np.eye(units.arms)[best_of(net, units.eligible)]


@dataclass(frozen=True)
class ByTree:
    """A tree of at most ``depth`` cuts in a row, within limits; see ``limited_tree``.

    It is learnt on predictions + ``scores`` (scores - predictions), by default as far as they are to be
    trusted (``trust``); 1 takes doubly robust scores alone. What it is worth is judged by scores alone.
    """

    depth: int
    cuts: Cuts | None = None
    min_leaf: int = 1
    limits: tuple[Limit, ...] = ()
    search: Search = "auto"
    steps: int = 20
    seed: int = 0
    scores: float | None = None

    def learn(self, units: Units) -> LearntTree:
        """The tree these people's doubly robust scores lead to."""
        start = None
        if self.limits:
            start = Individual(self.limits, seed=self.seed).learn(units).prices
        part = trust(units) if self.scores is None else self.scores
        found = fit_limited_tree(
            units.x,
            units.predicted + part * (units.reward - units.predicted),
            weight=units.weight,
            eligible=units.eligible,
            limits=self.limits,
            codes=units.codes,
            depth=self.depth,
            cuts=self.cuts,
            min_leaf=min(self.min_leaf, units.n),
            search=self.search,
            start=start,
            steps=self.steps,
        )
        return LearntTree(self, found, part)


@dataclass(frozen=True)
class LearntTree:
    """``ByTree`` with its tree; ``scores`` how far it trusted them above predictions."""

    rule: ByTree
    found: LimitedTree
    scores: float = 1.0

    def assign(self, units: Units) -> NDArray[np.float64]:
        """The leaf's arm; with limits, lots drawn in leaves so that the shares are exact."""
        tree, limits = self.found.tree, self.rule.limits
        node = tree.node(units.x)
        w = units.weight / units.weight.sum()
        load = loads(limits, units.codes, units.eligible)
        mean = self.found.mean
        dealt = share_out(tree, node, mean, w, units.eligible, load, bounds(limits))
        return enterable(dealt.share[node], units.eligible)


def cross_fit(
    rule: Rule,
    units: Units,
    *,
    training: Mapping[int, Units] | None = None,
    keep: list[Learnt] | None = None,
) -> NDArray[np.float64]:
    """[n, A] probabilities of each arm for everyone by a rule learnt on others.

    ``training[fold]`` are the units the rule for a fold is learnt on, with scores and predictions that
    never saw the fold's outcomes: cross-fitted anew without it. Left out, the units of the other folds
    as they are, which is right only where their scores and predictions don't rest on this fold (known
    truths); cross-fitted ones do. Limited rules deal a fold's places among that fold. ``keep`` collects
    the rules learnt. Raises InputError with one fold.
    """
    folds = np.unique(units.fold)
    if folds.size < 2:
        what = "a rule is never judged where it was learnt: two folds are needed"
        raise InputError(what, where="folds")
    out = np.empty((units.n, units.arms))
    for fold in folds:
        held = units.fold == fold
        learnt = rule.learn(units.take(~held) if training is None else training[int(fold)])
        if keep is not None:
            keep.append(learnt)
        out[held] = learnt.assign(units.take(held))
    return out


def within(
    probability: Floats, limits: Sequence[Limit], units: Units
) -> list[dict[str, float | str]]:
    """How much of every limit is used, means per unit to four places: name, used, bound, left."""
    load, w = loads(limits, units.codes, units.eligible), units.weight / units.weight.sum()
    used = np.einsum("i,kia,ia->k", w, load, probability)
    return [
        {
            "limit": limit.name,
            "used": round(float(u), 4),
            "bound": round(limit.bound, 4),
            "left": round(limit.bound - float(u), 4),
        }
        for limit, u in zip(limits, used)
    ]
