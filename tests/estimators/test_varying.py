"""Covariates that vary with time: other software, dummies written out, a truth, awkward input."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from invented_rollouts import make_rollout

from tiltakeval.design.staggered import StaggeredPanel
from tiltakeval.design.staggered_read import staggered_from_frame
from tiltakeval.errors import InputError
from tiltakeval.estimates.table import Estimates
from tiltakeval.estimators import build

KEYS = (
    "did_imputation",
    "two_stage",
    "twfe",
    "twfe_event_study",
    "sun_abraham",
    "etwfe",
    "stacked",
)
CASTLE = ("unemployrt", "poverty", "l_income")


def castle(shared: Path, **columns: object) -> StaggeredPanel:
    return staggered_from_frame(
        pd.read_csv(shared / "data" / "castle.csv"), unit="sid", period="year", treated="post",
        outcome="l_homicide", **{"varying": CASTLE, **columns},
    )  # fmt: skip


def run(design: StaggeredPanel, key: str, **options: object) -> Estimates:
    if key != "twfe":
        options = {"bands": False, **options}
    return build(key, **options).estimate(design)


def rows(found: Estimates, term: str) -> pd.DataFrame:
    return found.table[found.table.term == term].set_index("horizon")


def moving(design: StaggeredPanel, *, seed: int = 5, missing: float = 0.0) -> StaggeredPanel:
    """With two covariates that vary, one of them related to the outcome."""
    rng = np.random.default_rng(seed)
    v = rng.standard_normal((*design.outcomes.shape[:2], 2)).cumsum(axis=1)
    y = design.outcomes + 0.7 * v[:, :, :1]
    v[rng.random(v.shape) < missing] = np.nan
    return replace(design, outcomes=y, varying=v, varying_names=("v", "u"), subgroups={})


#: castle (causaldata) with unemployrt, poverty, l_income: estimate, error of diff-diff 3.13.0
#: ImputationDiD and TwoStageDiD, overall and by event time; pyfixest 0.60.0 did2s has 0.0725445583,
#: 0.0571665154 overall.
IMPUTED = {
    None: (0.07254450662745345, 0.05692358159448401),
    0: (0.07690477895445001, 0.05697781602095137),
    1: (0.06765545343386366, 0.06619597946251804),
    2: (0.09242815757653823, 0.0741833201172022),
    3: (0.04614307938344849, 0.06836281659109411),
    4: (0.09047411596486388, 0.07836114719764062),
}
STAGED = {
    None: (0.07254450662745343, 0.05716651538525652),
    0: (0.07690477895445003, 0.062130922367461816),
    1: (0.06765545343386366, 0.0691595125779893),
    2: (0.09242815757653823, 0.07446504377577698),
    3: (0.04614307938344849, 0.06858321523534451),
    4: (0.09047411596486388, 0.07836114719802463),
}


@pytest.mark.parametrize(("key", "peer"), [("did_imputation", IMPUTED), ("two_stage", STAGED)])
def test_imputation_has_the_digits_of_other_software(shared: Path, key: str, peer: dict) -> None:
    found = run(castle(shared), key, divisor="g", min_clusters=1)
    for event, (estimate, error) in peer.items():
        term = "effect_overall" if event is None else "effect_by_event_time"
        row = rows(found, term)
        row = row.iloc[0] if event is None else row.loc[event]
        assert abs(row.estimate - estimate) < 1e-10
        assert (
            abs(row.std_error - error) < 1e-9
        )  # diff-diff solves its sparse system to about 1e-12
    did2s = rows(run(castle(shared), "two_stage", divisor="g", min_clusters=1), "effect_overall")
    assert abs(did2s.std_error.iloc[0] - 0.0571665154429133) < 1e-9
    assert abs(did2s.estimate.iloc[0] - 0.07254455825872691) < 1e-7  # it stops iterating earlier


#: pyfixest 0.60.0 feols, CRV1 by state, on the same data; the saturated ones with a dummy for every
#: cohort and period (diff-diff 3.13.0 SunAbraham has the same), cells weighed by rows.
FEOLS = {
    "twfe": {None: (0.07614020022807615, 0.0558808576163073)},
    "twfe_event_study": {
        -9: (-0.17858541288896163, 0.18452726840750835),
        -2: (-0.09451998751454173, 0.042948627653100556),
        0: (0.00675323253655129, 0.06895427940674616),
        3: (-0.006048520291616089, 0.05555194344232325),
    },
    "sun_abraham": {
        None: (0.013502332592216702, 0.03731614925907458),
        -10: (-0.48023990756286633, 0.07444467753106786),
        -2: (-0.0983819248850473, 0.0402695014380817),
        0: (0.005929864803646965, 0.05894721489901174),
        4: (0.27794237805351485, 0.08914485757521685),
    },
    "etwfe": {
        None: (0.07448943231006276, 0.059614657250344955),
        0: (0.07726451428348405, 0.06001497971575104),
        4: (0.13706163388885606, 0.06780996155107984),
    },
}


@pytest.mark.parametrize("key", list(FEOLS))
def test_regressions_have_the_digits_of_other_software(shared: Path, key: str) -> None:
    options = {} if key.startswith("twfe") else {"shares": "fixed", "min_clusters": 1}
    found = run(castle(shared), key, errors="fixest", **options)
    for event, (estimate, error) in FEOLS[key].items():
        term = "effect_overall" if event is None else "effect_by_event_time"
        row = rows(found, term)
        row = row.iloc[0] if event is None else row.loc[event]
        assert abs(row.estimate - estimate) < 1e-10
        assert abs(row.std_error - error) < 1e-10


#: pyfixest 0.60.0 feols on stacks laid out by hand, two periods either side, not yet treated: estimate,
#: error. Its errors have the factor 544 / (545 - K) besides, K its 22 or 12 columns.
STACKS = {
    "regression": (
        22,
        {
            -2: (-0.09164070203529866, 0.05313276416645487),
            0: (0.008934428013804119, 0.07650731666373566),
            2: (0.03884783276093878, 0.052243684789308326),
        },
    ),
    "weighted_regression": (
        12,
        {
            -2: (-0.08899394493788283, 0.05082729210256214),
            0: (0.015052030807807681, 0.07002886075914257),
            2: (0.034131147261987384, 0.05475187104614751),
        },
    ),
}


@pytest.mark.parametrize("weights", list(STACKS))
def test_stacked_regressions_have_the_digits_of_other_software(shared: Path, weights: str) -> None:
    found = run(castle(shared), "stacked", weights=weights, min_clusters=1)
    row = rows(found, "effect_by_event_time")
    columns, peer = STACKS[weights]
    for event, (estimate, error) in peer.items():
        assert abs(row.estimate[event] - estimate) < 1e-10
        assert abs(row.std_error[event] * np.sqrt(544 / (545 - columns)) - error) < 1e-10


def test_separate_stacks_have_slopes_of_their_own(shared: Path) -> None:
    found = run(castle(shared), "stacked", shares="fixed", min_clusters=1).table
    cells = found[found.term == "effect"].set_index(["cohort", "horizon"]).estimate
    # pyfixest 0.60.0 feols in each stack
    assert abs(cells["2007", 0] - 0.07913938993631682) < 1e-10
    assert abs(cells["2008", 1] - 0.1503396107098574) < 1e-10


def test_a_covariate_times_time_is_the_line_in_it(shared: Path) -> None:
    """mpdta: log population times the year is the covariate of `covariates = linear`."""
    frame = pd.read_csv(shared / "data" / "mpdta.csv").assign(
        slope=lambda d: d.lpop * (d.year - 2003)
    )
    columns = {
        "unit": "countyreal", "period": "year", "outcome": "lemp", "first": "first_treat",
    }  # fmt: skip
    line = run(
        staggered_from_frame(frame, covariates="lpop", **columns), "did_imputation",
        covariates="linear",
    )  # fmt: skip
    vary = run(staggered_from_frame(frame, varying="slope", **columns), "did_imputation")
    np.testing.assert_allclose(vary.table.estimate, line.table.estimate, atol=1e-10)
    np.testing.assert_allclose(vary.table.std_error, line.table.std_error, atol=1e-10)
    # a covariate that doesn't vary says nothing beside unit effects, and is named
    still = run(staggered_from_frame(frame, varying="lpop", **columns), "did_imputation")
    none = run(staggered_from_frame(frame, **columns), "did_imputation")
    np.testing.assert_allclose(still.table.estimate, none.table.estimate, atol=1e-12)
    assert still.run["collinear"] == ["lpop"]


@pytest.mark.parametrize("clusters", [None, 12])
def test_imputation_is_the_regression_on_dummies(clusters: int | None) -> None:
    """Estimates, slopes and the linear estimator's weights, with weights, covariates and gaps."""
    design = moving(make_rollout(70, seed=3, missing=0.1, clusters=clusters), missing=0.05)
    found = run(design, "did_imputation", divisor="g", auxiliary="treated", auxiliary_mean="plain")
    y, v = design.outcomes[:, :, 0], design.varying
    seen = np.isfinite(y) & np.isfinite(v).all(axis=2)
    unit, t = np.nonzero(seen)
    x = [np.eye(design.n)[unit], np.eye(8)[t], v[unit, t]]
    x += [design.covariates[unit, [a]][:, None] * np.eye(8)[t] for a in range(2)]
    x = np.hstack(x)
    treated = design.periods[t] >= design.first[unit]
    w = design.weight[unit]
    xu, wu, yu = x[~treated], w[~treated], y[unit, t][~treated]
    inverse = np.linalg.pinv(xu.T @ (xu * wu[:, None]))
    coef = inverse @ (xu.T @ (wu * yu))
    gap = y[unit, t] - x @ coef
    share = np.where(treated & np.isin(unit, unit[~treated]), w, 0.0)
    share /= share.sum()
    row = rows(found, "effect_overall").iloc[0]
    np.testing.assert_allclose(row.estimate, share @ gap, atol=1e-9)
    slopes = {one["covariate"]: one["slope"] for one in found.run["varying"]["slopes"]}
    at = design.n + 8
    np.testing.assert_allclose([slopes["v"], slopes["u"]], coef[at : at + 2], atol=1e-9)
    weights = share.copy()
    weights[~treated] = -wu * (xu @ (inverse @ (x.T @ share)))
    apart = np.where(treated, gap - share @ gap, gap)
    sums = np.bincount(design.cluster[unit], weights * apart)
    np.testing.assert_allclose(row.std_error, np.sqrt(sums @ sums), rtol=1e-8)
    # slopes are of untreated rows: treated outcomes don't move them
    other = replace(design, outcomes=design.outcomes + (design.periods[:, None] > 6) * 0.0)
    y = design.outcomes.copy()
    y[design.periods[None, :] >= design.first[:, None]] *= -3.0
    again = run(replace(other, outcomes=y), "did_imputation")
    for one, two in zip(found.run["varying"]["slopes"], again.run["varying"]["slopes"]):
        assert abs(one["slope"] - two["slope"]) < 1e-12


