"""Violations of parallel trends: published intervals, independent computations, coverage, bad input."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import optimize, stats

from tiltakeval.design.staggered import StaggeredPanel
from tiltakeval.design.staggered_read import staggered_from_frame
from tiltakeval.diagnostics.honest.breakdown import relative_breakdown, smooth_breakdown
from tiltakeval.diagnostics.honest.checks import pretrend_power as checked_power
from tiltakeval.diagnostics.honest.checks import robust_to_trends
from tiltakeval.diagnostics.honest.event_study import EventStudy, event_study
from tiltakeval.diagnostics.honest.power import pretrend_power as power_of
from tiltakeval.diagnostics.honest.relative import _Test, relative_accepts, relative_interval
from tiltakeval.diagnostics.honest.robust import lines_of, pretrend_power, robust_intervals
from tiltakeval.diagnostics.honest.series import series_of
from tiltakeval.diagnostics.honest.smooth import half_length, smooth_interval
from tiltakeval.diagnostics.placebo import wald
from tiltakeval.errors import InputError
from tiltakeval.estimates.table import Estimates
from tiltakeval.estimators import build

#: Relative magnitudes, effect in the first year: the results stored with the page of R's HonestDiD.
PUBLISHED = {
    0.0: (0.02876563, 0.06431042),
    0.5: (0.02400190, 0.06724195),
    1.0: (0.01703951, 0.07200569),
    1.5: (0.00824493, 0.07970095),
    2.0: (-0.00091610, 0.08812910),
}
#: The same by moderndid 0.1, and by an older version of the R package.
OTHERS = {
    0.5: ((0.02413, 0.06689), (0.02413012, 0.06726330)),
    1.0: ((0.01709, 0.07196), (0.01709372, 0.07196298)),
    1.5: ((0.00859, 0.07960), (0.00858691, 0.07959883)),
    2.0: ((-0.00067, 0.08795), (-0.00106703, 0.08834728)),
}
#: The mean of both years by the older version.
MEAN = {
    0.0: (0.04053047, 0.07512256),
    0.5: (0.03214178, 0.07981560),
    1.0: (0.01938432, 0.09014856),
    1.5: (0.00582426, 0.10350149),
    2.0: (-0.00853837, 0.11724862),
}
#: Smoothness, first year.
SMOOTH = {
    0.00: (0.02594148, 0.06072579),
    0.01: (0.01319703, 0.07867074),
    0.02: (0.00285700, 0.09071604),
    0.03: (-0.00714258, 0.10071561),
    0.04: (-0.01714258, 0.11071561),
    0.05: (-0.02714258, 0.12071561),
}


def expansion(shared: Path) -> StaggeredPanel:
    """Medicaid expansion in 2014 against states that hadn't expanded by 2015."""
    df = pd.read_csv(shared / "data" / "ehec.csv")
    df = df[(df["year"] < 2016) & (df["yexp2"] != 2015)]
    return staggered_from_frame(df, unit="stfips", period="year", outcome="dins", first="yexp2")


def found(design: StaggeredPanel, **options: object) -> Estimates:
    return build("group_time_att", **{"bands": False, "comparison": "never", **options}).estimate(
        design
    )


def made_up(seed: int, k: int, p: int, weights: object = None, scale: float = 1.0) -> EventStudy:
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(k + p, k + p + 3))
    sigma = root @ root.T / (k + p) * scale**2
    return event_study(rng.normal(size=k + p) * 2, sigma, k, p, weights)  # type: ignore[arg-type]


