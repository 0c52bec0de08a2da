"""Heterogeneity of effects as one estimator: what is asked for, in one result."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from tiltakeval.design.cross_section import CrossSection
from tiltakeval.errors import InputError, unknown
from tiltakeval.estimates.table import Estimates
from tiltakeval.estimators.heterogeneity.balanced import balanced_gate
from tiltakeval.estimators.heterogeneity.calibration import calibration
from tiltakeval.estimators.heterogeneity.cate import CateLearner, dr_learner
from tiltakeval.estimators.heterogeneity.clusters import By, effect_clusters
from tiltakeval.estimators.heterogeneity.contrasts import contrasts
from tiltakeval.estimators.heterogeneity.controls import negative_controls, placebo_lines
from tiltakeval.estimators.heterogeneity.gate import (
    equality_tests,
    gate,
    step_down_rows,
)
from tiltakeval.estimators.heterogeneity.projection import projection
from tiltakeval.estimators.heterogeneity.rows import Lines, estimates_of
from tiltakeval.estimators.heterogeneity.score_types import TARGET_OF
from tiltakeval.estimators.heterogeneity.scores import (
    Column,
    UnitScores,
    find_column,
    nuisances_for,
    unit_score_sets,
)
from tiltakeval.estimators.heterogeneity.shrink import shrunk
from tiltakeval.estimators.heterogeneity.sorting import (
    by_predicted_outcome,
    classification,
    sorted_effects,
)
from tiltakeval.estimators.heterogeneity.survival.outcomes import SpellOutcomes
from tiltakeval.estimators.heterogeneity.targeting import by_need, targeting
from tiltakeval.estimators.numerics.basis import Basis
from tiltakeval.estimators.numerics.propensity import LearnerPropensity
from tiltakeval.estimators.weighting.aipw import AIPW, LearnerOutcome, scoring_of
from tiltakeval.estimators.weighting.nuisance import Cluster, Nuisance, Trim
from tiltakeval.estimators.weighting.pipeline import attrition_after, run_record
from tiltakeval.estimators.weighting.targets import TargetName

Part = Literal[
    "tests",
    "shrunk",
    "balanced",
    "projection",
    "calibration",
    "sorted",
    "classification",
    "targeting",
    "predicted_outcome",
    "contrasts",
    "clusters",
    "need",
    "placebo",
]
PARTS: tuple[Part, ...] = get_args(Part)
#: Parts that rest on predicted effects.
PREDICTED = {"calibration", "targeting", "need", "sorted", "classification", "clusters"}
Target = Literal["common", "treated", "programmes", "overlap"]
#: The averages whose scores describe a target's population.
AVERAGES: dict[str, TargetName] = {name: target for target, name in TARGET_OF.items()}  # type: ignore[misc]


@dataclass(frozen=True, kw_only=True)
class Heterogeneity:
    """Effects of several programmes by subgroup on their common population, and whether they differ.

    Everything is computed from one set of doubly robust scores (``unit_scores``) of the units that
    could have entered every programme. Effects on average and by declared subgroup, and their
    differences from the average, always; ``parts`` adds: tests (of equal effects, step-down p values),
    shrunk (towards the average), balanced (composition of the other subgroups, or of ``holding``,
    held fixed), projection (slopes in ``moderators``), calibration, sorted (groups of predicted
    effect), classification (who is most and least affected), targeting (TOC, AUTOC, Qini), need (the
    same by predicted outcome without a programme, lowest first), predicted_outcome (by groups of it),
    contrasts (programme against programme), clusters (``clusters`` many, of predicted effects over all
    programmes, found by ``clusters_by``), placebo (outcomes from before time zero). ``target``, among
    those who could have entered every programme: common describes all, treated each programme's own
    participants, programmes the participants of any (all programmes on the same people), overlap those
    met in every programme. ``negative_controls`` are programmes that can't have had an effect: it is
    tested that they haven't. ``only_outcome``, ``only_horizon`` choose one of several (default: all),
    ``compare`` the arms (comparison first), ``moderators`` the covariates of projection, classification
    and clusters (default: all). Other options as in ``AIPW``; its ridge does for very many outcomes and
    months, and is a little off where outcomes have steps that the propensities lack too.
    """

    target: Target = "common"
    parts: Sequence[Part] = ("tests", "shrunk")
    only_outcome: str | None = None
    only_horizon: int | None = None
    compare: Sequence[str] = ()
    moderators: Sequence[str] = ()
    holding: Sequence[str] = ()
    negative_controls: Sequence[str] = ()
    cate: CateLearner = "ridge"
    groups: int = 5
    most: float = 0.2
    strata: int = 3
    clusters: int = 3
    clusters_by: By = "kmeans"
    learner_outcome: LearnerOutcome = "products"
    learner_propensity: LearnerPropensity = "logit"
    basis: Basis = "products"
    folds: int = 5
    seed: int = 0
    seeds: int | Sequence[int] = 1
    trim: Trim = None
    floor: float = 0.01
    ridge_propensity: float | None = None
    trees: int = 300
    min_leaf: int = 10
    cluster: Cluster = "person"
    min_arm: int = 20
    level: float = 0.95
    draws: int = 999
    bands: bool = True

    def __post_init__(self) -> None:
        if self.target not in AVERAGES:
            raise unknown("target", self.target, tuple(AVERAGES), where="target")
        for part in self.parts:
            if part not in PARTS:
                raise unknown("part", str(part), PARTS, where="parts")
        self.scoring()  # raises for what AIPW refuses

    def scoring(self) -> AIPW:
        """The averages' estimator, whose scores these are."""
        return scoring_of(self, AVERAGES[self.target])

    def nuisance(self, design: CrossSection, *, seed: int | None = None) -> Nuisance:
        """Propensities, folds and groups (of the first seed): what the diagnostics look at."""
        return self.scoring().nuisance(design, seed=seed)

    def estimate(
        self, design: CrossSection, nuisance: Nuisance | None = None, *, cate: Any = None
    ) -> Estimates:
        """All rows of every outcome and horizon asked for.

        ``cate`` [units scored, programmes] are predicted effects from elsewhere (a forest), out of
        fold, for a single outcome and horizon. ``nuisance`` (of the first seed) saves fitting it.
        Raises InputError.
        """
        options = self.scoring()
        if nuisance is None or len(options.all_seeds) > 1:
            nuisances = nuisances_for(design, options)
        else:
            nuisances = (nuisance,)
        columns = self._columns(design)
        if cate is not None and len(columns) != 1:
            raise InputError(
                "predicted effects are of one outcome at one horizon",
                where="cate",
                remedy="Say only_outcome and only_horizon.",
            )
        record = dict(run_record(self, design, nuisances[0]))
        if isinstance(design, SpellOutcomes):
            record["spells"] = dict(design.notes)
        attrition = attrition_after(design, nuisances[0])
        found: list[Estimates] = []
        for scores in unit_score_sets(
            design, options, columns, arms=tuple(self.compare) or None, nuisances=nuisances
        ):
            parts, tests, notes = self.lines(scores, cate=cate)
            key = f"{scores.labels.outcome}@{scores.labels.horizon}"
            found.append(
                estimates_of(
                    scores,
                    parts,
                    tests=tests,
                    level=self.level,
                    draws=self.draws,
                    attrition=attrition if not found else None,
                    run={**record, **scores.run, **({f"shrunk {key}": notes} if notes else {})},
                    bands=self.bands,
                )
            )
        if "placebo" in self.parts:
            arms = tuple(self.compare) or None
            for scores, rows, tests in placebo_lines(
                design, options, arms=arms, nuisances=nuisances
            ):
                found.append(
                    estimates_of(
                        scores,
                        [rows],
                        tests=tests,
                        level=self.level,
                        draws=self.draws,
                        bands=self.bands,
                    )
                )
        return Estimates.concat(found) if len(found) > 1 else found[0]

    def lines(
        self, scores: UnitScores, *, cate: Any = None
    ) -> tuple[list[Lines], list[dict[str, Any]], dict[str, float]]:
        """Rows, tests and notes of one outcome at one horizon, from its scores."""
        average, by_level, difference = gate(scores)
        out, notes = [average, by_level, difference], dict[str, float]()
        tests: list[dict[str, Any]] = []
        if self.negative_controls:
            tests += negative_controls(scores, average, by_level, self.negative_controls)
        if "tests" in self.parts and len(by_level):
            tests += equality_tests(scores, by_level, difference)
            tests += step_down_rows(scores, by_level) + step_down_rows(scores, difference)
        if "shrunk" in self.parts and len(by_level):
            rows, noted = shrunk(scores, average, by_level, difference, level=self.level)
            out.append(rows)
            notes.update(noted)
        if "balanced" in self.parts:
            for rows in self._balanced(scores):
                out.append(rows)
                if "tests" in self.parts:
                    tests += equality_tests(scores, rows, None, term="test_equal_effects_balanced")
        if "projection" in self.parts:
            rows, more = projection(scores, self.moderators or scores.names)
            out.append(rows)
            tests += more
        if "predicted_outcome" in self.parts:
            out.append(by_predicted_outcome(scores, groups=self.strata))
        if "contrasts" in self.parts:
            rows = contrasts(scores)
            out.append(rows)
            tests += step_down_rows(scores, rows) if "tests" in self.parts else []
        return (*self._predicted(scores, cate, out, tests), notes)

    def _predicted(
        self, scores: UnitScores, cate: Any, out: list[Lines], tests: list[dict[str, Any]]
    ) -> tuple[list[Lines], list[dict[str, Any]]]:
        """What rests on predicted effects: those from the folds before a unit's own."""
        if PREDICTED & set(self.parts):
            tau = (
                dr_learner(scores, learner=self.cate, sequential=True, seed=self.seed)
                if cate is None
                else np.asarray(cate)
            )
            for part, rows_of in (
                ("calibration", calibration),
                ("targeting", targeting),
                ("need", by_need),
            ):
                if part in self.parts:
                    rows, more = rows_of(scores, tau)
                    out.append(rows)
                    tests += more
            if "sorted" in self.parts:
                out.append(sorted_effects(scores, tau, groups=self.groups))
            if "clusters" in self.parts:
                rows_of_clusters, more = effect_clusters(
                    scores,
                    clusters=self.clusters,
                    by=self.clusters_by,
                    learner=self.cate,
                    cate=cate,
                    covariates=self.moderators,
                    seed=self.seed,
                )
                out += rows_of_clusters
                tests += more
            if "classification" in self.parts:
                out.append(classification(scores, tau, covariates=self.moderators, share=self.most))
        return out, tests

    def _balanced(self, scores: UnitScores) -> Iterator[Lines]:
        held = list(self.holding)
        for name in scores.subgroups:
            others = [h for h in held if h != name]
            if others or len(scores.subgroups) > 1:
                yield balanced_gate(scores, name, holding=others)
        if not held and len(scores.subgroups) < 2:
            raise InputError(
                "nothing is named to be held fixed",
                where="holding",
                remedy="Declare another subgroup, or name covariates.",
            )

    def _columns(self, design: CrossSection) -> list[Column]:
        """The horizons and outcomes asked for."""
        if self.only_outcome is not None and self.only_horizon is not None:
            return [find_column(design, self.only_outcome, self.only_horizon)]
        names = design.outcome_names if self.only_outcome is None else (self.only_outcome,)
        horizons = design.horizons if self.only_horizon is None else (self.only_horizon,)
        return [find_column(design, name, h) for h in horizons for name in names]