def test_leads_are_the_regression_on_dummies() -> None:
    design = moving(make_rollout(80, seed=6, missing=0.1))
    found = rows(run(design, "did_imputation", leads=2, divisor="g"), "effect_by_event_time")
    y, v = design.outcomes[:, :, 0], design.varying
    before = np.isfinite(y) & (design.periods < design.first[:, None])
    unit, t = np.nonzero(before)
    lead = [(design.periods[t] - design.first[unit] == -e).astype(float) for e in (1, 2)]
    x = [*lead, *v[unit, t].T, *np.eye(8)[t].T[1:], *np.eye(design.n)[unit].T]
    x += [design.covariates[unit, a] * (t == s) for a in range(2) for s in range(1, 8)]
    fit = sm.WLS(y[unit, t], np.column_stack(x), weights=design.weight[unit]).fit()
    np.testing.assert_allclose(found.estimate[[-1, -2]], fit.params[:2], atol=1e-8)


@pytest.mark.parametrize("missing", [0.0, 0.2])
def test_regressions_are_those_on_dummies_with_weights_and_gaps(missing: float) -> None:
    design = moving(make_rollout(80, seed=1, missing=missing), missing=missing / 4)
    y, v = design.outcomes[:, :, 0], design.varying
    seen = np.isfinite(y) & np.isfinite(v).all(axis=2)
    unit, t = np.nonzero(seen)
    x = [(design.periods[t] >= design.first[unit]).astype(float), *v[unit, t].T]
    x += [design.covariates[unit, a] * (t == s) for a in range(2) for s in range(1, 8)]
    x += [*np.eye(8)[t].T[1:], *np.eye(design.n)[unit].T]
    fit = sm.WLS(y[seen], np.column_stack(x), weights=design.weight[unit]).fit(
        cov_type="cluster", cov_kwds={"groups": design.cluster[unit]}
    )
    found = run(design, "twfe", errors="statsmodels")
    row = found.table.iloc[0]
    np.testing.assert_allclose(row.estimate, fit.params[0], atol=1e-9)
    np.testing.assert_allclose(row.std_error, fit.bse[0], rtol=1e-8)
    # the weights of cells tell the coefficient on effects that differ: add effects, see the change
    (weights,) = found.run["weights"]
    rng = np.random.default_rng(0)
    add = {(c["cohort"], c["period"]): rng.standard_normal() for c in weights["by_cell"]}
    more = design.outcomes.copy()
    for (g, p), size in add.items():
        own = design.first == float(g)
        more[np.ix_(own, design.periods == int(p))] += size
    moved = run(replace(design, outcomes=more), "twfe").table.estimate[0] - row.estimate
    told = sum(c["weight"] * add[c["cohort"], c["period"]] for c in weights["by_cell"])
    np.testing.assert_allclose(moved, told, atol=1e-9)