def test_published_intervals(shared: Path) -> None:
    est = found(expansion(shared), base="universal", divisor="g_minus_1")
    # the others take errors from a regression, with its factor for 15 coefficients
    rows = 43 * 8
    factor = (rows - 1) / (rows - 15)
    study = next(series_of(est)).study
    study = replace(study, sigma=study.sigma * factor)
    grid = np.linspace(-20, 20, 1000) * study.std_error
    step = grid[1] - grid[0]
    for mbar, printed in PUBLISHED.items():
        inside = grid[relative_accepts(study, mbar, grid)]
        np.testing.assert_allclose([inside[0], inside[-1]], printed, atol=1e-8)  # the same points
        exact = relative_interval(study, mbar)
        assert exact.low <= inside[0] < exact.low + step
        assert exact.high - step < inside[-1] <= exact.high
        for low, high in OTHERS.get(mbar, ()):
            assert abs(inside[0] - low) < step and abs(inside[-1] - high) < step
    mean = next(series_of(est, at="mean")).study
    mean = replace(mean, sigma=mean.sigma * factor)
    for mbar, printed in MEAN.items():
        exact = relative_interval(mean, mbar)
        np.testing.assert_allclose([exact.low, exact.high], printed, atol=step)
    for m, printed in SMOOTH.items():
        smooth = smooth_interval(study, m)
        np.testing.assert_allclose([smooth.low, smooth.high], printed, atol=5e-5)


def brute(
    study: EventStudy, mbar: float, s: int, sign: float, theta: float, critical: float
) -> bool:
    """Whether the test rejects, by linear programs alone, as Andrews, Roth & Pakes describe it."""
    size, p, k = study.beta.size, study.after, study.before
    levels = np.insert(np.eye(size), k, 0.0, axis=0)
    change = np.diff(levels, axis=0)
    v = sign * change[s]
    a = np.vstack([change[k:] - mbar * v, -change[k:] - mbar * v])
    # l'tau = theta: tau = theta * one solution + null space * nuisance
    particular = study.weights / (study.weights @ study.weights)
    null = np.linalg.svd(study.weights[None, :])[2][1:].T
    post = a[:, k:]
    y = a @ study.beta - post @ particular * theta
    x = post @ null
    cov = a @ study.sigma @ a.T
    sd = np.sqrt(np.diag(cov))

    def dual(y: np.ndarray) -> tuple[float, np.ndarray]:
        solved = optimize.linprog(
            -y, A_eq=np.vstack([x.T, sd]), b_eq=np.r_[np.zeros(p - 1), 1.0], method="highs"
        )
        return -solved.fun, solved.x

    eta, gamma = dual(y)
    if eta > critical:
        return True
    variance = gamma @ cov @ gamma
    slope = cov @ gamma / variance
    rest = y - slope * eta

    def end(value: float) -> float:
        """Where ``gamma`` stops to be the best, from outside: the maximum is convex in the value."""
        for _ in range(100):
            best, other = dual(rest + slope * value)
            if best <= value + 1e-9:
                break
            value = float(other @ rest / (1 - other @ slope))
        return value

    far = 50 * np.sqrt(variance)
    ends = [end(eta - far), end(eta + far)]
    low, high = ends[0] / np.sqrt(variance), min(ends[1], critical) / np.sqrt(variance)
    share = (0.05 - 0.005) / (1 - 0.005)
    cut = stats.norm.ppf(stats.norm.cdf(low) * share + stats.norm.cdf(high) * (1 - share))
    return bool(eta / np.sqrt(variance) > max(0.0, cut))


@pytest.mark.parametrize(
    ("k", "p", "weights"),
    [(1, 2, None), (3, 2, None), (2, 3, [1 / 3] * 3), (2, 4, [0.5, -1.0, 0.0, 0.8])],
)
def test_closed_form_is_the_linear_program(k: int, p: int, weights: list[float] | None) -> None:
    for seed in range(2):
        study = made_up(seed, k, p, weights)
        mbar = (0.4, 1.5)[seed]
        test = _Test(study, mbar, 0.95)
        values = study.estimate + study.std_error * np.array([-6, -2.5, -1.5, 0.7, 2.2, 4.0])
        sets = [(s, sign) for sign in (1.0, -1.0) for s in range(k)]
        accepted = [
            not all(
                brute(study, mbar, s, sign, value, float(critical))
                for (s, sign), critical in zip(sets, test.critical)
            )
            for value in values
        ]
        np.testing.assert_array_equal(test.accepts(values), accepted)


def test_least_favourable_values_against_draws() -> None:
    rng = np.random.default_rng(5)
    test = _Test(made_up(3, 2, 3), 1.3, 0.95)
    for covariance, critical in zip(test.covariance, test.critical):
        values, vectors = np.linalg.eigh(covariance)
        root = vectors * np.sqrt(np.clip(values, 0, None))
        above = (rng.normal(size=(400_000, 4)) @ root.T).max(axis=1) > critical
        assert abs(above.mean() - 0.005) < 5e-4


