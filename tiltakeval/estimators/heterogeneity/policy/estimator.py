"""Whom to offer what, as one estimator: values of assignment rules, and who would gain or lose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tiltakeval.design.cross_section import CrossSection
from tiltakeval.errors import InputError, unknown
from tiltakeval.estimates.table import Estimates
from tiltakeval.estimators.heterogeneity.cate import dr_learner
from tiltakeval.estimators.heterogeneity.policy.asked import (
    Numbers,
    codes_of,
    limits_asked,
    money_asked,
)
from tiltakeval.estimators.heterogeneity.policy.costs import TAX_FINANCING
from tiltakeval.estimators.heterogeneity.policy.cuts import choose_cuts
from tiltakeval.estimators.heterogeneity.policy.evaluate import (
    TODAY,
    Training,
    evaluate,
    scores_without,
    share_lines,
    value_lines,
)
from tiltakeval.estimators.heterogeneity.policy.limits import Limit
from tiltakeval.estimators.heterogeneity.policy.rules import (
    ByTree,
    Everyone,
    Individual,
    Random,
    Rule,
)
from tiltakeval.estimators.heterogeneity.policy.told import (
    INDIVIDUAL,
    LIMITED,
    RANDOM,
    TREE,
    check_options,
    told_of,
)
from tiltakeval.estimators.heterogeneity.policy.transitions import transition_lines
from tiltakeval.estimators.heterogeneity.policy.tree import Search
from tiltakeval.estimators.heterogeneity.policy.units import Units, shares
from tiltakeval.estimators.heterogeneity.rows import estimates_of
from tiltakeval.estimators.heterogeneity.scores import UnitScores, nuisances_for, unit_scores
from tiltakeval.estimators.heterogeneity.survival.outcomes import SpellOutcomes
from tiltakeval.estimators.numerics.basis import Basis
from tiltakeval.estimators.numerics.propensity import LearnerPropensity
from tiltakeval.estimators.weighting.aipw import AIPW, LearnerOutcome, scoring_of
from tiltakeval.estimators.weighting.nuisance import Cluster, Nuisance, Trim
from tiltakeval.estimators.weighting.pipeline import attrition_after, run_record

Floats = NDArray[np.floating]
EVERYONE = "rule_everyone_"
#: Measures of spells that are larger the later the exit.
LONGER = ("restricted_mean", "survival")


@dataclass(frozen=True, kw_only=True)
class Policy:
    """Values of rules that assign programmes, judged only on people they weren't learnt from.

    Decision support. On the units that could have entered every programme (``arms``; default all): the
    value of today's practice, of offering everybody one arm, of dealing today's shares by lot
    (``rule_random``), of everybody's best arm by predictions (``rule_individual``) and of a policy tree
    (``rule_tree``), with gains over today and over each other, by declared subgroup; and for the
    ``main`` rule who would move from what to what, and what moving does for them. ``outcome`` defaults
    to the first, ``horizon`` to the last.

    ``capacity`` ("today", or name=share or places for the units described), ``budget`` (NOK in all for
    them) and ``fairness`` add rules that keep them (``…_limited``): ``equal_shares`` of places between
    the levels of ``fairness_by``, within ``fairness_slack``; ``no_loss``: no level has fewer places
    than today less the slack (a share of the level, or places from 1 up). Levels of fewer than
    ``min_cell`` units aren't held to it, and told. ``costs`` (name=NOK per participant; the
    catalogue's, where it has them, for ``months`` in the programme) with ``value_per_unit`` (NOK per
    unit of the outcome; 1 for an outcome in NOK) makes rules maximise, and adds rows of, the net value.
    ``predictions``: differences of the fitted outcomes, or the scores regressed on covariates (ridge,
    boosting). Trees are learnt on those and, as far as ``tree_scores``
    says (1: scores alone; default: as far as they can be trusted, ``trust``), on the scores
    themselves, and use ``covariates`` (default all) cut at round numbers into at most ``bins``; see
    ``tree.fit_tree`` for ``depth``, ``search`` and ``cuts`` for what keeps a threshold from being
    somebody's value. ``min_cell``: fewest persons in a leaf and in a cell of the transition table.
    Other options as in ``AIPW``; ``seeds`` splits, the median reported.
    """

    outcome: str | None = None
    horizon: int | None = None
    arms: Sequence[str] = ()
    depth: int = 2
    bins: int = 32
    search: Search = "auto"
    covariates: Sequence[str] = ()
    predictions: Literal["outcomes", "ridge", "boosting"] = "outcomes"
    tree_scores: float | None = None
    main: Literal["tree", "individual"] = "tree"
    capacity: Numbers | None = None
    budget: float | None = None
    costs: Numbers | None = None
    value_per_unit: float | None = None
    months: float | None = None
    tax_financing: float = TAX_FINANCING
    fairness: Literal["none", "equal_shares", "no_loss"] = "none"
    fairness_by: str | None = None
    fairness_slack: float = 0.02
    min_cell: int = 10
    min_leaf: int = 50
    learner_outcome: LearnerOutcome = "ridge"
    learner_propensity: LearnerPropensity = "logit"
    basis: Basis = "products"
    folds: int = 5
    seed: int = 0
    seeds: int | Sequence[int] = 3
    trim: Trim = None
    floor: float = 0.01
    ridge_propensity: float | None = None
    trees: int = 300
    cluster: Cluster = "person"
    min_arm: int = 20
    level: float = 0.95

    def __post_init__(self) -> None:
        check_options(self)
        self.scoring()  # raises for what AIPW refuses

    def scoring(self) -> AIPW:
        """The averages' estimator, whose scores these are."""
        # its own min_leaf is that of policy trees
        return scoring_of(self, "ate", min_leaf=AIPW.min_leaf)

    def estimate(self, design: CrossSection) -> Estimates:
        """All rows for one outcome at one horizon. Raises InputError."""
        if isinstance(design, SpellOutcomes) and design.notes["measure"] in LONGER:
            raise InputError(
                "a rule would make the time until an exit as long as it can",
                where="measure",
                remedy="Use measure = time_lost (time since the exit) or incidence.",
            )
        options = self.scoring()
        nuisances: tuple[Nuisance, ...] = nuisances_for(design, options)
        scores = unit_scores(
            design,
            options,
            outcome=design.outcome_names[0] if self.outcome is None else self.outcome,
            horizon=design.horizons[-1] if self.horizon is None else self.horizon,
            arms=tuple(self.arms) or None,
            nuisances=nuisances,
        )
        record = run_record(self, design, nuisances[0])
        attrition = attrition_after(design, nuisances[0])
        training = scores_without(design, options, scores, nuisances)
        return self.of_scores(scores, training, run=record, attrition=attrition)

    def of_scores(
        self,
        scores: UnitScores,
        training: Training,
        *,
        run: Mapping[str, Any] | None = None,
        attrition: Any = None,
    ) -> Estimates:
        """The same from scores that are there already; ``training(split, fold)`` gives scores computed
        without a fold, to learn on (``evaluate.scores_without``). Raises InputError."""
        if scores.target != "common":
            raise InputError(
                "rules are judged on everybody they are for, not on participants or by overlap",
                where="target",
                remedy="Use scores of the common population.",
            )
        worth, cost = money_asked(self, scores)
        net = worth is not None
        limits = limits_asked(self, scores, cost)
        rules = self._rules(scores, limits)

        def make(split: UnitScores) -> Units:
            predicted = split.fitted
            if self.predictions != "outcomes":
                gain = dr_learner(split, learner=self.predictions, seed=self.seed)
                predicted = np.column_stack([np.zeros(split.n), gain])
            value = 1.0 if worth is None else worth
            charge = cost if net else np.zeros(len(scores.arms))
            codes = {} if self.fairness_by is None else codes_of(split, self.fairness_by)
            return Units(
                reward=value * split.psi - charge,
                predicted=value * predicted - charge,
                x=split.x[:, self._columns(scores)],
                eligible=np.ones(split.psi.shape, dtype=bool),
                arm=split.arm,
                weight=split.weight,
                fold=split.fold,
                codes=codes,
            )

        found = evaluate(scores, rules, make, training)
        learnable = [n for n in rules if n.startswith((TREE, INDIVIDUAL))]
        pairs = [(name, TODAY) for name in rules]
        pairs += [(name, RANDOM) for name in learnable]
        ends = ("", LIMITED) if limits else ("",)
        pairs += [(TREE + end, INDIVIDUAL + end) for end in ends]
        main = (TREE if self.main == "tree" else INDIVIDUAL) + (LIMITED if limits else "")
        parts = [
            value_lines(scores, found, list(rules), against=pairs),
            share_lines(scores, found, learnable, least=self.min_cell),
            transition_lines(scores, found, main, least=self.min_cell),
        ]
        if worth is not None:
            parts.append(
                value_lines(
                    scores,
                    found,
                    list(rules),
                    against=pairs,
                    worth=worth,
                    cost=cost,
                    prefix="policy_net",
                    unit="nok",
                )
            )
        told = told_of(
            self,
            scores,
            found,
            rules,
            make(scores),
            limits=limits,
            main=main,
            names=[scores.names[j] for j in self._columns(scores)],
            cost=cost,
            net=net,
        )
        return estimates_of(
            scores,
            parts,
            level=self.level,
            source="policy",
            attrition=attrition,
            run={**(run or {}), "policy": told},
            bands=False,
        )

    def _columns(self, scores: UnitScores) -> list[int]:
        """Positions of the covariates trees may use."""
        for name in self.covariates:
            if name not in scores.names:
                raise unknown("covariate", str(name), scores.names, where="covariates")
        return [scores.names.index(n) for n in self.covariates] or list(range(len(scores.names)))

    def _rules(self, scores: UnitScores, limits: tuple[Limit, ...]) -> dict[str, Rule]:
        x = scores.x[:, self._columns(scores)]
        names = [scores.names[j] for j in self._columns(scores)]
        bins = self.bins if self.depth <= 2 else min(self.bins, 16)
        tree = ByTree(
            self.depth,
            choose_cuts(x, names, bins=bins, least=self.min_cell),
            min_leaf=self.min_leaf,
            search=self.search,
            seed=self.seed,
            scores=self.tree_scores,
        )
        today = shares(np.eye(len(scores.arms))[scores.arm], scores.weight)
        out: dict[str, Rule] = {EVERYONE + name: Everyone(a) for a, name in enumerate(scores.arms)}
        out[RANDOM] = Random(tuple(today.tolist()))
        out[INDIVIDUAL] = Individual(seed=self.seed)
        out[TREE] = tree
        if limits:
            out[INDIVIDUAL + LIMITED] = Individual(limits, seed=self.seed)
            out[TREE + LIMITED] = replace(tree, limits=limits)
        return out