@pytest.mark.parametrize("key", [k for k in KEYS if k not in ("did_imputation", "two_stage")])
def test_influence_is_the_derivative_by_each_units_weight(key: str) -> None:
    """Of the two left out, treated rows' part is measured from an average: the regression on dummies
    above holds their errors."""
    design = moving(make_rollout(60, seed=2, missing=0.1))
    options = {"before": 2, "after": 1} if key == "stacked" else {}
    full = run(design, key, **options)
    ok = np.flatnonzero(full.table.status == "ok")
    z = full.influence.columns(ok)
    for i in (0, 21):
        moved = []
        for step in (1e-5, -1e-5):
            weight = design.weight.copy()
            weight[i] *= 1 + step
            again = run(replace(design, weight=weight), key, **options).table
            moved.append(again.estimate.to_numpy()[ok])
        np.testing.assert_allclose(z[i], (moved[0] - moved[1]) / 2e-5, atol=5e-7)


def shocks(seed: int, n: int = 120) -> tuple[StaggeredPanel, float]:
    """A covariate that the programme doesn't touch, hits late cohorts when early ones are treated, and
    moves the outcome; the true mean effect on the treated is 1."""
    rng = np.random.default_rng(seed)
    design = make_rollout(n, seed=seed, noise=0.5, trend=0.0)
    treated = design.periods[None, :] >= design.first[:, None]
    v = rng.standard_normal(treated.shape) + 0.8 * treated
    y = rng.standard_normal((n, 1)) + 0.2 * design.periods + 1.5 * v + 1.0 * treated
    y = y + 0.5 * rng.standard_normal(v.shape)
    bare = replace(
        design, outcomes=y[:, :, None], covariates=np.zeros((n, 0)), covariate_names=(),
        subgroups={}, weight=np.ones(n), varying=v[:, :, None], varying_names=("v",),
    )  # fmt: skip
    return bare, 1.0


