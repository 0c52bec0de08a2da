"""Causal forest: what it finds against the truth, honest variances, clusters, threads, bad input."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from tiltakeval.errors import InputError
from tiltakeval.estimators.heterogeneity.forest.forest import Forest, fit_forest
from tiltakeval.estimators.heterogeneity.forest.nuisance import forest_nuisances
from tiltakeval.estimators.heterogeneity.forest.options import ForestOptions

SMALL = ForestOptions(trees=100, screening=20, threads=1)
Data = dict[str, NDArray]


def draw(n: int, seed: int, *, effect: float = 1.0, noise: float = 1.0) -> Data:
    """Three arms, five covariates; arm 1's effect jumps at x0 = 0, arm 2's follows x1."""
    rng = np.random.default_rng(seed)
    x = np.column_stack([rng.standard_normal((n, 4)), rng.random(n) < 0.5])
    eta = np.column_stack([np.zeros(n), 0.5 * x[:, 0] - 0.3, 0.4 * x[:, 4] - 0.5])
    e = np.exp(eta) / np.exp(eta).sum(axis=1, keepdims=True)
    arm = (rng.random(n)[:, None] > e.cumsum(axis=1)).sum(axis=1).clip(0, 2)
    tau = effect * np.column_stack([2.0 * (x[:, 0] > 0), x[:, 1]])
    base = x[:, 0] + 0.5 * x[:, 2]
    mean = base + (e[:, 1:] * tau).sum(axis=1)
    y = base + np.where(arm == 0, 0.0, tau[np.arange(n), arm - 1])
    y = y + noise * rng.standard_normal(n)
    return {"x": x, "arm": arm, "y": y, "m": mean, "e": e, "tau": tau}


def fit(data: Data, options: ForestOptions = SMALL, **more: object) -> Forest:
    known = {key: data[key] for key in ("x", "arm", "y", "m", "e")}
    return fit_forest(**{**known, **more}, options=options)  # type: ignore[arg-type]


def test_effects_follow_the_truth_and_beat_the_average() -> None:
    data = draw(3_000, 1)
    forest = fit(data)
    found = forest.predict()
    spread = data["tau"].std(axis=0)
    error = np.sqrt(((found.effects - data["tau"]) ** 2).mean(axis=0))
    assert (error < 0.5 * spread).all()
    assert np.corrcoef(found.effects[:, 0], data["tau"][:, 0])[0, 1] > 0.9
    np.testing.assert_allclose(forest.calibration.average, data["tau"].mean(axis=0), atol=0.2)
    assert forest.importance[0].argmax() == 0 and forest.importance[1].argmax() == 1
    assert (forest.calibration.p < 1e-3).all()


def test_new_units_are_predicted_and_out_of_bag_differs() -> None:
    data, other = draw(2_000, 2), draw(500, 3)
    forest = fit(data)
    new = forest.predict(other["x"])
    assert np.corrcoef(new.effects[:, 0], other["tau"][:, 0])[0, 1] > 0.85
    assert not np.allclose(forest.predict(data["x"]).forest, forest.predict().forest)


def test_intervals_cover_the_truth_where_the_effect_is_smooth_enough() -> None:
    covered = []
    for seed in range(4):
        data = draw(1_500, 10 + seed)
        low, high = fit(data).predict().interval(0.95)
        inside = (low < data["tau"]) & (data["tau"] < high)
        covered.append(inside[np.abs(data["x"][:, 0]) > 0.3].mean(axis=0))
    assert (np.mean(covered, axis=0) > 0.85).all()


def test_with_no_heterogeneity_effects_are_pulled_to_the_average() -> None:
    errors = []
    for seed in range(5):
        data = draw(800, 20 + seed, effect=0.0)
        found = fit(data).predict()
        errors.append([(found.effects**2).mean(), (found.forest**2).mean()])
    shrunk, raw = np.sqrt(np.mean(errors, axis=0))
    assert shrunk < 0.75 * raw and shrunk < 0.15


@pytest.mark.parametrize("targets", ["each", "joint"])
def test_same_bits_for_any_number_of_threads(targets: str) -> None:
    data = draw(900, 4)
    one, two = (
        fit(data, ForestOptions(trees=40, screening=10, threads=t, targets=targets)).predict()
        for t in (1, 3)
    )
    assert np.array_equal(one.effects, two.effects)
    assert one.covariance is not None and two.covariance is not None
    assert np.array_equal(one.covariance, two.covariance)
    other = fit(data, ForestOptions(trees=40, screening=10, threads=1, targets=targets, seed=5))
    assert not np.array_equal(one.effects, other.predict().effects)


def test_units_of_a_cluster_share_their_bags() -> None:
    data = draw(900, 5)
    cluster = np.random.default_rng(0).integers(0, 150, 900)
    forest = fit(data, cluster=cluster)
    units, trees = forest.units, forest.parts[0].trees
    nodes = trees.nodes(units.coded, units.cluster, level=1_000)
    held = nodes < 0
    own = cluster[units.order]
    for c in np.unique(own)[:20]:
        rows = held[:, own == c]
        assert (rows == rows[:, :1]).all()
    np.testing.assert_allclose(held.mean(), 0.5, atol=0.02)
    # the order of the data doesn't matter beyond the numbering of clusters
    assert np.isfinite(forest.predict().effects).all()


def test_clusters_widen_variances_of_what_they_share() -> None:
    rng = np.random.default_rng(6)
    data = draw(1_000, 6)
    cluster = np.repeat(np.arange(100), 10)
    data["x"] = np.repeat(data["x"][::10], 10, axis=0)
    data["e"] = np.full((1_000, 3), 1 / 3)
    data["arm"] = rng.permuted(np.tile(np.arange(3), 334)[:1_000])
    shock = rng.standard_normal((100, 2))[cluster]  # an effect each office has of its own
    y = np.where(data["arm"] == 0, 0.0, shock[np.arange(1_000), data["arm"] - 1])
    data["y"], data["m"] = y + 0.5 * rng.standard_normal(1_000), (shock / 3).sum(axis=1)
    options = ForestOptions(trees=200, screening=0, max_depth=0, threads=1)
    alone = fit(data, options).predict().errors.mean()
    together = fit(data, options, cluster=cluster).predict().errors.mean()
    assert together > 1.4 * alone


def test_weights_count_like_copies_and_zero_is_left_out() -> None:
    data = draw(600, 7)
    options = ForestOptions(trees=20, screening=0, max_depth=0, threads=1, shrink=False)
    weight = np.ones(600)
    weight[:200] = 0.0
    found = fit(data, options, weight=weight)
    assert found.units.used == 400 and np.isfinite(found.predict().effects).all()
    part = {key: values[200:] for key, values in data.items()}
    again = fit(part, options)
    np.testing.assert_allclose(found.predict().effects[200:], again.predict().effects, rtol=1e-6)
    heavy = fit(data, options, weight=np.full(600, 7.0)).predict()
    np.testing.assert_allclose(heavy.effects, fit(data, options).predict().effects, rtol=1e-5)


def test_missing_covariates_can_carry_the_effect() -> None:
    data = draw(3_000, 8, effect=0.0)
    gone = np.random.default_rng(8).random(3_000) < 0.4
    lift = 2.0 * gone
    data["y"] = data["y"] + lift * (data["arm"] == 1)
    data["m"] = data["m"] + lift * data["e"][:, 1]
    data["x"][gone, 3] = np.nan
    forest = fit(data)
    assert forest.units.missing == gone.sum()
    effects = forest.predict().effects[:, 0]
    assert effects[gone].mean() - effects[~gone].mean() > 1.5


def test_contrasts_and_fitted_outcomes_add_up() -> None:
    data = draw(800, 9)
    forest = fit(data)
    found = forest.predict()
    shrunk, raw, error = found.contrast(2, 1)
    np.testing.assert_allclose(shrunk, found.effects[:, 1] - found.effects[:, 0])
    np.testing.assert_allclose(raw, found.forest[:, 1] - found.forest[:, 0])
    assert error is not None and (error > 0).all()
    own, _, se = found.contrast(1, 0)
    np.testing.assert_allclose(own, found.effects[:, 0])
    np.testing.assert_allclose(se, found.errors[:, 0], rtol=1e-5)
    fitted = forest.fitted()
    np.testing.assert_allclose((fitted * data["e"]).sum(axis=1), data["m"], rtol=1e-6)
    np.testing.assert_allclose(fitted[:, 1:] - fitted[:, :1], found.effects, rtol=1e-6)
    with pytest.raises(InputError, match="two different arms"):
        found.contrast(1, 1)


def test_nuisances_are_out_of_sample_and_near_the_truth() -> None:
    data = draw(3_000, 11)
    found = forest_nuisances(data["x"], data["arm"], data["y"], options=SMALL)
    np.testing.assert_allclose(found.e.sum(axis=1), 1.0)
    assert np.sqrt(((found.e - data["e"]) ** 2).mean()) < 0.04
    assert np.sqrt(((found.m - data["m"]) ** 2).mean()) < 0.35 * data["m"].std()
    noise = np.random.default_rng(0).standard_normal(3_000)
    blind = forest_nuisances(data["x"], data["arm"], noise, options=SMALL)
    assert abs(np.corrcoef(blind.m, noise)[0, 1]) < 0.06  # own outcomes are not looked at
    forest = fit(data, m=found.m, e=found.e)
    error = np.sqrt(((forest.predict().effects - data["tau"]) ** 2).mean(axis=0))
    assert (error < 0.6 * data["tau"].std(axis=0)).all()


def test_constant_covariates_are_never_split_and_nothing_left_is_the_average() -> None:
    data = draw(600, 12)
    data["x"] = np.ones((600, 2))
    forest = fit(data)
    assert all((part.trees.feature < 0).all() for part in forest.parts)
    effects = forest.predict().effects
    assert np.ptp(effects, axis=0).max() < 1e-12
    np.testing.assert_allclose(effects[0], forest.calibration.average)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"arm": "few"}, "arm 2 has 12 units"),
        ({"y": "constant"}, "same for all units"),
        ({"y": "missing"}, "1 value missing"),
        ({"m": "missing"}, "1 value missing"),
        ({"e": "zero"}, "propensity of zero"),
        ({"e": "half"}, "don't add up to one"),
        ({"x": "infinite"}, "infinite value"),
        ({"x": "text"}, "aren't numbers"),
        ({"weight": "negative"}, "negative weight"),
        ({"weight": "none"}, "no unit has a positive weight"),
        ({"cluster": "one"}, "1 cluster with weight"),
        ({"names": "short"}, "1 name for 5 columns"),
    ],
)
def test_bad_input_is_told(change: dict[str, str], message: str) -> None:
    data = draw(400, 13)
    few = np.where(np.cumsum(data["arm"] == 2) <= 12, data["arm"], np.minimum(data["arm"], 1))
    spoilt = {
        "few": few,
        "constant": np.ones(400),
        "zero": np.tile([0.5, 0.5, 0.0], (400, 1)),
        "half": data["e"] / 2,
        "text": np.full((400, 5), "a"),
        "negative": np.where(np.arange(400) < 3, -1.0, 1.0),
        "none": np.zeros(400),
        "one": np.zeros(400, dtype=int),
        "short": ("a",),
    }
    ((key, kind),) = change.items()
    value = spoilt.get(kind)
    if value is None:
        value = data[key].copy()
        value.flat[7] = np.nan if kind == "missing" else np.inf
    with pytest.raises(InputError, match=message):
        fit(data, **{key: value})


def test_unknown_values_of_codes_and_other_columns_are_told() -> None:
    data = draw(400, 14)
    forest = fit(data, names=("a", "b", "c", "d", "sex"))
    new = data["x"][:5].copy()
    new[0, 4] = 2.0
    with pytest.raises(InputError, match=r"'sex': 1 row with a value that wasn't there"):
        forest.predict(new)
    with pytest.raises(InputError, match="4 columns where 5 are known"):
        forest.predict(data["x"][:, :4])
    new[0, 4] = np.nan
    assert np.isfinite(forest.predict(new).effects).all()
    assert np.isfinite(forest.predict(1e6 * (new[:, :4] > 0) @ np.eye(4, 5)).effects).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"trees": 5}, "two bags"),
        ({"trees": 2.5}, "whole number"),
        ({"bins": 300}, "at most 254"),
        ({"honesty": 1.0}, "between 0.1 and 0.9"),
        ({"criterion": "gini"}, "unknown criterion"),
        ({"targets": "some"}, "unknown targets"),
        ({"penalty": -1.0}, "negative"),
        ({"min_share": 0.6}, "between 0 and 0.4"),
    ],
)
def test_options_are_checked(options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        ForestOptions(**options)  # type: ignore[arg-type]
