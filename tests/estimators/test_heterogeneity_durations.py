"""Durations freed of censoring: product limits without covariates, truth with them, refusals."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import optimize

from tiltakeval.design.cross_section import Subgroup
from tiltakeval.design.durations import Durations, durations_from_frame
from tiltakeval.errors import InputError
from tiltakeval.estimators import build
from tiltakeval.estimators.heterogeneity.estimator import Heterogeneity
from tiltakeval.estimators.heterogeneity.survival.hazards import (
    Risk,
    cross_fit_hazards,
    fit_coefficients,
)
from tiltakeval.estimators.heterogeneity.survival.outcomes import spell_outcomes
from tiltakeval.estimators.heterogeneity.survival.transform import (
    kept_from_zero,
    transformed,
    worth,
)
from tiltakeval.study.one_line import estimate_file

H = 12


def spells(
    n: int = 2000, *, seed: int = 0, whole: bool = True, competing: bool = False
) -> tuple[np.ndarray, Durations]:
    """True durations, and spells whose exits and censoring both depend on the covariates."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, 3))
    x[:, 2] = rng.random(n) < 0.5
    arm = (rng.random(n) < 1 / (1 + np.exp(-0.5 * x[:, 0]))).astype(np.int16)
    time = rng.exponential(1 / (0.08 * np.exp(0.5 * x[:, 0] + (0.4 + 0.3 * x[:, 2]) * arm)))
    lost = rng.exponential(1 / (0.05 * np.exp(0.9 * x[:, 0])))
    if whole:
        time, lost = np.ceil(time), np.ceil(lost)
    kind = 1 + (competing * (rng.random(n) < 0.4)).astype(int)
    return time, Durations(
        duration=np.minimum(time, lost),
        event=np.where(time <= lost, kind, 0).astype(np.int16),
        event_names=("job", "other") if competing else ("job",),
        arm=arm,
        arms=("none", "aft"),
        weight=rng.integers(1, 3, n).astype(float),
        person=np.arange(n),
        entry=np.zeros(n),
        subgroups={"g": Subgroup(levels=("no", "yes"), codes=x[:, 2].astype(np.int16))},
        population="invented",
        covariates=x,
        covariate_names=("x0", "x1", "g"),
    )


@pytest.mark.parametrize(
    ("measure", "key", "term"),
    [
        ("restricted_mean", "restricted_mean", "time_in_state"),
        ("survival", "kaplan_meier", "survival"),
        ("incidence", "aalen_johansen", "cumulative_incidence"),
        ("time_lost", "restricted_mean", "time_lost"),
    ],
)
@pytest.mark.parametrize("whole", [True, False])
def test_without_covariates_means_are_the_product_limits(
    measure: str, key: str, term: str, whole: bool
) -> None:
    _, with_x = spells(800, seed=1, whole=whole, competing=measure in ("incidence", "time_lost"))
    plain = replace(with_x, covariates=None, covariate_names=())
    exit = "job" if measure in ("incidence", "time_lost") else None
    found = spell_outcomes(
        plain,
        horizons=(6, 12),
        measure=measure,  # type: ignore[arg-type]
        exit=exit,
        folds=1,
        least_followed=1e-9,
    )
    table = build(key, times=(6, 12), adjust="none", bands=False).estimate(plain).table
    table = table[(table.subgroup == "all") & table.term.str.startswith(term)]
    if exit:
        table = table[table.outcome == exit]
    for a, arm in enumerate(plain.arms):
        rows = table[(table.programme == arm) & ~table.term.str.contains("difference")]
        own = plain.arm == a
        mean = np.average(
            found.outcomes[own, :, 0].astype(float), axis=0, weights=plain.weight[own]
        )
        # times that aren't whole are on a grid of 200
        rtol = 1e-5 if whole else 2e-3
        np.testing.assert_allclose(mean, rows.estimate.to_numpy(), rtol=rtol)


@pytest.mark.parametrize("whole", [True, False])
def test_censoring_that_depends_on_covariates_does_no_harm(whole: bool) -> None:
    time, design = spells(20_000, seed=2, whole=whole)
    design = replace(design, weight=np.ones(design.n))
    found = spell_outcomes(design, horizons=H)
    kept = found.outcomes[:, 0, 0].astype(float) - np.minimum(time, H)
    for a in (0, 1):
        own = design.arm == a
        gap, x = kept[own], design.covariates[own][:, 0]
        error = gap.std() / np.sqrt(gap.size)
        assert abs(gap.mean()) < 3 * error
        # nor where the censored are many
        assert abs(np.corrcoef(gap, x)[0, 1]) < 3.5 / np.sqrt(gap.size)
    km = build("restricted_mean", times=H, adjust="none", bands=False).estimate(design).table
    row = km[(km.term == "time_in_state") & (km.programme == "none") & (km.subgroup == "all")]
    truth = np.minimum(time, H)[design.arm == 0].mean()
    assert row.estimate.iloc[0] - truth > 3 * row.std_error.iloc[0]  # those left stay longer
    assert found.outcome_names == ("restricted_mean",) and found.horizons == (H,)


