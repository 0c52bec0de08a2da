"""Few clusters where treatment ends, comes in doses, matters to some more, or for some alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import permutations, product
from typing import Any

import numpy as np
import pytest
from invented_rollouts import fields_of, make_intensity, make_paths, make_rollout

from tiltakeval.design.doses import DosedRollout
from tiltakeval.design.intensity import IntensityRollout
from tiltakeval.design.sections import StaggeredSections
from tiltakeval.design.staggered import StaggeredPanel
from tiltakeval.design.treatment_paths import TreatmentPaths, paths_of
from tiltakeval.errors import InputError
from tiltakeval.estimates.few_clusters.robust import cr3
from tiltakeval.estimates.table import Estimates
from tiltakeval.estimators import ESTIMATORS, build
from tiltakeval.estimators.did.few_clusters.regression import moments_of
from tiltakeval.estimators.did.few_clusters.rows import cohort_of_cluster, some_units


def paths() -> TreatmentPaths:
    return replace(make_paths(60, kind="spells", seed=1, clusters=14), subgroups={})


def doses(n: int = 60, clusters: int = 12) -> DosedRollout:
    plain = make_rollout(n, seed=4, clusters=clusters)
    of_cluster = np.random.default_rng(1).uniform(1, 3, clusters)
    own = {
        **fields_of(plain),
        "subgroups": {},
        "covariates": np.zeros((n, 0)),
        "covariate_names": (),
    }
    return DosedRollout(
        **own, dose=np.where(np.isfinite(plain.first), of_cluster[plain.cluster], 0.0)
    )


def shares() -> IntensityRollout:
    return replace(make_intensity(80, offices=9, seed=3), subgroups={})


def eligible() -> StaggeredPanel:
    return make_rollout(80, seed=4, clusters=12)


DESIGNS: dict[str, tuple[Callable[[], Any], dict[str, Any]]] = {
    "switching_att": (paths, {}),
    "dose_response": (doses, {"curve": False, "bins": 2}),
    "intensity": (shares, {}),
    "triple_difference": (eligible, {"eligible": "sex=a", "combine": "size"}),
}


def overall(found: Estimates, term: str = "effect_overall") -> Any:
    return found.select(term=term, subgroup="all").table.iloc[0]


@pytest.mark.parametrize("key", DESIGNS)
def test_every_design_has_the_options(key: str) -> None:
    assert {"inference", "replications", "strata", "degrees"} <= set(ESTIMATORS[key].options())
    assert "inference" not in ESTIMATORS["aipw_att"].options()
    design, options = DESIGNS[key][0](), DESIGNS[key][1]
    plain = build(key, bands=False, **options).estimate(design)
    for inference in ("bootstrap_t", "jackknife", "permutation"):
        more = {} if inference == "jackknife" else {"replications": 99}
        found = build(key, inference=inference, bands=False, **more, **options).estimate(design)
        np.testing.assert_array_equal(found.table["estimate"], plain.table["estimate"])
        row = overall(found)
        assert row.conf_low < row.estimate < row.conf_high and 0 < row.p_value <= 1
        assert found.run["inference"]["method"] == inference
    for inference in ("wild", "cr2", "cr3"):
        with pytest.raises(InputError, match=f"{inference} is for regressions, which {key} isn't"):
            build(key, inference=inference, **options)
    with pytest.raises(InputError, match="says nothing without an inference"):
        build(key, strata="county", **options)


@pytest.mark.parametrize("key", DESIGNS)
def test_the_jackknife_leaves_clusters_out(key: str) -> None:
    make, options = DESIGNS[key]
    design = make()
    row = overall(build(key, inference="jackknife", bands=False, **options).estimate(design))
    clusters = int(design.cluster.max()) + 1
    left = [
        overall(
            build(key, bands=False, **options).estimate(some_units(design, design.cluster != g))
        ).estimate
        for g in range(clusters)
    ]
    wanted = (clusters - 1) / clusters * ((np.array(left) - row.estimate) ** 2).sum()
    np.testing.assert_allclose(row.std_error**2, wanted)


def test_bins_and_doses_shown_are_those_of_all_clusters() -> None:
    design = doses(110, 22)
    found = build("dose_response", inference="jackknife", bands=False).estimate(design)
    by_bin = found.select(term="effect_by_dose").table
    assert by_bin["std_error"].notna().all()
    assert found.select(term="effect_at_dose").table["std_error"].notna().sum() >= 3
    few = doses(36, 6)  # the largest dose is one cluster's: rows of its bin can't be had without it
    row = build("dose_response", inference="jackknife", bands=False, curve=False).estimate(few)
    assert row.run["inference"]["said"] and overall(row).std_error > 0
    single = replace(
        design, dose=np.where(design.dose > 0, np.where(design.dose > 2, 2.5, 1.0), 0.0)
    )
    two = build("dose_response", inference="jackknife", bands=False, curve=False).estimate(single)
    rows = two.select(term="effect_by_dose").table
    assert set(rows["cohort"]) == {"dose 1", "dose 2.5"} and rows["std_error"].notna().all()


def two_periods(n: int, seed: int) -> dict[str, Any]:
    frame = fields_of(make_rollout(n, seed=seed))
    y = np.random.default_rng(seed).normal(size=(n, 2, 1))
    return {**frame, "outcomes": y, "periods": np.array([1, 2]), "covariates": np.zeros((n, 0)),
            "covariate_names": (), "subgroups": {}, "weight": np.ones(n)}  # fmt: skip


def test_dealing_starts_with_doses_is_fishers_test_of_a_slope() -> None:
    base = two_periods(6, seed=5)
    dose = np.array([1.0, 0, 0, 2.5, 3.0, 0])
    first = np.where(dose > 0, 2.0, np.inf)
    design = DosedRollout(**{**base, "first": first}, dose=dose)
    change = np.diff(design.outcomes[:, :, 0], axis=1)[:, 0]

    def p_value(null: float) -> float:
        y = change - null * dose

        def slope(got: np.ndarray) -> float:
            on = got > 0
            return abs(np.polyfit(got[on], y[on], 1)[0])

        ways = {way for way in permutations(dose)}
        return float(np.mean([slope(np.array(w)) >= slope(dose) * (1 - 1e-9) for w in ways]))

    for null in (0.0, 0.7):
        y = design.outcomes.copy()
        y[:, 1, 0] -= null * dose
        found = build(
            "dose_response", inference="permutation", studentised=False, curve=False, bins=1,
            min_clusters=1,
        ).estimate(replace(design, outcomes=y))  # fmt: skip
        np.testing.assert_allclose(overall(found, "slope_linear").p_value, p_value(null))
    said = found.run["inference"]["said"][0]
    assert "120 dealings of start dates with doses, all there are" in said


def test_dealing_paths_among_those_who_started_alike_is_fishers_test() -> None:
    status = np.array([[0, 0], [0, 0], [0, 1], [0, 1], [1, 1], [1, 1], [1, 0], [0, 0]], dtype=float)
    design = paths_of(status, **two_periods(8, seed=6))
    change = np.diff(design.outcomes[:, :, 0], axis=1)[:, 0]
    low = status[:, 0] == 0

    def effect(y: np.ndarray, late: np.ndarray) -> float:
        up, down = low & (late == 1), ~low & (late == 0)
        gain = y[up].mean() - y[low & (late == 0)].mean()
        loss = y[down].mean() - y[~low & (late == 1)].mean()
        return abs((gain * up.sum() - loss * down.sum()) / (up.sum() + down.sum()))

    def ways() -> list[np.ndarray]:
        out = []
        for a, b in product(
            sorted(set(permutations(status[low, 1]))), sorted(set(permutations(status[~low, 1])))
        ):
            late = np.zeros(8)
            late[low], late[~low] = a, b
            out.append(late)
        return out

    def p_value(null: float) -> float:
        y = change - null * np.diff(status, axis=1)[:, 0]
        own = effect(y, status[:, 1])
        return float(np.mean([effect(y, late) >= own * (1 - 1e-9) for late in ways()]))

    found = build(
        "switching_att", inference="permutation", studentised=False, level=0.6, min_clusters=1
    ).estimate(design)
    row = overall(found)
    np.testing.assert_allclose(row.p_value, p_value(0.0))
    for end, inwards in ((row.conf_low, 1e-6), (row.conf_high, -1e-6)):
        assert p_value(end + inwards) > 0.4 >= p_value(end - inwards)
    assert "30 dealings of treatment paths, all there are" in found.run["inference"]["said"][0]


def test_what_cannot_be_dealt_is_refused() -> None:
    design = doses()
    mixed = replace(design, dose=design.dose * (1 + np.arange(60) % 2))
    with pytest.raises(InputError, match="have different doses"):
        build("dose_response", inference="permutation").estimate(mixed)
    ways = paths()
    status = ways.status.copy()
    status[ways.cluster == 3, -1] = np.arange((ways.cluster == 3).sum()) % 2
    with pytest.raises(InputError, match="1 cluster have different treatment paths"):
        build("switching_att", inference="permutation").estimate(
            paths_of(status, **fields_of(ways))
        )
    gap = ways.status.copy()
    gap[:, 4:6] = np.nan
    with pytest.raises(InputError, match="while no row says what treatment is"):
        build("switching_att", inference="permutation").estimate(paths_of(gap, **fields_of(ways)))
    alone = replace(ways, cluster=np.arange(60) % 14)
    with pytest.raises(InputError, match="have different treatment paths"):
        build("switching_att", inference="permutation").estimate(alone)
    with pytest.raises(InputError, match="unknown grouping"):
        build("intensity", inference="permutation", strata="county").estimate(shares())


def test_missing_rows_do_not_keep_paths_from_being_dealt() -> None:
    whole = paths()
    y = whole.outcomes.copy()
    y[np.random.default_rng(0).random(y.shape) < 0.1] = np.nan
    y[:, 0] = whole.outcomes[:, 0]
    status = np.where(np.isfinite(y[:, :, 0]), whole.status, np.nan)
    holes = paths_of(status, **{**fields_of(whole), "outcomes": y})
    if holes.unclear:
        with pytest.raises(InputError, match="no row where treatment changes"):
            build("switching_att", inference="permutation").estimate(holes)
    same = replace(whole, outcomes=y)
    row = overall(
        build("switching_att", inference="permutation", replications=99, bands=False).estimate(same)
    )
    assert 0 < row.p_value <= 1


def test_groups_that_move_together_start_alike_and_change_alike() -> None:
    status = np.array([[0, 0], [0, 0], [0, 1], [0, 1], [1, 1], [1, 1], [1, 0], [1, 0]], dtype=float)
    design = replace(paths_of(status, **two_periods(8, seed=6)), cluster=np.arange(8))
    groups = cohort_of_cluster(design)
    assert [groups[2 * k] == groups[2 * k + 1] for k in range(4)] == [True] * 4
    assert np.unique(groups).size == 4


def test_two_way_intensity_has_the_methods_of_regressions() -> None:
    design = shares()
    estimator = build("intensity", method="two_way", errors="prediction_given", bands=False)
    found, kept = estimator.with_regressions(design)
    moments, _ = moments_of(kept[0].regressed.fits, design.cluster)
    maps = kept[0].regressed.maps
    table = found.table.iloc[kept[0].rows]
    np.testing.assert_allclose(moments.coef @ maps, table["estimate"], atol=1e-10)
    z = moments.scores @ moments.bread @ maps
    np.testing.assert_allclose(np.sqrt((z**2).sum(axis=0) * 9 / 8), table["std_error"], rtol=1e-9)
    given = replace(
        design, predicted=estimator.predicted(design), predictors=None, participation=None,
        predictor_names=(),
    )  # fmt: skip
    left = build("intensity", method="two_way", inference="jackknife", bands=False).estimate(given)
    for inference in ("cr3", "cr2", "wild"):
        out = build("intensity", method="two_way", inference=inference).estimate(design)
        assert any("taken as given" in text for text in out.run["inference"]["said"])
        known = out.table[out.table["status"] == "ok"]
        assert known["conf_low"].notna().all() and known["band_low"].notna().any()
        if inference == "cr3":
            np.testing.assert_allclose(out.table["std_error"], left.table["std_error"], rtol=1e-6)
    np.testing.assert_allclose(
        cr3(moments, maps[:, 0]).std_error, left.table["std_error"].iloc[0], rtol=1e-6
    )


def test_dealings_take_the_prediction_as_it_is() -> None:
    design = replace(make_intensity(60, offices=6, seed=3), subgroups={})
    one = build("intensity", inference="permutation", replications=99, bands=False).estimate(design)
    prediction = build("intensity").predicted(design)
    given = replace(
        design, predicted=prediction, predictors=None, participation=None, predictor_names=()
    )
    other = build("intensity", inference="permutation", replications=99, bands=False).estimate(
        given
    )
    np.testing.assert_allclose(one.table["p_value"], other.table["p_value"])


def test_rows_of_cross_sections_are_left_out_and_dealt_by_cluster() -> None:
    whole = make_rollout(400, seed=2, clusters=12)
    at = np.random.default_rng(0).integers(0, 8, 400)
    own = {**fields_of(whole), "outcomes": whole.outcomes[np.arange(400), at][:, None, :]}
    own |= {"covariates": np.zeros((400, 0)), "covariate_names": (), "subgroups": {}}
    design = StaggeredSections(**own, when=at)
    left = build("group_time_att", inference="jackknife", bands=False).estimate(design)
    by_hand = [
        overall(
            build("group_time_att", bands=False).estimate(some_units(design, design.cluster != g))
        )
        for g in range(12)
    ]
    gaps = np.array([row.estimate for row in by_hand]) - overall(left).estimate
    np.testing.assert_allclose(overall(left).std_error ** 2, 11 / 12 * (gaps**2).sum())
    dealt = build("group_time_att", inference="permutation", replications=99, bands=False)
    row = overall(dealt.estimate(design))
    assert row.conf_low < row.estimate < row.conf_high
