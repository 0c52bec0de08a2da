"""Sun & Abraham's estimator: other software's digits, group-time effects, truth, awkward input."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from invented_rollouts import COHORTS, effect, make_rollout

from tiltakeval.cli import main
from tiltakeval.design.staggered_read import staggered_from_frame
from tiltakeval.errors import InputError
from tiltakeval.estimators import build

SETS = {
    "mpdta": {"unit": "countyreal", "period": "year", "outcome": "lemp", "first": "first_treat"},
    "castle": {"unit": "sid", "period": "year", "outcome": "l_homicide", "treated": "post"},
}


def sun_abraham(**options: object):
    return build("sun_abraham", **{"bands": False, **options})


@pytest.mark.parametrize("name", list(SETS))
def test_every_reference_line_to_its_last_digits(shared: Path, name: str) -> None:
    design = staggered_from_frame(pd.read_csv(shared / "data" / f"{name}.csv"), **SETS[name])
    rows = [json.loads(r) for r in (shared / "reference" / "did.jsonl").open(encoding="utf-8")]
    rows = [r for r in rows if r["data"] == name and r.get("what") == "sunab"]
    assert len(rows) >= 15  # pyfixest and diff-diff
    found = sun_abraham(errors="fixest", shares="fixed", min_clusters=1).estimate(design).table
    event = found[found.term == "effect_by_event_time"].set_index("horizon")
    for row in rows:
        mine = found[found.term == "effect_overall"].iloc[0]
        if row["key"] != "all":
            mine = event.loc[int(float(row["key"]))]
        assert abs(mine.estimate - row["est"]) < 1e-12
        assert abs(mine.std_error - row["se"]) < 1e-12
    free = sun_abraham(errors="fixest", min_clusters=1).estimate(design).table
    np.testing.assert_allclose(free.estimate, found.estimate)
    post = free.term.isin(["effect_overall"])
    assert (free.std_error[post] > found.std_error[post]).all()  # shares are estimated too


@pytest.mark.parametrize("anticipation", [0, 1])
def test_on_a_full_panel_it_is_the_group_time_estimator(anticipation: int) -> None:
    """Least squares on every cohort and period is the difference of mean changes from the base."""
    design = replace(make_rollout(200, seed=1, clusters=None), subgroups={})
    design = replace(design, covariates=np.zeros((200, 0)), covariate_names=())
    found = sun_abraham(anticipation=anticipation).estimate(design)
    like = build(
        "group_time_att", comparison="never", base="universal", bands=False, anticipation=anticipation,
        divisor="g_minus_1",
    ).estimate(design)  # fmt: skip
    names = ["term", "cohort", "period", "horizon", "n_treated", "n_comparison", "n_clusters"]
    assert found.table[names].equals(like.table[names])
    for name in ("estimate", "std_error", "conf_low"):
        np.testing.assert_allclose(found.table[name], like.table[name], atol=1e-10)


@pytest.mark.parametrize("missing", [0.0, 0.25])
def test_the_truth_is_found_with_covariates_gaps_and_subgroups(missing: float) -> None:
    design = make_rollout(6000, seed=2, missing=missing)
    table = sun_abraham().estimate(design).select(term="effect").table
    true = [effect(float(r.cohort), int(r.period)) for r in table.itertuples()]
    off = (table.estimate - true) / table.std_error
    assert (np.abs(off) < 4.2).all() and table.std_error[table.subgroup == "all"].max() < 0.12
    assert set(table.subgroup) == {"all", "sex=a", "sex=b"}


@pytest.mark.parametrize("shares", ["estimated", "fixed"])
def test_influence_is_the_derivative_by_each_units_weight(shares: str) -> None:
    design = replace(make_rollout(90, seed=3, missing=0.15), subgroups={})
    full = sun_abraham(shares=shares).estimate(design)
    ok = full.table.status == "ok"
    if shares == "fixed":  # averages then take the weights of rows as given
        ok &= full.table.term == "effect"
    rows = np.flatnonzero(ok)
    z = full.influence.columns(rows)
    for i in range(0, 90, 22):
        moved = []
        for step in (1e-5, -1e-5):
            weight = design.weight.copy()
            weight[i] *= 1 + step
            again = sun_abraham(shares=shares).estimate(replace(design, weight=weight)).table
            moved.append(again.estimate.to_numpy()[rows])
        np.testing.assert_allclose(z[i], (moved[0] - moved[1]) / 2e-5, atol=2e-7)


def test_the_last_cohort_as_comparison() -> None:
    design = replace(make_rollout(300, seed=4), subgroups={}, covariate_names=())
    design = replace(design, covariates=np.zeros((300, 0)))
    found = sun_abraham(comparison="last").estimate(design).select(term="effect").table
    assert set(found.cohort) == {"4"} and set(found.period) == {"1", "2", "4", "5"}
    y, w = design.outcomes[:, :, 0], design.weight
    change = y[:, 4] - y[:, 2]
    own, last = design.first == COHORTS[0], design.first == COHORTS[1]
    wanted = np.average(change[own], weights=w[own]) - np.average(change[last], weights=w[last])
    np.testing.assert_allclose(found.estimate[found.period == "5"], wanted)
    all_treated = replace(design, first=np.where(np.isinf(design.first), 6.0, design.first))
    with pytest.raises(InputError, match="Say comparison=last"):
        sun_abraham().estimate(all_treated)
    statuses = set(sun_abraham(comparison="last").estimate(all_treated).table.status)
    assert statuses == {"ok", "reference"}
    only = replace(design, first=np.where(np.isinf(design.first), np.inf, 4.0))
    with pytest.raises(InputError, match="no cohort is treated before the last"):
        sun_abraham(comparison="last").estimate(only)


def test_awkward_panels_are_marked_with_reasons() -> None:
    design = replace(make_rollout(150, seed=5, missing=0.2), subgroups={})
    y = design.outcomes.copy()
    y[design.first == 4, 6] = np.nan  # a cohort without rows in a period
    y[design.first == 6, 4] = np.nan  # another without its base period
    found = sun_abraham().estimate(replace(design, outcomes=y))
    cells = found.select(term="effect").table.set_index(["cohort", "period"])
    assert cells.status[("4", "7")] == "not_supported"
    assert "no unit of the cohort is seen in the period" in {
        r["reason"] for r in found.run["not_supported"]
    }
    # without its base period a cohort's effects can't be told from its unit effects
    assert (cells.loc["6"].status == "not_supported").all()
    assert "no unit of the cohort is seen in the base period" in {
        r["reason"] for r in found.run["not_supported"]
    }
    assert cells.loc[("4", "5"), "status"] == "ok"

    lonely = design.first.copy()
    lonely[np.flatnonzero(lonely == 6)[1:]] = np.inf
    one = sun_abraham().estimate(replace(design, first=lonely))
    assert {r["reason"] for r in one.run["not_supported"]} == {"only 1 unit in the cohort"}
    good = one.table[one.table.status == "ok"]
    assert len(good) and good.std_error.notna().all()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"comparison": "nver"}, "comparison"),
        ({"shares": "some"}, "shares"),
        ({"errors": "r"}, "errors"),
        ({"balance": 5}, "The longest follow-up is 4"),
        ({"anticipation": -1}, "anticipation"),
    ],
)
def test_options_that_make_no_sense(options: dict, said: str) -> None:
    with pytest.raises(InputError, match=said):
        sun_abraham(**options).estimate(make_rollout(60))


def test_from_the_command_line(shared: Path, capsys: pytest.CaptureFixture) -> None:
    path = str(shared / "data" / "mpdta.csv")
    columns = ["unit=countyreal", "time=year", "cohort=first_treat", "outcome=lemp"]
    columns += ["comparison=never_treated", "shares=fixed", "errors=fixest"]
    assert main(["estimate", "sun_abraham", path, "--json", "--set", *columns]) == 0
    found = json.loads(capsys.readouterr().out)
    overall = next(r for r in found["estimates"] if r["term"] == "effect_overall")
    assert abs(overall["std_error"] - 0.01179627744175421) < 1e-12
    assert {"pretrend", "robust_to_trends"} <= {c["key"] for c in found["checks"]}
