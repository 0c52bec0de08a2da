"""What two-way estimates are made of: published decompositions, identities, and plain verdicts."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from invented_rollouts import make_rollout
from scipy.optimize import LinearConstraint, minimize

from tiltakeval.design.staggered import StaggeredPanel
from tiltakeval.design.staggered_read import staggered_from_frame
from tiltakeval.diagnostics.bacon import bacon, goodman_bacon
from tiltakeval.diagnostics.rollout import rollout
from tiltakeval.diagnostics.twfe_weights import twfe_weights
from tiltakeval.estimators import build

SETS = {
    "mpdta": {"unit": "countyreal", "period": "year", "outcome": "lemp", "first": "first_treat"},
    "castle": {"unit": "sid", "period": "year", "outcome": "l_homicide", "treated": "post"},
}


def bare(n: int = 300, **options: object) -> StaggeredPanel:
    """An invented roll-out without covariates and subgroups."""
    design = make_rollout(n, **options)  # type: ignore[arg-type]
    return replace(design, covariates=np.zeros((n, 0)), covariate_names=(), subgroups={})


@pytest.mark.parametrize("name", list(SETS))
def test_published_weights_and_estimates_by_type(shared: Path, name: str) -> None:
    design = staggered_from_frame(pd.read_csv(shared / "data" / f"{name}.csv"), **SETS[name])
    parts = goodman_bacon(design)
    lines = (shared / "reference" / "did.jsonl").read_text("utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    rows = [r for r in rows if r["data"] == name and r.get("what") == "bacon"]
    assert len(rows) == 4
    for row in rows:
        if row["key"] == "twfe":
            np.testing.assert_allclose(parts.weight @ parts.estimate, row["est"], atol=1e-12)
            continue
        mine = parts[parts.type == row["key"]]
        np.testing.assert_allclose(mine.weight.sum(), row["se"], atol=1e-12)  # "se" is the weight
        mean = mine.weight @ mine.estimate / mine.weight.sum()
        np.testing.assert_allclose(mean, row["est"], atol=1e-12)


def test_the_weighted_sum_is_the_estimate_with_weights_and_units_always_treated() -> None:
    design = bare(300, seed=3)
    always = np.arange(300) % 5 == 0
    first = np.where(always, 1.0, design.first)  # treated in the first period already
    first[::7] = 9.0  # treated after the panel's end: never, as far as it goes
    design = replace(design, first=first)
    parts = goodman_bacon(design)
    assert set(parts.type) == {
        "treated_vs_never", "earlier_vs_later", "later_vs_earlier", "later_vs_always",
    }  # fmt: skip
    assert np.isclose(parts.weight.sum(), 1) and (parts.weight > 0).all()
    found = build("twfe").estimate(design)
    np.testing.assert_allclose(parts.weight @ parts.estimate, found.table.estimate[0], atol=1e-12)
    check = bacon(estimates=found)[0]
    wrong = parts.type.isin(["later_vs_earlier", "later_vs_always"])
    np.testing.assert_allclose(check.statistic, parts.weight[wrong].sum())
    assert check.status == "failed"
    assert check.message["reasons"][0].startswith(f"{100 * check.statistic:.1f} % of the weight")


def test_what_cant_be_decomposed_says_why() -> None:
    gaps = bacon(estimates=build("twfe").estimate(bare(200, missing=0.1)))[0]
    assert gaps.status == "not_evaluated" and "every unit in every period" in gaps.message["why"]
    x = bacon(estimates=build("twfe").estimate(replace(make_rollout(200), subgroups={})))[0]
    assert x.status == "not_evaluated" and "without covariates" in x.message["why"]


def test_weights_of_effects_are_what_effects_do_to_the_estimate() -> None:
    """Raise one cell's outcomes by one: the estimate moves by the cell's weight (gaps, covariates)."""
    design = replace(make_rollout(150, seed=4, missing=0.2), subgroups={})
    found = build("twfe").estimate(design)
    cells = found.run["weights"][0]["by_cell"]
    np.testing.assert_allclose(sum(cell["weight"] for cell in cells), 1)
    for cell in cells[::3]:
        y = design.outcomes.copy()
        here = design.first == float(cell["cohort"])
        y[here, design.periods == int(cell["period"])] += 1
        moved = build("twfe").estimate(replace(design, outcomes=y)).table.estimate[0]
        np.testing.assert_allclose(moved - found.table.estimate[0], cell["weight"], atol=1e-10)


def test_how_much_effects_must_differ_is_the_smallest_such_spread() -> None:
    design = replace(bare(400, seed=5), weight=np.ones(400))
    first = np.where(np.isinf(design.first), 6.0, design.first)  # nobody is never treated
    found = build("twfe").estimate(replace(design, first=first))
    weights = found.run["weights"][0]
    assert weights["negative"] > 0
    beta = found.table.estimate[0]
    cells = pd.DataFrame(weights["by_cell"])
    omega = cells.weight.to_numpy()
    size = np.array([(first == float(g)).sum() for g in cells.cohort], dtype=float)
    share = size / size.sum()

    def spread(d: np.ndarray) -> float:
        return float(share @ (d - share @ d) ** 2)

    start = np.full(omega.size, beta)
    zero = minimize(
        spread, start, method="SLSQP", options={"ftol": 1e-14, "maxiter": 500},
        constraints=[LinearConstraint(np.stack([omega, share]), [beta, 0], [beta, 0])],
    )  # fmt: skip
    np.testing.assert_allclose(np.sqrt(zero.fun), weights["sd_to_zero"], rtol=1e-4)
    bounds = [(None, 0) if beta > 0 else (0, None)] * omega.size
    other = minimize(
        spread, -start, method="SLSQP", bounds=bounds, options={"ftol": 1e-14, "maxiter": 500},
        constraints=[LinearConstraint(omega[None, :], beta, beta)],
    )  # fmt: skip
    assert other.success
    np.testing.assert_allclose(np.sqrt(other.fun), weights["sd_all_opposite"], rtol=1e-3)


def test_foreign_weights_are_what_other_event_times_do() -> None:
    design = bare(200, seed=6, missing=0.1)
    found = build("twfe_event_study").estimate(design)
    foreign = {
        r["event_time"]: r["foreign"] for r in found.run["foreign_weights"][0]["by_event_time"]
    }
    at = found.positions(term="effect_by_event_time", horizon=2)[0]
    total = 0.0
    for g in (4.0, 6.0):
        for t in design.periods[design.periods >= g]:
            if t - g == 2:
                continue
            y = design.outcomes.copy()
            y[design.first == g, design.periods == t] += 1
            moved = build("twfe_event_study", bands=False).estimate(replace(design, outcomes=y))
            total += abs(moved.table.estimate[at] - found.table.estimate[at])
    np.testing.assert_allclose(foreign[2], total / 2, atol=1e-9)
    check = next(c for c in twfe_weights(estimates=found) if c.key == "foreign_weights")
    assert check.statistic == max(foreign.values())


def test_equal_effects_pass_and_growing_ones_fail() -> None:
    flat = bare(800, seed=7)
    late = flat.periods[None, :] >= flat.first[:, None]
    rng = np.random.default_rng(1)
    noise = rng.standard_normal((800, 8)) + rng.standard_normal((800, 1))
    same = replace(flat, outcomes=(noise + 0.5 * late)[:, :, None])
    said = {c.key: c for c in rollout(estimates=build("twfe").estimate(same))}
    assert said["two_way_misleads"].status == "passed" == said["negative_weights"].status
    steps = np.where(late, flat.periods[None, :] - flat.first[:, None], 0)
    grown = replace(flat, outcomes=(noise + 0.5 * steps)[:, :, None])
    said = {c.key: c for c in rollout(estimates=build("twfe").estimate(grown))}
    assert said["two_way_misleads"].status == "failed"
    assert "difference" in said["two_way_misleads"].message["reasons"][0]
