"""Triple differences: other software's digits, regressions written out, truth, awkward input."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tiltakeval.cli import main
from tiltakeval.design.staggered import StaggeredPanel
from tiltakeval.design.staggered_read import staggered_from_frame
from tiltakeval.diagnostics.rollout import rollout
from tiltakeval.errors import InputError
from tiltakeval.estimators import build
from tiltakeval.estimators.did.triple.pairs import least_variance

REFERENCE = json.loads((Path(__file__).parent / "peers" / "triple.json").read_text("utf-8"))
COLUMNS = {"unit": "unit", "time": "time", "first": "first", "outcome": "y"}
PEER = {"nevertreated": "never", "notyettreated": "not_yet"}


def invented_triple(n: int = 400, seed: int = 11, shift: float = 0.6) -> pd.DataFrame:
    """Trends differ by cohort, by eligibility and by a covariate that drives both."""
    rng = np.random.default_rng(seed)
    x = np.round(rng.normal(size=n), 3)
    q = (rng.random(n) < 1 / (1 + np.exp(-0.5 * x))).astype(int)
    g = rng.choice([0, 3, 4], size=n, p=[0.4, 0.3, 0.3])
    x = np.round(x + 0.3 * (g > 0), 3)
    rows = []
    a = rng.normal(size=n)
    for t in range(1, 6):
        y = a + 0.3 * t + 0.2 * t * (g == 3) + 0.1 * t * q + shift * x * t * 0.3
        y = y + 0.4 * q * x * t * 0.2 + rng.normal(size=n)
        y = y + (q == 1) * (g > 0) * (t >= g) * (1 + 0.2 * (t - g))
        columns = {"unit": np.arange(n), "time": t, "first": g, "eligible": q, "x": x}
        rows.append(pd.DataFrame({**columns, "y": np.round(y, 4)}))
    return pd.concat(rows, ignore_index=True)


def triple(**options: object):
    return build("triple_difference", **{"eligible": "eligible", "bands": False, **options})


def design_of(frame: pd.DataFrame, **columns: object) -> StaggeredPanel:
    return staggered_from_frame(frame, **{**COLUMNS, "subgroups": "eligible", **columns})


def overall(found) -> pd.Series:
    return found.select(term="effect_overall", subgroup="all").table.iloc[0]


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    made = invented_triple()
    assert round(float(made.y.sum()), 3) == SUM  # else the generator's stream has changed
    return made


SUM = 3092.904


@pytest.mark.parametrize("case", list(REFERENCE["staggered"]))
def test_reference_figures_of_a_staggered_roll_out(frame: pd.DataFrame, case: str) -> None:
    method, control, covariate = case.split()
    figures = REFERENCE["staggered"][case]
    design = design_of(frame, covariates=["x"] if covariate == "x" else [])
    found = triple(method=method, comparison=PEER[control], divisor="g", max_propensity=0.99)
    table = found.estimate(design).table
    row = table[table.term == "effect_overall"].iloc[0]
    np.testing.assert_allclose([row.estimate, row.std_error], figures["overall"], atol=1e-13)
    for row in table[table.term == "effect_by_event_time"].itertuples():
        # its error of a cell with two comparison cohorts is that of a covariance over n - 1 units
        several = control == "notyettreated" and row.horizon == -2
        wanted = figures["event"][str(row.horizon)]
        assert abs(row.estimate - wanted[0]) < 1e-13
        assert several or abs(row.std_error - wanted[1]) < 1e-13
    for row in table[table.term == "effect"].itertuples():
        wanted = figures["cells"][f"{row.cohort} {row.period}"]
        assert abs(row.estimate - wanted[0]) < 1e-13
        same = wanted[1] / row.std_error
        assert abs(same - 1) < 1e-13 or abs(same - np.sqrt(400 / 399)) < 1e-12


@pytest.mark.parametrize("case", list(REFERENCE["two"]))
def test_two_by_two_by_two_as_panel_and_as_cross_sections(frame: pd.DataFrame, case: str) -> None:
    method, covariate = case.split()
    estimate, error = REFERENCE["two"][case]
    two = frame[frame.time.isin([2, 3]) & frame["first"].isin([0, 3])]
    names = {"covariates": ["x"] if covariate == "x" else []}
    options = {"method": method, "divisor": "g", "max_propensity": 0.99}
    panel = triple(**options).estimate(design_of(two, **names))
    assert abs(overall(panel).estimate - estimate) < 1e-12
    rows = {"panel": False, "unit": None, **names}
    clustered = triple(**options).estimate(design_of(two, cluster="unit", **rows))
    assert abs(overall(clustered).estimate - estimate) < 1e-12
    assert abs(overall(clustered).std_error - overall(panel).std_error) < 1e-12
    alone = triple(**{**options, "divisor": "g_minus_1"}).estimate(design_of(two, **rows))
    # the peer's doubly robust error leaves out that regressions and logits are estimated
    close = 1e-2 if case == "dr x" else 1e-12
    assert abs(overall(alone).std_error - error) < close


@pytest.mark.parametrize("sections", [False, True])
def test_influence_is_what_a_weight_does_to_the_effect(frame: pd.DataFrame, sections: bool) -> None:
    two = frame[frame.time.isin([2, 3]) & frame["first"].isin([0, 3])].reset_index(drop=True)
    names = {"panel": False, "unit": None} if sections else {}

    def found(w: np.ndarray) -> tuple[float, np.ndarray]:
        design = design_of(two.assign(w=w), covariates=["x"], weight="w", **names)
        out = triple(divisor="g_minus_1").estimate(design)
        at = out.positions(term="effect")
        return float(out.table.estimate[at[0]]), out.influence.columns(at)[:, 0]

    own = np.arange(len(two)) if sections else pd.factorize(two.unit)[0]
    _, z = found(np.ones(len(two)))
    for i in (0, 5, 200, z.size - 1):
        up, down = (found(1 + sign * 1e-4 * (own == i))[0] for sign in (1, -1))
        assert abs((up - down) / 2e-4 - z[i]) < 1e-8


def test_without_covariates_it_is_the_coefficient_of_three_interacted(frame: pd.DataFrame) -> None:
    two = frame[frame.time.isin([2, 3]) & frame["first"].isin([0, 3])]
    s, q, p = (two["first"] == 3) * 1.0, two.eligible * 1.0, (two.time == 3) * 1.0
    x = np.stack([np.ones(len(two)), s, q, p, s * q, s * p, q * p, s * q * p], axis=1)
    beta = np.linalg.lstsq(x, two.y.to_numpy(), rcond=None)[0][-1]
    w = 1 + (two.unit.to_numpy() % 3)
    weighted = np.linalg.lstsq(x * np.sqrt(w)[:, None], two.y * np.sqrt(w), rcond=None)[0][-1]
    for method in ("dr", "ipw", "reg"):
        assert abs(overall(triple(method=method).estimate(design_of(two))).estimate - beta) < 1e-12
    found = triple().estimate(design_of(two.assign(w=w), weight="w"))
    assert abs(overall(found).estimate - weighted) < 1e-12
    section = design_of(two.assign(w=w), weight="w", panel=False, unit=None)
    assert abs(overall(triple().estimate(section)).estimate - weighted) < 1e-12


def test_without_covariates_it_is_the_difference_of_two_group_time_effects(
    frame: pd.DataFrame,
) -> None:
    options = {"comparison": "never", "bands": False}
    both = {
        q: build("group_time_att", **options).estimate(design_of(frame[frame.eligible == q]))
        for q in (0, 1)
    }
    cells = {q: found.select(term="effect", subgroup="all").table for q, found in both.items()}
    found = triple(comparison="never").estimate(design_of(frame)).select(term="effect").table
    np.testing.assert_allclose(found.estimate, cells[1].estimate - cells[0].estimate, atol=1e-12)


def test_with_covariates_two_differences_are_not_three(frame: pd.DataFrame) -> None:
    """The difference of two estimates holds each to its own covariates; three hold to the eligible's."""
    big = invented_triple(n=6000, seed=5, shift=3.0)
    options = {"comparison": "never", "bands": False}
    two = [
        overall(
            build("group_time_att", **options).estimate(
                design_of(big[big.eligible == q], covariates="x")
            )
        ).estimate
        for q in (1, 0)
    ]
    right = triple(comparison="never").estimate(design_of(big, covariates="x"))
    truth = big[(big.eligible == 1) & (big["first"] > 0) & (big.time >= big["first"])]
    effect = float((1 + 0.2 * (truth.time - truth["first"])).mean())
    assert abs(overall(right).estimate - effect) < 3 * overall(right).std_error
    assert abs(two[0] - two[1] - effect) > 0.0 and abs(two[0] - two[1]) != overall(right).estimate


