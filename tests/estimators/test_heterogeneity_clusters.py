"""Clusters of effects and effects that can't be there: what is found, and nothing where nothing is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from invented_arms import effects, make_arms

from tiltakeval.errors import InputError
from tiltakeval.estimates.inference import standard_errors
from tiltakeval.estimators.heterogeneity.cate import dr_learner
from tiltakeval.estimators.heterogeneity.clusters import cluster_codes, effect_clusters
from tiltakeval.estimators.heterogeneity.estimator import Heterogeneity
from tiltakeval.estimators.heterogeneity.score_types import UnitScores
from tiltakeval.estimators.heterogeneity.scores import unit_scores
from tiltakeval.estimators.weighting.aipw import AIPW


@pytest.fixture(scope="module")
def scores() -> UnitScores:
    return unit_scores(make_arms(3000, seed=1), AIPW(target="ate", basis="linear"))


@pytest.mark.parametrize("by", ["kmeans", "tree"])
def test_known_clusters_are_found_and_described(scores: UnitScores, by: str) -> None:
    tau = effects(scores.x)
    high = tau[:, 1] > 0.5
    tau = np.column_stack([tau[:, 0], np.where(high, 3.0, 0.0)])  # four kinds of people
    exact = np.column_stack([np.zeros(scores.n), tau])
    split = replace(scores.splits[0], psi=exact)
    known = replace(scores, psi=exact, splits=(split,))
    # a tree finds the cut at x0 = 0 only as well as the units lie about it
    lines, _ = effect_clusters(known, clusters=4, by=by, cate=tau)  # type: ignore[arg-type]
    effect, _, share, mean, _ = lines
    found = {(r["programme"], r["subgroup"]): t for r, t in zip(effect.labels, effect.theta)}
    pairs = sorted(
        (
            round(found["aft", f"effect_cluster={g}/4"], 6),
            round(found["amo", f"effect_cluster={g}/4"], 6),
        )
        for g in (1, 2, 3, 4)
    )
    assert pairs == [(1, 0), (1, 3), (2, 0), (2, 3)]
    assert share.theta.sum() == pytest.approx(1) and (np.abs(share.theta - 0.25) < 0.05).all()
    g = [t for r, t in zip(mean.labels, mean.theta) if r["outcome"] == "g"]
    assert sorted(np.round(g, 6)) == [0, 0, 1, 1]


def test_effects_are_means_over_other_peoples_clusters(scores: UnitScores) -> None:
    lines, tests = effect_clusters(scores)
    codes = cluster_codes(scores, dr_learner(scores, sequential=True), 3)
    assert (codes[scores.fold == 0] == -1).all() and set(codes[scores.fold > 0]) == {0, 1, 2}
    effect, difference = lines[0], lines[1]
    for row, theta, z in zip(effect.labels, effect.theta, effect.z.T):
        g = int(row["subgroup"][len("effect_cluster=")]) - 1
        a = scores.arms.index(row["programme"])
        own = scores.effects[codes == g, a - 1]
        assert theta == pytest.approx(own.mean())
        assert standard_errors(z[:, None])[0] == pytest.approx(
            own.std() / np.sqrt(own.size), rel=0.1
        )
        assert row["n_treated"] == int(((codes == g) & (scores.arm == a)).sum())
    assert difference.labels[0]["term"] == "cluster_effect_minus_average"
    # the second programme's effect varies most with x0, and its clusters differ in it
    p = {(t["programme"], t["unit"]): t["p_value"] for t in tests}
    assert p["amo", "F"] < 1e-6
    x0 = [t for r, t in zip(lines[4].labels, lines[4].theta) if r["outcome"] == "x0"]
    assert max(x0) > 0.4 and min(x0) < -0.4


def test_own_outcomes_have_no_say_in_who_is_grouped(scores: UnitScores) -> None:
    rng = np.random.default_rng(0)
    last = scores.fold == scores.folds - 1
    shaken = np.where(last[:, None], rng.standard_normal(scores.psi.shape), scores.psi)
    split = replace(scores.splits[0], psi=shaken)
    other = replace(scores, psi=shaken, splits=(split,))
    before = cluster_codes(scores, dr_learner(scores, sequential=True), 3)
    after = cluster_codes(other, dr_learner(other, sequential=True), 3)
    np.testing.assert_array_equal(before, after)


def test_clusters_without_differences_are_not_told_apart() -> None:
    rejected = []
    for seed in range(20):
        flat = make_arms(500, seed=seed, varied=False)
        found = unit_scores(flat, AIPW(target="ate", basis="linear", folds=4))
        rejected.append([t["p_value"] < 0.05 for t in effect_clusters(found)[1]])
    assert np.mean(rejected, axis=0).max() <= 0.2  # 300 replications: benchmarks/scores_truth.py


def test_the_same_predictions_for_all_make_no_clusters(scores: UnitScores) -> None:
    lines, tests = effect_clusters(scores, cate=np.ones((scores.n, 2)))
    assert all(np.isnan(part.theta).all() for part in lines) and tests == []
    with pytest.raises(InputError, match="two clusters"):
        effect_clusters(scores, clusters=1)
    with pytest.raises(InputError, match="clusters_by"):
        effect_clusters(scores, by="median")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="covariate"):
        effect_clusters(scores, covariates=("y",))


@pytest.mark.parametrize("target", ["common", "treated"])
def test_placebo_outcomes_and_negative_controls(target: str) -> None:
    rng = np.random.default_rng(5)
    before = rng.standard_normal((1500, 2, 1)).astype(np.float32)
    earlier = {"placebo": before, "placebo_names": ("months",), "placebo_horizons": (-6, -3)}
    design = make_arms(1500, seed=5, **earlier)
    hidden = before[:, 1, 0] + (design.arm == 1)  # participants of aft were better off already
    design.placebo[:, 1, 0] = hidden
    options = {"parts": ("placebo",), "negative_controls": ("amo",), "basis": "linear"}
    found = Heterogeneity(target=target, **options).estimate(design)
    table = found.table
    placebo = table[(table.term == "placebo") & (table.subgroup == "all")]
    assert set(placebo.horizon) == {-6, -3} and (placebo.unit == "months").all()
    by = placebo.set_index(["horizon", "programme"])
    assert abs(by.estimate[-3, "aft"] - 1) < 4 * by.std_error[-3, "aft"]
    assert by.p_value[-6, "aft"] > 0.01 and by.p_value[-3, "amo"] > 0.01
    tests = table[table.term == "test_placebo"].set_index(["horizon", "programme"]).p_value
    assert tests[-3, "aft"] < 0.001 and tests[-6, "amo"] > 0.01
    control = table[table.term == "test_negative_control"]
    assert list(control.programme) == ["amo"] and control.p_value.iloc[0] < 0.01  # it does work
    still = replace(
        design, outcomes=design.covariates[:, :1, None].astype(np.float32) + before[:, :1]
    )
    quiet = Heterogeneity(target=target, **(options | {"parts": ()})).estimate(still).table
    assert quiet[quiet.term == "test_negative_control"].p_value.iloc[0] > 0.01


def test_what_controls_need() -> None:
    design = make_arms(400, seed=6)
    with pytest.raises(InputError, match="before time zero"):
        Heterogeneity(parts=("placebo",)).estimate(design)
    with pytest.raises(InputError, match="unknown programme"):
        Heterogeneity(parts=(), negative_controls=("ips",)).estimate(design)
