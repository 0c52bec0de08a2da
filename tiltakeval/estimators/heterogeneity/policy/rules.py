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

Floats = NDArray[np.floating]
Ints = NDArray[np.integer]


@dataclass(frozen=True, kw_only=True)
class Units:
    """n units and A arms, arm 0 no programme.

    ``reward`` [n, A] doubly robust scores in the units the rule maximises (outcome, or NOK less cost);
    ``predicted`` [n, A] out-of-fold predictions of the same; ``x`` [n, p] covariates; ``eligible``
    [n, A] what each could enter (arm 0 always); ``arm`` [n] today's; ``weight`` [n]; ``fold`` [n] the
    fold each is held out in; ``codes`` groupings (fairness) with -1 for missing. Where a unit can't
    enter an arm, a rule that would offer it gives arm 0, and its reward and prediction are arm 0's.
    """

    reward: NDArray[np.float64]
    predicted: NDArray[np.float64]
    x: NDArray[np.float64]
    eligible: NDArray[np.bool_]
    arm: NDArray[np.int64]
    weight: NDArray[np.float64]
    fold: NDArray[np.integer]
    codes: Mapping[str, Ints]

    def __post_init__(self) -> None:
        n, arms = self.reward.shape
        shapes = {
            "predicted": (self.predicted, (n, arms)),
            "eligible": (self.eligible, (n, arms)),
            "arm": (self.arm, (n,)),
            "weight": (self.weight, (n,)),
            "fold": (self.fold, (n,)),
            **{f"codes {name}": (codes, (n,)) for name, codes in self.codes.items()},
        }
        wrong = [f"{k} is {v.shape}, not {s}" for k, (v, s) in shapes.items() if v.shape != s]
        if wrong or self.x.shape[0] != n:
            raise ValueError("arrays disagree: " + "; ".join(wrong or ["x"]))
        if not self.eligible[:, 0].all():
            raise InputError(
                f"{int((~self.eligible[:, 0]).sum())} units can't be without a programme",
                where="eligible",
                remedy="Arm 0 must be open to everybody.",
            )
        for name in ("reward", "predicted"):
            array = getattr(self, name)
            filled = np.where(self.eligible, array, array[:, :1])
            if not np.isfinite(filled).all():
                raise InputError(f"missing or infinite numbers in the {name}", where="scores")
            object.__setattr__(self, name, filled)
        if not (np.isfinite(self.weight).all() and (self.weight >= 0).all() and self.weight.sum()):
            raise InputError(
                "weights must be finite, not negative, and some positive", where="weight"
            )

    @property
    def n(self) -> int:
        """Number of units."""
        return int(self.arm.size)

    @property
    def arms(self) -> int:
        """Number of arms."""
        return int(self.reward.shape[1])

    def take(self, keep: NDArray) -> Units:
        """Some of the units."""
        return Units(
            reward=self.reward[keep],
            predicted=self.predicted[keep],
            x=self.x[keep],
            eligible=self.eligible[keep],
            arm=self.arm[keep],
            weight=self.weight[keep],
            fold=self.fold[keep],
            codes={name: codes[keep] for name, codes in self.codes.items()},
        )


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


CELLS = 4


def trust(units: Units) -> float:
    """How far scores are to be trusted above predictions, 0 to 1, from the scores of these people.

    Doubly robust scores are right on average and noisy; predictions are smooth and may be wrong. In
    quarters of every covariate the mean of score less prediction (of every arm's gain over arm 0) is
    noise, with its standard error, plus what the predictions miss there. The part that isn't noise,
    1 - sum of squared errors / sum of squared means, is the positive-part James-Stein factor (Efron &
    Morris 1973), taken over cells of about the size of a leaf. It goes to 1 as numbers grow, unless the
    predictions are right.
    """
    residual = units.reward - units.predicted
    gain = residual[:, 1:] - residual[:, :1]
    w = units.weight / units.weight.sum()
    square, noise = 0.0, 0.0
    for j in range(units.x.shape[1]):
        edges = np.unique(np.quantile(units.x[:, j], np.arange(1, CELLS) / CELLS))
        cell = np.searchsorted(edges, units.x[:, j], side="left")
        for c in np.unique(cell):
            part = np.where(cell == c, w, 0.0)
            size = part.sum()
            if size > 0:
                mean = part @ gain / size
                square += float((mean**2).sum())
                noise += float(((part**2) @ (gain - mean) ** 2).sum() / size**2)
    return float(np.clip(1.0 - noise / square, 0.0, 1.0)) if square > 0 else 0.0


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


def cross_fit(rule: Rule, units: Units, *, keep: list[Learnt] | None = None) -> NDArray[np.float64]:
    """[n, A] probabilities of each arm for everyone by the rule learnt on the other folds.

    Rules that need limits deal a fold's places among that fold. ``keep`` collects the rules learnt.
    Raises InputError with one fold.
    """
    folds = np.unique(units.fold)
    if folds.size < 2:
        raise InputError(
            "a rule is never judged where it was learnt: two folds are needed", where="folds"
        )
    out = np.empty((units.n, units.arms))
    for fold in folds:
        held = units.fold == fold
        learnt = rule.learn(units.take(~held))
        if keep is not None:
            keep.append(learnt)
        out[held] = learnt.assign(units.take(held))
    return out


def shares(probability: Floats, weight: Floats) -> NDArray[np.float64]:
    """[A] weighted shares of the arms."""
    return np.asarray(weight @ probability / weight.sum())


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
