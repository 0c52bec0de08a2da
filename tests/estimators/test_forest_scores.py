"""Forests on doubly robust scores, and the estimator that reports aggregates of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from invented_designs import make_design

from tiltakeval.design.cross_section import CrossSection
from tiltakeval.errors import InputError
from tiltakeval.estimators import build
from tiltakeval.estimators.heterogeneity.forest.from_scores import (
    forest_of_scores,
    held_out_effects,
)
from tiltakeval.estimators.heterogeneity.forest.options import ForestOptions
from tiltakeval.estimators.heterogeneity.scores import UnitScores, unit_scores
from tiltakeval.estimators.weighting.aipw import AIPW

SMALL = ForestOptions(trees=60, screening=20, threads=1)


def varying(n: int = 2_500) -> CrossSection:
    """Arm 1 helps only those whose second covariate is positive."""
    design = make_design(n, seed=1, months=1, recurring=True)
    lift = 3.0 * ((design.covariates[:, 1] > 0) & (design.arm == 1))
    return replace(design, outcomes=design.outcomes + lift[:, None, None])


def scored(design: CrossSection) -> UnitScores:
    return unit_scores(
        design, AIPW(target="ate", folds=4), outcome=design.outcome_names[0], horizon=0
    )


def test_effects_are_found_on_the_units_of_scores() -> None:
    scores = scored(varying())
    forest = forest_of_scores(scores, SMALL)
    effects = forest.predict().effects
    gains = scores.x[:, 1] > 0
    assert effects[gains, 0].mean() - effects[~gains, 0].mean() > 2.0
    held = held_out_effects(scores, SMALL)
    assert np.array_equal(np.isnan(held[:, 0]), scores.fold == 0)
    known = scores.fold > 0
    assert held[known & gains, 0].mean() - held[known & ~gains, 0].mean() > 1.8
    every = held_out_effects(scores, SMALL, sequential=False)
    assert np.isfinite(every).all()


def test_held_out_effects_do_not_look_at_the_outcomes_of_their_fold() -> None:
    scores = scored(varying(1_200))
    last = scores.fold == scores.folds - 1
    other = replace(scores, y=np.where(last, -5 * scores.y, scores.y))
    one, two = held_out_effects(scores, SMALL), held_out_effects(other, SMALL)
    np.testing.assert_array_equal(one, two)


def test_small_arms_are_told_by_name() -> None:
    scores = scored(varying(1_200))
    few = np.flatnonzero(scores.arm == 2)[:12]
    some = scores.take(np.concatenate([np.flatnonzero(scores.arm != 2), few]))
    with pytest.raises(InputError, match=f"too few units of '{scores.arms[2]}'"):
        held_out_effects(some, SMALL)


def test_the_estimator_gives_aggregates_and_finds_who_gains() -> None:
    design = varying()
    found = build(
        "causal_forest", forest_trees=60, screening=20, only_outcome="work", folds=4, bands=False
    ).estimate(design)
    table = found.table
    assert "calibration_slope" in set(table["term"])
    assert len(table) < 200 < design.n  # never a row a person
    slope = table[table["term"] == "calibration_slope"].iloc[0]
    assert slope["estimate"] == pytest.approx(1.0, abs=0.35)
    with pytest.raises(InputError, match="honesty"):
        build("causal_forest", honesty=0.99)
