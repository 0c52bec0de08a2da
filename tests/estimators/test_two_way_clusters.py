"""Errors clustered by person and office against the formula computed directly."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from invented_designs import make_design

from tiltakeval.diagnostics.placebo import placebo_outcomes
from tiltakeval.errors import InputError
from tiltakeval.estimates.combine import contrast
from tiltakeval.estimates.inference import Form, correlation, covariance, standard_errors
from tiltakeval.estimates.lockin import lock_in
from tiltakeval.estimators import build
from tiltakeval.estimators.numerics.groups import cross_groups, deal_groups
from tiltakeval.estimators.weighting.aipw import AIPW
from tiltakeval.estimators.weighting.ipw import IPW


def summed(z: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Sum over clusters of the outer product of cluster sums."""
    names, of = np.unique(codes, return_inverse=True)
    sums = np.zeros((names.size, z.shape[1]))
    np.add.at(sums, of.reshape(-1), z)
    return sums.T @ sums


def direct(z: np.ndarray, person: np.ndarray, office: np.ndarray) -> np.ndarray:
    """Cameron, Gelbach & Miller (2011) with the factor of the fewer clusters, from units' influence."""
    fewer = min(np.unique(person).size, np.unique(office).size)
    both = person.astype(np.int64) * 1_000_000 + office
    v = summed(z, person) + summed(z, office) - summed(z, both)
    return v * fewer / (fewer - 1)


def invented(n: int, persons: int, offices: int, *, moving: float, seed: int = 0):
    rng = np.random.default_rng(seed)
    person = rng.integers(0, persons, n)
    home = rng.integers(0, offices, persons)
    office = np.where(rng.random(n) < moving, rng.integers(0, offices, n), home[person])
    shocks = rng.normal(size=(offices, 3))[office] + rng.normal(size=(persons, 3))[person]
    return person, office, (shocks + rng.normal(size=(n, 3))) / n


@pytest.mark.parametrize(("persons", "offices"), [(200, 12), (12, 200), (60, 60)])
def test_sums_by_rows_give_the_formula_exactly(persons: int, offices: int) -> None:
    person, office, z = invented(1500, persons, offices, moving=0.4)
    groups = cross_groups(person, office, kinds=("person", "office"))
    rows = groups.add_up(z, np.arange(len(z)))
    expected = direct(z, person, office)
    np.testing.assert_allclose(standard_errors(rows, groups.form) ** 2, np.diag(expected))
    assert groups.count == min(np.unique(person).size, np.unique(office).size)
    np.testing.assert_allclose(covariance(rows, groups.form), expected, rtol=1e-8)


def test_persons_of_one_office_each_give_the_errors_by_office() -> None:
    person, office, z = invented(1500, 200, 12, moving=0.0)
    both = cross_groups(person, office, kinds=("person", "office"))
    assert both.size == both.count == 12
    alone = deal_groups(office, kind="office")
    every = np.arange(len(z))
    np.testing.assert_allclose(
        standard_errors(both.add_up(z, every), both.form),
        standard_errors(alone.add_up(z, every)),
    )


def test_many_movers_are_dealt_into_groups_and_lose_little() -> None:
    person, office, z = invented(40_000, 15_000, 60, moving=0.5, seed=3)
    groups = cross_groups(person, office, kinds=("person", "office"))
    assert groups.size < 60 + 2 * 2000 + 2000
    found = standard_errors(groups.add_up(z, np.arange(len(z))), groups.form)
    exact = np.sqrt(np.diag(direct(z, person, office)))
    np.testing.assert_allclose(found, exact, rtol=0.03)


def test_a_sum_that_is_not_positive_leaves_the_errors_by_office() -> None:
    z = np.array([[1.0, 0.5], [-1.0, 0.5], [0.0, 0.0], [1.5, 0.1]])
    form = Form(main=2, minus=1)
    assert standard_errors(z, form)[0] == pytest.approx(np.sqrt(2 * 2))
    assert standard_errors(z, form)[1] == pytest.approx(np.sqrt(2 * (0.5 - 0.01)))
    found = correlation(z, form)
    assert np.linalg.eigvalsh(found)[0] > -1e-12
    np.testing.assert_allclose(np.diag(found), 1)
    np.testing.assert_allclose(np.sqrt(np.diag(covariance(z, form))), standard_errors(z, form))


