"""Roll-outs times predicted participation: the truth, the errors, the regression, what can't be done."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from invented_rollouts import PERIODS, make_intensity, part_effect

from tiltakeval.design.intensity import IntensityRollout, intensity_from_frame
from tiltakeval.errors import InputError
from tiltakeval.estimators.did.intensity_effects import Intensity


def rows(found, term: str) -> pd.DataFrame:
    table = found.table[found.table.status != "reference"]
    return table[(table.term == term) & (table.subgroup == "all")]


def given(design: IntensityRollout, predicted: np.ndarray) -> IntensityRollout:
    return replace(design, predicted=predicted, predictors=None, participation=None)


@pytest.mark.parametrize("method", ["slopes", "two_way"])
@pytest.mark.parametrize("model", ["logit", "linear"])
def test_the_effect_of_taking_part_is_found(method: str, model: str) -> None:
    design = make_intensity(12000, seed=3)
    found = Intensity(method=method, model=model, bands=False).estimate(design)  # type: ignore[arg-type]
    for _, row in rows(found, "effect_by_event_time").iterrows():
        truth = float(part_effect(np.array(row.horizon)))
        # a linear prediction of what is logistic is near enough here
        assert abs(row.estimate - truth) < 4 * row.std_error + 0.05
    said = found.run["prediction"]
    assert (
        said["made"] == model and said["counted_in_errors"] and said["predictors"] == ["x0", "x1"]
    )


@pytest.mark.parametrize("method", ["slopes", "two_way"])
def test_influence_is_the_derivative_by_weights_prediction_and_all(method: str) -> None:
    design = make_intensity(300, seed=6)
    estimator = Intensity(method=method, bands=False, divisor="g_minus_1")  # type: ignore[arg-type]
    found = estimator.estimate(design)
    good = np.flatnonzero((found.table.status == "ok") & (found.table.subgroup == "all"))
    z = found.influence.columns(good)
    for unit in (1, 50, 222):
        weight = design.weight.copy()
        weight[unit] += 1e-5
        moved = estimator.estimate(replace(design, weight=weight)).table.estimate[good]
        slope = (moved - found.table.estimate[good]) / 1e-5
        np.testing.assert_allclose(slope * design.weight[unit], z[unit], atol=2e-4)


def test_a_given_prediction_has_the_same_estimates_and_errors_that_say_less() -> None:
    design = make_intensity(800, seed=7)
    counted = Intensity(model="linear", bands=False).estimate(design)
    plain = Intensity(model="linear", bands=False, errors="prediction_given").estimate(design)
    x = np.column_stack([np.ones(design.n), design.predictors])
    used = np.isfinite(design.participation)
    w = design.weight[used]
    gram = x[used].T @ (x[used] * w[:, None])
    coef = np.linalg.solve(gram, x[used].T @ (w * design.participation[used]))
    outside = Intensity(bands=False).estimate(given(design, x @ coef))
    np.testing.assert_allclose(counted.table.estimate, outside.table.estimate, rtol=1e-9)
    np.testing.assert_allclose(plain.table.std_error, outside.table.std_error, rtol=1e-9)
    assert (counted.table.std_error != plain.table.std_error).any()
    assert not outside.run["prediction"]["counted_in_errors"]


def test_the_regression_is_least_squares_on_dummies() -> None:
    design = make_intensity(40, seed=8)
    design = given(design, np.random.default_rng(0).random(40))
    found = Intensity(method="two_way", bands=False, divisor="g").estimate(design)
    y = design.outcomes[:, :, 0].ravel()
    unit, t = np.divmod(np.arange(y.size), PERIODS.size)
    event = (PERIODS[t] - design.first[unit]).astype(float)
    p = design.predicted[unit]
    times = sorted({int(e) for e in event[np.isfinite(event)]} - {-1})
    columns = [unit == i for i in range(40)] + [t == k for k in range(1, 8)]
    columns += [(t == k) * p for k in range(1, 8)] + [event == e for e in times]
    x = np.column_stack([*columns, *[(event == e) * p for e in times]]).astype(float)
    w = np.sqrt(design.weight[unit])
    coef = np.linalg.lstsq(x * w[:, None], y * w, rcond=None)[0]
    mine = rows(found, "effect_by_event_time")
    np.testing.assert_allclose(mine.estimate, coef[-len(times) :], atol=1e-8)
    on = (event >= 0).astype(float)
    static = np.column_stack([*columns[: 40 + 14], on, on * p]).astype(float)
    coef = np.linalg.lstsq(static * w[:, None], y * w, rcond=None)[0]
    assert rows(found, "effect_overall").estimate.iloc[0] == pytest.approx(coef[-1], abs=1e-8)
    bare = Intensity(method="two_way", bands=False, exposure=False).estimate(design)
    coef = np.linalg.lstsq(np.delete(static, -2, axis=1) * w[:, None], y * w, rcond=None)[0]
    assert rows(bare, "effect_overall").estimate.iloc[0] == pytest.approx(coef[-1], abs=1e-8)


def test_slopes_are_differences_of_two_regressions() -> None:
    design = make_intensity(90, seed=9)
    p = np.random.default_rng(1).random(90)
    found = Intensity(comparison="never", bands=False).estimate(given(design, p))
    cell = rows(found, "effect").set_index(["cohort", "period"]).loc[("4", "6")]
    dy = design.outcomes[:, 5, 0] - design.outcomes[:, 2, 0]
    slopes = [
        np.polyfit(p[side], dy[side], 1, w=np.sqrt(design.weight[side]))[0]
        for side in (design.first == 4, np.isinf(design.first))
    ]
    assert cell.estimate == pytest.approx(slopes[0] - slopes[1], rel=1e-9)


def long_file(design: IntensityRollout) -> pd.DataFrame:
    unit, t = np.divmod(np.arange(design.n * PERIODS.size), PERIODS.size)
    columns = {"unit": unit, "period": PERIODS[t], "first": design.first[unit]}
    columns |= {"y": design.outcomes[:, :, 0].ravel(), "took": design.participation[unit]}
    x = design.predictors
    return pd.DataFrame(columns).assign(
        a=x[unit, 0],
        p=1 / (1 + np.exp(-x[unit, 0])),
        b=np.where(x[unit, 1] > 0, "high", "low"),
        office=unit % 12,
    )


NAMES = {"outcome": "y", "unit": "unit", "period": "period", "first": "first"}


def test_a_file_becomes_a_design() -> None:
    df = long_file(make_intensity(60))
    design = intensity_from_frame(df, participation="took", predictors="a,b", **NAMES)
    assert design.predictor_names == ("a", "b=low") and design.covariate_names == ()
    assert np.isnan(design.participation[np.isinf(design.first)]).all()
    other = intensity_from_frame(df, predicted="p", covariates="b", **NAMES)
    assert other.predicted is not None and other.covariate_names == ("b=low",)
    found = Intensity(bands=False).estimate(other)
    assert np.isfinite(rows(found, "effect_overall").estimate).all()


@pytest.mark.parametrize(
    ("change", "names", "said"),
    [
        (lambda d: d, {}, "isn't declared"),
        (lambda d: d, {"predicted": "p", "participation": "took"}, "declared twice"),
        (lambda d: d, {"participation": "took"}, "go together"),
        (lambda d: d, {"predicted": "p", "predictors": "b"}, "go together"),
        (lambda d: d.assign(took=2.0), {"participation": "took", "predictors": "a"}, "outside 0"),
        (lambda d: d, {"predicted": "a"}, "outside 0"),
        (lambda d: d.assign(p=d.period / 9), {"predicted": "p"}, "change within"),
        (lambda d: d.assign(p=d.p.where(d.unit > 3)), {"predicted": "p"}, "no predicted"),
        (lambda d: d, {"predicted": "p", "covariates": "p"}, "something else"),
        (lambda d: d, {"participation": "took", "predictors": "took"}, "foretell itself"),
    ],
)
def test_what_is_wrong_in_a_file_is_said(change, names: dict, said: str) -> None:
    with pytest.raises(InputError, match=said):
        intensity_from_frame(change(long_file(make_intensity(60))), **NAMES, **names)


def test_what_cannot_be_done_is_said() -> None:
    design = make_intensity(100)
    for options, said in (
        ({"method": "iv"}, "choice"),
        ({"model": "probit"}, "choice"),
        ({"anticipation": -1}, "anticipation"),
        ({"level": 0.1}, "level"),
    ):
        with pytest.raises(InputError, match=said):
            Intensity(**options).estimate(design)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="doesn't differ"):
        Intensity().estimate(replace(design, participation=np.ones(design.n)))
    apart = np.column_stack([design.participation == 1, design.predictors[:, 0]]).astype(float)
    with pytest.raises(InputError, match="separate"):
        Intensity().estimate(replace(design, predictors=apart))
    with pytest.raises(InputError, match="no predictor"):
        Intensity().estimate(replace(design, predictors=np.ones((100, 2))))
    flat = given(design, np.full(design.n, 0.3))
    for method in ("slopes", "two_way"):
        found = Intensity(method=method).estimate(flat)  # type: ignore[arg-type]
        assert (found.table.status == "not_supported").all() and found.run["not_supported"]
