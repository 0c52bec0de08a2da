"""The likelihood of a mixture of hazards: its derivatives, its maximum, its certificate."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from invented_events import SETTINGS, make_events, numeric_gradient

from tiltakeval.design.event_history import EventHistory, event_history_from_frame
from tiltakeval.estimators.duration.mixture import likelihood
from tiltakeval.estimators.duration.mixture.directions import Box, box_of, maxima
from tiltakeval.estimators.duration.mixture.hazards import Hazards, hazards
from tiltakeval.estimators.duration.mixture.interval import log_shape, slopes
from tiltakeval.estimators.duration.mixture.likelihood import (
    ZERO,
    Mixing,
    densities,
    evaluate,
    log_likelihood,
    unit_scores,
)
from tiltakeval.estimators.duration.mixture.newton import Fit, maximise
from tiltakeval.estimators.duration.mixture.npmle import solve
from tiltakeval.estimators.duration.mixture.panel import Panel, panel_of, until
from tiltakeval.estimators.duration.mixture.path import path_by_points
from tiltakeval.estimators.duration.mixture.posterior_kernels import relative_densities
from tiltakeval.estimators.duration.mixture.search import full_solution, one_point
from tiltakeval.estimators.duration.mixture.steps import with_steps
from tiltakeval.estimators.duration.mixture.surface import Surface
from tiltakeval.estimators.duration.mixture.weights import best_weights


def history(df: pd.DataFrame | None = None, **changes: object) -> EventHistory:
    return event_history_from_frame(
        make_events(300) if df is None else df,
        **{**SETTINGS, **changes},  # type: ignore[arg-type]
    )


def delayed() -> EventHistory:
    """Half come under observation at 3, with the time before known."""
    df = make_events(400, seed=3)
    seen = np.where(df.id % 2 == 0, 3.0, 0.0)
    left = df.groupby("id").stop.transform("max") <= seen
    return history(df.assign(seen=seen)[~left], observed_from="seen")


def weighted() -> EventHistory:
    df = make_events(300)
    return history(df.assign(w=1.0 + df.id % 3), weight="w")


def at_random(panel: Panel, points: int = 3) -> tuple[Callable, np.ndarray]:
    """Parameters as a vector, and what they stand for."""
    rng = np.random.default_rng(1)
    size, c = panel.coefficients, panel.channels

    def unpack(theta: np.ndarray) -> tuple[Hazards, Mixing]:
        beta = np.zeros(panel.active.shape)
        beta[panel.active] = theta[:size]
        p = np.exp(theta[size + c * points :])
        mu = theta[size : size + c * points].reshape(c, points)
        return hazards(panel, beta), Mixing(mu=mu, p=p / p.sum(), top=np.full(c, np.inf))

    parts = (
        rng.normal(size=size) * 0.2,
        rng.normal(size=c * points) - 2.5,
        rng.normal(size=points),
    )
    return unpack, np.concatenate(parts)


CASES: dict[str, Callable[[], Panel]] = {
    "exact": lambda: panel_of(history()),
    "random effect": lambda: panel_of(history(), varying=("taking_part",)),
    "steps": lambda: panel_of(with_steps(history(), (3.0, 8.0))),
    "weights": lambda: panel_of(weighted()),
    "delayed entry": lambda: panel_of(delayed()),
    "interval": lambda: panel_of(with_steps(history(), (5.0,)), interval=True),
    "interval, random effect": lambda: panel_of(history(), varying=("after",), interval=True),
}


@pytest.mark.parametrize("case", list(CASES))
def test_gradient_and_hessian_are_those_of_the_log_likelihood(case: str) -> None:
    panel = CASES[case]()
    unpack, theta = at_random(panel)
    found = evaluate(panel, *unpack(theta))
    by_hand = numeric_gradient(lambda t: log_likelihood(panel, *unpack(t)), theta)
    np.testing.assert_allclose(found.gradient, by_hand, atol=1e-5)
    second = numeric_gradient(lambda t: evaluate(panel, *unpack(t)).gradient, theta)
    np.testing.assert_allclose(found.hessian, second, atol=1e-4)
    scores = unit_scores(panel, *unpack(theta), 0, panel.units)
    np.testing.assert_allclose(panel.weight @ scores, found.gradient, atol=1e-8)


@pytest.mark.parametrize("case", list(CASES))
def test_histories_up_to_a_row_have_the_density_of_these_rows(case: str) -> None:
    panel = CASES[case]()
    unpack, theta = at_random(panel, points=1)
    at, mixing = unpack(theta)
    rng = np.random.default_rng(2)
    unit = np.sort(rng.choice(panel.units, 80))
    stop = rng.integers(panel.first[unit] + 1, panel.first[unit + 1] + 1)
    part = until(panel, unit, stop)
    got = densities(part, hazards(part, at.beta), mixing)
    end_of = np.cumsum(panel.event > 0) - 1
    by_hand = np.zeros(unit.size)
    for i, (u, last) in enumerate(zip(unit, stop)):
        for r in range(panel.first[u], last):
            x = np.r_[panel.x_unit[u], panel.x_row[r]]
            c = panel.channel[r]
            rate = np.where(c >= 0, np.exp(at.beta @ x + mixing.mu[c, 0]), 0.0)
            by_hand[i] -= panel.length[r] * rate.sum()
            if panel.event[r]:
                by_hand[i] += np.log(rate[panel.event[r] - 1])
                if panel.ends is not None:
                    total, length = rate.sum(), panel.ends.length[end_of[r]]
                    by_hand[i] += np.log(-np.expm1(-length * total) / total)
    np.testing.assert_allclose(got, by_hand, atol=1e-10)


def test_many_covariates_take_another_way_to_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    panel = CASES["steps"]()
    unpack, theta = at_random(panel)
    few = evaluate(panel, *unpack(theta))
    monkeypatch.setattr(likelihood, "MANY", 1)
    many = evaluate(panel, *unpack(theta))
    np.testing.assert_allclose(many.hessian, few.hessian, atol=1e-9)
    single = evaluate(panel, *unpack(theta), precise=False)
    np.testing.assert_allclose(single.hessian, few.hessian, rtol=1e-4, atol=1e-2)
    np.testing.assert_allclose(single.gradient, few.gradient, atol=1e-9)
    block = few.hessian[: panel.coefficients, : panel.coefficients]
    again = evaluate(panel, *unpack(theta), curvature=block)
    np.testing.assert_allclose(again.hessian, few.hessian, atol=1e-9)
    np.testing.assert_allclose(again.gradient, few.gradient, atol=1e-9)


def test_densities_far_apart_are_those_of_the_library_functions() -> None:
    rng = np.random.default_rng(4)
    n, a = rng.integers(0, 3, (2, 300)).astype(float), rng.exponential(30.0, (2, 300))
    mu = np.array([[-3.0, 6.0, ZERO, -1.0], [-5.0, 7.0, -2.0, ZERO]])
    out, top, total = np.empty((4, 300)), np.empty(300), np.empty(300)
    with np.errstate(divide="ignore"):
        log_p = np.log([0.5, 0.2, 0.3, 0.0])
    relative_densities(n, a, mu, np.exp(mu), log_p, out, top, total)
    logs = log_p[:, None] + mu.T @ n - np.exp(mu).T @ a
    np.testing.assert_allclose(top, logs.max(axis=0), rtol=1e-13)
    np.testing.assert_allclose(out, np.exp(logs - logs.max(axis=0)), rtol=1e-12, atol=1e-70)
    np.testing.assert_allclose(total, out.sum(axis=0), rtol=1e-14)


@pytest.mark.parametrize("case", ["exact", "random effect", "interval", "delayed entry"])
def test_the_directional_derivative_averages_to_zero_over_the_points(case: str) -> None:
    panel = CASES[case]()
    unpack, theta = at_random(panel)
    at, mixing = unpack(theta)
    surface = Surface(panel, at, at.base - densities(panel, at, mixing), box_of(panel, at))
    values = [surface.at(mixing.mu[:, j])[0] for j in range(mixing.points)]
    assert abs(float(mixing.p @ values)) < 1e-8
    mu = np.full(panel.channels, -2.0)
    _, gradient, hessian = surface.at(mu)
    np.testing.assert_allclose(
        gradient, numeric_gradient(lambda m: surface.at(m)[0], mu), rtol=1e-5, atol=1e-6
    )
    np.testing.assert_allclose(
        hessian, numeric_gradient(lambda m: surface.at(m)[1], mu), rtol=1e-5, atol=1e-5
    )


def test_interval_shapes_meet_their_series() -> None:
    z = np.array([1e-12, 1e-4, 0.00999, 0.01001, 1.0, 50.0, 800.0])
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        plain = np.log(-np.expm1(-z) / z)
    np.testing.assert_allclose(log_shape(z), plain, rtol=1e-6, atol=1e-15)
    one, two = slopes(z)
    assert np.isfinite(one).all() and np.isfinite(two).all()
    np.testing.assert_allclose(one[2:4], -0.5 + z[2:4] / 12, rtol=1e-6)
    np.testing.assert_allclose(two[2:4], 1 / 12, rtol=1e-4)


def test_without_covariates_and_heterogeneity_the_hazard_is_events_over_exposure() -> None:
    df = make_events(400)
    found, _ = one_point(panel_of(history(df, covariates="", programme="", exits="1:job,2:entry")))
    exposure = (df.stop - df.start).sum()
    for c, code in enumerate((1, 2)):
        rate = (df.event == code).sum() / exposure
        assert found.mixing.mu[c, 0] == pytest.approx(np.log(rate), abs=1e-8)


def test_no_further_point_raises_the_likelihood_at_the_solution() -> None:
    panel = CASES["exact"]()
    one, box = one_point(panel)
    full = full_solution(panel, one, box, tolerance=1e-6)
    assert full.certificate is not None and full.certificate < 1e-6
    assert full.points > 1 and full.loglik > one.loglik + 10
    rng = np.random.default_rng(0)
    for _ in range(20):
        mu = rng.uniform(box.low, box.high)[:, None]
        more = full.mixing.changed(
            np.concatenate([full.mixing.mu, mu], axis=1), np.append(full.mixing.p * 0.999, 0.001)
        )
        assert log_likelihood(panel, full.at, more) <= full.loglik + 1e-6


def test_the_certificate_bounds_what_other_weights_can_gain() -> None:
    panel = CASES["exact"]()
    one, box = one_point(panel)
    grid = np.array([[-3.0, -2.0, -1.0, -3.0, -1.0], [-4.0, -2.0, -2.0, -2.0, -4.0]])
    mixing = one.mixing.changed(grid, np.full(5, 0.2))
    best = best_weights(panel, one.at, mixing, tolerance=1e-8)
    start, end = (log_likelihood(panel, one.at, m) for m in (mixing, best))
    largest = maxima(panel, one.at, mixing, box).largest
    assert start < end <= start + largest


def test_weights_count_persons_several_times() -> None:
    df = make_events(150, seed=5)
    twice = pd.concat([df, df.assign(id=df.id + 1000)])
    once = panel_of(history(df.assign(w=2.0), weight="w"))
    doubled = panel_of(history(twice))
    fits = [full_solution(p, *one_point(p)) for p in (once, doubled)]
    assert fits[0].loglik == pytest.approx(fits[1].loglik, abs=1e-4)
    np.testing.assert_allclose(fits[0].at.beta, fits[1].at.beta, atol=1e-4)


def test_cutting_rows_at_steps_changes_nothing_by_itself() -> None:
    whole = history()
    cut = with_steps(whole, (2.0, 5.0, 11.0))
    plain = replace(
        cut,
        covariates=cut.covariates[:, :4],
        covariate_names=cut.covariate_names[:4],
        enters=cut.enters[:, :4],
    )
    assert cut.n > whole.n and (cut.event > 0).sum() == (whole.event > 0).sum()
    (one, _), (two, _) = one_point(panel_of(whole)), one_point(panel_of(plain))
    assert one.loglik == pytest.approx(two.loglik, abs=1e-8)
    assert np.isin(cut.covariates[:, 4:].sum(axis=1), (0, 1)).all()


def test_a_point_at_a_hazard_of_zero_is_no_parameter() -> None:
    panel = CASES["exact"]()
    one, box = one_point(panel)
    mixing = one.mixing.changed(
        np.concatenate([one.mixing.mu, np.full((2, 1), ZERO)], axis=1), np.array([0.95, 0.05])
    )
    fit = maximise(panel, Fit(at=one.at, mixing=mixing, loglik=0.0), polish=True)
    assert (fit.mixing.mu[:, 1] == ZERO).all() and fit.gradient_norm < 1e-5
    assert isinstance(box, Box)


def test_reference_path_and_optimum(shared: Path) -> None:
    df = pd.read_csv(shared / "reference" / "timing_of_events.csv")
    known = json.loads((shared / "reference" / "timing_of_events.json").read_text("utf-8"))
    panel = panel_of(
        event_history_from_frame(
            df,
            id="id",
            duration="duration",
            event="d",
            exits="1:job,2:programme",
            covariates="x1,x2",
            programme="alpha",
        )
    )
    solution = solve(panel, starts=1, path=False)
    full = solution.full
    assert full.loglik > -17781.647 and full.certificate is not None and full.certificate < 1e-3
    want = known["check"]["coef"]
    beta = full.at.beta / panel.scale
    np.testing.assert_allclose(
        [*beta[0], *beta[1][:2]],
        [want[k] for k in ("job.x1", "job.x2", "job.alpha", "program.x1", "program.x2")],
        atol=2e-4,
    )
    one, box = one_point(panel)
    path = path_by_points(panel, one, full, box)
    for fit in known["durmod"]["fits"]:
        margin = -0.01 if fit["points"] < 7 else 1e-3
        assert path[fit["points"]].loglik > fit["loglik"] + margin, fit["points"]
