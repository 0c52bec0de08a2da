"""Roll-out panels: what is read, what is left out, and what is refused in one message."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tiltakeval.design.staggered import StaggeredPanel
from tiltakeval.design.staggered_read import staggered_from_frame
from tiltakeval.errors import InputError
from tiltakeval.study.one_line import DESIGNS

COLUMNS = {"unit": "office", "period": "year", "outcome": "work", "first": "start"}


def rows(starts: tuple[float, ...] = (2003, 2004, 0, 0), years: range = range(2001, 2006)):
    """A balanced panel: an office for each start, an outcome that says which row it is."""
    return pd.DataFrame(
        [
            {
                "office": f"o{i}",
                "year": year,
                "start": start,
                "on": int(0 < start <= year),
                "work": i + (year - 2000) / 10,
                "size": float(i + 1),
                "county": i // 2,
            }
            for i, start in enumerate(starts)
            for year in years
        ]
    )


def read(df: pd.DataFrame, **more: object) -> StaggeredPanel:
    return staggered_from_frame(df, **{**COLUMNS, **more})  # type: ignore[arg-type]


def test_units_periods_and_starts_whatever_the_order_of_rows() -> None:
    df = rows().sample(frac=1, random_state=1)
    found = read(df, covariates="size", cluster="county", subgroups="county", weight="size")
    assert DESIGNS["staggered"] is staggered_from_frame
    assert found.n == 4 and found.periods.tolist() == [2001, 2002, 2003, 2004, 2005]
    assert found.cohorts.tolist() == [2003, 2004] and np.isinf(found.first).sum() == 2
    office = np.round(found.outcomes[:, 0, 0] - 0.1).astype(int)
    np.testing.assert_allclose(
        found.outcomes[:, :, 0], office[:, None] + np.arange(1, 6)[None] / 10, atol=1e-12
    )
    np.testing.assert_allclose(found.covariates[:, 0], office + 1)
    assert found.weight.tolist() == found.covariates[:, 0].tolist()
    assert found.cluster.tolist() == (office // 2).tolist() and found.cluster_kind == "county"
    assert found.subgroups["county"].codes.tolist() == (office // 2).tolist()


@pytest.mark.parametrize("never", [np.nan, np.inf, 0])
def test_never_is_missing_infinite_or_zero(never: float) -> None:
    found = read(rows((2003, never, 2004, never)))
    assert sorted(found.first.tolist()) == [2003, 2004, np.inf, np.inf]


def test_never_can_be_declared_and_zero_is_a_period_where_periods_reach_it() -> None:
    df = rows((2003, 9999, 2004, 9999))
    assert read(df).cohorts.tolist() == [2003, 2004, 9999]
    assert read(df, never="9999").cohorts.tolist() == [2003, 2004]
    centred = rows((0, 1, 5, 5), range(-2, 3))
    assert read(centred).cohorts.tolist() == [0, 1, 5]


def test_a_status_column_says_the_same() -> None:
    by_status = read(rows(), first=None, treated="on")
    np.testing.assert_array_equal(by_status.first, read(rows()).first)


def test_months_are_read_and_shown_as_months() -> None:
    df = rows((3, 4, 0, 0), range(1, 6))
    df["year"] = [f"2019-{m:02d}" for m in df["year"]]
    df["start"] = [f"2019-{int(m):02d}" if m else None for m in df["start"]]
    found = read(df)
    assert found.monthly and [found.label(c) for c in found.cohorts] == ["2019-03", "2019-04"]
    df["year"] = pd.to_datetime(df["year"])
    df["start"] = pd.to_datetime(df["start"])
    assert read(df).periods.tolist() == found.periods.tolist()
    assert read(df).cohorts.tolist() == found.cohorts.tolist()


def test_rows_may_be_absent_and_values_missing() -> None:
    df = rows()
    df.loc[3, "work"] = np.nan
    found = read(df.drop(index=[7, 12]))
    assert np.isnan(found.outcomes).sum() == 3


def test_who_is_left_out_is_counted() -> None:
    df = rows((2001, 2003, 2004, 0, 0, 2000))
    df["w"] = np.where(df["office"] == "o3", 0.0, 1.0)
    found = read(df, weight="w")
    steps = found.attrition.steps
    assert dict(zip(steps["step"], steps["units"])) == {
        "units_in_file": 6,
        "positive_weight": 5,
        "row_in_covariate_period": 5,
        "not_treated_in_first_period": 3,
    }
    assert found.n == 3


def test_covariates_of_a_period() -> None:
    df = rows()
    df["x"] = df["year"] * 1.0
    with pytest.raises(InputError, match="change within 4 units"):
        read(df, covariates="x")
    found = read(df, covariates="x", covariate_period="2002")
    assert (found.covariates == 2002).all()
    short = read(df.drop(index=1), covariates="x", covariate_period=2002)
    assert short.n == 3
    with pytest.raises(InputError, match="no unit has a row in period 1990"):
        read(df, covariates="x", covariate_period=1990)


def test_covariates_that_vary_keep_their_periods() -> None:
    df = rows()
    df["x"] = df["year"] * 1.0 + df["office"].str[1:].astype(int)
    df.loc[3, "x"] = np.nan
    found = read(df, varying="x")
    assert found.varying.shape == (4, 5, 1) and found.varying_names == ("x",)
    assert np.isnan(found.varying[0, 3, 0]) and found.varying[2, 1, 0] == 2004
    assert found.fingerprint != read(df).fingerprint
    for period in (2003, 2004):
        with pytest.raises(InputError, match="of 4 units are treated already"):
            read(df.fillna(0), covariates="x", covariate_period=period)
    with pytest.raises(InputError, match="a covariate that varies must be a number"):
        read(df.assign(x="a"), varying="x")


def broken(**changes: object) -> pd.DataFrame:
    return rows().assign(**changes)  # type: ignore[arg-type]


TWICE = pd.concat([rows(), rows().iloc[:3]])
REVERTS = rows()
REVERTS.loc[4, "on"] = 0
MOVES = rows()
MOVES.loc[2, "start"] = 2005
NEGATIVE = rows()
NEGATIVE["size"] = NEGATIVE["size"].where(NEGATIVE["office"] != "o1", -1.0)


@pytest.mark.parametrize(
    ("df", "more", "said"),
    [
        (TWICE, {}, "3 rows repeat a unit and period"),
        (MOVES, {}, "first treated period changes within 1 units"),
        (REVERTS, {"first": None, "treated": "on"}, "1 treated units become untreated"),
        (broken(on=2), {"first": None, "treated": "on"}, "20 of 20 values are neither 0 nor 1"),
        (rows((2003, 2003)), {}, "all 2 units are first treated in the same period"),
        (rows((0, 0)), {}, "no unit is first treated after the first period"),
        (rows((2001, 2000)), {}, r"2 units treated in the first period are left out"),
        (rows((2003, 0), range(2001, 2002)), {}, "only one period"),
        (broken(work="a"), {}, "an outcome must be a number"),
        (broken(work=np.inf), {}, "20 of 20 values of the outcome are infinite"),
        (broken(work=np.nan), {}, "no value of the outcome"),
        (broken(year=2001.5), {}, "20 of 20 values aren't whole numbers"),
        (broken(year=None), {}, "20 of 20 rows have no period"),
        (broken(start="soon"), {}, "first treated period"),
        (broken(office=None), {}, "20 of 20 rows have no unit"),
        (NEGATIVE, {"weight": "size"}, "1 of 4 weights are negative"),
        (broken(size=0.0), {"weight": "size"}, "every weight is zero"),
        (broken(size=np.nan), {"weight": "size"}, "4 of 4 units have no weight"),
        (broken(size=np.nan), {"covariates": "size"}, "4 of 4 values of the covariate"),
        (broken(county=range(20)), {"cluster": "county"}, "cluster changes within 4 units"),
        (rows(), {"covariates": "year"}, "it is the design"),
        (rows(), {"outcome": "wrok"}, "unknown column 'wrok'"),
        (rows(), {"first": None}, "isn't declared"),
        (rows(), {"treated": "on"}, "declared twice"),
        (rows(), {"period": None}, "period must be given"),
        (rows(), {"cohort": "start"}, "mean the same"),
        (rows(), {"estimand": "everything"}, "unknown estimand"),
        (rows().iloc[:0], {}, "no rows"),
    ],
)
def test_what_is_wrong_is_said_with_counts(df: pd.DataFrame, more: dict, said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        read(df, **more)
    assert "o1" not in str(caught.value)


@pytest.mark.parametrize(
    ("write", "shown"),
    [
        ("{0}Q{1}", "2019-Q3"),
        ("{0}-Q{1}", "2019-Q3"),
        ("{0} q{1}", "2019-Q3"),
        ("{0}K{1}", "2019-Q3"),
    ],
)
def test_quarters_are_read_and_shown_as_quarters(write: str, shown: str) -> None:
    df = rows((3, 5, 0, 0), range(1, 9))
    df["year"] = [write.format(2019 + (t - 1) // 4, (t - 1) % 4 + 1) for t in df["year"]]
    df["start"] = [{3: write.format(2019, 3), 5: write.format(2020, 1)}.get(s) for s in df["start"]]
    found = read(df)
    assert not found.monthly and found.parts_of_year == 4
    assert [found.label(c) for c in found.cohorts] == [shown, "2020-Q1"]
    assert (np.diff(found.periods) == 1).all()
    plain = df["year"].str.upper().str.replace("K", "Q").str.replace("[- ]", "", regex=True)
    typed = df.assign(year=pd.PeriodIndex(plain, freq="Q"))
    assert np.array_equal(read(typed).first, found.first)


def test_half_years_months_of_the_statistics_office_and_years_as_text() -> None:
    df = rows((3, 4, 0, 0), range(1, 7))
    half = df.assign(
        year=[f"{2019 + (t - 1) // 2}H{(t - 1) % 2 + 1}" for t in df["year"]],
        start=[{3: "2020H1", 4: "2020H2"}.get(s, "0") for s in df["start"]],
    )
    found = read(half)
    assert found.parts_of_year == 2 and found.label(found.cohorts[1]) == "2020-H2"
    month = df.assign(
        year=[f"2019M{t:02d}" for t in df["year"]],
        start=[{3: "2019M03", 4: "2019M04"}.get(s) for s in df["start"]],
    )
    assert read(month).monthly and read(month).label(read(month).cohorts[0]) == "2019-03"
    text = df.assign(year=df["year"].astype(str), start=df["start"].astype(int).astype(str))
    assert np.array_equal(read(text).first, read(df).first)


def test_numbers_written_as_text_keep_their_meaning() -> None:
    df = rows((2003, np.inf, 2004, np.inf))
    text = df.assign(start=df["start"].astype(str))  # 2003.0 and inf
    np.testing.assert_array_equal(read(text).first, read(df).first)
    with pytest.raises(InputError, match="neither a whole number"):
        read(df.assign(start="2003.5"))


def test_periods_of_several_kinds_are_refused() -> None:
    df = rows()
    mixed = df.assign(year=["2019Q1" if t == 2001 else f"2019-{t - 2000:02d}" for t in df["year"]])
    with pytest.raises(InputError, match="written as quarters and as months"):
        read(mixed)
    with pytest.raises(InputError, match="20 of 20"):
        read(df.assign(year="2019Q5"))
    quarters = df.assign(year=[f"2019Q{t - 2000}" if t < 2005 else "2020Q1" for t in df["year"]])
    with pytest.raises(InputError, match="written differently"):
        read(quarters.assign(start="2019-07"))


def test_a_rule_that_changes_on_a_date_for_a_group() -> None:
    df = rows((2003, 2003, 0, 0)).assign(covered=lambda d: (d.start > 0).astype(int))
    by_date = {"first": None, "group": "covered", "date": 2003}
    np.testing.assert_array_equal(read(df, **by_date).first, read(df).first)
    assert read(df, **{**by_date, "date": "2003"}).first.tolist() == read(df).first.tolist()
    quarters = df.assign(year=[f"2022Q{t - 2000}" if t < 2005 else "2023Q1" for t in df["year"]])
    july = read(quarters, first=None, group="covered", date="2022-07")
    assert july.label(july.cohorts[0]) == "2022-Q3"
    with pytest.raises(InputError, match="lies inside one of the file's quarters"):
        read(quarters, first=None, group="covered", date="2022-08")
    with pytest.raises(InputError, match="the file's periods as whole numbers"):
        read(df, **{**by_date, "date": "2003-01"})
    with pytest.raises(InputError, match="not a period"):
        read(df, **{**by_date, "date": "summer"})
    with pytest.raises(InputError, match="needs the date"):
        read(df, first=None, group="covered")
    with pytest.raises(InputError, match="declared twice"):
        read(df, group="covered", date=2003)
    with pytest.raises(InputError, match="changes within 2 units"):
        read(df.assign(covered=((df.start > 0) & (df.year > 2002)).astype(int)), **by_date)
    with pytest.raises(InputError, match="neither 0 nor 1"):
        read(df.assign(covered=2), **by_date)
    section = read(df, **by_date, unit=None, panel=False, cluster="office")
    assert (section.first == 2003).sum() == 10


def test_names_of_offices_are_kept_and_must_not_change() -> None:
    df = rows((2001, 2003, 2004, 0)).assign(name=lambda d: "Office " + d.office)
    found = read(df, unit_names="name")
    assert found.unit_names == ("Office o1", "Office o2", "Office o3")
    assert read(df).unit_names == ()
    with pytest.raises(InputError, match="name changes within 4 units"):
        read(df.assign(name=df["year"]), unit_names="name")
