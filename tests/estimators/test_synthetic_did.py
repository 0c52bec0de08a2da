"""Synthetic DiD: other software's digits, exact weights, written-out errors, truth, awkward input."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from invented_rollouts import make_rollout

from tiltakeval.cli import main
from tiltakeval.design.cross_section import Subgroup
from tiltakeval.design.staggered import StaggeredPanel
from tiltakeval.design.staggered_read import staggered_from_frame
from tiltakeval.diagnostics.rollout import rollout
from tiltakeval.errors import InputError
from tiltakeval.estimators import build
from tiltakeval.estimators.did.synthetic.cohort import fit_cohort
from tiltakeval.estimators.did.synthetic.simplex import _descend, frank_wolfe, on_simplex
from tiltakeval.study.rollouts import tellable

#: R synthdid 0.0.9 on prop99: synthdid_estimate, sc_estimate, did_estimate.
PROP99 = {"sdid": -15.60383, "sc": -19.61966, "did": -27.34911}
#: diff-diff 3.13.0, SyntheticDiD(variance_method="jackknife") of one cohort and those never treated:
#: estimate and jackknife error (None: one treated unit).
COHORTS = {
    ("castle", 2006): (0.2007228914549251, None),
    ("castle", 2007): (0.02079151934523893, 0.04048294657336021),
    ("castle", 2008): (0.14434240858151046, 0.08154945692409689),
    ("castle", 2009): (0.09129626761362439, 0.091128269519663),
    ("castle", 2010): (-0.2177955730886224, None),
    ("mpdta", 2006): (-0.023568265849617413, 0.016726978102825495),
    ("mpdta", 2007): (-0.03750020451427424, 0.015872255882015206),
}
SETS = {
    "mpdta": {"unit": "countyreal", "period": "year", "outcome": "lemp", "first": "first_treat"},
    "castle": {"unit": "sid", "period": "year", "outcome": "l_homicide", "treated": "post"},
}


def sdid(**options: object):
    return build("synthetic_did", **{"bands": False, **options})


def overall(found) -> pd.Series:
    return found.select(term="effect_overall", subgroup="all").table.iloc[0]


def prop99(shared: Path) -> StaggeredPanel:
    wide = pd.read_csv(shared / "data" / "prop99.csv")
    long = wide.melt("Year", var_name="state", value_name="packs")
    long["start"] = np.where(long.state == "California", 1989, 0)
    return staggered_from_frame(long, unit="state", period="Year", first="start", outcome="packs")


def offices(n: int = 20, treated: int = 4, periods: int = 12, seed: int = 0, **options: float):
    """Offices with one factor that treated ones load on more; two cohorts, an effect of 1."""
    rng = np.random.default_rng(seed)
    first = np.full(n, np.inf)
    first[:treated] = np.where(np.arange(treated) % 2 == 0, 8.0, 10.0)
    load = rng.normal(size=n) + options.get("gap", 1.0) * np.isfinite(first)
    grid = np.arange(1, periods + 1)
    factor = 0.3 * grid + np.cumsum(rng.normal(size=periods)) * 0.3
    y = rng.normal(size=(n, 1)) + load[:, None] * factor
    y += options.get("noise", 0.5) * rng.normal(size=y.shape) + (first[:, None] <= grid)
    return StaggeredPanel(
        outcomes=y[:, :, None], outcome_names=("y",), units=("value",), periods=grid, first=first,
        covariates=np.zeros((n, 0)), covariate_names=(), weight=np.ones(n), cluster=np.arange(n),
        subgroups={}, population="invented", cluster_kind="office",
    )  # fmt: skip


def stopped(design: StaggeredPanel, cohort: float, method: str = "sdid"):
    """Weights and effects of one cohort where the R package stops."""
    mine, never = design.first == cohort, np.isinf(design.first)
    y = design.outcomes[:, :, 0]
    after = design.periods >= cohort
    fit = fit_cohort(
        y[mine].mean(axis=0), y[never], np.ones(never.sum()), ~after, after,
        method=method, treated=float(mine.sum()), solver="frank_wolfe",
    )  # fmt: skip
    return fit, float(fit.effects[after].mean())


@pytest.mark.parametrize("method", list(PROP99))
def test_prop99_as_the_r_package_has_it(shared: Path, method: str) -> None:
    """Exact weights lie a little off where the package stops: 0.0016 for sdid, 0.11 for sc."""
    design = prop99(shared)
    fit, estimate = stopped(design, 1989, method)
    assert abs(estimate - PROP99[method]) < 6e-6
    found = sdid(method=method).estimate(design)
    assert found.run["errors"]["method"] == "placebo"
    told = found.run["synthetic"][0]
    assert max(told["gap_units"], told["gap_periods"]) < 1e-14
    assert method == "did" or fit.gaps[0] > 1e-8
    off = {"sdid": 0.002, "sc": 0.12, "did": 6e-6}[method]
    assert abs(overall(found).estimate - PROP99[method]) < off


def test_cohorts_and_jackknife_errors_as_diff_diff_has_them(shared: Path) -> None:
    for name in SETS:
        frame = pd.read_csv(shared / "data" / f"{name}.csv")
        design = staggered_from_frame(frame, **SETS[name])
        for (data, cohort), (estimate, error) in COHORTS.items():
            if data != name:
                continue
            if error is None:
                assert abs(stopped(design, cohort)[1] - estimate) < 2e-8, (data, cohort)
                continue
            keep = (design.first == cohort) | np.isinf(design.first)
            one = replace(
                design,
                outcomes=design.outcomes[keep],
                first=design.first[keep],
                covariates=design.covariates[keep],
                weight=design.weight[keep],
                cluster=np.arange(keep.sum()),
            )
            alone = overall(sdid(solver="frank_wolfe", errors="jackknife").estimate(one))
            assert abs(alone.estimate - estimate) < 2e-8, (data, cohort)
            assert abs(alone.std_error - error) < 2e-8, (data, cohort)
        # Clarke et al. (2024): cohorts weigh by treated unit-periods
        found = sdid(errors="placebo", resamples=20).estimate(design)
        rows = found.select(term="effect_by_cohort", status="ok").table
        start = rows.cohort.astype(int).to_numpy()
        weight = np.array([(design.first == g).sum() for g in start])
        weight = weight * (frame[SETS[name]["period"]].max() - start + 1)
        assert abs(overall(found).estimate - weight @ rows.estimate / weight.sum()) < 1e-12


def test_weights_are_optimal_in_hard_and_easy_problems() -> None:
    rng = np.random.default_rng(4)
    for _ in range(60):
        m, k = int(rng.integers(1, 30)), int(rng.integers(1, 40))
        a = rng.normal(size=(m, k)) + rng.choice([0, 3]) * rng.normal(size=(m, 1))
        b = a @ rng.dirichlet(np.full(k, 0.1)) + rng.choice([0, 0.1, 1]) * rng.normal(size=m)
        ridge = 10.0 ** rng.uniform(-12, 1) * rng.uniform(0.5, 2, k)
        found = on_simplex(a, b, ridge)
        assert found.gap < 1e-11 and abs(found.weights.sum() - 1) < 1e-12
        assert (found.weights >= 0).all()
        size = float((a * a).sum(axis=0).max() + b @ b + ridge.max())
        slowly, _ = _descend(a, b, ridge, np.full(k, 1 / k), size)
        error = np.sqrt(ridge.min()) * np.abs(slowly - found.weights).max()
        assert error < 1e-5 * np.sqrt(size)  # both within the gap of the one optimum
    rough = frank_wolfe(a, b, ridge, stop=1e-8)
    value = [((a @ x - b) ** 2).sum() + ridge @ x**2 for x in (found.weights, rough.weights)]
    assert value[0] <= value[1]


def test_a_start_doesnt_change_the_answer_and_one_column_is_all() -> None:
    rng = np.random.default_rng(5)
    a, b = rng.normal(size=(8, 20)), rng.normal(size=8)
    ridge = np.full(20, 0.01)
    cold = on_simplex(a, b, ridge)
    for start in (np.arange(20) == 3, cold.weights > 0, np.zeros(20, dtype=bool)):
        np.testing.assert_allclose(on_simplex(a, b, ridge, start).weights, cold.weights, atol=1e-12)
    assert on_simplex(a[:, :1], b, ridge[:1]).weights.tolist() == [1.0]


def test_did_is_the_difference_of_four_means_and_periods_add_up() -> None:
    design = offices(treated=4)
    found = sdid(method="did").estimate(design)
    y, first = design.outcomes[:, :, 0], design.first
    change = {
        g: y[:, design.periods >= g].mean(axis=1) - y[:, design.periods < g].mean(axis=1)
        for g in (8.0, 10.0)
    }
    for g in (8.0, 10.0):
        expected = change[g][first == g].mean() - change[g][np.isinf(first)].mean()
        row = found.select(term="effect_by_cohort", cohort=str(int(g))).table.iloc[0]
        assert abs(row.estimate - expected) < 1e-12
    cells = found.select(term="effect").table
    by_event = found.select(term="effect_by_event_time").table.set_index("horizon")
    assert abs(cells[cells.horizon == 1].estimate.mean() - by_event.estimate[1]) < 1e-12
    before = found.select(term="fit_before").table
    assert before.horizon.tolist() == list(range(-9, 0))


def test_the_jackknife_is_that_of_estimates_with_fixed_weights() -> None:
    design = replace(offices(treated=3), first=np.where(np.arange(20) < 3, 8.0, np.inf))
    found = sdid(errors="jackknife").estimate(design)
    y = design.outcomes[:, :, 0]
    before, after = design.periods < 8, design.periods >= 8
    fit = fit_cohort(
        y[:3].mean(axis=0), y[3:], np.ones(17), before, after, method="sdid", treated=3
    )
    assert abs(overall(found).estimate - fit.effects[after].mean()) < 1e-12

    def again(keep: np.ndarray) -> float:
        omega = fit.omega[keep[3:]] / fit.omega[keep[3:]].sum()
        path = y[:3][keep[:3]].mean(axis=0) - omega @ y[3:][keep[3:]]
        return float(path[after].mean() - path[before] @ fit.lam)

    left = np.array([again(np.arange(20) != i) for i in range(20)])
    error = np.sqrt(19 / 20 * ((left - left.mean()) ** 2).sum())
    assert abs(overall(found).std_error - error) < 1e-12
    assert found.influence is not None


def test_placebo_errors_use_every_way_where_there_are_few() -> None:
    design = replace(offices(treated=1, seed=2), first=np.where(np.arange(20) < 1, 8.0, np.inf))
    found = sdid().estimate(design)
    assert found.run["errors"]["method"] == "placebo"
    y = design.outcomes[:, :, 0]
    before, after = design.periods < 8, design.periods >= 8
    real = fit_cohort(y[0], y[1:], np.ones(19), before, after, method="sdid", treated=1)
    drawn = []
    for i in range(1, 20):
        rest = y[[j for j in range(1, 20) if j != i]]
        one = fit_cohort(
            y[i], rest, np.ones(18), before, after, method="sdid", treated=1,
            zeta=real.zeta, noise=real.noise,
        )  # fmt: skip
        drawn.append(one.effects[after].mean())
    assert abs(overall(found).std_error - np.std(drawn)) < 1e-12
    point = abs(overall(found).estimate)
    rank = (1 + (np.abs(drawn) >= point).sum()) / 20
    assert found.run["placebo_ranks"][0]["p_value"] == rank
    assert found.influence is None and found.covariance is not None
    again = sdid(resamples=500, seed=9).estimate(design)  # all of them: no chance left
    np.testing.assert_allclose(again.table.std_error, found.table.std_error, rtol=1e-12)


@pytest.mark.parametrize("errors", ["placebo", "bootstrap"])
def test_the_same_seed_gives_the_same_numbers(errors: str) -> None:
    design = offices(treated=4)
    options = {"errors": errors, "resamples": 25, "bands": True}
    one, two = (sdid(seed=3, **options).estimate(design) for _ in range(2))
    assert one.table.equals(two.table)
    other = overall(sdid(seed=4, **options).estimate(design))
    assert other.estimate == overall(one).estimate and other.std_error != overall(one).std_error
    good = one.table[one.table.band_low.notna()]
    assert len(good) and (good.band_low <= good.conf_low + 1e-12).all()


def test_a_bootstrap_draw_is_an_estimate_with_offices_repeated() -> None:
    """Multiplicities as weights give what copies of the offices give."""
    design = offices(treated=2, n=10)
    y = design.outcomes[:, :, 0]
    before, after = design.periods < 8, design.periods >= 8
    times = np.array([2, 1, 3, 1])
    weighted = fit_cohort(
        y[0], y[2:6], times.astype(float), before, after, method="sdid", treated=1
    )
    copied = fit_cohort(
        y[0], np.repeat(y[2:6], times, axis=0), np.ones(7), before, after, method="sdid", treated=1
    )
    np.testing.assert_allclose(weighted.effects, copied.effects, atol=1e-9)
    assert abs(weighted.noise - copied.noise) < 1e-12


def test_errors_that_cant_be_had_say_so() -> None:
    single = replace(offices(), first=np.where(np.arange(20) < 1, 8.0, np.inf))
    with pytest.raises(InputError, match="placebo"):
        sdid(errors="bootstrap").estimate(single)
    found = sdid(errors="jackknife").estimate(single)
    assert (found.table.status == "not_supported").all()
    assert "left out" in found.run["not_supported"][0]["reason"]
    many = replace(offices(), first=np.where(np.arange(20) < 12, 8.0, np.inf))
    with pytest.raises(InputError, match="placebo cohorts must leave"):
        sdid(errors="placebo").estimate(many)
    for inference in ("permutation", "bootstrap_t", "jackknife"):
        with pytest.raises(InputError, match="errors"):
            build("synthetic_did", inference=inference)


def test_weighted_comparison_beats_plain_where_trends_differ() -> None:
    errors = {"sdid": [], "did": []}
    for seed in range(12):
        design = offices(n=30, treated=4, periods=16, seed=seed, noise=0.3)
        for method in errors:
            errors[method].append(overall(sdid(method=method).estimate(design)).estimate - 1)
    assert abs(np.mean(errors["did"])) > 3 * abs(np.mean(errors["sdid"]))
    assert np.mean(np.square(errors["sdid"])) < 0.3 * np.mean(np.square(errors["did"]))


def test_covariates_are_taken_out_with_slopes_of_the_comparison() -> None:
    design = offices(treated=4, gap=0.0, noise=0.3)
    rng = np.random.default_rng(1)
    x = rng.normal(size=(20, 1)) + 2 * np.isfinite(design.first)[:, None]
    moving = rng.normal(size=(20, 12, 1)) + design.periods[None, :, None] * x[:, None, :] / 4
    y = design.outcomes + 5 * moving + (x * np.sin(design.periods))[:, :, None]
    confounded = replace(design, outcomes=y)
    clean = overall(sdid().estimate(design)).estimate
    both = replace(
        confounded, covariates=x, covariate_names=("x",), varying=moving, varying_names=("m",)
    )
    assert abs(overall(sdid().estimate(both)).estimate - clean) < 0.2
    assert abs(overall(sdid().estimate(confounded)).estimate - clean) > 0.5
    # the slope is that of a regression with unit and period effects among those never treated
    only = replace(design, varying=moving, varying_names=("m",), outcomes=y)
    never = np.isinf(design.first)
    frame = np.stack([moving[never, :, 0].ravel(), y[never, :, 0].ravel()], axis=1)
    unit = np.repeat(np.eye(never.sum()), 12, axis=0)
    period = np.tile(np.eye(12), (int(never.sum()), 1))
    design_matrix = np.concatenate([frame[:, :1], unit, period[:, 1:]], axis=1)
    slope = np.linalg.lstsq(design_matrix, frame[:, 1], rcond=None)[0][0]
    by_hand = replace(design, outcomes=y - slope * moving)
    found = [overall(sdid().estimate(d)).estimate for d in (only, by_hand)]
    assert abs(found[0] - found[1]) < 1e-9
    twice = np.concatenate([moving, 2 * moving], axis=2)
    with pytest.raises(InputError, match="collinear"):
        sdid().estimate(replace(only, varying=twice, varying_names=("m", "n")))


def test_anticipated_periods_carry_no_weight_and_are_a_placebo() -> None:
    design = offices(treated=4)
    found = sdid(anticipation=2).estimate(design)
    rows = found.select(term="effect").table
    assert sorted(rows.horizon.unique()) == [-2, -1, 0, 1, 2, 3, 4]
    told = found.run["synthetic"][0]
    assert told["periods_before"] == 5
    shorter = sdid(anticipation=2).estimate(
        replace(design, outcomes=design.outcomes + np.where(design.periods == 7, 9.0, 0)[:, None]
                * (design.first == 8)[:, None, None])
    )  # fmt: skip
    assert abs(overall(shorter).estimate - overall(found).estimate) < 1e-12


def test_units_with_gaps_are_refused_or_left_out_and_counted() -> None:
    design = offices()
    y = design.outcomes.copy()
    y[7, 3] = np.nan
    gappy = replace(design, outcomes=y)
    with pytest.raises(InputError, match="1 of 20 units"):
        sdid().estimate(gappy)
    found = sdid(incomplete="leave_out").estimate(gappy)
    assert found.run["synthetic"][0]["left_out_for_gaps"] == 1
    assert found.run["synthetic"][0]["comparison"] == 15


def test_subgroups_have_their_own_weights_and_errors_or_a_reason() -> None:
    design = offices(n=24, treated=2)
    design = replace(design, first=np.where(np.arange(24) < 2, 8.0, np.inf))
    codes = (np.arange(24) % 2).astype(np.int16)
    codes[[21, 23]] = 2
    group = Subgroup(levels=("a", "b", "c"), codes=codes)
    found = sdid(errors="placebo").estimate(replace(design, subgroups={"county": group}))
    rows = found.table[found.table.term == "effect_overall"].set_index("subgroup")
    assert rows.status.tolist() == ["ok", "ok", "ok", "not_supported"]
    keep = codes == 0
    alone = replace(
        design,
        outcomes=design.outcomes[keep],
        first=design.first[keep],
        covariates=design.covariates[keep],
        weight=design.weight[keep],
        cluster=np.arange(keep.sum()),
    )
    one = overall(sdid(errors="placebo").estimate(alone))
    wanted = rows.loc["county=a", ["estimate", "std_error", "conf_low", "p_value"]]
    np.testing.assert_allclose(list(one[wanted.index]), list(wanted), rtol=1e-9)
    # too few to place the treated among: the rest is estimated
    few = replace(design, subgroups={"half": Subgroup(levels=("x", "y"), codes=(
        (np.arange(24) > 3) * 1).astype(np.int16))})  # fmt: skip
    found = sdid(errors="placebo").estimate(few)
    assert (found.select(subgroup="half=x").table.status == "not_supported").all()
    assert any("placebo cohorts" in one["reason"] for one in found.run["not_supported"])


def test_last_treated_as_comparison_and_nobody_never_treated() -> None:
    design = offices()
    late = replace(design, first=np.where(np.isinf(design.first), 12.0, design.first))
    with pytest.raises(InputError, match="never"):
        sdid().estimate(late)
    found = sdid(comparison="last").estimate(late)
    assert found.table.period.replace("", "0").astype(int).max() == 11
    cut = replace(design, outcomes=design.outcomes[:, :11], periods=design.periods[:11])
    assert abs(overall(found).estimate - overall(sdid().estimate(cut)).estimate) < 1e-12


def test_cohorts_with_one_period_before_have_a_reason() -> None:
    design = offices()
    early = replace(design, first=np.where(np.arange(20) == 5, 2.0, design.first))
    found = sdid(errors="placebo", resamples=20).estimate(early)
    rows = found.select(cohort="2").table
    assert len(rows) and (rows.status == "not_supported").all()
    assert "two periods" in found.run["not_supported"][0]["reason"]


def test_levels_and_scale_are_free() -> None:
    design = offices()
    base = sdid().estimate(design)
    level = np.random.default_rng(0).normal(size=(20, 1, 1))
    moved = sdid().estimate(replace(design, outcomes=1000 * (design.outcomes + level) + 7))
    np.testing.assert_allclose(
        moved.table.estimate[:20] / 1000, base.table.estimate[:20], atol=1e-8
    )
    np.testing.assert_allclose(
        moved.table.std_error[:20] / 1000, base.table.std_error[:20], atol=1e-8
    )


def test_outcomes_without_any_noise_still_have_weights() -> None:
    design = offices()
    flat = np.ones((20, 12, 1)) + (design.first[:, None] <= design.periods)[:, :, None]
    found = sdid(errors="placebo", resamples=20).estimate(replace(design, outcomes=flat))
    assert abs(overall(found).estimate - 1) < 1e-12


def test_persons_in_offices_cluster_by_office_and_weights_count_units() -> None:
    design = make_rollout(240, seed=3, clusters=24)
    design = replace(design, covariates=np.zeros((240, 0)), covariate_names=(), subgroups={})
    found = sdid().estimate(design)
    assert overall(found).n_clusters <= 24 and found.influence.groups == 24
    twice = sdid().estimate(replace(design, weight=2 * design.weight))
    np.testing.assert_allclose(twice.table.estimate, found.table.estimate, atol=1e-10)


def test_four_hundred_offices_over_eight_years_are_quick() -> None:
    import time

    design = offices(n=400, treated=40, periods=96, seed=1)
    began = time.process_time()
    found = sdid(bands=True).estimate(design)
    assert time.process_time() - began < 4
    assert found.run["synthetic"][0]["gap_units"] < 1e-12


def test_checks_tell_fit_weights_and_the_largest_by_name(shared: Path) -> None:
    wide = pd.read_csv(shared / "data" / "prop99.csv")
    long = wide.melt("Year", var_name="state", value_name="packs")
    long["start"] = np.where(long.state == "California", 1989, 0)
    design = staggered_from_frame(
        long, unit="state", period="Year", first="start", outcome="packs", unit_names="state"
    )
    checks = {c.key: c for c in rollout(estimates=sdid().estimate(design))}
    fit, weights = checks["synthetic_fit"], checks["synthetic_concentration"]
    assert fit.status == "passed" and 0.1 < fit.statistic < 0.3
    assert weights.status == "passed" and abs(weights.statistic - 0.1242) < 1e-4
    assert 16 < weights.message["effective_units"] < 17
    assert list(weights.detail.unit_weights[0])[:2] == ["Nevada", "New Hampshire"]
    assert set(weights.detail.period_weights[0]) == {"1986", "1987", "1988"}
    plain = {c.key: c for c in rollout(estimates=sdid(method="did").estimate(design))}
    assert plain["synthetic_fit"].status == "failed"
    assert plain["pretrend"].status == "not_evaluated"  # what weights were fitted to is no test
    alone = {c.key: c for c in rollout(estimates=sdid(method="sc").estimate(design))}
    assert alone["synthetic_concentration"].message["effective_units"] < 4
    for check in (fit, weights):
        json.dumps(tellable(check).as_dict(), allow_nan=False)
        assert tellable(check).detail is None


def test_from_the_command_line(shared: Path, tmp_path: Path, capsys) -> None:
    wide = pd.read_csv(shared / "data" / "prop99.csv")
    long = wide.melt("Year", var_name="state", value_name="packs")
    long["law"] = (long.state == "California").astype(int)
    path = tmp_path / "prop99.csv"
    long.to_csv(path, index=False)
    given = ["unit=state", "period=Year", "group=law", "date=1989", "outcome=packs"]
    given += ["solver=frank_wolfe", "errors=jackknife", "method=did", "unit_names=state"]
    assert main(["estimate", "synthetic_did", str(path), "--set", *given]) == 0
    assert "only one cluster treated" in capsys.readouterr().out
    given = [*given[:5], "unit_names=state", "--json"]
    assert main(["estimate", "synthetic_did", str(path), "--set", *given]) == 0
    out = json.loads(capsys.readouterr().out)
    row = next(r for r in out["estimates"] if r["term"] == "effect_overall")
    assert abs(row["estimate"] + 15.605398) < 1e-5
    assert out["run"]["errors"]["method"] == "placebo"