@pytest.mark.parametrize("key", KEYS)
def test_a_covariate_that_confounds_biases_when_left_out(key: str) -> None:
    """Errors' size too: over 16 samples the mean error is that of the estimates."""
    term = "effect_over_event_times" if key in ("twfe_event_study", "stacked") else "effect_overall"
    with_it, without, errors = [], [], []
    for seed in range(16):
        design, truth = shocks(seed)
        row = rows(run(design, key), term).iloc[0]
        with_it.append(row.estimate - truth)
        errors.append(row.std_error)
        bare = replace(design, varying=None, varying_names=())
        without.append(rows(run(bare, key), term).estimate.iloc[0] - truth)
    mc = np.std(with_it) / np.sqrt(16)
    assert abs(np.mean(with_it)) < 3.5 * mc
    assert np.mean(without) > 1.0  # 1.5 x 0.8 = 1.2
    assert 0.6 < np.mean(errors) / np.std(with_it) < 1.7


@pytest.mark.parametrize("key", KEYS)
def test_awkward_covariates(key: str) -> None:
    plain = replace(make_rollout(90, seed=4), subgroups={})
    options = {"before": 2, "after": 1} if key == "stacked" else {}
    bare = run(plain, key, **options)
    year = np.tile(plain.periods.astype(float), (90, 1))
    unit = np.random.default_rng(0).standard_normal((90, 1))
    odd = np.stack([np.full(year.shape, 3.3), np.tile(unit, 8), unit + year, 2.5 * year], axis=2)
    # constant, constant in a unit, a unit effect plus a period effect, a period effect
    names = ("one", "fixed", "age", "year")
    found = run(replace(plain, varying=odd, varying_names=names), key, **options)
    np.testing.assert_allclose(found.table.estimate, bare.table.estimate, atol=1e-8)
    np.testing.assert_allclose(found.table.std_error, bare.table.std_error, atol=1e-8)
    assert sorted(found.run["collinear"]) == sorted(names)
    # the same covariate twice is once
    both = moving(plain)
    twice = replace(both, varying=both.varying[:, :, [0, 0]] * [1.0, -7.0])
    once = replace(both, varying=both.varying[:, :, :1], varying_names=("v",))
    one, two = run(once, key, **options), run(twice, key, **options)
    np.testing.assert_allclose(two.table.estimate, one.table.estimate, atol=1e-8)
    assert two.run["collinear"] == ["u"]
    # missing values: rows are left out and counted
    gone = both.varying.copy()
    gone[3, 4, 0] = gone[5, :, 1] = np.nan
    part = run(replace(both, varying=gone), key, **options)
    said = part.run["varying"]
    assert said["rows_left_out"] == {"earnings": 9}
    assert said["rows_without_value"] == {"v": 1, "u": 8}
    y = both.outcomes.copy()
    y[3, 4] = y[5] = np.nan
    same = run(replace(both, outcomes=y), key, **options)
    np.testing.assert_allclose(part.table.estimate, same.table.estimate, atol=1e-10)
    assert "take" in said["assumed"] and "untouched" in said["assumed"]
    with pytest.raises(InputError, match="can't be an outcome and a covariate"):
        run(replace(once, varying_names=("earnings",)), key, **options)