@pytest.mark.parametrize("wrong", ["exits", "censoring", "both"])
def test_either_hazard_may_be_wrong_but_not_both(wrong: str) -> None:
    rng = np.random.default_rng(3)
    n = 60_000
    x = rng.integers(0, 2, n)
    lam, c = np.where(x, 0.25, 0.05), np.where(x, 0.02, 0.2)
    time, lost = rng.geometric(lam), rng.geometric(c)
    seen = np.minimum(time, lost)
    event = (time <= lost).astype(np.int64)
    used_lam = np.full(n, 0.12) if wrong in ("exits", "both") else lam
    used_c = np.full(n, 0.1) if wrong in ("censoring", "both") else c
    hazard = np.zeros((n, H, 2))
    hazard[:, :, 0] = used_lam[:, None]
    censoring, followed = kept_from_zero(np.tile(used_c[:, None], (1, H)), 1e-6)
    y = transformed(
        np.minimum(seen, H + 1),
        event,
        np.minimum(seen, H).astype(float),
        exit_hazard=hazard,
        censoring=censoring,
        followed=followed,
        of=worth("restricted_mean", H, 1.0, competing=False),
    )
    off = abs((y - np.minimum(time, H)).mean()) / ((y - np.minimum(time, H)).std() / np.sqrt(n))
    assert off > 10 if wrong == "both" else off < 3


def test_what_matters_may_change_with_time() -> None:
    rng = np.random.default_rng(8)
    n = 20_000
    x = rng.standard_normal((n, 1))
    time, lost = np.full(n, 99.0), np.full(n, 99.0)
    for k in range(1, 19):  # good prospects leave and are lost early, poor ones late
        at = np.exp((0.8 if k <= 5 else -0.8) * x[:, 0])
        time = np.where((time == 99) & (rng.random(n) < 0.08 * at), k, time)
        lost = np.where((lost == 99) & (rng.random(n) < 0.06 * at), k, lost)
    _, design = spells(n, seed=8)
    design = replace(
        design,
        duration=np.minimum(np.minimum(time, lost), 18),
        event=((time <= lost) & (time < 18)).astype(np.int16),
        arms=("all", "none"),
        arm=np.zeros(n, dtype=np.int16),
        weight=np.ones(n),
        covariates=x,
        covariate_names=("x0",),
    )
    gap = spell_outcomes(design, horizons=15).outcomes[:, 0, 0] - np.minimum(time, 15)
    # with one set of coefficients for all times it is 0.11, more than five errors
    assert abs(gap.mean()) < 3 * gap.std() / np.sqrt(n) < 0.07


def test_coefficients_maximise_the_partial_likelihood_and_jumps_are_shares() -> None:
    rng = np.random.default_rng(4)
    z, w = rng.standard_normal((300, 2)), rng.integers(1, 3, 300).astype(float)
    last, leaves = rng.integers(1, 9, 300), rng.random(300) < 0.6

    def minus(beta: np.ndarray) -> float:
        r = w * np.exp(z @ beta)
        out = sum(
            w[i] * (z[i] @ beta - np.log(r[last >= last[i]].sum())) for i in np.flatnonzero(leaves)
        )
        return 0.5 * 2.0 * beta @ beta - out

    found = fit_coefficients(z, Risk(last, leaves), w, 8, penalty=2.0)
    np.testing.assert_allclose(found, optimize.minimize(minus, np.zeros(2)).x, atol=1e-4)
    hazards = cross_fit_hazards(
        np.zeros((300, 0)),
        Risk(last, leaves),
        weight=w,
        fold=np.zeros(300, dtype=int),
        folds=1,
        times=8,
    )
    at_risk = last >= 3
    share = w[(last == 3) & leaves].sum() / w[at_risk].sum()
    of = hazards.of(slice(0, 2), np.zeros(2, dtype=int))
    np.testing.assert_allclose(of[:, 2], share)


def test_the_chance_of_being_followed_is_kept_from_zero() -> None:
    c, g = kept_from_zero(np.array([[0.5, 0.5, 1.0, 0.3]]), 0.2)
    np.testing.assert_allclose(g[0], [1, 0.5, 0.25, 0.2, 0.2])
    np.testing.assert_allclose(1 - c[0], g[0, 1:] / g[0, :-1])


