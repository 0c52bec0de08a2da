"""Treatment paths: first changes, gaps between rows, and files that can't be used."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tiltakeval.design.treatment_paths import carried, changes_of, paths_from_frame
from tiltakeval.errors import InputError

NAN = np.nan


def frame(status: np.ndarray, monthly: bool = False) -> pd.DataFrame:
    unit, t = np.divmod(np.arange(status.size), status.shape[1])
    period = [f"2020-{k + 1:02d}" for k in t] if monthly else t + 1
    rng = np.random.default_rng(0)
    own = pd.DataFrame({"unit": unit, "period": period, "d": status.ravel()})
    own = own.assign(y=rng.standard_normal(len(own)), size=unit % 3)
    return own[own.d.notna()]


def test_first_changes_and_what_gaps_hide() -> None:
    status = np.array(
        [
            [0, 0, 1, 0],  # ends again
            [2, 2, 2, 2],
            [NAN, 0, 0, 3],  # comes late
            [0, NAN, 0, 1],  # alike on both sides of a gap: not changed meanwhile
            [0, NAN, 1, 1],  # changed in a gap
            [1, NAN, NAN, NAN],
        ]
    )
    found = changes_of(status)
    assert found.baseline.tolist() == [0, 2, 0, 0, 0, 1]
    assert found.first.tolist() == [2, 4, 3, 3, 4, 4]
    assert found.until.tolist() == [1, 3, 2, 2, 0, 3]
    assert found.unclear.tolist() == [False, False, False, False, True, False]
    assert carried(status)[3].tolist() == [0, 0, 0, 1]
    assert np.isnan(carried(status)[2, 0])


@pytest.mark.parametrize("monthly", [False, True])
def test_a_file_becomes_paths(monthly: bool) -> None:
    status = np.tile([[0.0, 0, 2, 0], [0, 0, 0, 0], [1, 1, 1, 0]], (5, 1))
    design = paths_from_frame(
        frame(status, monthly), outcome="y", unit="unit", period="period", treatment="d",
        covariates="size",
    )  # fmt: skip
    grid = design.periods
    assert design.first[:3].tolist() == [grid[2], np.inf, grid[3]]
    assert np.array_equal(design.status, status) and design.varying is None
    assert design.baseline[:3].tolist() == [0, 0, 1] and design.covariate_names == ("size",)
    assert design.label(design.first[0]) == ("2020-03" if monthly else "3")


def test_dates_as_dates_and_rows_in_any_order() -> None:
    status = np.tile([[0.0, 1, 0], [0, 0, 0], [0, 0, 1]], (4, 1))
    data = frame(status).sample(frac=1, random_state=1)
    dated = data.assign(period=pd.to_datetime("2020-" + data.period.astype(str) + "-01"))
    names = {"outcome": "y", "unit": "unit", "treatment": "d"}
    a = paths_from_frame(data, time="period", **names)
    b = paths_from_frame(dated, time="period", **names)
    assert np.array_equal(a.status, b.status) and b.label(b.periods[0]) == "2020-01"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda d: d.assign(d=0), "no unit's treatment changes"),
        (lambda d: d.assign(d=d.d.where(d.unit > 0)), "have no treatment"),
        (lambda d: d.assign(d="a"), "must be a number"),
        (lambda d: pd.concat([d, d.head(2)]), "2 rows repeat"),
        (lambda d: d.assign(d=d.d.replace(1, np.inf)), "infinite"),
        (lambda d: d.drop(columns="d"), "column"),
        (lambda d: d.assign(d=np.arange(len(d)) * 0.5), "start from"),
        (lambda d: d.head(0), "no rows"),
    ],
)
def test_what_is_wrong_is_said(change, said: str) -> None:
    status = np.tile([[0.0, 1, 0], [0, 0, 0], [0, 0, 1]], (80, 1))
    with pytest.raises(InputError, match=said):
        paths_from_frame(
            change(frame(status)), outcome="y", unit="unit", period="period", treatment="d"
        )


def test_the_treatment_is_nothing_else() -> None:
    status = np.tile([[0.0, 1, 0], [0, 0, 0]], (4, 1))
    for names in ({"outcome": "d"}, {"outcome": "y", "varying": "d"}):
        with pytest.raises(InputError, match="something else"):
            paths_from_frame(frame(status), unit="unit", period="period", treatment="d", **names)
    with pytest.raises(InputError, match="periods once"):
        paths_from_frame(frame(status), outcome="y", unit="unit", treatment="d")
