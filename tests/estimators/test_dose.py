"""Effects by dose: against diff-diff's figures, against the truth, and what can't be done."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from invented_doses import dose_effect, dosed_columns
from invented_rollouts import make_doses

from tiltakeval.design.doses import DosedRollout, doses_from_frame
from tiltakeval.errors import InputError
from tiltakeval.estimators.did.dose.basis import bins_of, rounded, spline_of
from tiltakeval.estimators.did.dose.leverage import by_group
from tiltakeval.estimators.did.dose_response import DoseResponse
from tiltakeval.estimators.did.group_time import GroupTimeATT
from tiltakeval.estimators.numerics.groups import deal_groups

PEER = json.loads((Path(__file__).parent / "peers" / "dose.json").read_text())
COLUMNS = {"outcome": "outcome", "unit": "unit", "period": "period", "dose": "dose"}


def rows(found, term: str) -> pd.DataFrame:
    table = found.table[found.table.status != "reference"]
    return table[(table.term == term) & (table.subgroup == "all")]


def numbers(found, term: str) -> np.ndarray:
    return rows(found, term)[["estimate", "std_error"]].to_numpy(float).T


@pytest.mark.parametrize("case", PEER["figures"], ids=lambda c: str(c["options"]))
def test_figures_of_diff_diff(case: dict) -> None:
    """Everything agrees but averages under anticipation, in which it counts anticipated periods."""
    df = pd.DataFrame(dosed_columns(discrete=case["discrete"]))
    if case["discrete"]:  # with several cohorts it gives a dose the weights of whole cohorts
        df = df[df["first"].isin([0, 4])]
    design = doses_from_frame(df, first="first", covariates=case["covariates"], **COLUMNS)
    options = case["options"]
    found = DoseResponse(
        comparison=options.get("control_group", "never"), anticipation=options.get("anticipation", 0),
        degree=options.get("degree", 2), knots=options.get("num_knots", 0),
        doses=tuple(case["doses"]), errors="conditional", divisor="g", bands=False,
    ).estimate(design)  # fmt: skip
    events = rows(found, "effect_by_event_time").set_index("horizon")
    for event, estimate, error in case["event"]:
        assert events.estimate[event] == pytest.approx(estimate, abs=1e-9)
        assert events.std_error[event] == pytest.approx(error, abs=1e-9)
    if "anticipation" in options:
        return
    assert numbers(found, "effect_over_cohorts").ravel() == pytest.approx(case["overall"][:2])
    if case["discrete"]:
        np.testing.assert_allclose(numbers(found, "effect_by_dose"), case["att"], atol=1e-10)
        return
    assert numbers(found, "slope_overall").ravel() == pytest.approx(case["overall"][2:])
    np.testing.assert_allclose(numbers(found, "effect_at_dose"), case["att"], atol=1e-10)
    np.testing.assert_allclose(numbers(found, "slope_at_dose"), case["slope"], atol=1e-10)


def test_all_doses_together_are_the_group_time_effects() -> None:
    design = make_doses(400)
    design = replace(design, covariates=design.covariates[:, :0], covariate_names=())
    found = DoseResponse(bands=False, divisor="g_minus_1").estimate(design)
    other = GroupTimeATT(base="universal", divisor="g_minus_1", bands=False).estimate(design)
    for term in ("effect", "effect_overall", "effect_over_cohorts", "effect_by_event_time"):
        np.testing.assert_allclose(numbers(found, term), numbers(other, term), rtol=1e-9)
    few = replace(
        design, cluster=np.unique(design.first, return_inverse=True)[1] * 8 + np.arange(400) % 8
    )
    found, other = (e.estimate(few) for e in (DoseResponse(), GroupTimeATT(base="universal")))
    np.testing.assert_allclose(numbers(found, "effect"), numbers(other, "effect"), rtol=1e-9)
    degrees = [rows(one, "effect").conf_high.to_numpy() for one in (found, other)]
    np.testing.assert_allclose(*degrees, rtol=1e-9)


def test_errors_by_leverage_are_those_of_bell_and_mccaffrey() -> None:
    rng = np.random.default_rng(0)
    cluster, x, e = np.arange(60) % 9, rng.standard_normal((60, 3)), rng.standard_normal(60)
    w = rng.uniform(0.5, 2, 60)
    groups = deal_groups(cluster, kind="office")
    inverse = np.linalg.inv(x.T @ (x * w[:, None]))
    z = by_group(x, w, e, inverse, np.arange(60), groups, own=True)
    root = np.sqrt(w)[:, None] * x
    hat = root @ inverse @ root.T
    for g in range(9):
        mine = cluster == g
        values, vectors = np.linalg.eigh(np.eye(mine.sum()) - hat[np.ix_(mine, mine)])
        settled = vectors @ np.diag(values**-0.5) @ vectors.T @ (np.sqrt(w) * e)[mine]
        np.testing.assert_allclose(z[g], inverse @ root[mine].T @ settled, rtol=1e-8)


def test_the_true_effects_of_each_dose_are_found() -> None:
    design = make_doses(8000, seed=2)
    found = DoseResponse(bands=False, knots=1, average="cells").estimate(design)
    event = design.periods[None, :] - design.first[:, None]
    on = np.isfinite(event) & (event >= 0)
    true = np.where(on, dose_effect(design.dose[:, None], np.where(on, event, 0.0)), 0.0)
    curve = rows(found, "effect_at_dose")
    weight = np.where(on, design.weight[:, None], 0.0)
    lag = (weight * np.where(on, event, 0.0)).sum() / weight.sum()
    for _, row in curve.iterrows():
        expected = dose_effect(float(row.cohort.split()[1]), lag)
        assert abs(row.estimate - expected) < 4 * row.std_error
    bins = rows(found, "effect_by_dose")
    assert len(bins) == 3
    dose = design.dose[design.dose > 0]
    cuts = np.quantile(dose, [0, 1 / 3, 2 / 3, 1])
    named = bins.cohort.tolist()
    assert named[0].startswith("dose up to") and named[2].startswith("dose above")
    for (_, row), low, high in zip(bins.iterrows(), cuts[:-1], cuts[1:]):
        mine = (design.dose > low) & (design.dose <= high)
        expected = np.average(true[mine][on[mine]], weights=weight[mine][on[mine]])
        assert abs(row.estimate - expected) < 4 * row.std_error
    before = rows(found, "slope_linear_by_event_time")
    before = before[before.horizon < 0]
    assert len(before) and (before.estimate.abs() < 4 * before.std_error).all()


def test_influence_is_the_derivative_by_weights() -> None:
    design = make_doses(200, seed=4, missing=0.1)
    estimator = DoseResponse(bands=False, degree=2, average="cells", divisor="g_minus_1")
    found = estimator.estimate(design)
    good = np.flatnonzero((found.table.status == "ok") & (found.table.subgroup == "all"))
    z = found.influence.columns(good)
    for unit in (0, 33, 120):
        weight = design.weight.copy()
        weight[unit] += 1e-6
        moved = estimator.estimate(replace(design, weight=weight)).table.estimate[good]
        slope = (moved - found.table.estimate[good]) / 1e-6
        np.testing.assert_allclose(slope * design.weight[unit], z[unit], atol=1e-5)


def test_a_dose_may_be_written_in_every_row_or_once() -> None:
    df = pd.DataFrame(dosed_columns(n=80))
    now = df.assign(dose=np.where(df.period >= df["first"].where(df["first"] > 0, 99), df.dose, 0))
    a = doses_from_frame(df, first="first", **COLUMNS)
    b = doses_from_frame(now, **COLUMNS)
    c = doses_from_frame(df.assign(dose=df.dose.where(df.dose > 0)), cohort="first", **COLUMNS)
    for other in (b, c):
        assert np.array_equal(a.dose, other.dose) and np.array_equal(a.first, other.first)


@pytest.mark.parametrize(
    ("change", "names", "said"),
    [
        (lambda d: d.assign(dose="x"), {"first": "first"}, "must be a number"),
        (lambda d: d.assign(dose=-d.dose), {"first": "first"}, "negative"),
        (lambda d: d.assign(dose=d.dose * d.period), {"first": "first"}, "dose changes"),
        (lambda d: d.assign(dose=0.0), {"first": "first"}, "no dose above 0"),
        (lambda d: d, {"first": "first", "covariates": "dose"}, "something else"),
        (lambda d: d.head(0), {"first": "first"}, "no rows"),
    ],
)
def test_what_is_wrong_in_a_file_is_said(change, names: dict, said: str) -> None:
    df = pd.DataFrame(dosed_columns(n=60))
    with pytest.raises(InputError, match=said):
        doses_from_frame(change(df), **COLUMNS, **names)


def test_what_cannot_be_done_is_said() -> None:
    design = make_doses(120)
    for options, said in (
        ({"comparison": "last"}, "choice"),
        ({"degree": 0}, "degree"),
        ({"doses": (99.0,)}, "outside"),
        ({"bins": (0.1,)}, "cut points"),
        ({"bins": 0}, "bin"),
        ({"level": 2.0}, "level"),
    ):
        with pytest.raises(InputError, match=said):
            DoseResponse(**options).estimate(design)  # type: ignore[arg-type]
    two = replace(design, dose=np.where(design.dose > 0, 1.0 + (design.dose > 2), 0.0))
    with pytest.raises(InputError, match="too few for 4"):
        DoseResponse().estimate(two)
    found = DoseResponse(curve=False).estimate(two)
    assert rows(found, "effect_by_dose").cohort.tolist() == ["dose 1", "dose 2"]
    with pytest.raises(InputError, match="doses for"):
        replace(design, dose=np.ones(3))
    assert isinstance(two, DosedRollout)


def test_bins_and_splines() -> None:
    dose = np.linspace(1, 4, 31)
    cut = bins_of(dose, (2.0, 3.0))
    assert cut.of(np.array([1.0, 2.0, 2.1, 4.0, 5.0])).tolist() == [0, 0, 1, 2, -1]
    spline = spline_of(dose, degree=3, knots=1)
    coef = np.linalg.lstsq(spline.values(dose), dose**3, rcond=None)[0]
    np.testing.assert_allclose(spline.values(dose) @ coef, dose**3, atol=1e-9)
    np.testing.assert_allclose(spline.slopes(dose) @ coef, 3 * dose**2, atol=1e-7)


def test_what_is_shown_of_doses_is_round_and_nobodys_own() -> None:
    dose = np.random.default_rng(5).gamma(3.0, 4.1234, 400)
    found = bins_of(dose, 4)
    assert len(found.labels) == 4 and not set(np.round(found.edges[1:-1], 9)) & set(dose)
    held = np.bincount(found.of(dose), minlength=4)
    assert held.sum() == 400 and held.min() > 80
    near = rounded(np.quantile(dose, [0.1, 0.5, 0.9]), dose.min(), dose.max())
    assert near.tolist() == np.round(near).tolist()  # whole numbers, in a range of some forty
    assert np.abs(near - np.quantile(dose, [0.1, 0.5, 0.9])).max() <= 0.5
    assert rounded(np.array([0.3334]), 0.3334, 0.5).tolist() == [0.334]  # never outside
    whole = np.repeat(np.arange(1.0, 25.0), 20)
    assert bins_of(whole, 3).edges[1:-1].tolist() == [9.0, 16.0]