def test_a_covariate_that_only_treatment_moves_tells_nothing() -> None:
    design = replace(make_rollout(90, seed=4), subgroups={})
    treated = (design.periods[None, :] >= design.first[:, None]).astype(float)
    jump = treated * np.random.default_rng(1).uniform(1, 2, treated.shape)
    vary = replace(design, varying=jump[:, :, None], varying_names=("visits",))
    found = run(vary, "did_imputation")
    effects = found.table[found.table.term == "effect"]
    assert (effects.status == "not_supported").all()
    assert all("visits" in one["reason"] for one in found.run["not_supported"] if one["cohort"])
    # the dummy itself leaves the regression nothing
    dummy = replace(design, varying=treated[:, :, None], varying_names=("on",))
    assert run(dummy, "twfe").table.status[0] == "not_supported"


def test_inference_for_few_clusters_has_the_covariates(shared: Path) -> None:
    """CR3 is the jackknife of the regression on dummies, slopes found anew."""
    design = castle(shared)
    found = build("twfe", inference="cr3").estimate(design).table.iloc[0]
    v = (design.varying - design.varying.mean((0, 1))) / design.varying.std((0, 1))

    def fit(keep: np.ndarray) -> float:
        unit, t = np.nonzero(np.isfinite(design.outcomes[:, :, 0]) & keep[:, None])
        treated = (design.periods[t] >= design.first[unit]).astype(float)
        x = [treated, *v[unit, t].T, *np.eye(11)[t].T[1:], *np.eye(design.n)[unit].T]
        y = design.outcomes[unit, t, 0]
        return float(np.linalg.lstsq(np.column_stack(x), y, rcond=None)[0][0])

    everybody = np.arange(design.n)
    left = np.array([fit(everybody != i) for i in everybody])
    jackknife = np.sqrt((design.n - 1) / design.n * ((left - found.estimate) ** 2).sum())
    np.testing.assert_allclose(found.std_error, jackknife, rtol=1e-8)