def test_effects_groups_and_rules_take_them(tmp_path: Path) -> None:
    _, design = spells(1500, seed=5)
    frame = pd.DataFrame(design.covariates, columns=["x0", "x1", "g"]).assign(
        months=design.duration, job=design.event, arm=design.arm
    )
    path = tmp_path / "spells.csv"
    frame.to_csv(path, index=False)
    given = {
        "treatment": "arm",
        "duration": "months",
        "event": "job",
        "covariates": "x0,x1,g",
        "subgroups": "g",
    }
    found = estimate_file(
        "heterogeneity",
        path,
        {**given, "horizon": "6,12", "target": "treated", "parts": "tests,calibration"},
    )
    table = found.estimates.table
    effects = table[(table.term == "effect") & (table.subgroup == "all")]
    assert set(effects.horizon) == {6, 12} and (effects.estimate < 0).all()
    assert (effects.unit == "months").all() and found.run["spells"]["measure"] == "restricted_mean"
    rule = estimate_file(
        "policy", path, {**given, "horizon": "12", "measure": "time_lost", "depth": "1"}
    )
    with pytest.raises(InputError, match="as long as it can"):
        estimate_file("policy", path, {**given, "horizon": "12"})
    values = rule.estimates.table
    assert "rule_tree" in set(values.programme) and (values.outcome == "time_lost").all()


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ({}, {"horizons": 0}, "whole numbers"),
        ({}, {"horizons": 12, "measure": "hazard"}, "measure"),
        ({}, {"horizons": 12, "exit": "job"}, "any exit"),
        ({}, {"horizons": 12, "measure": "incidence", "exit": "jobb"}, "unknown exit"),
        ({}, {"horizons": 12, "least_followed": 0}, "between 0 and 1"),
        ({"entry": 0.5}, {"horizons": 12}, "followed from after"),
        ({"lost_at": 9}, {"horizons": 12}, "nobody in 'aft' is followed to 12 months"),
        ({"event": 0}, {"horizons": 12}, "nobody of .* in 'none' is seen to leave"),
    ],
)
def test_what_can_t_be_known_is_refused(change: dict, options: dict, message: str) -> None:
    _, design = spells(400, seed=6)
    if "entry" in change:
        design = replace(design, entry=np.full(design.n, change["entry"]))
    if "event" in change:
        design = replace(design, event=np.zeros_like(design.event))
    if "lost_at" in change:
        late = (design.arm == 1) & (design.duration >= change["lost_at"])
        design = replace(
            design,
            duration=np.where(late, change["lost_at"], design.duration),
            event=np.where(late, 0, design.event).astype(np.int16),
        )
    with pytest.raises(InputError, match=message):
        spell_outcomes(design, **options)


def test_several_exits_need_one_named_and_small_arms_have_no_outcome() -> None:
    _, design = spells(400, seed=7, competing=True)
    with pytest.raises(InputError, match="2 kinds of exit"):
        spell_outcomes(design, horizons=12, measure="incidence")
    arm = design.arm.copy()
    arm[:5] = 2
    few = spell_outcomes(replace(design, arm=arm, arms=(*design.arms, "amo")), horizons=12)
    assert np.isnan(few.outcomes[:5]).all() and few.notes["too_small"] == ["amo"]
    assert len(Heterogeneity(parts=()).estimate(few).table)


def test_without_censoring_outcomes_are_the_durations_themselves() -> None:
    time, design = spells(300, seed=9)
    whole = replace(design, duration=time, event=np.ones(300, dtype=np.int16))
    found = spell_outcomes(whole, horizons=(6, H))
    np.testing.assert_allclose(found.outcomes[:, :, 0], np.minimum(time[:, None], (6, H)))
    lost = spell_outcomes(whole, horizons=H, measure="time_lost", exit="job")
    np.testing.assert_allclose(lost.outcomes[:, 0, 0], np.maximum(H - time, 0))


def test_jobless_spells_meet_the_published_curve_and_the_weighted_one(shared: Path) -> None:
    # McCall (1996) as in Cameron & Trivedi (2005, section 17.11): S(1..5) of full-time jobs
    data = pd.read_csv(shared / "data" / "mccall_jobless.csv")
    one = {"folds": 1, "least_followed": 1e-9}
    pooled = durations_from_frame(data, duration="spell", event="censor1")
    survival = spell_outcomes(pooled, horizons=(1, 2, 3, 4, 5), measure="survival", **one)
    np.testing.assert_allclose(
        survival.outcomes[:, :, 0].astype(float).mean(axis=0),
        [0.9121, 0.8541, 0.8103, 0.7864, 0.7376],
        atol=6e-5,
    )
    exits = ("censor1", "censor2", "censor3")
    all_exits = durations_from_frame(data, duration="spell", event=exits)
    job = spell_outcomes(all_exits, horizons=10, measure="incidence", exit="censor1", **one)
    assert job.outcomes.astype(float).mean() == pytest.approx(0.3155, abs=6e-5)
    # with covariates, beside product limits weighted by the propensity of unemployment benefit
    used = ["ui", *exits, "censor4", "spell"]
    columns = [name for name in data.columns if name not in used]
    spells_of = durations_from_frame(
        data, duration="spell", event=exits, treatment="ui", covariates=columns
    )
    design = spell_outcomes(spells_of, horizons=10, measure="time_lost", exit="censor1")
    for target, adjust in (("common", "ate"), ("treated", "att")):
        own = Heterogeneity(target=target, parts=(), bands=False).estimate(design).table  # type: ignore[arg-type]
        weighted = build("restricted_mean", times=10, adjust=adjust, bands=False)
        beside = weighted.estimate(spells_of).table
        row = beside[(beside.term == "time_lost_difference") & (beside.outcome == "censor1")].iloc[
            0
        ]
        assert abs(own.estimate[0] - row.estimate) < row.std_error
        assert own.std_error[0] == pytest.approx(row.std_error, rel=0.15)