def test_pooling_comparison_cohorts_is_biased_where_eligible_shares_differ() -> None:
    """One by one they are right, by their variance or by size."""
    rng = np.random.default_rng(3)
    n = 4000
    g = rng.choice([0, 3, 5], size=n)
    share = np.array([0.2, 0.5, 0.5, 0.5, 0.5, 0.8])[g]
    q = (rng.random(n) < share).astype(int)
    trend = np.array([1.0, 0, 0, 0.2, 0, -1.0])[g]
    rows = []
    for t in range(1, 6):
        y = trend * t + 0.5 * q * t + 0.5 * rng.normal(size=n) + 1.0 * (q * (g > 0) * (t >= g))
        rows.append(
            pd.DataFrame({"unit": np.arange(n), "time": t, "first": g, "eligible": q, "y": y})
        )
    frame = pd.concat(rows, ignore_index=True)
    design = design_of(frame)
    for combine in ("gmm", "size"):
        row = triple(combine=combine).estimate(design).select(term="effect", cohort="3", period="3")
        assert abs(row.table.estimate[0] - 1) < 4 * row.table.std_error[0]
    two = frame[frame.time.isin([2, 3])].pivot(index="unit", columns="time", values="y")
    change = (two[3] - two[2]).to_numpy()
    mean = {
        (own, e): change[((g == 3) == own) & (q == e)].mean()
        for own in (True, False)
        for e in (0, 1)
    }
    pooled = mean[True, 1] - mean[True, 0] - mean[False, 1] + mean[False, 0]
    assert abs(pooled - 1) > 0.5


