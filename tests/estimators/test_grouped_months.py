"""Months of work from grouped hazards: the same as one mass point gives, and honest about limits."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from invented_events import COLUMNS, make_events

from tiltakeval.design.event_history import EventHistory, event_history_from_frame
from tiltakeval.errors import InputError
from tiltakeval.estimators.duration.grouped_hazard import GroupedHazard
from tiltakeval.estimators.duration.timing_of_events import TimingOfEvents

ONE = ((-2.0, -3.0),)
KEYS = ["programme", "subgroup", "outcome", "term", "horizon", "period"]


def frame(n: int = 900) -> pd.DataFrame:
    df = make_events(n, points=ONE, step=-0.5)
    df["sex"] = np.where(df.id % 3 == 0, "female", "male")
    return df.rename(columns={"taking_part": "aft_in", "after": "aft_after"})


def history(df: pd.DataFrame, **more) -> EventHistory:  # type: ignore[no-untyped-def]
    settings = {
        **COLUMNS,
        "exits": "1:job,2:programme",
        "covariates": "x1,x2",
        "programme": "aft_in,aft_after",
    }
    return event_history_from_frame(df, **{**settings, **more})


def months(found) -> pd.DataFrame:  # type: ignore[no-untyped-def]
    table = found.table[found.table.unit.isin(["months", "share", "NOK"])]
    return table.assign(horizon=table.horizon.fillna(-1)).set_index(KEYS).sort_index()


def test_the_same_months_and_errors_as_timing_of_events_with_one_point() -> None:
    # steps fall before, at and after programmes begin, so that each counts once and only once
    asked = {"months": 24, "amounts": "job:30000,remaining:17000"}
    design = history(frame())
    grouped = months(GroupedHazard(steps=(0, 6, 12), **asked).estimate(design))
    mixture = TimingOfEvents(points=1, steps=(6, 12), starts=1, errors="sandwich", **asked)
    one = months(mixture.estimate(design))
    assert len(grouped) == len(one) > 300
    for column in ("estimate", "std_error", "n_treated"):
        want = one[column].to_numpy(dtype=float)
        got = grouped[column].to_numpy(dtype=float)
        np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-6)


def test_cloglog_in_whole_periods_is_close_to_exact_times() -> None:
    df = frame(1500)
    design = history(df)
    exact = months(GroupedHazard(steps=(0, 6), months=12).estimate(design))
    whole = df.assign(start=np.ceil(df.start * 4) / 4, stop=np.ceil(df.stop * 4) / 4)
    whole = whole[whole.stop > whole.start]
    last = whole.groupby("id").stop.transform("max") == whole.stop
    whole = whole[last | (whole.event != 1)]
    rough = GroupedHazard(model="cloglog", period=0.25, steps=(0, 6), months=12)
    found = months(rough.estimate(history(whole)))
    key = ("aft", "all", "job", "cumulated", -1, "1-12")
    assert abs(found.estimate[key] - exact.estimate[key]) < exact.std_error[key]


def test_a_subgroup_without_other_covariates_is_as_if_alone() -> None:
    df = frame()
    settings = {"covariates": ()}
    both = GroupedHazard(steps=0, months=12).estimate(history(df, subgroups="sex", **settings))
    alone = GroupedHazard(steps=0, months=12).estimate(history(df[df.sex == "female"], **settings))
    ours = months(both).xs("sex=female", level="subgroup")
    theirs = months(alone).xs("all", level="subgroup")
    np.testing.assert_allclose(ours.estimate, theirs.estimate, rtol=1e-6, atol=1e-9)
    ok = theirs.std_error.notna() & (theirs.std_error > 1e-9)
    np.testing.assert_allclose(ours.std_error[ok], theirs.std_error[ok], rtol=0.02)


def test_too_few_in_a_subgroup_get_rows_that_say_so() -> None:
    df = frame()
    df["sex"] = np.where(df.id < 3, "female", "male")
    table = GroupedHazard(steps=0, months=12).estimate(history(df, subgroups="sex")).table
    rows = table[(table.subgroup == "sex=female") & (table.term == "cumulated")]
    assert set(rows.status) == {"not_supported"}
    assert rows.estimate.isna().all()


def test_what_months_cant_be_had_from_is_refused() -> None:
    with pytest.raises(InputError, match="logit"):
        GroupedHazard(model="logit", months=12)
    with pytest.raises(InputError, match="no status says when somebody is in"):
        GroupedHazard(months=12).estimate(history(frame(300), programme="aft_after"))
    with pytest.raises(InputError, match="unknown exit 'jobb'"):
        GroupedHazard(months=12, amounts="jobb:1").estimate(history(frame(300)))
