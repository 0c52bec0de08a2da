"""Effects by subgroup and what follows from the scores, against formulas, truth and other code."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from invented_arms import effects, make_arms
from scipy import optimize, stats

from tiltakeval.design.cross_section import Subgroup
from tiltakeval.errors import InputError
from tiltakeval.estimates.inference import standard_errors
from tiltakeval.estimators import build
from tiltakeval.estimators.heterogeneity import ebci, multiple
from tiltakeval.estimators.heterogeneity.balanced import balanced_gate
from tiltakeval.estimators.heterogeneity.calibration import calibration
from tiltakeval.estimators.heterogeneity.cate import dr_learner
from tiltakeval.estimators.heterogeneity.estimator import PARTS, Heterogeneity
from tiltakeval.estimators.heterogeneity.gate import equality_tests, gate, step_down_rows
from tiltakeval.estimators.heterogeneity.projection import projection
from tiltakeval.estimators.heterogeneity.scores import UnitScores, unit_scores
from tiltakeval.estimators.heterogeneity.shrink import shrunk
from tiltakeval.estimators.heterogeneity.sorting import (
    by_predicted_outcome,
    classification,
    sorted_effects,
)
from tiltakeval.estimators.heterogeneity.targeting import by_need, targeting
from tiltakeval.estimators.weighting.aipw import AIPW


@pytest.fixture(scope="module")
def scores() -> UnitScores:
    return unit_scores(make_arms(3000, seed=1), AIPW(target="ate"))


@pytest.fixture(scope="module")
def flat() -> UnitScores:
    return unit_scores(make_arms(3000, seed=2, varied=False), AIPW(target="ate"))


def exact(scores: UnitScores, psi_effects: np.ndarray) -> UnitScores:
    """The same units with scores whose effects are known."""
    psi = np.column_stack([np.zeros(scores.n), psi_effects])
    split = replace(scores.splits[0], psi=psi)
    return replace(scores, psi=psi, splits=(split,))


def test_effects_by_level_are_means_of_scores_with_their_errors(scores: UnitScores) -> None:
    average, by_level, difference = gate(scores)
    member = scores.subgroups["g"].codes == 1
    at = [i for i, row in enumerate(by_level.labels) if row["subgroup"] == "g=yes"]
    own = scores.effects[member]
    np.testing.assert_allclose(by_level.theta[at], own.mean(axis=0))
    # units dealt into 2,000 groups: about 1.6 per cent of noise in an error
    np.testing.assert_allclose(
        standard_errors(by_level.z[:, at]), own.std(axis=0) / np.sqrt(len(own)), rtol=0.08
    )
    np.testing.assert_allclose(difference.theta[at], own.mean(axis=0) - average.theta)
    truth = effects(scores.x)[member].mean(axis=0)
    assert (np.abs(by_level.theta[at] - truth) < 3 * standard_errors(by_level.z[:, at])).all()


def test_joint_tests_see_what_differs_and_nothing_else(
    scores: UnitScores, flat: UnitScores
) -> None:
    found = {
        (row["programme"], row["subgroup"]): row["p_value"]
        for row in equality_tests(scores, *gate(scores)[1:])
    }
    assert found["aft", "g"] < 1e-6 and found["all", "all"] < 0.01 and found["all", "g"] < 1e-6
    assert found["amo", "g"] > 0.01
    none = equality_tests(flat, *gate(flat)[1:])
    assert min(row["p_value"] for row in none) > 0.01
    rows = step_down_rows(scores, gate(scores)[2])
    assert {row["term"] for row in rows} == {"step_down:effect_minus_average"}


def test_step_down_rejects_more_than_holm_and_keeps_its_order() -> None:
    rng = np.random.default_rng(0)
    common = rng.standard_normal((500, 1))
    z = (common + 0.5 * rng.standard_normal((500, 6))) / 500
    se = standard_errors(z)
    theta = np.array([0.1, 1.0, 2.0, 2.6, 3.2, 6.0]) * se
    p = multiple.step_down(theta, z)
    plain = 2 * stats.t.sf(theta / se, 499)
    assert (np.diff(p[np.argsort(-theta)]) >= 0).all() and (p >= plain - 0.01).all()
    assert (p <= multiple.holm(plain) + 0.01).all() and p[2] < multiple.holm(plain)[2]
    np.testing.assert_allclose(
        multiple.holm([0.01, 0.04, 0.03, np.nan]), [0.03, 0.06, 0.06, np.nan]
    )
    alone = multiple.step_down(theta[2:3], z[:, 2:3])
    assert alone[0] == pytest.approx(plain[2], abs=0.01)


def test_step_down_rejects_a_true_hypothesis_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    first = []
    for i in range(300):
        unit = rng.standard_normal((80, 1)) + rng.standard_normal((80, 5))
        theta = unit.mean(axis=0)
        z = (unit - theta) / 80
        first.append(np.nanmin(multiple.step_down(theta, z, draws=999, seed=i)))
    assert 0.02 < np.mean(np.array(first) < 0.05) < 0.09


def test_wald_is_hotelling() -> None:
    rng = np.random.default_rng(2)
    unit = rng.standard_normal((60, 3))
    mean = unit.mean(axis=0)
    f, q, p = multiple.wald(mean, (unit - mean) / 60, df=59)
    t2 = 60 * mean @ np.linalg.solve(np.cov(unit.T), mean)
    assert q == 3 and f == pytest.approx(t2 * 57 / (59 * 3))
    assert p == pytest.approx(stats.f.sf(f, 3, 57))
    same = np.column_stack([unit, unit[:, 0]])
    again = multiple.wald(same.mean(axis=0), (same - same.mean(axis=0)) / 60, df=59)
    assert again[1] == 3 and again[0] == pytest.approx(f)


def worst_by_programme(m2: float, kappa: float, chi: float) -> float:
    """The largest chance of missing over distributions on a grid, by linear programming."""
    t = np.concatenate([[0.0], np.geomspace(1e-3, 400, 1500)])
    limits = {"A_eq": [np.ones(t.size), t], "b_eq": [1.0, m2]}
    if np.isfinite(kappa):
        limits |= {"A_ub": [t**2], "b_ub": [kappa * m2**2]}
    return float(-optimize.linprog(-ebci.missed(t, chi), **limits).fun)


@pytest.mark.parametrize("m2", [0.25, 1.0, 4.0])
@pytest.mark.parametrize("kappa", [1.5, 3.0, np.inf])
def test_critical_values_hold_for_every_distribution(m2: float, kappa: float) -> None:
    chi = ebci.critical_value(m2, kappa, 0.95)
    assert worst_by_programme(m2, kappa, chi) == pytest.approx(0.05, abs=1e-3)


def test_critical_values_are_those_of_the_paper() -> None:
    # Armstrong, Kolesar & Plagborg-Moller's package ebci: cva(4, Inf) and no bias
    assert ebci.critical_value(4.0, np.inf, 0.95) == pytest.approx(7.21635, abs=1e-4)
    assert ebci.critical_value(0.0, 3.0, 0.95) == pytest.approx(1.959964)
    m2 = np.linspace(0.1, 2, 40)
    exactly = [ebci.critical_value(float(v), 3.0, 0.95) for v in m2[::13]]
    np.testing.assert_allclose(ebci.critical_values(m2, 3.0, 0.95)[::13], exactly, rtol=3e-3)


def test_shrinkage_goes_towards_the_average_as_far_as_levels_are_alike(
    scores: UnitScores, flat: UnitScores
) -> None:
    weights = []
    for one in (scores, flat):
        average, by_level, difference = gate(one)
        rows, used = shrunk(one, average, by_level, difference)
        own = np.tile(average.theta, len(by_level) // 2)
        assert (np.abs(rows.theta - own) <= np.abs(by_level.theta - own) + 1e-12).all()
        weights.append(used["largest_weight"])
        low = np.array([row["conf_low"] for row in rows.labels])
        assert (low < rows.theta).all()
    assert weights[0] > 0.9 > weights[1]


def test_balanced_effects_tell_composition_from_level(scores: UnitScores) -> None:
    # the first programme's effect differs by g alone; h goes with g, so its levels differ too
    _, by_level, _ = gate(scores)
    plain = {(r["programme"], r["subgroup"]): t for r, t in zip(by_level.labels, by_level.theta)}
    rows = balanced_gate(scores, "h")
    held = {(r["programme"], r["subgroup"]): t for r, t in zip(rows.labels, rows.theta)}
    assert plain["aft", "h=yes"] - plain["aft", "h=no"] > 0.35
    assert abs(held["aft", "h=yes"] - held["aft", "h=no"]) < 0.3
    other = balanced_gate(scores, "g", holding=["h", "x0"])
    found = {(r["programme"], r["subgroup"]): t for r, t in zip(other.labels, other.theta)}
    assert found["aft", "g=yes"] - found["aft", "g=no"] == pytest.approx(1, abs=0.4)


def test_a_level_not_found_everywhere_has_no_balanced_effect(scores: UnitScores) -> None:
    nested = Subgroup(levels=("a", "b"), codes=scores.subgroups["g"].codes)
    twice = replace(scores, subgroups={**scores.subgroups, "copy": nested})
    assert np.isnan(balanced_gate(twice, "g", holding=["copy"]).theta).all()
    with pytest.raises(InputError, match="own effects"):
        balanced_gate(scores, "g", holding=["g"])
    with pytest.raises(InputError, match="unknown characteristic"):
        balanced_gate(scores, "g", holding=["x9"])


def test_the_projection_is_least_squares_of_the_scores(scores: UnitScores) -> None:
    lines, tests = projection(scores, ["x0", "g"])
    x = np.column_stack([np.ones(scores.n), scores.x[:, [0, 2]]])
    beta, *_ = np.linalg.lstsq(x, scores.effects, rcond=None)
    np.testing.assert_allclose(lines.theta, beta[1:].T.ravel())
    residual = scores.effects[:, 0] - x @ beta[:, 0]
    bread = np.linalg.inv(x.T @ x)
    robust = np.sqrt(np.diag(bread @ (x.T * residual**2) @ x @ bread))
    np.testing.assert_allclose(standard_errors(lines.z)[:2], robust[1:], rtol=0.08)
    assert tests[0]["p_value"] < 1e-4 and tests[1]["p_value"] < 1e-4
    with pytest.raises(InputError, match="depend on each other"):
        projection(replace(scores, x=scores.x[:, [0, 0, 2, 3]]), ["x0", "x1"])
    with pytest.raises(InputError, match="unknown covariate"):
        projection(scores, ["x7"])


def test_right_predictions_are_calibrated_and_noise_is_not(scores: UnitScores) -> None:
    truth = effects(scores.x)
    lines, tests = calibration(scores, truth)
    se = standard_errors(lines.z)
    assert (np.abs(lines.theta[:2] - 1) < 3 * se[:2]).all()
    np.testing.assert_allclose(lines.theta[2:], truth.var(axis=0), atol=4 * se[2:].max())
    assert all(row["p_value"] < 0.01 for row in tests)
    noise = np.random.default_rng(0).standard_normal(truth.shape)
    lines, tests = calibration(scores, noise)
    assert (np.abs(lines.theta[:2]) < 3 * standard_errors(lines.z)[:2]).all()
    assert (lines.theta[2:] < 0).all() and all(row["p_value"] > 0.05 for row in tests[-3:])
    constant, none = calibration(scores, np.ones_like(truth))
    assert np.isnan(constant.theta).all() and not none


@pytest.mark.parametrize("learner", ["ridge", "boosting"])
def test_predicted_effects_come_from_other_folds(scores: UnitScores, learner: str) -> None:
    scores = scores if learner == "ridge" else scores.take(np.arange(700))
    tau = dr_learner(scores, learner=learner, rounds=8)
    truth = effects(scores.x)
    assert ((tau - truth) ** 2).mean() < 0.97 * ((truth - truth.mean(axis=0)) ** 2).mean()
    changed = scores.psi.copy()
    changed[scores.fold == 2, 1] += 5
    again = dr_learner(replace(scores, psi=changed), learner=learner, rounds=8)
    np.testing.assert_allclose(again[scores.fold == 2], tau[scores.fold == 2])
    ahead = dr_learner(scores, learner=learner, sequential=True, rounds=8)
    later = dr_learner(replace(scores, psi=changed), learner=learner, sequential=True, rounds=8)
    assert np.isnan(ahead[scores.fold == 0]).all()
    np.testing.assert_allclose(later[scores.fold <= 2], ahead[scores.fold <= 2])


def test_areas_under_the_targeting_curve_of_known_effects(scores: UnitScores) -> None:
    # effects uniform on (0, 1), ranked by themselves: TOC (1 - q) / 2, AUTOC 1/4, Qini 1/12
    u = (np.argsort(np.argsort(scores.x[:, 0])) + 0.5) / scores.n
    known = exact(scores, np.column_stack([u, u]))
    lines, tests = targeting(known, np.column_stack([u, -u]))
    found = {
        (r["programme"], r["subgroup"], r["term"]): t for r, t in zip(lines.labels, lines.theta)
    }
    assert found["aft", "ranked_first=20%", "toc"] == pytest.approx(0.4, abs=0.02)
    assert found["aft", "all", "autoc"] == pytest.approx(0.25, abs=0.02)
    assert found["aft", "all", "qini"] == pytest.approx(1 / 12, abs=0.01)
    assert found["amo", "all", "qini"] == pytest.approx(-1 / 12, abs=0.01)
    tied, _ = targeting(known, np.column_stack([u > 0.5, u > 0.5]), shares=(0.2, 0.5))
    np.testing.assert_allclose(tied.theta[:2], 0.25, atol=0.02)
    # two ranks: TOC is 1/4 to one half, then falls as 1/q: 1/8 + (log 2 - 1/2) / 4
    assert tied.theta[2] == pytest.approx(0.125 + 0.25 * (np.log(2) - 0.5), abs=0.01)
    p = {(row["programme"], row["term"]): row["p_value"] for row in tests}
    assert p["aft", "test_autoc"] < 1e-3 and p["amo", "test_autoc"] > 0.9


def test_ranking_by_need_is_set_beside_ranking_by_effect(scores: UnitScores) -> None:
    tau = effects(scores.x)
    low, _ = by_need(scores, tau)
    at = {(r["programme"], r["term"]): i for i, r in enumerate(low.labels)}
    # the second programme's effect rises with x0, and so does the outcome without a programme
    assert low.theta[at["amo", "autoc_need"]] < -0.2
    alone, _ = targeting(scores, tau)
    own = {(r["programme"], r["term"]): t for r, t in zip(alone.labels, alone.theta)}
    for name in ("autoc", "qini"):
        i, j = at["amo", f"{name}_effect_less_need"], at["amo", f"{name}_need"]
        assert low.theta[i] == pytest.approx(own["amo", name] - low.theta[j])
        assert low.theta[i] > 3 * standard_errors(low.z[:, [i]])[0]


def test_errors_of_the_areas_are_those_of_samples(scores: UnitScores) -> None:
    rng = np.random.default_rng(3)
    points, errors = [], []
    for _ in range(150):
        units = rng.choice(scores.n, 500, replace=False)
        part = scores.take(units)
        truth = effects(part.x)
        noisy = exact(part, truth + rng.standard_normal(truth.shape))
        lines, _ = targeting(noisy, truth, shares=(0.2,))
        points.append(lines.theta)
        errors.append(standard_errors(lines.z))
    ratio = np.mean(errors, axis=0) / np.std(points, axis=0)
    assert ((ratio > 0.8) & (ratio < 1.3)).all()


def test_sorted_effects_rise_and_the_most_affected_are_described(scores: UnitScores) -> None:
    tau = dr_learner(scores, sequential=True)
    rows = sorted_effects(scores, tau, groups=4)
    theta = rows.theta.reshape(2, 5)
    assert theta[1, 3] - theta[1, 0] == pytest.approx(theta[1, 4]) and theta[1, 4] > 1
    told = classification(scores, tau, share=0.25)
    at = {(r["programme"], r["outcome"], r["term"]): t for r, t in zip(told.labels, told.theta)}
    assert at["amo", "x0", "mean_difference"] > 1.5 and at["aft", "g", "mean_difference"] > 0.8
    assert abs(at["amo", "x1", "mean_difference"]) < 0.5
    with pytest.raises(InputError, match="at most a half"):
        classification(scores, tau, share=0.7)
    with pytest.raises(InputError, match="one row a unit"):
        sorted_effects(scores, tau[:, 0])


def test_effects_by_predicted_outcome_don_t_show_what_isn_t_there(flat: UnitScores) -> None:
    rows = by_predicted_outcome(flat, groups=3)
    gap = [i for i, row in enumerate(rows.labels) if row["term"] == "effect_difference"]
    assert (np.abs(rows.theta[gap]) < 3 * standard_errors(rows.z[:, gap])).all()


def test_one_estimator_gives_all_parts_in_one_result() -> None:
    before = np.random.default_rng(4).standard_normal((900, 1, 1)).astype(np.float32)
    earlier = {"placebo": before, "placebo_names": ("months",), "placebo_horizons": (-3,)}
    design = make_arms(900, seed=4, **earlier)
    found = build("heterogeneity", parts=PARTS, seeds=2).estimate(design)
    table = found.table
    keys = ["programme", "comparator", "subgroup", "outcome", "horizon", "term"]
    assert not table.duplicated(keys).any()
    assert set(table.status) == {"ok", "test"}
    tests = table[table.status == "test"]
    assert tests.p_value.between(0, 1).all()
    banded = table[(table.term == "effect_minus_average")]
    assert banded.band_low.notna().all() and (banded.band_family != "").all()
    kept = table[table.term == "effect_shrunk"]
    assert kept.p_value.isna().all()
    averages = AIPW(target="ate", seeds=2, bands=False, placebo=False).estimate(design).table
    rows = averages[(averages.term == "effect") & (averages.subgroup == "all")]
    own = table[(table.term == "effect") & (table.subgroup == "all") & (table.comparator == "none")]
    np.testing.assert_allclose(own.estimate, rows.estimate, rtol=1e-5)
    np.testing.assert_allclose(own.std_error, rows.std_error, rtol=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"parts": ("gates",)}, "unknown part"),
        ({"target": "att"}, "unknown target"),
        ({"folds": 1}, "at least 2 folds"),
        ({"parts": ("targeting",), "folds": 2}, "at least 3 folds"),
        ({"parts": ("projection",), "moderators": ("y",)}, "unknown covariate"),
        ({"compare": ("none", "ips")}, "unknown arm"),
    ],
)
def test_wrong_options_end_in_a_message(options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Heterogeneity(**options).estimate(make_arms(200))


def test_a_constant_outcome_has_no_effect_and_no_failure() -> None:
    design = make_arms(400)
    still = replace(design, outcomes=np.ones_like(design.outcomes))
    parts = [part for part in PARTS if part != "placebo"]
    table = Heterogeneity(parts=parts).estimate(still).table
    effects_of = table[(table.term == "effect") & (table.status == "ok")]
    np.testing.assert_allclose(effects_of.estimate, 0, atol=1e-9)
