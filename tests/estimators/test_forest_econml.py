"""Our causal forest beside econml's on the same nuisances."""

from __future__ import annotations

import numpy as np
import pytest

from tiltakeval.errors import InputError
from tiltakeval.estimators.heterogeneity.forest.econml_forest import EconmlOptions, econml_forest
from tiltakeval.estimators.heterogeneity.forest.forest import fit_forest
from tiltakeval.estimators.heterogeneity.forest.options import ForestOptions


def draw(n: int, seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, 4))
    arm = rng.integers(0, 3, n)
    tau = np.column_stack([1.5 * (x[:, 0] > 0), x[:, 1]])
    y = x[:, 2] + np.where(arm == 0, 0.0, tau[np.arange(n), arm - 1]) + rng.standard_normal(n)
    e = np.full((n, 3), 1 / 3)
    return {"x": x, "arm": arm, "y": y, "m": x[:, 2] + tau.sum(axis=1) / 3, "e": e, "tau": tau}


def test_ours_is_at_least_as_near_to_the_truth_and_agrees() -> None:
    data = draw(2_000, 0)
    known = {key: data[key] for key in ("x", "arm", "y", "m", "e")}
    theirs = econml_forest(**known, options=EconmlOptions(trees=100, threads=1))
    ours = fit_forest(**known, options=ForestOptions(trees=200, threads=1)).predict()
    error = {
        name: np.sqrt(((found.effects - data["tau"]) ** 2).mean(axis=0))
        for name, found in (("ours", ours), ("theirs", theirs))
    }
    assert (error["ours"] < 1.05 * error["theirs"]).all()
    for k in range(2):
        assert np.corrcoef(ours.effects[:, k], theirs.effects[:, k])[0, 1] > 0.8
    assert (theirs.errors > 0).all() and theirs.covariance is not None


def test_without_nuisances_the_library_makes_its_own_and_new_rows_are_predicted() -> None:
    data = draw(500, 1)
    options = EconmlOptions(trees=20, nuisance_trees=10, folds=2)
    found = econml_forest(
        data["x"], data["arm"], data["y"], options=options, new=data["x"][:50], weight=np.ones(500)
    )
    assert found.effects.shape == (50, 2) and (found.errors > 0).all()


def test_what_the_library_cannot_do_is_told() -> None:
    data = draw(300, 2)
    gone = data["x"].copy()
    gone[3, 1] = np.nan
    with pytest.raises(InputError, match="1 row with a covariate missing"):
        econml_forest(gone, data["arm"], data["y"])
    with pytest.raises(InputError, match="clusters together"):
        econml_forest(data["x"], data["arm"], data["y"], cluster=np.arange(300))
    with pytest.raises(InputError, match="both m and e"):
        econml_forest(data["x"], data["arm"], data["y"], m=data["m"])
    with pytest.raises(InputError, match="fours"):
        EconmlOptions(trees=10)
