"""A rule that changes on a date for a group: read from a file, held against regressions by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tiltakeval.cli import main
from tiltakeval.design.staggered_read import staggered_from_frame
from tiltakeval.estimators import build
from tiltakeval.study.spec_rollout import RolloutColumns

REFORM = {"group": "young", "date": "2022-07", "outcome": "work", "period": "quarter"}


def quarters(n: int = 300, seed: int = 2) -> pd.DataFrame:
    """Persons over eight quarters; a rule for the young from July 2022 adds 0.1 after a quarter."""
    rng = np.random.default_rng(seed)
    young = (rng.random(n) < 0.4).astype(int)
    county = rng.integers(1, 12, n)
    eligible = (rng.random(n) < 0.5).astype(int)
    level = rng.normal(size=n)
    rows = []
    for t in range(8):
        effect = 0.1 * young * (t >= 6) + 0.05 * young * (t >= 7)
        y = 0.5 + 0.1 * level + 0.02 * t + effect + 0.2 * rng.normal(size=n)
        rows.append(
            pd.DataFrame(
                {
                    "person": np.arange(n),
                    "quarter": f"{2021 + t // 4}Q{t % 4 + 1}",
                    "young": young,
                    "county": county,
                    "eligible": eligible,
                    "work": np.round(y, 5),
                }
            )
        )
    return pd.concat(rows, ignore_index=True)


def saturated(frame: pd.DataFrame, columns: list[np.ndarray], cluster: np.ndarray):
    """Least squares on the columns, with errors from sums of scores over clusters (no correction)."""
    x, y = np.stack(columns, axis=1), frame["work"].to_numpy()
    inverse = np.linalg.inv(x.T @ x)
    beta = inverse @ (x.T @ y)
    score = x * (y - x @ beta)[:, None]
    sums = pd.DataFrame(score).groupby(cluster).sum().to_numpy()
    return beta, np.sqrt(np.diag(inverse @ sums.T @ sums @ inverse))


def test_group_time_effects_are_the_coefficients_of_group_by_quarter() -> None:
    frame = quarters()
    design = staggered_from_frame(frame, unit="person", **REFORM)
    assert design.label(design.cohorts[0]) == "2022-Q3"
    found = build("group_time_att", base="universal", divisor="g", bands=False).estimate(design)
    rows = found.select(term="effect").table.set_index("period")
    base = "2022Q2"
    times = [q for q in sorted(frame.quarter.unique()) if q != base]
    young = frame.young.to_numpy() * 1.0
    columns = [np.ones(len(frame)), young]
    columns += [(frame.quarter == q).to_numpy() * 1.0 for q in times]
    columns += [young * (frame.quarter == q) for q in times]
    beta, error = saturated(frame, columns, frame.person.to_numpy())
    for i, q in enumerate(times):
        row = rows.loc[f"{q[:4]}-{q[4:]}"]
        j = len(columns) - len(times) + i
        assert abs(row.estimate - beta[j]) < 1e-10
        assert abs(row.std_error - error[j]) < 1e-10
    assert rows.horizon.tolist() == [-6, -5, -4, -3, -2, 0, 1]


@pytest.mark.parametrize("cluster", [None, "county"])
def test_repeated_cross_sections_are_the_same_regression(cluster: str | None) -> None:
    frame = quarters().sample(frac=0.7, random_state=1)  # nobody need be seen twice
    design = staggered_from_frame(frame, panel=False, cluster=cluster, **REFORM)
    found = build("group_time_att", divisor="g", bands=False, min_clusters=1).estimate(design)
    post = frame[frame.quarter.isin(["2022Q2", "2022Q3"])]
    young, after = post.young.to_numpy() * 1.0, (post.quarter == "2022Q3").to_numpy() * 1.0
    columns = [np.ones(len(post)), young, after, young * after]
    by = np.arange(len(post)) if cluster is None else post[cluster].to_numpy()
    beta, error = saturated(post, columns, by)
    row = found.select(term="effect", period="2022-Q3").table.iloc[0]
    assert abs(row.estimate - beta[3]) < 1e-10
    assert abs(row.std_error - error[3]) < 1e-10


@pytest.mark.parametrize("panel", [True, False])
def test_a_third_difference_is_the_coefficient_of_three_interacted(panel: bool) -> None:
    frame = quarters()
    columns = {"unit": "person"} if panel else {"panel": False, "cluster": "person"}
    design = staggered_from_frame(frame, subgroups="eligible", **columns, **REFORM)
    found = build("triple_difference", eligible="eligible", divisor="g", bands=False)
    row = found.estimate(design).select(term="effect", period="2022-Q4").table.iloc[0]
    two = frame[frame.quarter.isin(["2022Q2", "2022Q4"])]
    s, q, p = (
        np.asarray(c, dtype=float) for c in (two.young, two.eligible, two.quarter == "2022Q4")
    )
    x = [np.ones(len(two)), s, q, p, s * q, s * p, q * p, s * q * p]
    beta, error = saturated(two, x, two.person.to_numpy())
    assert abs(row.estimate - beta[7]) < 1e-10
    assert abs(row.std_error - error[7]) < 1e-10


@pytest.mark.parametrize("written", ["years", "text", "months", "half-years"])
def test_periods_of_any_length_give_the_same_numbers(written: str) -> None:
    frame = quarters()
    number = frame.quarter.str[:4].astype(int) * 4 + frame.quarter.str[5].astype(int) - 1
    as_written = {
        "years": (number - 6000, 2088 + 2),
        "text": ((number - 6000).astype(str), "2090"),
        "months": (number.map(lambda t: f"{(t - 8000) // 12:04d}-{(t - 8000) % 12 + 1:02d}"), None),
        "half-years": (number.map(lambda t: f"{t // 2 - 2000}H{t % 2 + 1}"), None),
    }
    period, date = as_written[written]
    if date is None:
        date = period[frame.quarter == "2022Q3"].iloc[0]
    other = staggered_from_frame(
        frame.assign(when=period), unit="person", period="when", outcome="work", group="young",
        date=date,
    )  # fmt: skip
    options = {"bands": False}
    base = build("group_time_att", **options).estimate(
        staggered_from_frame(frame, unit="person", **REFORM)
    )
    found = build("group_time_att", **options).estimate(other)
    np.testing.assert_array_equal(found.table.estimate, base.table.estimate)
    np.testing.assert_array_equal(found.table.horizon, base.table.horizon)


def test_the_worked_example_from_the_command_line(tmp_path: Path, capsys) -> None:
    path = tmp_path / "quarters.csv"
    quarters().to_csv(path, index=False)
    given = ["unit=person", "period=quarter", "group=young", "date=2022-07", "outcome=work"]
    code = main(["estimate", "group_time_att", str(path), "--set", *given, "--json"])
    out = json.loads(capsys.readouterr().out)
    assert code == 0
    rows = {r["period"]: r for r in out["estimates"] if r["term"] == "effect"}
    assert list(rows)[-2:] == ["2022-Q3", "2022-Q4"]
    shown = [
        round(rows[q][k], 3) for q in ("2022-Q3", "2022-Q4") for k in ("estimate", "std_error")
    ]
    assert shown == EXAMPLE
    code = main(["estimate", "group_time_att", str(path), "--set", *given[:3], "date=2022-08",
                 "outcome=work"])  # fmt: skip
    assert code != 0 and "lies inside" in capsys.readouterr().err


def test_a_study_file_says_group_and_date() -> None:
    columns = {"unit": "person", "period": "quarter", "outcomes": {"work": "share"}}
    found = RolloutColumns(**columns, group="young", date="2022-07")
    assert found.first is None and found.date == "2022-07"
    for wrong in ({"group": "young"}, {"group": "young", "date": "2022-07", "first": "start"}, {}):
        with pytest.raises(ValueError, match=r"needs the date|isn't declared"):
            RolloutColumns(**columns, **wrong)


#: As printed in docs/triple-differences.md.
EXAMPLE = [0.078, 0.031, 0.179, 0.034]
