"""AIPW and IPW: truth, errors, invariance, hostile input."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from invented_designs import EFFECTS, make_design

from tiltakeval.design.cross_section import Subgroup
from tiltakeval.errors import InputError
from tiltakeval.estimates.combine import contrast
from tiltakeval.estimators import build
from tiltakeval.estimators.weighting.aipw import AIPW
from tiltakeval.estimators.weighting.ipw import IPW

KEY = ["population", "programme", "comparator", "subgroup", "outcome", "horizon", "term"]


def close(a, b, *, rtol: float = 1e-6, atol: float = 1e-8, columns=("estimate", "std_error")):
    left = a.table.set_index(KEY).sort_index()
    right = b.table.set_index(KEY).sort_index()
    assert left.index.equals(right.index)
    for name in columns:
        np.testing.assert_allclose(left[name], right[name], rtol=rtol, atol=atol)


@pytest.mark.parametrize("key", ["aipw_att", "aipw_ate", "aipw_programmes", "ipw_att", "ipw_ate"])
def test_known_effects_are_within_their_intervals_about_as_often_as_claimed(key: str) -> None:
    covered, gaps, errors = [], [], []
    for seed in range(40):
        design = make_design(600, seed=seed, months=1, recurring=False)
        options = {"folds": 3} if key.startswith("aipw") else {}
        table = build(key, bands=False, placebo=False, **options).estimate(design).table
        row = table[
            (table.term == "effect")
            & (table.subgroup == "all")
            & (table.comparator == "none")
            & (table.outcome == "work")
        ]
        truth = row.programme.map(dict(zip(("none", "aft", "amo"), EFFECTS)))
        covered += ((row.conf_low <= truth) & (truth <= row.conf_high)).tolist()
        gaps += (row.estimate - truth).tolist()
        errors += row.std_error.tolist()
    assert abs(np.mean(gaps)) < 3 * np.std(gaps) / np.sqrt(40)
    assert 0.88 <= np.mean(covered) <= 0.99
    assert 0.85 < np.mean(errors) / np.std(gaps) < 1.2


def test_an_unadjusted_difference_misses_what_weighting_finds() -> None:
    design = make_design(3000, seed=1, recurring=False, months=1)
    plain = (
        build("difference_in_means")
        .estimate(design)
        .select(programme="aft", outcome="work", subgroup="all", term="effect")
    )
    fine = (
        AIPW()
        .estimate(design)
        .select(programme="aft", outcome="work", subgroup="all", term="effect")
    )
    assert abs(plain.table.estimate[0] - 1) > 4 * plain.table.std_error[0]
    assert abs(fine.table.estimate[0] - 1) < 3 * fine.table.std_error[0]


def test_censoring_weights_recover_the_effect_without_later_entry() -> None:
    rng = np.random.default_rng(4)
    design = make_design(6000, seed=4, months=4, recurring=False)
    # later entry of comparison units is commoner with high x0 and raises the outcome afterwards
    hazard = 1 / (1 + np.exp(2 - design.covariates[:, 0]))
    outcomes = design.outcomes.copy()
    weights = np.ones((design.n, 4, 3), dtype=np.float32)
    gone = np.zeros(design.n, dtype=bool)
    stay = np.ones(design.n)
    for t in range(1, 4):
        stay *= 1 - hazard
        gone |= rng.random(design.n) < hazard
        outcomes[gone & (design.arm == 0), t, 0] += 2
        weights[:, t] = np.where(gone, 0, 1 / stay)[:, None]
    wait = replace(design, outcomes=outcomes)
    never = replace(wait, censor_weight=weights, estimand="vs_no_programme")
    pick = {
        "programme": "aft",
        "outcome": "work",
        "subgroup": "all",
        "term": "effect",
        "horizon": 3,
    }
    naive = AIPW(folds=3).estimate(wait).select(**pick).table
    for estimator in (AIPW(folds=3), IPW()):
        found = estimator.estimate(never).select(**pick).table
        assert abs(found.estimate[0] - 1) < 3 * found.std_error[0]
        assert found.n_comparison[0] < naive.n_comparison[0]
    assert naive.estimate[0] < 0.6


@pytest.mark.parametrize("key", ["ipw_att", "ipw_ate"])
@pytest.mark.parametrize("censored", [False, True])
def test_ipw_influence_is_the_derivative_by_each_units_weight(key: str, censored: bool) -> None:
    # the estimated propensities move with the weights too, so this checks their part
    design = make_design(
        220, seed=7, months=2, recurring=False, weighted=True, missing=True, censored=censored
    )
    estimator = build(key, bands=False, placebo=False, floor=0.0, min_arm=5, ridge_propensity=1e-6)
    full = estimator.estimate(design)
    assert full.influence.groups == design.n
    z = full.influence.columns(np.arange(len(full)))
    step = 1e-2
    for i in range(0, design.n, 12):
        moved = []
        for sign in (1, -1):
            weight = design.weight.copy()
            weight[i] += sign * step
            moved.append(estimator.estimate(replace(design, weight=weight)).table.estimate)
        slope = (moved[0] - moved[1]) / (2 * step)
        np.testing.assert_allclose(z[i] / design.weight[i], slope, rtol=2e-3, atol=5e-6)


def test_errors_of_arm_means_grow_when_persons_recur() -> None:
    one = make_design(400, seed=3, recurring=False, months=1)
    twice = one.take(np.repeat(np.arange(one.n), 3))
    by_person = AIPW(folds=3, basis="linear").estimate(twice).table
    by_unit = (
        AIPW(folds=3, basis="linear").estimate(replace(twice, person=np.arange(twice.n))).table
    )
    mean = (by_person.term == "mean_comparison") & (by_person.subgroup == "all")
    ratio = by_person.std_error[mean] / by_unit.std_error[mean]
    assert ((ratio > 1.6) & (ratio < 1.85)).all()  # sqrt(3)


def test_office_clusters_are_kept_whole() -> None:
    design = make_design(600, seed=2)
    found = AIPW(folds=3, cluster="office").estimate(design)
    assert found.influence.groups == np.unique(design.office).size
    nuisance = AIPW(folds=3, cluster="office").nuisance(design)
    assert all(np.unique(nuisance.fold[design.office == o]).size == 1 for o in range(40))


def test_contrasts_of_programmes_share_people_and_influence() -> None:
    design = make_design(900, seed=5, restricted=True)
    found = AIPW(target="programmes", contrasts="all", folds=3).estimate(design)
    pick = {"subgroup": "all", "term": "effect"}
    direct = found.select(programme="aft", comparator="amo", **pick)
    made = contrast(
        found.select(programme="aft", comparator="none", **pick),
        found.select(programme="amo", comparator="none", **pick),
    )
    np.testing.assert_allclose(direct.table.estimate, made.table.estimate, rtol=1e-6)
    np.testing.assert_allclose(direct.table.std_error, made.table.std_error, rtol=1e-5)
    pairs = AIPW(contrasts=(("aft", "amo"),), folds=3).estimate(design)
    rows = pairs.select(comparator="amo", **pick).table
    assert (rows.population == "invented:either").all()
    np.testing.assert_allclose(rows.estimate[rows.outcome == "work"], 0.5, atol=0.6)


def test_units_barred_from_a_programme_play_no_part_in_it() -> None:
    design = make_design(900, seed=5, restricted=True)
    changed = design.outcomes.copy()
    barred = ~design.eligible[:, 2] & (design.arm == 0)
    changed[barred] += 50
    options = {"folds": 3, "bands": False, "placebo": False}
    pick = {"programme": "amo", "term": "effect"}
    ipw = [
        IPW(bands=False, placebo=False).estimate(d).select(**pick).table.estimate
        for d in (design, replace(design, outcomes=changed))
    ]
    np.testing.assert_allclose(*ipw, rtol=1e-5)
    weights = AIPW(**options).nuisance(design).weights(design, 2)
    assert (weights[barred] == 0).all()


def test_the_median_over_seeds_carries_the_spread_between_them() -> None:
    design = make_design(300, seed=8, months=1)
    single = [AIPW(folds=3, seed=s, bands=False).estimate(design).table for s in range(5)]
    median = AIPW(folds=3, seeds=5, bands=False).estimate(design).table
    named = AIPW(folds=3, seeds=(0, 1, 2, 3, 4), bands=False).estimate(design).table
    values = np.array([t.estimate for t in single])
    np.testing.assert_allclose(median.estimate, np.median(values, axis=0), rtol=1e-8)
    spread = np.array([t.std_error for t in single]) ** 2 + (values - np.median(values, 0)) ** 2
    np.testing.assert_allclose(median.std_error, np.sqrt(np.median(spread, axis=0)), rtol=1e-6)
    np.testing.assert_allclose(named.estimate, median.estimate)


# --- invariance -----------------------------------------------------------------------------------

ESTIMATORS = [AIPW(folds=3, bands=False), IPW(bands=False)]


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_shifting_and_scaling_an_outcome(estimator) -> None:
    design = make_design(500, seed=1, months=2, missing=True)
    scaled = replace(design, outcomes=(design.outcomes * 4 + 256).astype(np.float32))
    before, after = estimator.estimate(design).table, estimator.estimate(scaled).table
    factor = np.where(before.term == "placebo", 1, 4)
    shift = np.where(before.term.str.startswith("mean"), 256, 0)
    np.testing.assert_allclose(after.estimate, before.estimate * factor + shift, atol=2e-4)
    np.testing.assert_allclose(after.std_error, before.std_error * factor, rtol=1e-4)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_the_order_of_units_is_irrelevant(estimator) -> None:
    design = make_design(500, seed=1, missing=True, weighted=True)
    order = np.random.default_rng(0).permutation(design.n)
    close(estimator.estimate(design), estimator.estimate(design.take(order)), rtol=1e-5)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_duplicates_with_half_the_weight_change_nothing(estimator) -> None:
    design = make_design(500, seed=1, weighted=True)
    twice = design.take(np.tile(np.arange(design.n), 2))
    close(
        estimator.estimate(design),
        estimator.estimate(replace(twice, weight=twice.weight / 2)),
        rtol=1e-5,
    )


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_renumbering_the_programmes_only_relabels(estimator) -> None:
    design = make_design(500, seed=1, restricted=True)
    swap = np.array([0, 2, 1])
    other = replace(
        design,
        arms=("none", "amo", "aft"),
        arm=swap[design.arm].astype(np.int16),
        eligible=design.eligible[:, swap],
    )
    close(estimator.estimate(design), estimator.estimate(other), rtol=1e-4, atol=1e-5)


# --- hostile input --------------------------------------------------------------------------------


def test_an_empty_or_tiny_programme_is_reported_as_not_supported() -> None:
    design = make_design(500, seed=1)
    empty = design.take(design.arm != 2)
    found = AIPW(folds=3).estimate(empty).table
    assert set(found.loc[found.programme == "amo", "status"]) == {"not_supported"}
    assert found.loc[found.programme == "amo", "estimate"].isna().all()
    assert found.loc[found.programme == "aft", "estimate"].notna().all()


def test_no_comparison_or_no_programme_is_an_input_error() -> None:
    design = make_design(300)
    with pytest.raises(InputError, match="comparison"):
        AIPW().estimate(design.take(design.arm != 0))
    with pytest.raises(InputError, match="any programme"):
        AIPW().estimate(design.take(design.arm == 0))


def test_a_subgroup_with_one_arm_only_is_not_supported() -> None:
    design = make_design(500, seed=1)
    codes = np.where(design.arm == 1, 0, 1).astype(np.int16)
    changed = replace(design, subgroups={"s": Subgroup(levels=("in", "out"), codes=codes)})
    for estimator in ESTIMATORS:
        table = estimator.estimate(changed).table
        rows = (table.programme == "aft") & (table.subgroup == "s=in")
        assert set(table.status[rows]) == {"not_supported"}
        assert table.estimate[rows].isna().all()


def test_constant_and_collinear_covariates_change_nothing() -> None:
    design = make_design(500, seed=1)
    more = np.column_stack([design.covariates, np.full(design.n, 7.0)])
    changed = replace(design, covariates=more, covariate_names=(*design.covariate_names, "c"))
    close(AIPW(folds=3).estimate(design), AIPW(folds=3).estimate(changed))
    again = np.column_stack([design.covariates, design.covariates[:, 0] * 2 + 1])
    changed = replace(design, covariates=again, covariate_names=(*design.covariate_names, "c"))
    assert AIPW(folds=3).estimate(changed).table.estimate.notna().all()


def test_perfect_separation_is_an_input_error() -> None:
    design = make_design(500, seed=1, arms=2)
    x = design.covariates.copy()
    x[:, 0] = np.where(design.arm == 1, 5, -5) + np.random.default_rng(0).uniform(-1, 1, design.n)
    for key in ("aipw_att", "ipw_att"):
        with pytest.raises(InputError, match="separate"):
            build(key).estimate(replace(design, covariates=x))


def test_missing_covariates_are_an_input_error() -> None:
    design = make_design(200)
    x = design.covariates.copy()
    x[3, 1] = np.nan
    with pytest.raises(InputError, match="covariate"):
        replace(design, covariates=x)


def test_a_month_without_outcomes_is_not_supported_and_the_others_are_untouched() -> None:
    design = make_design(500, seed=1)
    y = design.outcomes.copy()
    y[:, 1] = np.nan
    for estimator in ESTIMATORS:
        whole, cut = (estimator.estimate(d).table for d in (design, replace(design, outcomes=y)))
        rows = (cut.horizon == 1) & (cut.term != "placebo")
        assert set(cut.status[rows]) == {"not_supported"}
        assert (cut.n_treated[rows] == 0).all()
        np.testing.assert_allclose(cut.estimate[~rows], whole.estimate[~rows], rtol=0.05, atol=0.05)


def test_trimming_is_counted_and_never_looks_at_outcomes() -> None:
    design = make_design(800, seed=2, arms=2)
    estimator = AIPW(folds=3, trim=(0.2, 0.8))
    found = estimator.estimate(design)
    nuisance = estimator.nuisance(design)
    assert nuisance.trimmed.sum() > 0
    assert found.run["trimmed"] == nuisance.trimmed.sum()
    step = found.attrition.steps.set_index("step").loc["within_trimming_range"]
    assert step.units == design.n - nuisance.trimmed.sum()
    other = estimator.nuisance(replace(design, outcomes=design.outcomes * 0))
    assert np.array_equal(other.trimmed, nuisance.trimmed)


@pytest.mark.parametrize(
    "options",
    [
        {"folds": 1},
        {"floor": 1.0},
        {"level": 95},
        {"learner_outcome": "ridgee"},
        {"learner_propensity": "x"},
        {"seeds": 0},
        {"colour": 1},
        {"target": "ate"},
    ],
)
def test_bad_options_are_input_errors(options: dict) -> None:
    with pytest.raises(InputError):
        build("aipw_att", **options)


@pytest.mark.parametrize("learner", ["forest", "boosting"])
def test_tree_learners_find_the_effect(learner: str) -> None:
    design = make_design(700, seed=2, arms=2, months=1, recurring=False)
    found = AIPW(
        learner_outcome=learner, learner_propensity=learner, trees=40, folds=3, placebo=False
    ).estimate(design)
    row = found.select(outcome="work", subgroup="all", term="effect").table
    assert abs(row.estimate[0] - 1) < 3.5 * row.std_error[0]
    again = AIPW(
        learner_outcome=learner, learner_propensity=learner, trees=40, folds=3, placebo=False
    ).estimate(design)
    assert np.array_equal(found.table.estimate, again.table.estimate)