def test_without_violations_it_is_the_usual_interval() -> None:
    for seed in range(5):
        study = made_up(seed, 4, 3, [0.2, 0.5, 0.3])
        found = relative_interval(study, 0.0, tolerance=1e-7)
        half = stats.norm.ppf(0.975) * study.std_error
        np.testing.assert_allclose(
            [found.low, found.high], study.estimate + np.array([-half, half]), rtol=1e-4
        )
        wide = [relative_interval(study, m) for m in (0.25, 0.5, 1.0, 2.0)]
        assert all(b.high - b.low > a.high - a.low for a, b in pairwise(wide))
        assert all(w.holds(study.estimate) for w in wide)


@pytest.mark.parametrize("size", [0.2, 1.0, 4.0])
def test_coverage_at_the_edge_of_the_restriction(size: float) -> None:
    """The change after the base is Mbar times the largest before: the worst case in the set."""
    mbar, draws, rng = 1.0, 1500, np.random.default_rng(11)
    base = made_up(8, 3, 2, [0.5, 0.5], scale=0.5)
    change = np.array([0.3, -0.4, 1.0, mbar, mbar]) * size
    delta = np.delete(np.cumsum(np.r_[0.0, change]) - change[:3].sum(), 3)
    tau = np.array([2.0, 3.0])
    mean = delta + np.r_[np.zeros(3), tau]
    beta = rng.multivariate_normal(mean, base.sigma, size=draws)
    truth = base.weights @ tau
    test, held = _Test(base, mbar, 0.95), []
    for b in beta:  # only the estimates differ from draw to draw
        test.estimate = float(base.target @ b)
        test.v = np.vstack([base.steps[0], -base.steps[0]]) @ b
        held.append(bool(test.accepts(np.array([truth]))[0]))
    one = replace(base, beta=beta[7])
    assert held[7] == relative_accepts(one, mbar, truth)[0]
    smooth = smooth_interval(base, 1.4 * size)
    inside = np.abs(beta @ smooth.weights - truth) < (smooth.high - smooth.low) / 2
    error = np.sqrt(0.05 * 0.95 / draws)
    assert np.mean(held) > 0.95 - 3 * error
    assert inside.mean() > 0.95 - 3 * error
    if size == 4.0:  # a change well seen: no more than it takes, where the usual interval fails
        assert np.mean(held) < 0.99
        usual = np.abs(beta @ base.target - truth) < 1.96 * base.std_error
        assert usual.mean() < 0.5


@pytest.mark.parametrize(("k", "p", "m"), [(1, 2, 0.3), (3, 2, 0.0), (4, 3, 0.1), (6, 2, 0.5)])
def test_the_shortest_interval_and_its_worst_bias(k: int, p: int, m: float) -> None:
    study = made_up(k + p, k, p, np.full(p, 1 / p))
    found = smooth_interval(study, m)
    weights = found.weights
    assert np.allclose(weights[k:], study.weights) and abs(weights @ study.times) < 1e-9

    def worst(v: np.ndarray) -> float:
        """sup v'delta over Delta^SD, by a linear program."""
        bend = np.diff(np.insert(np.eye(k + p), k, 0.0, axis=0), n=2, axis=0)
        solved = optimize.linprog(
            -v,
            A_ub=np.vstack([bend, -bend]),
            b_ub=np.full(2 * len(bend), m),
            bounds=(None, None),
            method="highs",
        )
        return -solved.fun

    assert abs(worst(weights) - found.bias) < 1e-7
    half = (found.high - found.low) / 2

    def length(free: np.ndarray) -> float:
        before = np.r_[free, 0.0]
        before[-1] = before @ study.times[:k] + study.weights @ study.times[k:]
        v = np.r_[before, study.weights]
        return half_length(worst(v), float(np.sqrt(v @ study.sigma @ v)), 0.05)

    assert abs(length(weights[: k - 1]) - half) < 1e-7
    rng = np.random.default_rng(0)
    for scale in (1e-3, 1e-2, 0.1, 0.5):
        for _ in range(10 if k > 1 else 0):
            assert length(weights[: k - 1] + scale * rng.normal(size=k - 1)) > half - 1e-9