def test_intervals_hold_the_truth_with_offices_as_clusters() -> None:
    held, estimates = 0, []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        offices, each = 30, 6
        start = np.repeat([0, 4, 5], [12, 9, 9])
        q = np.tile([0, 1], offices * each // 2)
        office = np.repeat(np.arange(offices), each)
        shock = rng.normal(size=(offices, 6)).cumsum(axis=1)
        own = 0.5 * rng.normal(size=(offices, 6))
        y = shock[office] + own[office] * q[:, None] + rng.normal(size=(office.size, 6))
        first = np.where(start == 0, np.inf, start)[office]
        grid = np.arange(1, 7)
        y += 0.5 * q[:, None] * (first[:, None] <= grid)
        design = StaggeredPanel(
            outcomes=y[:, :, None], outcome_names=("y",), units=("v",), periods=grid, first=first,
            covariates=np.zeros((office.size, 0)), covariate_names=(),
            weight=np.ones(office.size), cluster=office, cluster_kind="office",
            subgroups={"eligible": grouping(q)}, population="invented",
        )  # fmt: skip
        row = overall(triple(combine="size").estimate(design))
        held += row.conf_low <= 0.5 <= row.conf_high
        estimates.append(row.estimate)
    assert held >= 35
    assert abs(np.mean(estimates) - 0.5) < 3.5 * np.std(estimates) / np.sqrt(40)


def grouping(codes: np.ndarray):
    from tiltakeval.design.cross_section import Subgroup

    return Subgroup(levels=("0", "1"), codes=codes.astype(np.int16))


def test_least_variance_weights_and_too_few_clusters() -> None:
    rng = np.random.default_rng(0)
    z = rng.normal(size=(50, 3)) * [1.0, 2.0, 4.0]
    z -= z.mean(axis=0)
    weights = least_variance(list(z.T))
    omega = np.linalg.inv(np.cov(z.T))
    np.testing.assert_allclose(weights, omega.sum(axis=1) / omega.sum(), atol=1e-12)
    assert least_variance([z[:, 0], z[:, 0]]) is None


def test_rows_missing_use_units_seen_twice_and_varying_covariates_are_read_before(
    frame: pd.DataFrame,
) -> None:
    gone = np.random.default_rng(1).random(len(frame)) < 0.1
    found = triple(combine="size").estimate(design_of(frame[~gone], covariates="x"))
    full = overall(triple(combine="size").estimate(design_of(frame, covariates="x")))
    assert abs(overall(found).estimate - full.estimate) < full.std_error
    assert "unit-periods" in found.run["missing_rows"]
    moving = frame.assign(m=frame.x)
    constant = triple().estimate(design_of(frame, covariates="x"))
    varying = triple().estimate(design_of(moving, varying="m"))
    np.testing.assert_allclose(varying.table.estimate, constant.table.estimate, atol=1e-9)


def test_two_clusterings_and_a_level_named_in_words(frame: pd.DataFrame) -> None:
    more = frame.assign(office=frame.unit % 25, age=np.where(frame.eligible == 1, "young", "old"))
    design = design_of(more, subgroups="age", cluster=["office", "unit"])
    found = triple(eligible="age=young", divisor="g_minus_1").estimate(design)
    one = triple(divisor="g_minus_1", combine="gmm").estimate(design_of(frame))
    never = {"term": "effect", "cohort": "4", "period": "5"}
    assert (
        abs(found.select(**never).table.estimate[0] - one.select(**never).table.estimate[0]) < 1e-12
    )
    assert (found.table.std_error[found.table.status == "ok"] > 0).all()


def test_subgroups_are_estimated_apart_and_not_by_eligibility(frame: pd.DataFrame) -> None:
    more = frame.assign(sex=np.where(frame.unit % 2 == 0, "a", "b"))
    found = triple().estimate(design_of(more, subgroups=["eligible", "sex"]))
    assert set(found.table.subgroup) == {"all", "sex=a", "sex=b"}
    alone = triple().estimate(design_of(more[more.sex == "a"]))
    part = found.select(subgroup="sex=a").table
    np.testing.assert_allclose(part.estimate, alone.table.estimate, atol=1e-12)


@pytest.mark.parametrize("inference", ["jackknife", "permutation", "bootstrap_t"])
def test_inference_for_few_clusters(inference: str) -> None:
    frame = invented_triple(n=36, seed=2)
    design = design_of(frame[(frame.time < 4) & (frame["first"] < 4)])
    with_size = triple(inference=inference, combine="size", replications=99, seed=1).estimate(
        design
    )
    row = overall(with_size)
    assert row.conf_low < row.estimate < row.conf_high
    if inference == "permutation":
        with pytest.raises(InputError, match="combine"):
            triple(inference=inference, replications=99)


def test_what_is_wrong_is_said(frame: pd.DataFrame) -> None:
    design = design_of(frame)
    with pytest.raises(InputError, match="isn't said"):
        triple(eligible="").estimate(design)
    with pytest.raises(InputError, match="eligible"):
        triple(eligible="eligble").estimate(design)
    with pytest.raises(InputError, match="no level"):
        triple(eligible="eligible=2").estimate(design)
    some = design_of(frame.assign(eligible=frame.eligible.where(frame.unit > 3)))
    with pytest.raises(InputError, match="neither eligible nor not"):
        triple().estimate(some)
    status = design_of(frame.assign(first=frame["first"].where(frame.eligible == 1, 0)))
    with pytest.raises(InputError, match="no ineligible unit"):
        triple().estimate(status)
    treated = design_of(frame[frame["first"] > 0])
    with pytest.raises(InputError, match="never treated"):
        triple(comparison="never").estimate(treated)
    for name in ("method", "combine", "base", "divisor", "comparison"):
        with pytest.raises(InputError, match="best"):
            triple(**{name: "best"}).estimate(design)


def test_cells_without_one_of_the_groups_have_a_reason(frame: pd.DataFrame) -> None:
    lost = frame[~((frame["first"] == 4) & (frame.eligible == 0))]
    found = triple().estimate(design_of(lost))
    rows = found.select(term="effect", cohort="4").table
    assert (rows.status == "not_supported").all()
    assert any("ineligible" in one["reason"] for one in found.run["not_supported"])
    left = found.run["comparisons_left_out"]
    assert left and {one["compared_with"] for one in left} == {"4"}
    said = next(c for c in rollout(estimates=found) if c.key == "comparisons_left_out")
    assert said.statistic == len(left) and "ineligible" in said.message["reasons"][0]
    good = found.select(term="effect", cohort="3", status="ok").table
    never = triple(comparison="never").estimate(design_of(frame)).select(term="effect", cohort="3")
    np.testing.assert_allclose(good.estimate, never.table.estimate, atol=1e-12)


def test_from_the_command_line(frame: pd.DataFrame, tmp_path: Path, capsys) -> None:
    path = tmp_path / "reform.csv"
    frame.to_csv(path, index=False)
    given = ["unit=unit", "time=time", "first=first", "outcome=y", "subgroups=eligible"]
    code = main(
        ["estimate", "triple_difference", str(path), "--set", *given, "eligible=eligible", "--json"]
    )
    out = json.loads(capsys.readouterr().out)
    assert code == 0
    row = next(r for r in out["estimates"] if r["term"] == "effect_overall")
    assert abs(row["estimate"] - overall(triple().estimate(design_of(frame))).estimate) < 1e-12


def test_the_same_numbers_again_and_nothing_changed(frame: pd.DataFrame) -> None:
    design = design_of(frame, covariates="x")
    before = design.outcomes.copy()
    one, two = (triple(bands=True).estimate(design) for _ in range(2))
    assert one.table.equals(two.table) and np.array_equal(design.outcomes, before)
    shuffled = frame.sample(frac=1, random_state=0)
    other = triple().estimate(design_of(shuffled, covariates="x"))
    assert abs(overall(other).estimate - overall(one).estimate) < 1e-10
    scaled = triple().estimate(replace(design, outcomes=1e6 * design.outcomes))
    assert abs(overall(scaled).estimate / 1e6 - overall(one).estimate) < 1e-9
