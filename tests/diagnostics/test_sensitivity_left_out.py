"""Blocks of covariates left out: shared refits against fitting again, names, products, bad input."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from invented_designs import make_design

from tiltakeval.diagnostics.sensitivity import blocks_left_out, bounds
from tiltakeval.diagnostics.sensitivity import strength as shares
from tiltakeval.diagnostics.sensitivity.blocks import columns_of, covariate_blocks
from tiltakeval.diagnostics.sensitivity.odds_without import propensities_without
from tiltakeval.errors import InputError
from tiltakeval.estimators import build
from tiltakeval.estimators.numerics.odds import cross_fit_odds

ALL = {"subgroup": "all", "outcome": "work"}


def fitted(design, key="aipw_att", **options):
    estimator = build(key, **options)
    nuisance = estimator.nuisance(design)
    return nuisance, estimator.estimate(design, nuisance)


def without(design, *names):
    keep = [i for i, name in enumerate(design.covariate_names) if name not in names]
    return replace(
        design,
        covariates=design.covariates[:, keep],
        covariate_names=tuple(design.covariate_names[i] for i in keep),
    )


@pytest.mark.parametrize("key", ["aipw_att", "aipw_ate", "aipw_overlap"])
def test_differences_are_those_of_estimating_without_the_covariate(key: str) -> None:
    design = make_design(3000, seed=1, months=1)
    nuisance, estimates = fitted(design, key, basis="linear")
    found = blocks_left_out(design, nuisance, estimates, where=ALL)
    assert list(found["block"][:4]) == ["x0", "x1", "x2", "x3"]
    for name in ("x0", "x1"):
        _, short = fitted(without(design, name), key, basis="linear")
        table = short.table[
            (short.table.term == "effect")
            & (short.table.subgroup == "all")
            & (short.table.outcome == "work")
        ].set_index("programme")
        mine = found[found["block"] == name].set_index("programme")
        apart = table["estimate"] - mine["estimate"]
        np.testing.assert_allclose(mine["difference"], apart[mine.index], atol=0.006)
        assert (mine["difference"].abs() > 4 * mine["difference_se"]).all()
        assert (mine["difference_low"] < mine["difference"]).all()
    noise = found[found["block"].isin(["x2", "x3"])]
    assert (noise["difference"].abs() < 4 * noise["difference_se"] + 0.003).all()
    assert (noise["outcome_share"] < 0.01).all()


def test_what_a_block_explains_is_what_it_makes() -> None:
    design = make_design(6000, seed=2, months=1, arms=2, recurring=False)
    nuisance, estimates = fitted(design, basis="linear")
    found = blocks_left_out(design, nuisance, estimates, where=ALL).set_index("block")
    # work = x0 + x1 / 2 + effect + noise of variance one; x0 and x1 are chosen by, too
    assert found.loc["x0", "outcome_share"] == pytest.approx(0.95, abs=0.06)
    assert found.loc["x1", "outcome_share"] == pytest.approx(0.245, abs=0.03)
    scale = bounds(design, nuisance, estimates, where=ALL).table["scale"].iloc[0]
    row = found.loc["x0"]
    at_most = shares.strength(row["outcome_share"], row["weight_share"]) * scale
    assert row["bias"] == pytest.approx(at_most)
    assert 0.5 * row["bias"] < abs(row["difference"]) < 1.3 * row["bias"]
    assert row["rho"] > 0.8
    again = shares.strength(
        min(1, row["times"] * row["outcome_share"]), row["times"] * row["weight_share"]
    )
    assert again * scale == pytest.approx(abs(row["estimate"]))


def test_shared_fits_of_propensities_are_those_made_one_by_one() -> None:
    design = make_design(3000, seed=3, months=1, restricted=True, weighted=True)
    nuisance = build("aipw_att", basis="linear", ridge_propensity=1.0).nuisance(design)
    sets = [(), (0,), (1, 3), (0, 1, 2, 3)]
    found = list(propensities_without(design, nuisance, sets, fold=nuisance.fold, floor=0.0))
    np.testing.assert_allclose(found[0].sum(axis=1), 1.0)
    assert (found[0][~design.eligible] == 0).all()
    for columns, e in zip(sets, found):
        kept = [j for j in range(4) if j not in columns]
        if not kept:
            assert np.unique(e[design.eligible.all(axis=1)].round(12), axis=0).shape[0] <= 5
            continue
        one = cross_fit_odds(
            nuisance.basis[:, kept],
            arm=design.arm,
            allowed=design.eligible,
            weight=design.weight,
            fold=nuisance.fold,
            folds=5,
            cluster=design.person,
        )
        assert np.abs(e - one).mean() < 0.004 and np.corrcoef(e.ravel(), one.ravel())[0, 1] > 0.999


def test_blocks_of_a_register_study() -> None:
    names = (
        *("age", "age_squared", "age_25_29", "female", "landgruppe_2", "education_hoyere"),
        *("diagnosis_mental", "innsatsgruppe_BATT", "registered_years", "worked_12"),
        *("earnings_24", "aap_12", "dagpenger_3", "programmes_24", "since_end_1_6"),
        *("last_aft", "month_03", "trend_years", "office_unemployment_log", "municipality=0301"),
    )
    found = covariate_blocks(names)
    assert {k: [names[i] for i in at] for k, at in found.items()} == {
        "demographics": ["age", "age_squared", "age_25_29", "female", "landgruppe_2"],
        "education": ["education_hoyere"],
        "health": ["diagnosis_mental", "innsatsgruppe_BATT"],
        "registration": ["registered_years"],
        "work_history": ["worked_12", "earnings_24"],
        "benefits": ["aap_12", "dagpenger_3"],
        "earlier_programmes": ["programmes_24", "since_end_1_6", "last_aft"],
        "calendar": ["month_03", "trend_years"],
        "office": ["office_unemployment_log"],
        "municipality": ["municipality=0301"],
    }
    assert covariate_blocks(("re74", "race=b", "race=h")) == {"re74": (0,), "race": (1, 2)}


def test_named_blocks() -> None:
    names = ("re74", "race=b", "race=h", "age")
    assert covariate_blocks(names, {"past": ["re74"], "who": ["race", "age"]}) == {
        "past": (0,),
        "who": (1, 2, 3),
    }
    with pytest.raises(InputError, match="re75"):
        covariate_blocks(names, {"past": ["re75"]})
    with pytest.raises(InputError, match="two blocks"):
        covariate_blocks(names, {"past": ["re74"], "more": ["re74"]})
    with pytest.raises(InputError, match="more than"):
        covariate_blocks([f"x{i}" for i in range(41)])


def test_products_go_with_every_covariate_in_them() -> None:
    assert columns_of((1,), [(0,), (1,), (0, 1), (2,)], columns=4) == (1, 2)
    rng = np.random.default_rng(4)
    design = make_design(4000, seed=4, months=1, arms=2, recurring=False)
    x = design.covariates
    both = (x[:, 0] > 0.5) & (x[:, 3] > 0)
    arm = (rng.random(4000) < np.where(both, 0.6, 0.1)).astype(np.int16)
    design = replace(design, arm=arm)
    nuisance, estimates = fitted(design)
    assert any(len(of) == 2 for of in nuisance.sources)
    assert len(nuisance.sources) == nuisance.basis.shape[1]
    found = blocks_left_out(design, nuisance, estimates, where=ALL, blocks={"both": ["x0", "x3"]})
    assert found["weight_share"].iloc[0] > 0.1


def test_everything_left_out_is_the_difference_in_means() -> None:
    design = make_design(2000, seed=5, months=1, arms=2, recurring=False)
    nuisance, estimates = fitted(design)
    every = {"all": list(design.covariate_names)}
    found = blocks_left_out(design, nuisance, estimates, where=ALL, blocks=every).iloc[0]
    y = design.outcomes[:, 0, 0]
    raw = y[design.arm == 1].mean() - y[design.arm == 0].mean()
    assert found["estimate"] + found["difference"] == pytest.approx(raw, abs=0.01)


def test_a_nuisance_that_does_not_know_its_columns() -> None:
    design = make_design(400, seed=6, months=1)
    nuisance, estimates = fitted(design, folds=2)
    with pytest.raises(InputError, match="aren't known by covariate"):
        blocks_left_out(design, replace(nuisance, sources=()), estimates)
    other = bounds(design, nuisance, estimates, where=ALL)
    with pytest.raises(InputError, match="other effects"):
        blocks_left_out(design, nuisance, estimates, bounded=other)


def test_constant_covariates_and_few_participants() -> None:
    design = make_design(600, seed=7, months=1)
    x = design.covariates.copy()
    x[:, 2] = 1.0
    arm = np.where(design.arm == 2, 0, design.arm)
    arm[np.flatnonzero(design.arm == 1)[25:]] = 0
    design = replace(design, covariates=x, arm=arm.astype(np.int16))
    nuisance, estimates = fitted(design, folds=3)
    found = blocks_left_out(design, nuisance, estimates, where=ALL)
    still = found[found["block"] == "x2"].iloc[0]
    assert still["difference"] == pytest.approx(0, abs=1e-9) and np.isinf(still["times"])
    assert np.isfinite(found[["difference", "difference_se", "bias"]]).all(axis=None)