def test_half_lengths_are_quantiles() -> None:
    for bias in (0.0, 0.01, 0.7, 1.3, 5.0, 300.0):
        for alpha in (0.01, 0.05, 0.4):
            c = half_length(bias, 1.0, alpha)
            assert abs(stats.norm.cdf(c - bias) - stats.norm.cdf(-c - bias) - 1 + alpha) < 1e-10


def test_breakdown_values() -> None:
    sigma = np.eye(5) * 0.1
    study = event_study([0.2, -0.1, 0.1, 3.0, 3.0], sigma, 3, 2)
    most = relative_breakdown(study)
    assert most.found == "value" and most.value is not None
    assert not relative_interval(study, most.value).holds(0.0)
    assert relative_interval(study, most.value + 2e-3).holds(0.0)
    bend = smooth_breakdown(study)
    assert bend.value is not None
    assert not smooth_interval(study, bend.value).holds(0.0)
    assert smooth_interval(study, bend.value * 1.003).holds(0.0)
    flat = event_study([0.2, -0.1, 0.1, 0.1, 3.0], sigma, 3, 2)
    assert relative_breakdown(flat).found == smooth_breakdown(flat).found == "none"
    strong = event_study([0.2, -0.1, 0.1, 90.0, 3.0], sigma, 3, 2)
    beyond = relative_breakdown(strong)
    assert beyond.found == "beyond_grid" and beyond.value is None and beyond.searched == 5.0


def test_power_in_one_dimension() -> None:
    """One period before: z against a two-sided normal test; what passes is a normal number cut off."""
    sd, other, rho = 0.7, 1.1, 0.6
    sigma = np.array([[sd**2, rho * sd * other], [rho * sd * other, other**2]])
    study = event_study([0.1, 1.0], sigma, 1, 1)
    cut = stats.norm.ppf(0.975)
    for line in power_of(study, draws=8192):
        wanted = 0.5 if line.power < 0.6 else 0.8
        z = line.slope / sd
        assert abs(stats.norm.cdf(z - cut) + stats.norm.cdf(-z - cut) - wanted) < 2e-5
        assert abs(line.power - wanted) < 1e-5 and abs(line.bias - line.slope) < 1e-12
        inside = stats.truncnorm.mean(-cut + z, cut + z, loc=-z, scale=1.0) * sd
        assert (
            abs(line.bias_if_passed - line.bias - rho * other / sd * (inside + line.slope)) < 1e-4
        )


def test_published_power() -> None:
    """He & Wang (2017), figure 2C, as in the R package pretrends: three periods before, four after."""
    lower = np.zeros((7, 7))
    lower[np.tril_indices(7)] = [  # its covariance in 1e-7
        89066, 44883, 59369, 14587, 27501, 30386, 12158, 13506, 9056, 39247, 20328, 14315, 6791,
        25961, 80659, 13225, 12068, 10168, 17326, 58754, 78816, 19618, 13847, 7090, 22346, 37414,
        36507, 97884,
    ]  # fmt: skip
    sigma = (lower + lower.T - np.diag(np.diag(lower))) * 1e-7
    beta = [0.0667031, -0.0077018, -0.0307691, 0.0840307, 0.2424418, 0.2198790, 0.1910925]
    # the slope found by single tests with power 0.4999776, and means of the estimates that pass
    for at, mean in enumerate([0.06490184, 0.12084694, 0.16946498, 0.22453827]):
        study = event_study(beta, sigma, 3, 4, np.eye(4)[at])
        (line,) = (x for x in power_of(study, power=(0.4999776,)) if x.test == "single")
        assert abs(line.slope - 0.05205871) < 6e-6
        assert abs(line.bias - (at + 1) * line.slope) < 1e-12
        assert abs(line.bias_if_passed - mean) < 3e-5


