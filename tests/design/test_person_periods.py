"""Collapsing person-periods: in the engine as in memory, and what is refused."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from tiltakeval.design.event_history import event_history_from_frame
from tiltakeval.design.person_periods import StatusLabel, unique_codes
from tiltakeval.design.person_periods_table import RowColumns, person_periods_from_table
from tiltakeval.engine import connect
from tiltakeval.errors import InputError, InputErrors
from tiltakeval.estimators.duration.grouped_hazard import GroupedHazard

EXITS = ("job", "out")
STATUS = ("none", "waiting", "aft")


def rows(persons=1500, seed=1, months=14):
    rng = np.random.default_rng(seed)
    found = []
    for person in range(persons):
        sex, age = rng.choice(["female", "male"]), rng.integers(0, 3)
        starts, wage = rng.integers(1, 2 * months), rng.normal()
        for month in range(months):
            status = 2 if month >= starts else 1 if month >= starts - 2 else 0
            hazard = np.exp([-2.5 + 0.3 * (sex == "male") - 0.4 * (status == 2), -3.4 + 0.1 * age])
            left = rng.random() < 1 - np.exp(-hazard.sum())
            event = (1 + int(rng.random() < hazard[1] / hazard.sum())) if left else 0
            found.append((1000 + 7 * person, month, event, sex, age, status, wage, person // 8))
            if left:
                break
    names = ["person", "time", "event", "sex", "age", "status", "wage", "office"]
    return pd.DataFrame(found, columns=names).sample(frac=1.0, random_state=3)


@pytest.fixture
def engine():
    with connect(threads=1, memory_limit="500MB") as found:
        yield found


def from_engine(engine, df, **changes):
    given = {
        "transitions": EXITS, "categories": {"sex": None, "age": None, "status": STATUS},
        "status": ["status"],
    } | changes  # fmt: skip
    if df.empty:
        df = df.drop(columns="sex")
    table = engine.memory_table(pa.Table.from_pandas(df, preserve_index=False), "rows")
    return person_periods_from_table(engine, table, **given)


def from_memory(df, **changes):
    df = df.sort_values(["person", "time"]).reset_index(drop=True)
    df = df.assign(
        stop=df.time + 1, male=(df.sex == "male") * 1, age_1=(df.age == 1) * 1,
        age_2=(df.age == 2) * 1, status_waiting=(df.status == 1) * 1, status_aft=(df.status == 2) * 1,
    )  # fmt: skip
    given = {
        "id": "person", "start": "time", "stop": "stop", "event": "event", "exits": "1:job,2:out",
        "covariates": "male,age_1,age_2", "programme": "status_waiting,status_aft",
    } | changes  # fmt: skip
    return event_history_from_frame(df, **given)


@pytest.mark.parametrize("cluster", [None, "office"])
@pytest.mark.parametrize("model", ["exponential", "cloglog", "logit"])
def test_the_engine_collapses_to_the_same_estimates_as_memory(engine, model, cluster):
    df = rows()
    estimator = GroupedHazard(model=model)
    columns = RowColumns(cluster=cluster)
    got = estimator.estimate(from_engine(engine, df, columns=columns))
    expected = estimator.estimate(from_memory(df, cluster=cluster))
    for name in ("estimate", "std_error", "n_events", "horizon", "period", "term", "n_treated"):
        a, b = got.table[name], expected.table[name]
        if a.dtype == float:
            np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-9)
        else:
            assert a.tolist() == b.tolist()
    assert got.run["rows"] == len(df) and got.run["cells"] < len(df) / 20
    assert got.run["log_likelihood"] == pytest.approx(expected.run["log_likelihood"], abs=1e-8)
    status = got.table[got.table.term == "log_hazard_ratio"]
    assert status.programme.tolist() == ["waiting", "aft"] * 2


def test_continuous_covariates_stay_rows(engine):
    df = rows(400)
    got = GroupedHazard(model="cloglog", steps=(0, 5)).estimate(
        from_engine(engine, df, continuous=["wage"])
    )
    history = from_memory(df, covariates="male,age_1,age_2,wage")
    expected = GroupedHazard(model="cloglog", steps=(0, 5)).estimate(history)
    key = ["outcome", "term", "estimate"]
    np.testing.assert_allclose(
        got.table.sort_values(key).estimate, expected.table.sort_values(key).estimate, atol=1e-8
    )
    np.testing.assert_allclose(
        got.table.sort_values(key).std_error, expected.table.sort_values(key).std_error, rtol=1e-7
    )


def test_weights_and_parts_of_months(engine):
    df = rows(600)
    rng = np.random.default_rng(2)
    df["share"] = rng.choice([0.25, 0.5, 1.0], len(df))
    df["w"] = 1.0 + df.person % 2
    columns = RowColumns(exposure="share", weight="w")
    design = from_engine(engine, df, columns=columns)
    assert design.exposure.sum() == pytest.approx((df.share * df.w).sum())
    assert design.events[:, 0].sum() == df.w[df.event == 1].sum()
    assert design.counts[:, 0].sum() == (df.event == 1).sum()
    found = GroupedHazard(steps=0, only="job").estimate(
        from_engine(engine, df, columns=columns, categories={"sex": None}, status=())
    )
    for sex, total in (("female", [1, 0]), ("male", [1, 1])):
        mine = df[df.sex == sex]
        rate = mine.w[mine.event == 1].sum() / (mine.w * mine.share).sum()
        assert float(found.table.estimate @ total) == pytest.approx(np.log(rate))
    with pytest.raises(InputError, match="some rows cover only part of a period"):
        GroupedHazard(model="cloglog").estimate(design)


def test_interactions_references_labels_and_subgroups(engine):
    df = rows(3000)
    design = from_engine(
        engine, df, interactions=[("status", "sex")], reference={"sex": "male"},
        labels={"status_aft": StatusLabel("aft", "start", 0, "0-3")},
    )  # fmt: skip
    assert design.covariate_names == (
        "sex_female", "age_1", "age_2", "status_waiting", "status_aft",
        "status_waiting:sex_female", "status_aft:sex_female",
    )  # fmt: skip
    found = GroupedHazard(only="job").estimate(design).table
    row = found[(found.programme == "aft") & (found.term == "log_hazard_ratio")].iloc[0]
    assert (row.time_origin, row.horizon, row.period) == ("start", 0, "0-3")
    inside = GroupedHazard(only="job").estimate(from_engine(engine, df, subgroups=["sex"])).table
    inside = inside[inside.subgroup != "all"].set_index(["subgroup", "programme"]).estimate
    main = row.estimate
    cross = found[found.programme == "status_aft:sex_female"].estimate.item()
    assert inside["sex=male", "aft"] == pytest.approx(main, abs=1e-7)
    assert inside["sex=female", "aft"] == pytest.approx(main + cross, abs=1e-7)


def test_bad_rows_are_counted_by_column(engine):
    df = rows(100)
    bad = df.assign(age=df.age.where(df.time != 3).astype("Int64"), event=df.event * 2)
    with pytest.raises(InputErrors) as caught:
        from_engine(engine, bad)
    text = str(caught.value)
    assert f"'age': {int((df.time == 3).sum())} values are missing" in text
    assert f"'event': {int((df.event == 2).sum())} events are none of 0..2" in text
    with pytest.raises(InputErrors, match="times are below 0"):
        from_engine(engine, df.assign(time=df.time - 1))
    with pytest.raises(InputErrors, match="exposures are not above 0 and at most 1"):
        from_engine(engine, df.assign(share=df.time / 3.0), columns=RowColumns(exposure="share"))
    with pytest.raises(InputError, match="no person-periods"):
        from_engine(engine, df[df.time < 0], categories={"age": None}, status=())
    with pytest.raises(InputError, match="no column 'offce'"):
        from_engine(engine, df, columns=RowColumns(cluster="offce"))
    with pytest.raises(InputError, match="are no position in its 2 levels"):
        from_engine(engine, df, categories={"status": STATUS[:2]})
    with pytest.raises(InputError, match="unknown level 'male'"):
        from_engine(engine, df, categories={"sex": ("female", "mal")}, status=())
    with pytest.raises(InputError, match="not whole numbers or text"):
        from_engine(engine, df, categories={"wage": None}, status=())


def test_rows_with_one_hash_or_none_repeated_are_told_apart():
    rng = np.random.default_rng(1)
    x = rng.integers(0, 3, (500, 4)).astype(float)
    first, code = unique_codes(x)
    assert np.array_equal(x[first][code], x)
    assert len(first) == len(np.unique(x, axis=0))
    first, code = unique_codes(rng.normal(size=(50, 2)))
    assert np.array_equal(first, np.arange(50)) and np.array_equal(code, np.arange(50))
    zeros = np.array([[0.0], [-0.0], [0.0], [0.0]])
    assert len(unique_codes(zeros)[0]) == 1


def test_too_many_combinations_are_refused_before_they_are_built(engine, monkeypatch):
    monkeypatch.setattr("tiltakeval.design.person_periods_table.MAX_VALUES", 50)
    with pytest.raises(InputError, match="18 different combinations of covariates are too many"):
        from_engine(engine, rows(300))
