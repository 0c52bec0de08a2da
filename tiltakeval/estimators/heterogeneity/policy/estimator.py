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
    small_levels,
)
from tiltakeval.estimators.heterogeneity.policy.costs import TAX_FINANCING
from tiltakeval.estimators.heterogeneity.policy.cuts import choose_cuts
from tiltakeval.estimators.heterogeneity.policy.drawing import drawn, stability
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
    LearntTree,
    Random,
    Rule,
    within,
)
from tiltakeval.estimators.heterogeneity.policy.statement import LABEL, needed_before_use
from tiltakeval.estimators.heterogeneity.policy.transitions import transition_lines
from tiltakeval.estimators.heterogeneity.policy.tree import Search
from tiltakeval.estimators.heterogeneity.policy.units import Units, shares
from tiltakeval.estimators.heterogeneity.rows import estimates_of
from tiltakeval.estimators.heterogeneity.scores import UnitScores, nuisances_for, unit_scores
from tiltakeval.estimators.numerics.basis import Basis
from tiltakeval.estimators.numerics.propensity import LearnerPropensity
from tiltakeval.estimators.weighting.aipw import AIPW, LearnerOutcome, scoring_of
from tiltakeval.estimators.weighting.nuisance import Cluster, Nuisance, Trim
from tiltakeval.estimators.weighting.pipeline import attrition_after, run_record

Floats = NDArray[np.floating]
RANDOM, TREE, INDIVIDUAL, LIMITED = "rule_random", "rule_tree", "rule_individual", "_limited"
EVERYONE = "rule_everyone_"


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
        choices = {
            "fairness": ("none", "equal_shares", "no_loss"),
            "main": ("tree", "individual"),
            "predictions": ("outcomes", "ridge", "boosting"),
            "search": ("auto", "exact", "hybrid"),
        }
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise unknown(name, str(getattr(self, name)), known, where=name)
        if (self.fairness != "none") != (self.fairness_by is not None):
            raise InputError(
                "fairness and fairness_by go together",
                where="fairness",
                remedy="Say what kind of fairness, and between the levels of which subgroup.",
            )
        if not 1 <= self.depth <= 5:
            raise InputError("depth must be 1 to 5", where="depth")
        if self.min_cell < 2 or self.min_leaf < self.min_cell:
            raise InputError("min_leaf must be at least min_cell, and that 2", where="min_leaf")
        if self.tree_scores is not None and not 0 <= self.tree_scores <= 1:
            raise InputError("must lie between 0 and 1", where="tree_scores")
        if self.fairness_slack < 0:
            raise InputError("the slack must be 0 or more", where="fairness_slack")
        if self.budget is not None and self.costs is None:
            raise InputError("a budget needs costs", where="budget", remedy="Set costs.")
        if self.value_per_unit is not None and self.costs is None:
            raise InputError("a net value needs costs", where="value_per_unit", remedy="Set costs.")
        self.scoring()  # raises for what AIPW refuses

    def scoring(self) -> AIPW:
        """The averages' estimator, whose scores these are."""
        # its own min_leaf is that of policy trees
        return scoring_of(self, "ate", min_leaf=AIPW.min_leaf)

    def estimate(self, design: CrossSection) -> Estimates:
        """All rows for one outcome at one horizon. Raises InputError."""
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
                "rules are judged on the people they are for, not weighted by overlap",
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
        names = [scores.names[j] for j in self._columns(scores)]
        whole = make(scores)
        tree_rule = TREE + ends[-1]
        final = rules[tree_rule].learn(whole)
        assert isinstance(final, LearntTree)
        least = self.min_cell
        told = {
            "label": dict(LABEL),
            "needed_before_use": {
                language: needed_before_use(language, uses=self._uses(limits, main))
                for language in ("nb", "en")
            },
            "main": main,
            "maximises": "net_nok" if net else "outcome",
            "costs_nok": dict(zip(scores.arms, cost.tolist())) if self.costs is not None else None,
            "tree": {
                "rule": tree_rule,
                "search": final.found.tree.search,
                "scores": round(final.scores, 3),
                "gap": None if np.isnan(final.found.gap) else round(float(final.found.gap), 6),
                "nodes": drawn(final, whole.x, whole.weight, scores.arms, names, least),
                "first_cut_in_folds": stability(found.learnt[tree_rule], names),
            },
            "limits": {
                name: within(found.mean(name), limits, whole)
                for name in rules
                if name.endswith(LIMITED)
            },
            "levels_too_small": small_levels(self, scores),
            "excluded": dict(scores.excluded),
        }
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

    def _uses(self, limits: tuple[Limit, ...], main: str) -> tuple[str, ...]:
        """Traits that the main rule looks at directly when it deals places."""
        if main.startswith(INDIVIDUAL) and any(limit.group for limit in limits):
            return (str(self.fairness_by),)
        return ()