@pytest.mark.parametrize("groups", [np.inf, 30.0])
def test_power_against_plain_simulation(groups: float) -> None:
    study = replace(made_up(2, 4, 2, [0.4, 0.6]), groups=groups)
    rng = np.random.default_rng(9)
    k, n = 4, 200_000
    lines = power_of(study)
    assert lines == power_of(study)  # no unseeded draw
    noise = rng.multivariate_normal(np.zeros(6), study.sigma, size=n)
    chi = 1.0 if np.isinf(groups) else rng.chisquare(groups - k, size=n)
    for line in lines:
        drawn = noise + line.slope * study.times
        before = drawn[:, :k]
        if line.test == "joint":
            square = np.einsum("ij,ij->i", before @ np.linalg.inv(study.sigma[:k, :k]), before)
            if np.isinf(groups):
                passed = square < stats.chi2.ppf(0.95, k)
            else:
                passed = square / k / (chi / (groups - k)) < stats.f.ppf(0.95, k, groups - k)
        else:
            cut = stats.norm.ppf(0.975) if np.isinf(groups) else stats.t.ppf(0.975, groups - 1)
            passed = (np.abs(before) < cut * np.sqrt(np.diag(study.sigma)[:k])).all(axis=1)
        assert abs(1 - passed.mean() - line.power) < 0.005
        target = drawn[passed] @ study.target
        assert abs(target.mean() - line.bias_if_passed) < 5 * target.std() / np.sqrt(passed.sum())


def test_the_joint_test_is_the_one_that_is_made() -> None:
    """Power of `placebo.wald` against the slope, by simulated influence of 20 clusters."""
    rng = np.random.default_rng(4)
    sigma = np.array([[1.0, 0.3, 0.0], [0.3, 1.0, 0.2], [0.0, 0.2, 1.0]])
    study = event_study(np.zeros(3), sigma, 2, 1, groups=20)
    line = power_of(study, power=(0.6,))[0]
    z = rng.multivariate_normal(np.zeros(2), sigma[:2, :2], size=(3000, 20))
    hits = 0
    for sample in z:
        mean = sample.mean(axis=0) * np.sqrt(20) + line.slope * study.times[:2]
        test = wald(mean, (sample - sample.mean(axis=0)) / np.sqrt(20))
        assert test is not None
        hits += test.p_value < 0.05
    assert abs(hits / 3000 - 0.6) < 0.03


def test_rows_of_a_result_from_either_base(shared: Path) -> None:
    design = expansion(shared)
    results = [found(design, base=base) for base in ("universal", "varying")]
    pair = [robust_intervals(estimates=r, m=(0.0, 0.01)) for r in results]
    (rows, checks), (other, _) = pair
    np.testing.assert_allclose(rows.table["conf_low"], other.table["conf_low"], atol=1e-6)
    np.testing.assert_allclose(rows.table["conf_high"], other.table["conf_high"], atol=1e-6)
    table = rows.table
    assert (table["term"] == "robust_interval").all() and (table["horizon"] == 0).all()
    assert list(table["period"]) == [
        "Mbar=0", "Mbar=0.5", "Mbar=1", "Mbar=1.5", "Mbar=2", "M=0", "M=0.01"
    ]  # fmt: skip
    assert table["p_value"].isna().all() and (table["n_treated"] == 22).all()
    assert rows.influence is not None
    z = rows.influence.columns(np.arange(len(rows)))
    np.testing.assert_allclose(
        np.sqrt((z**2).sum(axis=0) * 43 / 42), table["std_error"], rtol=1e-10
    )
    effect = results[0].select(term="effect_by_event_time", horizon=0).table.iloc[0]
    own = effect[["conf_low", "conf_high"]].astype(float)  # a t interval, met at Mbar = 0
    assert np.allclose(table.loc[0, ["conf_low", "conf_high"]].astype(float), own, atol=2e-6)
    normal, _ = robust_intervals(estimates=results[0], mbar=(0.0,), small_sample=False)
    half = stats.norm.ppf(0.975) * effect["std_error"]
    assert abs(normal.table["conf_high"][0] - effect["estimate"] - half) < 2e-6
    assert table["estimate"].iloc[0] == effect["estimate"]
    relative, smooth = checks
    assert relative.status == "passed" and 1.5 < (relative.statistic or 0) < 2
    assert smooth.status == "informative" and 0.015 < (smooth.statistic or 0) < 0.03
    assert robust_intervals(estimates=results[0], mbar=(1.0,), breakdown_mbar=2.5)[1][0].status == (
        "failed"
    )
    mean, _ = robust_intervals(estimates=results[0], at="mean", mbar=(0.0, 1.0))
    weighted, _ = robust_intervals(estimates=results[0], at={0: 0.5, 1: 0.5}, mbar=(0.0, 1.0))
    assert list(mean.table["period"]) == ["0-1, Mbar=0", "0-1, Mbar=1"]
    np.testing.assert_array_equal(mean.table["conf_low"], weighted.table["conf_low"])
    (power,) = pretrend_power(estimates=results[1])
    assert power.detail is not None and list(power.detail["test"]) == ["joint"] * 2 + ["single"] * 2
    assert abs(power.detail["power"].iloc[1] - 0.8) < 1e-6
    assert len(list(lines_of([*checks, power]))) == 3