@pytest.mark.parametrize("key", ["did_imputation", "twfe", "sun_abraham"])
def test_subgroups_and_outcomes_have_slopes_and_rows_of_their_own(key: str) -> None:
    panel = make_rollout(120, seed=9, missing=0.05)
    both = replace(moving(panel, missing=0.02), subgroups=panel.subgroups)
    second = both.outcomes * -2.0
    second[:20, 3] = np.nan
    two = replace(
        both, outcomes=np.concatenate([both.outcomes, second], axis=2), units=("nok", "nok"),
        outcome_names=("earnings", "debt"),
    )  # fmt: skip
    found = run(two, key).table
    for level, code in (("all", None), ("sex=b", 1)):
        keep = np.ones(120, dtype=bool) if code is None else both.subgroups["sex"].codes == code
        for name, outcome in (("earnings", both.outcomes), ("debt", second)):
            alone = replace(
                both, outcomes=outcome[keep], first=both.first[keep], weight=both.weight[keep],
                covariates=both.covariates[keep], cluster=np.arange(keep.sum()), subgroups={},
                varying=both.varying[keep],
            )  # fmt: skip
            want = run(alone, key).table.estimate
            got = found[(found.subgroup == level) & (found.outcome == name)].estimate
            np.testing.assert_allclose(got, want, atol=1e-9)


def test_the_cohort_treated_last_as_comparison() -> None:
    design = moving(make_rollout(120, seed=9))
    ever = np.isfinite(design.first)
    early = design.periods < 6
    cut = replace(
        design, outcomes=design.outcomes[ever][:, early], periods=design.periods[early],
        first=np.where(design.first == 6, np.inf, design.first)[ever],
        covariates=design.covariates[ever], weight=design.weight[ever],
        cluster=np.arange(ever.sum()), varying=design.varying[ever][:, early],
    )  # fmt: skip
    one = run(design, "sun_abraham", comparison="last").table
    two = run(cut, "sun_abraham").table
    np.testing.assert_allclose(one.estimate, two.estimate, atol=1e-9)


def test_more_covariates_than_rows_can_bear() -> None:
    design = replace(make_rollout(12, seed=2), subgroups={})
    rng = np.random.default_rng(0)
    many = replace(
        design, covariates=np.zeros((12, 0)), covariate_names=(),
        varying=rng.standard_normal((12, 8, 90)), varying_names=tuple(f"v{j}" for j in range(90)),
    )  # fmt: skip
    found = run(many, "did_imputation")
    assert (found.table[found.table.term == "effect"].status == "not_supported").all()
    reasons = [one["reason"] for one in found.run["not_supported"] if one["cohort"]]
    assert all(
        re.search(r"what v0, .* and \d+ more would do can't be told", one) for one in reasons
    )
    assert run(many, "twfe").table.status[0] == "not_supported"
