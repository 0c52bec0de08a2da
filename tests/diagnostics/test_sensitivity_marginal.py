"""Bounds by odds ratio: known distributions, linear programmes, every target, bad input."""

from __future__ import annotations

import numpy as np
import pytest
from invented_designs import make_design
from scipy import optimize, stats

from tiltakeval.diagnostics.sensitivity import hajek_range, odds_bounds
from tiltakeval.diagnostics.sensitivity.marginal import quantiles
from tiltakeval.errors import InputError
from tiltakeval.estimators import build

ALL = {"subgroup": "all", "outcome": "work"}


def fitted(design, key="aipw_att", **options):
    estimator = build(key, **options)
    nuisance = estimator.nuisance(design)
    return nuisance, estimator.estimate(design, nuisance)


@pytest.mark.parametrize("lam", [1.5, 2.0, 4.0])
def test_sharp_bounds_of_a_normal_outcome(lam: float) -> None:
    """Given covariates the outcome is normal: extreme means are (1 - 1 / L) E[Z | Z > quantile] off."""
    design = make_design(5000, seed=3, months=1, arms=2, recurring=False)
    nuisance, estimates = fitted(design, basis="linear", placebo=False)
    out = odds_bounds(design, nuisance, estimates, where=ALL, lambdas=[lam]).table.iloc[-1]
    tau = lam / (1 + lam)
    off = (1 - 1 / lam) * stats.norm.pdf(stats.norm.ppf(tau)) / (1 - tau)
    assert out["estimate"] - out["bound_low"] == pytest.approx(off, abs=0.04)
    assert out["bound_high"] - out["estimate"] == pytest.approx(off, abs=0.04)
    # the bounds of Zhao, Small & Bhattacharya, which the covariates don't narrow, are wider
    others, e = design.arm == 0, nuisance.propensity
    low, high = hajek_range(
        design.outcomes[others, 0, 0], odds=e[others, 1] / e[others, 0], lam=lam
    )
    mean = design.outcomes[design.arm == 1, 0, 0].mean()
    assert mean - high < out["bound_low"] < out["bound_high"] < mean - low


@pytest.mark.parametrize("key", ["aipw_att", "aipw_ate", "aipw_programmes", "aipw_overlap"])
@pytest.mark.parametrize(
    "kind", [{}, {"missing": True}, {"censored": True, "restricted": True, "weighted": True}]
)
def test_bounds_start_at_the_estimate_and_widen(key: str, kind: dict) -> None:
    design = make_design(2500, seed=1, months=2, **kind)
    nuisance, estimates = fitted(design, key, contrasts="all", placebo=False)
    found = odds_bounds(design, nuisance, estimates, where=ALL, lambdas=[1.0, 1.3, 2.0, 4.0])
    by = found.table.groupby(["programme", "comparator", "horizon"])
    for _, rows in by:
        first = rows.iloc[0]
        assert first["bound_low"] == pytest.approx(first["bound_high"])
        assert first["bound_low"] == pytest.approx(first["estimate"], abs=0.03)
        assert (np.diff(rows["bound_low"]) < 0).all() and (np.diff(rows["bound_high"]) > 0).all()
        assert (rows["conf_low"] < rows["bound_low"]).all()
    assert (found.breaking["odds_ratio"] >= 1).all()


def test_the_conclusion_breaks_where_the_interval_meets_zero() -> None:
    design = make_design(2500, seed=2, months=1)
    nuisance, estimates = fitted(design, placebo=False)
    where = {"subgroup": "all"}
    first = odds_bounds(design, nuisance, estimates, where=where).breaking
    assert (first["odds_ratio"] > 1.2).all()
    at = odds_bounds(
        design, nuisance, estimates, where=where, lambdas=list(first["odds_ratio"])
    ).table
    for _, row in first.iterrows():
        hit = at[
            (at["programme"] == row["programme"])
            & (at["outcome"] == row["outcome"])
            & (at["odds_ratio"] == row["odds_ratio"])
        ].iloc[0]
        end = hit["conf_low"] if row["estimate"] > 0 else hit["conf_high"]
        assert abs(end) < 0.02
    small = odds_bounds(design, nuisance, estimates, where=where, lambdas=[1.01])
    assert np.isinf(small.breaking["odds_ratio"]).all()  # beyond what was tried