def test_checks_never_stop_an_analysis(shared: Path) -> None:
    good = found(expansion(shared), base="varying")
    checks = [*robust_to_trends(estimates=good), *checked_power(estimates=good)]
    assert [c.scope.get("target") for c in checks] == ["first", "mean", None]
    assert [c.status for c in checks] == ["passed", "passed", "informative"]
    bad = good.select(term="effect_overall")
    for check in (*robust_to_trends(estimates=bad), *checked_power(estimates=bad)):
        assert check.status == "not_evaluated" and "no rows of term" in check.message["why"]


def test_one_series_that_fails_leaves_the_others(shared: Path) -> None:
    df = pd.read_csv(shared / "data" / "ehec.csv")
    df = df[(df["year"] < 2016) & (df["yexp2"] != 2015)].assign(odd=lambda d: d["stfips"] % 2)
    design = staggered_from_frame(
        df, unit="stfips", period="year", outcome="dins", first="yexp2", subgroups="odd"
    )
    result = found(design, base="universal")
    table = result.table
    lost = (table["subgroup"] == "odd=1") & (table["horizon"] == -4)
    result = result.take(np.flatnonzero(~lost.fillna(False)))
    checks = robust_to_trends(estimates=result)
    by = {(c.scope.get("subgroup"), c.scope.get("target")): c for c in checks}
    assert set(by) == {
        (None, "first"), (None, "mean"), ("odd=0", "first"), ("odd=0", "mean"), ("odd=1", None)
    }  # fmt: skip
    assert "odd=1: no estimate at event time -4" in by["odd=1", None].message["why"]
    with pytest.raises(InputError, match="event time -4"):
        robust_intervals(estimates=result)
    assert [c.status for c in checked_power(estimates=result)].count("informative") == 2


@pytest.mark.parametrize("base", ["universal", "varying"])
def test_anticipation_moves_the_base_period(shared: Path, base: str) -> None:
    result = found(expansion(shared), base=base, anticipation=1)
    series = next(series_of(result))
    assert list(series.horizons) == [-6, -5, -4, -3, -1, 0, 1]
    assert list(series.study.weights) == [0, 1, 0] and list(series.study.times) == [
        -4, -3, -2, -1, 1, 2, 3
    ]  # fmt: skip
    effect = result.select(term="effect_by_event_time", horizon=0).table.iloc[0]
    assert abs(series.study.estimate - effect["estimate"]) < 1e-12
    assert abs(series.study.std_error - effect["std_error"]) < 1e-12
    assert list(next(series_of(result, window=(-4, 1))).horizons) == [-4, -3, -1, 0, 1]


@pytest.mark.parametrize("unit", [1e7, 1e-7, -1.0])
def test_the_unit_of_the_outcome_does_not_matter(unit: float) -> None:
    study = made_up(1, 5, 3, [0.2, 0.3, 0.5])
    other = replace(study, beta=study.beta * unit, sigma=study.sigma * unit**2)
    for a, b in (
        (relative_interval(study, 1.0), relative_interval(other, 1.0)),
        (smooth_interval(study, 0.1), smooth_interval(other, 0.1 * abs(unit))),
    ):
        ends = sorted([b.low / unit, b.high / unit])
        np.testing.assert_allclose(ends, [a.low, a.high], rtol=1e-7, atol=1e-9)
    for x, y in zip(power_of(study), power_of(other)):
        np.testing.assert_allclose(y.slope / abs(unit), x.slope, rtol=1e-6)
        np.testing.assert_allclose(y.bias_if_passed / abs(unit), x.bias_if_passed, rtol=1e-4)


