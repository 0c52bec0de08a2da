"""Effects on participants from scores: the averages' numbers, formulas, what exact scores give."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from invented_arms import effects, make_arms
from invented_designs import make_design

from tiltakeval.diagnostics.sensitivity.check import sensitivity
from tiltakeval.errors import InputError
from tiltakeval.estimates.inference import standard_errors
from tiltakeval.estimators import build
from tiltakeval.estimators.heterogeneity.balanced import balanced_gate
from tiltakeval.estimators.heterogeneity.calibration import calibration
from tiltakeval.estimators.heterogeneity.contrasts import contrasts
from tiltakeval.estimators.heterogeneity.estimator import PARTS, Heterogeneity
from tiltakeval.estimators.heterogeneity.projection import projection
from tiltakeval.estimators.heterogeneity.rows import Lines
from tiltakeval.estimators.heterogeneity.score_types import UnitScores
from tiltakeval.estimators.heterogeneity.scores import unit_scores
from tiltakeval.estimators.heterogeneity.sorting import classification, sorted_effects
from tiltakeval.estimators.heterogeneity.targeting import targeting
from tiltakeval.estimators.weighting.aipw import AIPW


@pytest.fixture(scope="module")
def scores() -> UnitScores:
    return unit_scores(make_arms(3000, seed=1), AIPW(target="att"))


def known(scores: UnitScores, *, target: str = "treated") -> UnitScores:
    """The same units with scores and fitted outcomes that are the true effects."""
    tau = np.column_stack([np.zeros(scores.n), effects(scores.x)])
    split = replace(scores.splits[0], psi=tau, fitted=tau)
    return replace(scores, psi=tau, fitted=tau, splits=(split,), target=target)


@pytest.mark.parametrize("target", ["att", "programmes"])
@pytest.mark.parametrize(("seeds", "cluster"), [(1, "person"), (3, "person_office")])
def test_they_are_the_averages_by_level_and_between_programmes(
    target: str, seeds: int, cluster: str
) -> None:
    design = make_design(500, missing=True, weighted=True, seed=2)
    shared = {"folds": 3, "seeds": seeds, "cluster": cluster, "bands": False}
    options = AIPW(target=target, placebo=False, contrasts="all", **shared)
    wanted = options.estimate(design).table
    name = "treated" if target == "att" else target
    own = Heterogeneity(target=name, parts=("contrasts",), learner_outcome="ridge", **shared)
    found = own.estimate(design).table
    keys = ["programme", "comparator", "subgroup", "outcome", "horizon"]
    both = (
        wanted[(wanted.term == "effect") & (wanted.n_treated > 1)]
        .set_index(keys)
        .join(found[found.term == "effect"].set_index(keys), rsuffix="_found", how="inner")
    )
    assert len(both) == (found.term == "effect").sum() and "amo" in both.index.unique("comparator")
    np.testing.assert_allclose(both.estimate_found, both.estimate, rtol=2e-5, atol=1e-7)
    # a share with few events has its error widened in the averages
    np.testing.assert_array_less(both.std_error_found, both.std_error * 1.001)
    many = both.n_events >= 100
    assert many.sum() >= 10
    np.testing.assert_allclose(both.std_error_found[many], both.std_error[many], rtol=0.01)
    # with several splits these are of the mean propensity here, of the first split's there
    np.testing.assert_allclose(
        both.n_effective_found, both.n_effective, rtol=1e-6 if seeds == 1 else 0.2
    )
    assert (found.population.str.endswith(f":{name}")).all()


def test_the_scores_are_those_of_the_effect_on_participants(scores: UnitScores) -> None:
    n, d = scores.scores_of(1)
    residual = scores.y - scores.fitted[:, 0]
    odds = scores.propensity[:, 1] / scores.propensity[:, 0]
    treated, other = scores.arm == 1, scores.arm == 0
    expected = np.where(treated, residual, 0.0) - np.where(other, odds * residual, 0.0)
    np.testing.assert_allclose(n, expected, atol=1e-5)
    np.testing.assert_array_equal(d, treated)
    assert (scores.counted[:, 1] == (scores.arm == 2)).all()


def test_the_truth_among_participants_differs_and_is_met(scores: UnitScores) -> None:
    tau = effects(scores.x)
    table = Heterogeneity(target="treated", parts=()).estimate(make_arms(3000, seed=1)).table
    for a, name in enumerate(("aft", "amo"), 1):
        row = table[(table.programme == name) & (table.subgroup == "all")].iloc[0]
        truth = tau[scores.arm == a, a - 1].mean()
        assert abs(row.estimate - truth) < 3 * row.std_error
    # the second programme's participants gain less than others: 0.8 x0 where x0 is lower
    assert tau[scores.arm == 2, 1].mean() < tau[:, 1].mean() - 0.04


def test_with_exact_scores_everything_is_that_of_the_participants_alone(scores: UnitScores) -> None:
    exact = known(scores)
    rng = np.random.default_rng(0)
    cate = effects(scores.x) + 0.3 * rng.standard_normal((scores.n, 2))

    def same(found: Lines, wanted: Lines, a: int, rtol: float = 1e-9) -> None:
        mine = [i for i, row in enumerate(found.labels) if row["programme"] == scores.arms[a]]
        assert [found.labels[i]["term"] for i in mine] == [r["term"] for r in wanted.labels]
        np.testing.assert_allclose(found.theta[mine], wanted.theta, rtol=rtol, atol=1e-12)
        np.testing.assert_allclose(
            standard_errors(found.z[:, mine]), standard_errors(wanted.z), rtol=rtol, atol=1e-12
        )

    for a in (1, 2):
        own = scores.arm == a
        alone = known(scores, target="common").take(own)
        alone = replace(
            alone,
            arms=("none", scores.arms[a]),
            arm=np.arange(own.sum()) % 2,
            psi=alone.psi[:, [0, a]],
            fitted=alone.fitted[:, [0, a]],
            propensity=np.full((own.sum(), 2), 0.5),
        )
        one = replace(
            alone.splits[0], psi=alone.psi, fitted=alone.fitted, propensity=alone.propensity
        )
        alone = replace(alone, splits=(one,))
        mine = cate[own][:, [a - 1]]
        same(calibration(exact, cate)[0], calibration(alone, mine)[0], a)
        same(sorted_effects(exact, cate, groups=3), sorted_effects(alone, mine, groups=3), a)
        same(classification(exact, cate), classification(alone, mine), a)
        # ranks between participants aren't theirs, so that a mean at a rank is a little another's
        same(targeting(exact, cate)[0], targeting(alone, mine)[0], a, rtol=0.06)
        same(projection(exact, ("g", "x0"))[0], projection(alone, ("g", "x0"))[0], a)


def test_balanced_effects_on_participants_tell_composition_from_level(scores: UnitScores) -> None:
    lines = balanced_gate(scores, "h", holding=("g",))
    at = {(r["programme"], r["subgroup"]): i for i, r in enumerate(lines.labels)}
    gap = lines.theta[at["aft", "h=yes"]] - lines.theta[at["aft", "h=no"]]
    error = standard_errors(lines.z[:, [at["aft", "h=yes"]]] - lines.z[:, [at["aft", "h=no"]]])[0]
    assert abs(gap) < 3 * error and error < 0.35  # unbalanced it is 0.6
    exact = balanced_gate(known(scores), "g", holding=("h",))
    mine = [i for i, r in enumerate(exact.labels) if r["programme"] == "aft"]
    np.testing.assert_allclose(exact.theta[mine], [1.0, 2.0], atol=1e-6)


def test_a_level_without_participants_is_not_supported_and_nothing_fails() -> None:
    design = make_arms(900, seed=1)
    there = design.take(~((design.arm == 1) & (design.covariates[:, 2] == 1)))
    parts = [part for part in PARTS if part not in ("placebo", "projection")]
    table = Heterogeneity(target="treated", parts=parts).estimate(there).table
    row = table[(table.term == "effect") & (table.subgroup == "g=yes") & (table.programme == "aft")]
    assert set(row.status) == {"not_supported"}  # against no programme and against the other
    fine = table[table.status == "ok"]
    assert np.isfinite(fine.std_error).all() and len(fine) > 100
    with pytest.raises(InputError, match="vary among those described"):
        Heterogeneity(target="treated", parts=("projection",)).estimate(there)


@pytest.mark.parametrize(("name", "target"), [("treated", "att"), ("common", "ate")])
def test_hidden_factors_are_asked_about_as_for_the_averages(name: str, target: str) -> None:
    design = make_arms(800, seed=3)
    shared = {"basis": "linear", "bands": False, "learner_outcome": "products"}
    own = Heterogeneity(target=name, parts=("contrasts",), **shared)  # type: ignore[arg-type]
    averages = AIPW(target=target, placebo=False, contrasts="all", **shared)  # type: ignore[arg-type]
    nuisance = own.nuisance(design)
    found = [
        sensitivity(design=design, nuisance=nuisance, estimates=one.estimate(design, nuisance))
        for one in (own, averages)
    ]
    assert len(found[0]) == len(found[1]) == 3
    for mine, wanted in zip(*found):
        assert mine.status == wanted.status and mine.scope["programme"] == wanted.scope["programme"]
        assert mine.statistic == pytest.approx(wanted.statistic, rel=1e-4)
        assert mine.message["benchmark"] == wanted.message["benchmark"]


def test_contrasts_need_two_programmes_and_targets_are_known() -> None:
    design = make_arms(600, seed=3)
    with pytest.raises(InputError, match="single programme"):
        contrasts(unit_scores(design, AIPW(target="ate"), arms=("none", "aft")))
    with pytest.raises(InputError, match="target"):
        build("heterogeneity", target="att")
