import numpy as np
import pytest

from tiltakeval.errors import InputError
from tiltakeval.numerics.logit import fit_logit, fit_multinomial, predict


def _data(n=4000, p=4, arms=3, seed=3):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, p)) * np.array([1, 10, 0.1, 1000])[:p] + 5
    coef = np.vstack([np.zeros(p), rng.normal(size=(arms - 1, p)) * 0.5])
    eta = ((x - 5) / np.array([1, 10, 0.1, 1000])[:p]) @ coef.T - np.arange(arms)
    prob = np.exp(eta) / np.exp(eta).sum(1, keepdims=True)
    arm = (rng.random(n)[:, None] > prob.cumsum(1)).sum(1)
    return x, arm


def test_binary_agrees_with_statsmodels():
    sm = pytest.importorskip("statsmodels.api")
    x, arm = _data(arms=2)
    ours = fit_logit(x, arm == 1, ridge=0.0)
    standard = (x - x.mean(0)) / x.std(0)  # statsmodels needs help with these scales
    theirs = sm.Logit(arm == 1, sm.add_constant(standard)).fit(disp=0, tol=1e-12)
    np.testing.assert_allclose(ours.coef[1:] * x.std(0), theirs.params[1:], atol=1e-6)
    assert ours.log_likelihood == pytest.approx(theirs.llf, abs=1e-7)


def test_multinomial_agrees_with_statsmodels_and_scores_are_zero():
    sm = pytest.importorskip("statsmodels.api")
    x, arm = _data()
    ours = fit_multinomial(x, arm, 3, ridge=0.0)
    standard = (x - x.mean(0)) / x.std(0)
    theirs = sm.MNLogit(arm, sm.add_constant(standard)).fit(disp=0, tol=1e-12)
    assert ours.log_likelihood == pytest.approx(theirs.llf, abs=1e-6)
    prob = predict(ours, x)
    score = (np.eye(3)[arm] - prob).T @ np.column_stack([np.ones(len(x)), standard])
    assert np.abs(score).max() < 1e-2
    np.testing.assert_allclose(prob, theirs.predict(), atol=1e-5)


def test_weights_equal_repeated_rows():
    x, arm = _data(n=800)
    weight = np.random.default_rng(1).integers(1, 4, size=len(arm))
    a = fit_multinomial(x, arm, 3, weight=weight)
    b = fit_multinomial(np.repeat(x, weight, 0), np.repeat(arm, weight), 3)
    np.testing.assert_allclose(predict(a, x), predict(b, x), atol=1e-7)


def test_allowed_sets_give_zero_and_leave_the_rest_consistent():
    x, arm = _data(n=3000)
    allowed = np.ones((len(arm), 3), dtype=bool)
    allowed[::2, 2] = False
    keep = allowed[np.arange(len(arm)), arm]
    x, arm, allowed = x[keep], arm[keep], allowed[keep]
    fit = fit_multinomial(x, arm, 3, allowed=allowed)
    prob = predict(fit, x, allowed)
    assert (prob[~allowed] == 0).all()
    np.testing.assert_allclose(prob.sum(1), 1.0)
    # arms' fitted totals equal the observed ones (the intercepts' score equations)
    np.testing.assert_allclose(prob.sum(0), np.bincount(arm), rtol=1e-5)


def test_constant_and_repeated_columns_are_harmless_and_warm_start_agrees():
    x, arm = _data(n=1500)
    wide = np.column_stack([x, x[:, 0], np.full(len(x), 7.0)])
    a, b = fit_multinomial(x, arm, 3, ridge=1e-6), fit_multinomial(wide, arm, 3, ridge=1e-6)
    np.testing.assert_allclose(predict(a, x), predict(b, wide), atol=1e-4)
    again = fit_multinomial(x, arm, 3, ridge=1e-6, start=a.coef)
    assert again.iterations <= 2
    np.testing.assert_allclose(again.coef, a.coef, rtol=1e-4, atol=1e-6)


def test_dummy_without_treated_still_fits():
    x, arm = _data(n=2000, arms=2)
    dummy = np.zeros(len(x))
    dummy[np.flatnonzero(arm == 0)[:50]] = 1
    fit = fit_logit(np.column_stack([x, dummy]), arm == 1)
    assert fit.converged
    assert predict(fit, np.column_stack([x, dummy]))[dummy == 1].max() < 0.05


def test_errors_say_what_is_wrong():
    x, arm = _data(n=500, arms=2)
    with pytest.raises(InputError, match="separate"):
        fit_logit(np.column_stack([x, arm * 1.0]), arm == 1)
    with pytest.raises(InputError, match="no units"):
        fit_multinomial(x, arm, 4)
    allowed = np.ones((len(arm), 2), dtype=bool)
    allowed[:, 1] = False
    with pytest.raises(InputError, match="not to be able"):
        fit_multinomial(x, arm, 2, allowed=allowed)