def test_input_that_can_not_be_used() -> None:
    eye, beta = np.eye(4), np.ones(4)
    for bad, said in (
        (lambda: event_study(beta, eye, 0, 4), "before treatment"),
        (lambda: event_study(beta, eye, 4, 0), "after treatment"),
        (lambda: event_study(beta, eye, 3, 2), "5 estimates announced"),
        (lambda: event_study([1, np.nan, 1, 1], eye, 2, 2), "1 value of the estimates"),
        (lambda: event_study(beta, eye + np.inf, 2, 2), "missing or infinite"),
        (lambda: event_study(beta, np.diag([1, 0, 1, 1.0]), 2, 2), "positive variance"),
        (lambda: event_study(beta, eye + np.eye(4, k=1) * 0.1, 2, 2), "symmetric"),
        (lambda: event_study(beta, eye * 3 - 2 + eye * 0, 2, 2), "negative eigenvalue"),
        (lambda: event_study(beta, np.ones((4, 4)), 2, 2), "singular"),
        (lambda: event_study(beta, eye, 2, 2, [0.0, 0.0]), "weights"),
        (lambda: relative_interval(event_study(beta, eye, 2, 2), -1.0), "Mbar"),
        (lambda: smooth_interval(event_study(beta, eye, 2, 2), np.nan), "M is"),
    ):
        with pytest.raises(InputError, match=said):
            bad()
    # three periods before with the changes of two clusters: rank 2
    thin = np.array([[1.0, 0.2], [0.1, 0.9], [0.7, -0.5]])
    sigma = np.zeros((4, 4))
    sigma[:3, :3], sigma[3, 3] = thin @ thin.T, 1.0
    study = event_study(beta, sigma, 3, 1)
    assert relative_interval(study, 1.0).holds(1.0)  # needs changes one at a time
    for refuse in (lambda: smooth_interval(study, 0.1), lambda: power_of(study)):
        with pytest.raises(InputError, match="has rank 2"):
            refuse()


def test_series_that_can_not_be_used(shared: Path) -> None:
    df = pd.read_csv(shared / "data" / "ehec.csv")
    full = staggered_from_frame(df, unit="stfips", period="year", outcome="dins", first="yexp2")
    est = found(full, comparison="not_yet", base="varying", min_clusters=1)
    with pytest.raises(InputError, match="other cohorts"):
        robust_intervals(estimates=est)
    rows, checks = robust_intervals(estimates=est, window=(-6, 2), mbar=(0.5,))
    universal = found(full, comparison="never", base="universal", min_clusters=1)
    same, again = robust_intervals(estimates=universal, window=(-6, 2), mbar=(0.5,))
    assert not checks[0].message["cohorts_change"] or again[0].message["cohorts_change"]
    assert len(rows) == len(same) == 1
    good = found(expansion(shared), base="universal")
    event = good.select(term="effect_by_event_time")
    for bad, said in (
        (good.select(term="effect_by_cohort"), "no rows of term"),
        (event.take(np.flatnonzero(event.table["horizon"] != -3)), "event time -3"),
        (event.take(np.flatnonzero(event.table["horizon"] >= 0)), "before treatment"),
        (event.take(np.flatnonzero(event.table["horizon"] < 0)), "after treatment"),
        (event.take(np.r_[np.arange(len(event)), 0]), "two rows"),
        (replace(event, influence=None), "neither influence"),
        (
            replace(event, table=event.table.assign(status="not_supported")),
            "without estimate: -6, -5",
        ),
        (replace(event, table=event.table.assign(horizon=pd.NA)), "without event time"),
    ):
        with pytest.raises(InputError, match=said):
            robust_intervals(estimates=bad)
    with pytest.raises(InputError, match="no effect at event time 7"):
        robust_intervals(estimates=good, at=7)
    anonymous = replace(found(expansion(shared), base="varying"), run={})
    with pytest.raises(InputError, match="should be the base period"):
        robust_intervals(estimates=anonymous)
    robust_intervals(estimates=anonymous, base="varying", mbar=(1.0,))