@pytest.fixture(scope="module")
def design():
    """Persons in several offices, with shocks of persons and offices."""
    made = make_design(900, seed=11, months=4)
    rng = np.random.default_rng(5)
    shock = 2 * rng.normal(size=40)[made.office] + rng.normal(size=900)[made.person]
    return replace(made, outcomes=(made.outcomes + shock[:, None, None]).astype(np.float32))


@pytest.mark.parametrize("key", ["aipw_att", "aipw_programmes", "ipw_ate"])
def test_estimators_errors_equal_the_formula_on_units(design, key: str) -> None:
    options = {"folds": 3} if key.startswith("aipw") else {}
    estimator = build(key, cluster="person_office", bands=False, **options)
    found = estimator.estimate(design)
    nuisance = estimator.nuisance(design)
    units = deal_groups(np.arange(design.n), kind="person")
    if key.startswith("ipw"):
        alone = IPW(target="ate", bands=False)
        nuisance = alone.nuisance(replace(design, person=np.arange(design.n)))
    by_unit = estimator.estimate(design, replace(nuisance, groups=units)).influence
    rows = found.positions(status="ok")
    v = direct(by_unit.columns(rows), design.person, design.office)
    np.testing.assert_allclose(found.table.std_error[rows], np.sqrt(np.diag(v)), rtol=2e-5)
    assert (found.table.n_clusters[rows] <= 40).all()
    assert found.influence.groups == 40


def test_contrasts_paths_bands_and_joint_tests_keep_the_two_way_errors(design) -> None:
    estimator = AIPW(folds=3, cluster="person_office", target="programmes")
    found = estimator.estimate(design)
    units = deal_groups(np.arange(design.n), kind="person")
    by_unit = estimator.estimate(design, replace(estimator.nuisance(design), groups=units))
    pick = {"subgroup": "all", "term": "effect", "outcome": "work"}
    made = contrast(found.select(programme="aft", **pick), found.select(programme="amo", **pick))
    z = by_unit.influence.columns(by_unit.positions(programme="aft", **pick))
    z = z - by_unit.influence.columns(by_unit.positions(programme="amo", **pick))
    expected = np.sqrt(np.diag(direct(z, design.person, design.office)))
    np.testing.assert_allclose(made.table.std_error, expected, rtol=2e-5)

    sums = lock_in(found, windows=(3,), depth_window=(1, 2))
    row = sums.select(term="cumulated", programme="aft", outcome="work", subgroup="all").table
    path = by_unit.influence.columns(by_unit.positions(programme="aft", **pick))
    total = direct(path.sum(axis=1, keepdims=True), design.person, design.office)
    assert row.std_error[0] == pytest.approx(np.sqrt(total[0, 0]), rel=2e-5)
    assert sums.influence.form == found.influence.form

    table = found.select(**pick).table
    assert (table.band_low < table.conf_low).all() and (table.band_high > table.conf_high).all()
    assert any(check.statistic is not None for check in placebo_outcomes(estimates=found))


def test_randomised_estimators_take_both_clusterings(design) -> None:
    found = build("difference_in_means", cluster="person_office").estimate(design)
    by_unit = build("difference_in_means").estimate(replace(design, person=np.arange(design.n)))
    pick = {"term": "mean_comparison", "subgroup": "all", "outcome": "work"}
    n = found.select(**pick).table.n_comparison.to_numpy(float)
    # HC2's own factor is taken off the units' influence, so that it is the plain residual again
    z = by_unit.influence.columns(by_unit.positions(**pick)) * np.sqrt(design.n / (design.n - 1))
    z = z * np.sqrt((n - 1) / n)
    expected = np.sqrt(np.diag(direct(z, design.person, design.office)))
    np.testing.assert_allclose(found.select(**pick).table.std_error, expected, rtol=1e-6)


def test_intervals_with_few_offices_use_their_degrees_of_freedom(design) -> None:
    few = replace(design, office=design.office % 6)
    found = AIPW(folds=3, cluster="person_office", bands=False).estimate(few)
    row = found.select(term="effect", subgroup="all").table
    half = (row.conf_high - row.conf_low) / 2 / row.std_error
    np.testing.assert_allclose(half, 2.5706, atol=1e-3)  # t with 5 degrees of freedom


def test_two_way_clusters_need_offices_and_a_known_name(design) -> None:
    with pytest.raises(InputError, match="office"):
        AIPW(cluster="person_office").estimate(replace(design, office=None))
    with pytest.raises(InputError, match="cluster"):
        AIPW(cluster="person_offfice").estimate(design)  # type: ignore[arg-type]
