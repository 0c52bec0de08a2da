"""Hazard regressions on cells against statsmodels, and what makes them impossible."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm

from tiltakeval.errors import InputError
from tiltakeval.numerics.glm import HazardCells, fit_hazard, fit_shared
from tiltakeval.numerics.glm_links import cell_score, shared_score

FAMILIES = {
    "logit": sm.families.Binomial(),
    "cloglog": sm.families.Binomial(sm.families.links.CLogLog()),
    "exponential": sm.families.Poisson(),
}


def rows(n=3000, seed=1):
    rng = np.random.default_rng(seed)
    x = np.column_stack([rng.integers(0, 4, n) * 2.0, rng.integers(0, 2, n), rng.integers(0, 3, n)])
    step = rng.integers(0, 3, n)
    hazard = np.exp(-2.5 + 0.3 * step + x @ [0.2, -0.5, 0.3])
    time = rng.integers(1, 5, n) / 2.0
    return rng, x, step, hazard, time


def cells_of(x, step, trials, events, names=("a", "b", "c")):
    return HazardCells(
        x=x, code=np.arange(len(x)), step=step, steps=int(step.max()) + 1, trials=trials,
        events=events, names=names,
    )  # fmt: skip


@pytest.mark.parametrize("link", FAMILIES)
def test_coefficients_errors_and_likelihood_are_those_of_statsmodels(link):
    rng, x, step, hazard, time = rows()
    trials = time if link == "exponential" else np.ones(len(x))
    events = (rng.random(len(x)) < 1 - np.exp(-hazard * trials)).astype(float)
    found = fit_hazard(cells_of(x, step, trials, events), link)
    offset = np.log(time) if link == "exponential" else None
    model = sm.GLM(events, np.column_stack([np.eye(3)[step], x]), FAMILIES[link], offset=offset)
    fit = model.fit(tol=1e-14, maxiter=100)
    np.testing.assert_allclose(found.fits[0].coef, fit.params, atol=1e-8)
    observed = np.linalg.inv(-model.hessian(fit.params, observed=True))
    np.testing.assert_allclose(found.covariance, observed, rtol=1e-6, atol=1e-10)
    constant = float((events * np.log(time)).sum()) if link == "exponential" else 0.0
    assert found.log_likelihood == pytest.approx(fit.llf - constant, abs=1e-8)


@pytest.mark.parametrize("link", FAMILIES)
def test_collapsing_rows_to_cells_changes_nothing(link):
    rng, x, step, hazard, time = rows(5000)
    trials = time if link == "exponential" else np.ones(len(x))
    events = (rng.random(len(x)) < 1 - np.exp(-hazard * trials)).astype(float)
    whole = fit_hazard(cells_of(x, step, trials, events), link)
    unique, code = np.unique(x, axis=0, return_inverse=True)
    key, cell = np.unique(code * 3 + step, return_inverse=True)
    few = HazardCells(
        x=unique, code=key // 3, step=key % 3, steps=3, names=("a", "b", "c"),
        trials=np.bincount(cell, weights=trials), events=np.bincount(cell, weights=events),
    )  # fmt: skip
    collapsed = fit_hazard(few, link)
    assert few.trials.size < len(x) / 40
    np.testing.assert_allclose(collapsed.fits[0].coef, whole.fits[0].coef, atol=1e-9)
    np.testing.assert_allclose(collapsed.covariance, whole.covariance, atol=1e-10)
    assert collapsed.log_likelihood == pytest.approx(whole.log_likelihood, abs=1e-7)


@pytest.mark.parametrize("link", FAMILIES)
def test_the_derivatives_are_those_of_the_value(link):
    eta = np.array([-12.0, -6.0, -1.0, 0.3, 1.5])
    trials = np.array([9.0, 8.0, 7.0, 6.0, 5.0])
    events = np.array([0.0, 2.0, 7.0, 3.0, 5.0])
    step = 1e-4
    at, up, down = (cell_score(link, eta + h, trials, events) for h in (0.0, step, -step))
    score = events * at.a + trials * at.b
    np.testing.assert_allclose(score, (up.value - down.value) / 2 / step, rtol=1e-5, atol=1e-7)
    second = ((events * down.a + trials * down.b) - (events * up.a + trials * up.b)) / 2 / step
    np.testing.assert_allclose(at.curve, second, rtol=1e-5, atol=1e-7)


def test_the_shared_derivatives_are_those_of_the_value():
    rng = np.random.default_rng(2)
    eta = rng.normal(-2, 2, (40, 3))
    eta[:5] = -9.0
    possible = rng.random((40, 3)) < 0.8
    possible[:, 0] = True
    events = rng.integers(0, 3, (40, 3)) * possible
    trials = events.sum(axis=1) + rng.integers(1, 9, 40)
    step = 1e-4

    def score(e):
        s = shared_score(e, possible, trials, events)
        return (
            s.value,
            events * s.a + events.sum(axis=1)[:, None] * s.d + trials[:, None] * s.b,
            s.curve,
        )

    _, slope, curve = score(eta)
    for j in range(3):
        shift = np.zeros((40, 3))
        shift[:, j] = step
        up, down = score(eta + shift), score(eta - shift)
        np.testing.assert_allclose(slope[:, j], (up[0] - down[0]) / 2 / step, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(curve[:, j], (down[1] - up[1]) / 2 / step, rtol=1e-4, atol=1e-6)


def test_one_exit_shared_is_cloglog():
    rng, x, step, hazard, _ = rows()
    events = (rng.random(len(x)) < 1 - np.exp(-hazard)).astype(float)
    one = cells_of(x, step, np.ones(len(x)), events)
    alone, shared = fit_hazard(one, "cloglog"), fit_shared([one])
    np.testing.assert_allclose(alone.fits[0].coef, shared.fits[0].coef, atol=1e-8)
    assert alone.log_likelihood == pytest.approx(shared.log_likelihood, abs=1e-8)


def test_exits_that_share_an_interval_are_found_again():
    rng = np.random.default_rng(3)
    n = 40_000
    x = rng.integers(0, 2, (n, 1)).astype(float)
    hazard = np.exp(np.column_stack([-1.0 + 0.7 * x[:, 0], -0.5 - 0.4 * x[:, 0]]))
    total = hazard.sum(axis=1)
    left = rng.random(n) < 1 - np.exp(-total)
    second = rng.random(n) < hazard[:, 1] / total
    codes = [(left & ~second).astype(float), (left & second).astype(float)]
    step = np.zeros(n, dtype=int)
    exits = [cells_of(x, step, np.ones(n), e, names=("x",)) for e in codes]
    found = np.array([fit.coef for fit in fit_shared(exits).fits])
    truth = np.array([[-1.0, 0.7], [-0.5, -0.4]])
    se = np.sqrt(np.diag(fit_shared(exits).covariance)).reshape(2, 2)
    assert (np.abs(found - truth) < 4 * se).all() and (se < 0.05).all()
    # cause-specific binomials take the other exits as staying on, and miss the baseline
    apart = fit_hazard(exits[0], "cloglog").fits[0].coef
    assert apart[0] < found[0, 0] - 0.1


def impossible(**changes):
    rng, x, step, _, _ = rows(400)
    events = (rng.random(400) < 0.3).astype(float)
    given = {"x": x, "step": step, "trials": np.ones(400), "events": events} | changes
    return cells_of(**given)


def test_what_cannot_be_estimated_is_said_with_name_and_count():
    x = impossible().x
    with pytest.raises(InputError, match="no event in 400 trials"):
        fit_hazard(impossible(events=np.zeros(400)), "logit")
    flat = x.copy()
    flat[:, 1] = 1.0
    with pytest.raises(InputError, match="covariate 'b': the same value in all 400 trials"):
        fit_hazard(impossible(x=flat), "cloglog")
    twice = x.copy()
    twice[:, 2] = 3 * x[:, 0] + 1
    with pytest.raises(InputError, match="'c' is determined by the covariates before it"):
        fit_hazard(impossible(x=twice), "cloglog")
    apart = x.copy()
    apart[:, 1] = impossible().events * (np.arange(400) % 2)
    with pytest.raises(InputError, match=r"covariate 'b': an event every time .*separation"):
        fit_hazard(impossible(x=apart), "logit")
    late = impossible()
    with pytest.raises(InputError, match=r"no event in 1 time step\(s\): 2"):
        fit_hazard(impossible(events=late.events * (late.step < 2)), "logit")


def test_separation_by_a_combination_is_found():
    rng = np.random.default_rng(4)
    x = rng.normal(size=(300, 3))
    events = (x[:, 0] + x[:, 1] > 0).astype(float)
    with pytest.raises(InputError, match="grows without bound"):
        fit_hazard(cells_of(x, np.zeros(300, dtype=int), np.ones(300), events), "logit")
    # a level without events hidden in a combination of two 0/1 columns
    a, b = (rng.random(4000) < 0.5), (rng.random(4000) < 0.5)
    x = np.column_stack([a, b, a & b]).astype(float)
    events = ((rng.random(4000) < 0.2) & (a | ~b)).astype(float)
    with pytest.raises(InputError, match="grows without bound"):
        fit_hazard(cells_of(x, np.zeros(4000, dtype=int), np.ones(4000), events), "cloglog")
