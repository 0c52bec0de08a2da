"""Prepared panels: what is declared, what is refused and how."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tiltakeval.design.panel import panel_from_frame
from tiltakeval.errors import InputError, InputErrors
from tiltakeval.estimators import build

ROLES = {"unit": "id", "period": "month", "treatment": "arm"}


def panel(n: int = 6, first: int = 1, last: int = 8) -> pd.DataFrame:
    """Units 0.. with months first..last; odd units are treated from month 4 (unit 1) or 5."""
    unit, month = (x.ravel() for x in np.meshgrid(range(n), range(first, last + 1), indexing="ij"))
    return pd.DataFrame(
        {
            "id": [f"u{i}" for i in unit],
            "month": month,
            "arm": unit % 2,
            "began": np.where(unit % 2 == 1, np.where(unit == 1, 4.0, 5.0), np.nan),
            "y": 100.0 * unit + month,
            "age": 20.0 + unit + month / 100,
            "sex": np.where(unit < 3, "f", "m"),
            "w": 1.0 + unit,
            "town": unit // 2,
        }
    )


def test_months_are_counted_from_month_zero() -> None:
    found = panel_from_frame(panel(), **ROLES, outcome="y", start="began", month_zero=5)
    assert found.arms == ("none", "arm")
    assert found.horizons == (0, 1, 2, 3, 4)
    assert found.outcomes[1, :, 0].tolist() == [104, 105, 106, 107, 108]
    assert found.outcomes[0, :4, 0].tolist() == [5, 6, 7, 8]
    assert np.isnan(found.outcomes[0, 4, 0])
    # the last row before is the baseline: placebo months lie before it
    assert found.placebo_horizons == (-4, -3, -2)
    assert found.placebo is not None
    assert found.placebo[0, :, 0].tolist() == [1, 2, 3]
    assert np.isnan(found.placebo[1, 0, 0]) and found.placebo[1, 1:, 0].tolist() == [101, 102]
    assert found.attrition.steps.units.tolist() == [6]


def test_covariates_and_groups_are_from_before_month_zero() -> None:
    options = {"start": "began", "month_zero": 5, "covariates": "age,y,sex", "subgroups": "sex"}
    last = panel_from_frame(panel(), **ROLES, outcome="y", **options)
    assert last.covariate_names == ("age", "y_before", "sex=m")
    assert last.covariates[0].tolist() == [20.04, 4.0, 0.0]
    assert last.covariates[1].tolist() == [21.03, 103.0, 0.0]
    early = panel_from_frame(panel(), **ROLES, outcome="y", baseline=-3, **options)
    assert early.covariates[0].tolist() == [20.02, 2.0, 0.0]
    assert early.placebo_horizons == (-4,)
    changed = panel()
    changed.loc[changed.month >= 5, ["age", "y"]] += 1000
    again = panel_from_frame(changed, **ROLES, outcome="y", **options)
    assert np.array_equal(last.covariates, again.covariates)
    assert np.array_equal(last.placebo, again.placebo, equal_nan=True)


def test_gaps_are_not_observed_and_order_does_not_matter() -> None:
    frame = panel()
    whole = panel_from_frame(frame, **ROLES, outcome="y", month_zero=4, covariates="age")
    short = frame[~((frame.id == "u2") & (frame.month == 6))].sample(frac=1, random_state=3)
    found = panel_from_frame(short, **ROLES, outcome="y", month_zero=4, covariates="age")
    place = list(dict.fromkeys(short.id)).index("u2")
    assert np.isnan(found.outcomes[place, 2, 0])
    assert np.nansum(found.outcomes) == np.nansum(whole.outcomes) - 206
    assert found.covariates[place] == whole.covariates[2]


def test_weight_cluster_months_and_limits() -> None:
    months = panel().assign(month=[f"2020-{m:02d}" for m in panel().month])
    dates = months.assign(month=pd.to_datetime(months.month))
    options = {"weight": "w", "cluster": "town", "horizon": 2, "placebo_months": 1}
    found = panel_from_frame(months, **ROLES, outcome="y", month_zero="2020-04", **options)
    assert found.weight.tolist() == [1, 2, 3, 4, 5, 6]
    assert found.person.tolist() == [0, 0, 1, 1, 2, 2]
    assert found.horizons == (0, 1, 2)
    assert found.placebo_horizons == (-2,)
    same = panel_from_frame(dates, **ROLES, outcome="y", month_zero="2020-04", **options)
    assert np.array_equal(same.outcomes, found.outcomes, equal_nan=True)
    named = panel_from_frame(
        panel(), **ROLES, outcome="y", month_zero=4, arms={"1": "amo"}, units={"y": "nok"}
    )
    assert named.arms == ("none", "amo") and named.units == ("nok",)


def test_without_covariates_no_baseline_is_needed() -> None:
    found = panel_from_frame(panel(), **ROLES, outcome="y", month_zero=1)
    assert found.placebo is None and found.placebo_horizons == ()
    assert found.covariates.shape == (6, 0)


@pytest.mark.parametrize(
    ("change", "options", "said"),
    [
        (lambda d: pd.concat([d, d.head(3)]), {}, "3 rows repeat a unit and period"),
        (lambda d: d.assign(id=d.id.where(d.index > 1)), {}, "2 of 48 rows have no unit"),
        (lambda d: d.assign(month=d.month.where(d.index > 0)), {}, "1 of 48 rows have no period"),
        (lambda d: d.assign(month=d.month + 0.5), {}, "48 of 48 values aren't whole"),
        (lambda d: d.assign(month="jan"), {}, "neither a whole number nor a month"),
        (
            lambda d: d.assign(arm=(d.arm == 1) & (d.month > 3)),
            {},
            "the treatment changes within 3 units",
        ),
        (lambda d: d, {"month_zero": None}, "no unit has a month zero"),
        (lambda d: d, {"month_zero": None, "start": "began"}, "3 of 6 units have no month zero"),
        (lambda d: d, {"month_zero": "soon"}, "month"),
        (lambda d: d.assign(w=d.month), {"weight": "w"}, "the weight changes within 6 units"),
        (lambda d: d.assign(town=d.month), {"cluster": "town"}, "the cluster changes within 6"),
        (lambda d: d, {"covariates": "agee"}, "Did you mean 'age'"),
        (lambda d: d, {"covariates": "arm"}, "it is the design"),
        (lambda d: d, {"covariates": "age", "baseline": 0}, "isn't before month zero"),
        (
            lambda d: d,
            {"covariates": "age", "month_zero": 1},
            "6 of 6 units have no row before month zero",
        ),
        (
            lambda d: d[(d.id != "u0") | (d.month != 2)],
            {"covariates": "age", "baseline": -2},
            "1 of 6 units have no row in the baseline period -2",
        ),
        (
            lambda d: d.assign(age=d.age.where(d.id != "u3")),
            {"covariates": "age"},
            "1 of 6 values of the covariate are missing",
        ),
        (lambda d: d, {"month_zero": 99}, "no unit has a row in or after month zero"),
        (lambda d: d.assign(month=d.month * 1000), {"month_zero": 1000}, "periods apart"),
        (lambda d: d.assign(y="much"), {}, "an outcome must be a number"),
        (lambda d: d.head(0), {}, "no rows"),
    ],
)
def test_what_is_wrong_is_said_with_a_count(change, options, said) -> None:
    with pytest.raises(InputError) as caught:
        panel_from_frame(change(panel()), **{**ROLES, "outcome": "y", "month_zero": 4, **options})
    assert said in str(caught.value)
    assert "u0" not in str(caught.value)


def test_all_errors_come_at_once() -> None:
    broken = pd.concat([panel(), panel().head(2)]).assign(
        arm=lambda d: d.month > 4, town=lambda d: d.month, y="a"
    )
    with pytest.raises(InputErrors) as caught:
        panel_from_frame(broken, **ROLES, outcome="y", start="began", cluster="town")
    said = str(caught.value)
    assert said.startswith("panel file has 5 errors")
    for part in (
        "2 rows repeat a unit and period",
        "3 of 6 units have no month zero",
        "the treatment changes within 6",
        "the cluster changes within 6",
        "an outcome must be a number",
    ):
        assert part in said


def test_an_effect_built_into_a_panel_is_found() -> None:
    rng = np.random.default_rng(5)
    n, before, after = 3000, 6, 9
    skill = rng.normal(size=n)
    arm = rng.random(n) < 1 / (1 + np.exp(-skill))
    zero = rng.integers(10, 20, n)
    offset = np.arange(-before, after + 1)
    y = skill[:, None] + 0.1 * offset + rng.normal(size=(n, offset.size))
    y += np.where(offset >= 0, 0.5, 0.0) * arm[:, None]
    unit, month = np.meshgrid(np.arange(n), offset, indexing="ij")
    frame = pd.DataFrame(
        {
            "id": unit.ravel(),
            "month": (month + zero[:, None]).ravel(),
            "arm": arm[unit.ravel()].astype(int),
            "zero": zero[unit.ravel()],
            "skill": skill[unit.ravel()],
            "y": y.ravel(),
        }
    )
    kept = rng.random(len(frame)) < 0.8
    kept |= frame.month == frame.zero - 1
    design = panel_from_frame(
        frame[kept], **ROLES, outcome="y", start="zero", covariates="skill", baseline=-1
    )
    table = build("aipw_att", folds=2, bands=False).estimate(design).table
    effect = table[table.term == "effect"]
    assert len(effect) == after + 1
    assert (np.abs(effect.estimate - 0.5) < 4.5 * effect.std_error).all()
    placebo = table[table.term == "placebo"]
    assert placebo.horizon.tolist() == [-6, -5, -4, -3, -2]
    assert (np.abs(placebo.estimate) < 4.5 * placebo.std_error).all()
