"""Group-time effects from repeated cross-sections: means by hand, known truth, influence, bad input."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tiltakeval.cli import main
from tiltakeval.design.sections import StaggeredSections, sections_from_frame
from tiltakeval.errors import InputError
from tiltakeval.estimators import build

FIRSTS = np.array([3.0, 4.0, 0.0])
COLUMNS = {
    "outcome": "y",
    "period": "year",
    "first": "start",
    "covariates": "x",
    "cluster": "office",
}


def rows(
    n: int, seed: int, *, offices: int = 60, bent: float = 0.0, shift: float = 0.5
) -> pd.DataFrame:
    """Persons of offices in five years, each seen once; the covariate drives starts and trends, by a
    line, or by ``bent`` times its square."""
    rng = np.random.default_rng(seed)
    office = rng.integers(0, offices, n)
    cohort = office % 3
    year = rng.integers(1, 6, n)
    x = rng.standard_normal(n) + shift * (cohort == 0) + 0.2 * (cohort == 1)
    start = FIRSTS[cohort]
    effect = np.where((start > 0) & (year >= start), 0.5 + 0.2 * (year - start), 0.0)
    y = x + 0.3 * x * year + bent * x**2 * year + effect + rng.standard_normal(n)
    return pd.DataFrame({"y": y, "year": year, "start": start, "x": x, "office": office,
                         "w": rng.uniform(0.5, 1.5, n)})  # fmt: skip


def att(**options: object):
    return build("group_time_att", **{"bands": False, "divisor": "g", **options})


def read(df: pd.DataFrame, **more: object) -> StaggeredSections:
    return sections_from_frame(df, **{**COLUMNS, **more})  # type: ignore[arg-type]


def test_without_covariates_it_is_four_means() -> None:
    df = rows(900, 1)
    table = att(comparison="never").estimate(read(df, covariates=(), weight="w")).table
    row = table[(table.cohort == "4") & (table.period == "5") & (table.term == "effect")].iloc[0]

    def mean(start: float, year: int) -> float:
        part = df[(df.start == start) & (df.year == year)]
        return float(np.average(part.y, weights=part.w))

    want = mean(4, 5) - mean(4, 3) - mean(0, 5) + mean(0, 3)
    np.testing.assert_allclose(row.estimate, want)
    assert row.n_treated == len(df[(df.start == 4) & df.year.isin([3, 5])])
    assert row.n_clusters == df.office[df.start.isin([0, 4])].nunique()


@pytest.mark.parametrize("method", ["dr", "ipw", "reg"])
@pytest.mark.parametrize("comparison", ["never", "not_yet"])
def test_influence_is_the_derivative_by_each_rows_weight(method: str, comparison: str) -> None:
    design = read(rows(700, 2), weight="w", cluster=None)
    estimator = att(method=method, comparison=comparison, max_propensity=1.0, divisor="g_minus_1")
    full = estimator.estimate(design)
    at = np.flatnonzero(full.table.status == "ok")
    z = full.influence.columns(at)
    for i in (0, 101, 333, 650):
        moved = []
        for step in (1e-5, -1e-5):
            weight = design.weight.copy()
            weight[i] *= 1 + step
            changed = estimator.estimate(replace(design, weight=weight))
            moved.append(changed.table.estimate.to_numpy()[at])
        np.testing.assert_allclose(z[i], (moved[0] - moved[1]) / 2e-5, atol=2e-7)


@pytest.mark.parametrize("method", ["dr", "ipw", "reg"])
def test_the_truth_is_found_where_the_covariate_drives_trends(method: str) -> None:
    table = att(method=method).estimate(read(rows(20000, 3))).select(term="effect").table
    after = table.horizon >= 0
    true = np.where(after, 0.5 + 0.2 * table.horizon.to_numpy(dtype=float), 0.0)
    assert (np.abs(table.estimate - true) < 4 * table.std_error).all()
    assert (table.std_error < 0.2).all() and len(table) == 8
    raw = att().estimate(read(rows(20000, 3), covariates=())).select(term="effect").table
    late = (raw.cohort == "3") & (raw.period == "5")
    assert ((raw.estimate - true)[late] > 3 * raw.std_error[late]).all()


def test_doubly_robust_is_right_when_the_regression_is_wrong() -> None:
    """x is normal with equal variance in all cohorts, so that the logit is right and the line isn't."""
    table = {
        m: att(method=m)
        .estimate(read(rows(30000, 4, bent=0.3, shift=1.0)))
        .select(term="effect")
        .table
        for m in ("dr", "reg")
    }
    late = (table["dr"].cohort == "3") & (table["dr"].period == "5")
    gap = {
        m: (t.estimate[late] - 0.9).iloc[0] / t.std_error[late].iloc[0] for m, t in table.items()
    }
    assert abs(gap["dr"]) < 3 < abs(gap["reg"])


def test_persons_followed_are_a_special_case() -> None:
    """Rows of a balanced panel taken as cross-sections: the same estimate without covariates."""
    df = rows(300, 5)
    long = pd.concat(
        [df.assign(year=t, y=df.y + 0.1 * t * df.x, person=range(300)) for t in range(1, 6)]
    )
    from tiltakeval.design.staggered_read import staggered_from_frame

    panel = staggered_from_frame(long, unit="person", period="year", first="start", outcome="y")
    one = att().estimate(panel).table
    other = att().estimate(read(long, covariates=(), cluster="person")).table
    np.testing.assert_allclose(one.estimate, other.estimate, atol=1e-10)
    cells = one.term == "effect"
    np.testing.assert_allclose(one.std_error[cells], other.std_error[cells], atol=1e-10)


def test_what_cant_be_had_and_what_is_refused() -> None:
    df = rows(600, 6)
    gone = att().estimate(read(df[~((df.start == 3) & (df.year == 2))]))
    cells = gone.select(term="effect").table
    assert (cells.status[cells.cohort == "3"] == "not_supported").all()
    assert (cells.status[cells.cohort == "4"] == "ok").any()
    assert "nobody of the cohort is seen" in gone.run["not_supported"][0]["reason"]
    with pytest.raises(InputError, match="unknown column 'starts'"):
        read(df, first="starts")
    with pytest.raises(InputError, match="no cohort first treated"):
        read(df.assign(start=0))
    with pytest.raises(InputError, match="600 of 600 weights are negative"):
        read(df.assign(w=-1.0), weight="w")
    with pytest.raises(InputError, match="follows units"):
        build("did_imputation").estimate(read(df))
    assert (
        read(df.assign(start=df.start.where(df.start != 3, 1.0))).attrition.steps.units.min() < 600
    )


def test_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = tmp_path / "persons.csv"
    rows(2000, 7).to_csv(path, index=False)
    settings = [f"{k}={v}" for k, v in COLUMNS.items()]
    command = ["estimate", "group_time_att", str(path), "--json", "--set", *settings]
    assert main([*command, "panel=false"]) == 0
    found = json.loads(capsys.readouterr().out)
    overall = next(r for r in found["estimates"] if r["term"] == "effect_overall")
    assert abs(overall["estimate"] - 0.66) < 0.3 and overall["n_clusters"] == 60
    assert main([*command, "panel=false", "unit=office"]) == 2
    assert "unit says nothing" in capsys.readouterr().err
    assert main(command) == 2
    assert "unit must be given" in capsys.readouterr().err
    twfe = ["estimate", "twfe", str(path), "--set", *settings, "panel=false"]
    assert main(twfe) == 2
    assert "Traceback" not in capsys.readouterr().err