def test_a_share_has_bounds_that_are_shares() -> None:
    design = make_design(3000, seed=4, months=1, arms=2, recurring=False)
    y = (design.outcomes > 0.3).astype(np.float32)
    y[:, :, 1] = 1.0
    design = type(design)(**{**design.__dict__, "outcomes": y})
    nuisance, estimates = fitted(design, placebo=False)
    out = odds_bounds(design, nuisance, estimates, where=ALL, lambdas=[100.0]).table.iloc[-1]
    mean = design.outcomes[design.arm == 1, 0, 0].mean()
    # at worst everybody, or nobody, in the comparison would have worked
    assert out["bound_low"] == pytest.approx(mean - 1, abs=0.1)
    assert out["bound_high"] == pytest.approx(mean, abs=0.1)


def test_quantiles_are_about_right() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal(20_000)
    y = 2 * x + rng.standard_normal(20_000)
    high, low = quantiles(y, 2 * x, np.ones(20_000), [0.8, 0.3])
    assert (y <= high).mean() == pytest.approx(0.8, abs=0.01)
    assert (y <= low).mean() == pytest.approx(0.3, abs=0.01)
    lump = np.where(rng.random(20_000) < 0.6, 0.0, np.exp(x))
    middle = quantiles(lump, np.exp(x) * 0.4, np.ones(20_000), [0.5])[0]
    assert (middle == 0).mean() > 0.9


def test_range_of_weighted_means_against_linear_programmes() -> None:
    rng = np.random.default_rng(1)
    for base, lam in ((0.0, 1.7), (1.0, 3.0)):
        y, odds = rng.standard_normal(12), rng.uniform(0.1, 2.0, 12)
        low, high = hajek_range(y, odds=odds, base=base, lam=lam)
        # Charnes & Cooper: weights divided by their sum, which is a variable
        a_ub, b_ub = [], []
        for i in range(12):
            for side, weight in ((1, base + odds[i] * lam), (-1, base + odds[i] / lam)):
                row = np.zeros(13)
                row[i], row[12] = side, -side * weight
                a_ub.append(row)
                b_ub.append(0.0)
        total = np.r_[np.ones(12), 0.0][None]
        for sign, ours in ((1, low), (-1, high)):
            solved = optimize.linprog(
                sign * np.r_[y, 0.0], A_ub=a_ub, b_ub=b_ub, A_eq=total, b_eq=[1.0]
            )
            assert sign * solved.fun == pytest.approx(ours)
    assert hajek_range([1.0, 2.0], odds=1.0, lam=1.0) == (1.5, 1.5)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: hajek_range([1.0], odds=[1.0], lam=0.5), "at least 1"),
        (lambda: hajek_range([1.0, np.nan], odds=1.0, lam=2), "finite"),
        (lambda: hajek_range([1.0, 2.0], odds=0.0, lam=2), "any weight"),
    ],
)
def test_bad_input_of_ranges(call, text: str) -> None:
    with pytest.raises(InputError, match=text):
        call()


def test_bad_input() -> None:
    design = make_design(400, seed=1, months=1)
    nuisance, estimates = fitted(design, folds=2)
    with pytest.raises(InputError, match="Lambda"):
        odds_bounds(design, nuisance, estimates, lambdas=[0.5])
    with pytest.raises(InputError, match="level"):
        odds_bounds(design, nuisance, estimates, level=0.3)
    with pytest.raises(InputError, match="no effect"):
        odds_bounds(design, nuisance, estimates, where={"programme": "ips"})
