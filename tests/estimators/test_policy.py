"""The estimator policy: values against the truth, who would move, what is told and what isn't."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from invented_designs import make_design

from tiltakeval.design.cross_section import CrossSection, Subgroup
from tiltakeval.disclosure.release import release_estimates
from tiltakeval.errors import InputError
from tiltakeval.estimates.combine import contrast
from tiltakeval.estimates.table import Estimates
from tiltakeval.estimators import build
from tiltakeval.estimators.heterogeneity.policy.evaluate import TODAY, scores_without
from tiltakeval.estimators.heterogeneity.policy.small_cells import (
    KINDS,
    UNAFFECTED,
    hidden_cells,
    hidden_columns,
    kind_of,
    told_kinds,
)
from tiltakeval.estimators.heterogeneity.policy.statement import NEEDS, needed_before_use
from tiltakeval.estimators.heterogeneity.scores import nuisances_for, unit_scores

ARMS = ("none", "aft", "amo")


def divided(n: int, seed: int) -> tuple[CrossSection, np.ndarray]:
    """AFT gives 2 where x0 > 0 and takes 1 elsewhere, AMO the other way round; true effects [n, 3]."""
    base = make_design(n, seed=seed, months=1, recurring=False)
    rng = np.random.default_rng([seed, 7])
    x = base.covariates
    up = x[:, 0] > 0
    tau = np.column_stack([np.zeros(n), np.where(up, 2.0, -1.0), np.where(up, -1.0, 1.0)])
    y = x[:, 1] + tau[np.arange(n), base.arm] + rng.standard_normal(n)
    sex = Subgroup(levels=("man", "woman"), codes=(rng.random(n) < 0.4).astype(np.int16))
    design = replace(
        base,
        outcomes=y.reshape(n, 1, 1).astype(np.float32),
        outcome_names=("months_worked",),
        units=("months",),
        subgroups={"sex": sex},
        placebo=None,
        placebo_names=(),
        placebo_horizons=(),
    )
    return design, tau


@pytest.fixture(scope="module")
def found() -> tuple[Estimates, CrossSection, np.ndarray]:
    design, tau = divided(3_000, 1)
    policy = build("policy", capacity="aft=0.2,amo=0.2", seeds=2, predictions="outcomes")
    return policy.estimate(design), design, tau


def row(estimates: Estimates, **where: str):
    where = {"subgroup": "all", **where}
    table = estimates.select(**where).table
    assert len(table) == 1, where
    return table.iloc[0]


def test_values_and_gains_are_near_the_truth(found) -> None:
    estimates, design, tau = found
    n = design.n
    got = tau[np.arange(n), design.arm].mean()
    best = row(estimates, term="policy_gain", programme="rule_tree", comparator=TODAY)
    assert abs(best.estimate - (tau.max(axis=1).mean() - got)) < 4 * best.std_error + 0.1
    assert best.conf_low > 0.8  # the gain is 1.2
    for a, arm in enumerate(ARMS):
        everyone = row(
            estimates, term="policy_gain", programme=f"rule_everyone_{arm}", comparator=TODAY
        )
        assert abs(everyone.estimate - (tau[:, a].mean() - got)) < 4 * everyone.std_error
    lot = row(estimates, term="policy_gain", programme="rule_random", comparator=TODAY)
    shares = np.bincount(design.arm) / n
    assert abs(lot.estimate - (shares @ tau.mean(axis=0) - got)) < 4 * lot.std_error
    today = row(estimates, term="policy_value", programme=TODAY, comparator="none")
    assert today.estimate == pytest.approx(design.outcomes.mean(), abs=1e-5)


def test_limited_rules_fill_the_places_exactly(found) -> None:
    estimates, design, _ = found
    for rule in ("rule_tree_limited", "rule_individual_limited"):
        for arm in ("aft", "amo"):
            share = row(estimates, term="policy_share", programme=arm, comparator=rule)
            assert share.estimate == pytest.approx(0.2, abs=1 / design.n)
        told = estimates.run["policy"]["limits"][rule]
        assert {line["limit"] for line in told} == {"capacity aft", "capacity amo"}
        assert all(abs(line["left"]) < 1e-9 for line in told)


def test_any_two_rules_can_be_compared(found) -> None:
    estimates, _, _ = found
    sides = [
        estimates.select(term="policy_value", programme=name, subgroup="all")
        for name in ("rule_tree_limited", "rule_random")
    ]
    gap = contrast(*sides, term="policy_gain", comparator="rule_random").table.iloc[0]
    own = row(
        estimates, term="policy_gain", programme="rule_tree_limited", comparator="rule_random"
    )
    assert gap.estimate == pytest.approx(own.estimate, abs=0.02)
    assert gap.std_error == pytest.approx(own.std_error, rel=0.1)


def test_levels_add_up_to_everybody_and_moves_to_one(found) -> None:
    estimates, design, _ = found
    assert estimates.run["policy"]["main"] == "rule_tree_limited"
    part = np.bincount(design.subgroups["sex"].codes) / design.n
    for term in (*KINDS, "policy_share"):
        where = {"term": term, "programme": "rule_tree_limited"}
        if term == "policy_share":
            where = {"term": term, "programme": "amo", "comparator": "rule_tree_limited"}
        levels = [row(estimates, subgroup=f"sex={s}", **where).estimate for s in ("man", "woman")]
        assert part @ levels == pytest.approx(row(estimates, **where).estimate, abs=1e-9)
    moves = estimates.select(term="transition", subgroup="all").table
    assert moves.estimate.sum() == pytest.approx(1.0) and len(moves) == 9
    assert moves.n_treated.sum() == pytest.approx(design.n, abs=5)


def test_the_effect_of_moving_is_that_on_those_who_move() -> None:
    """A tree without limits sends x0 > 0 to AFT: for those in no programme today that is worth 2."""
    design, _ = divided(3_000, 2)
    estimates = build("policy", seeds=1).estimate(design)
    moved = row(estimates, term="transition_effect", programme="aft", comparator="none")
    assert abs(moved.estimate - 2.0) < 3 * moved.std_error + 0.1 and moved.std_error < 0.2
    swap = row(estimates, term="transition_effect", programme="aft", comparator="amo")
    assert abs(swap.estimate - 3.0) < 3 * swap.std_error + 0.1
    gain = row(estimates, term="policy_gain", programme="rule_tree", comparator=TODAY)
    kinds = estimates.run["policy"]["main"], KINDS[1:]
    total = sum(
        row(estimates, term=k, programme=kinds[0]).estimate
        * row(estimates, term=f"effect_of_{k}", programme=kinds[0]).estimate
        for k in kinds[1]
        if row(estimates, term=k, programme=kinds[0]).status == "ok"
    )
    assert total == pytest.approx(gain.estimate, abs=0.12)


def test_the_tree_is_told_without_a_persons_value(found) -> None:
    estimates, design, _ = found
    told = estimates.run["policy"]
    json.dumps(told)
    nodes = told["tree"]["nodes"]
    assert nodes[0]["share"] == 1.0 and nodes[0]["covariate"] == "x0"
    for node in nodes:
        if "threshold" in node:
            column = design.covariates[:, design.covariate_names.index(node["covariate"])]
            assert not np.isin(node["threshold"], column)
            assert node["threshold"] == round(node["threshold"], 3)
        else:
            assert sum(offer["part"] for offer in node["offers"]) == pytest.approx(1.0, abs=0.05)
            assert node["share"] * design.n >= 50 - 0.005 * design.n
    assert told["label"]["en"] == "Decision support"
    assert "Randomised test" in told["needed_before_use"]["en"]
    assert "Rettslig grunnlag" in told["needed_before_use"]["nb"]


def test_fairness_holds_and_using_the_trait_is_told() -> None:
    design, _ = divided(1_000, 3)
    x = design.covariates
    tilted = (x[:, 0] + np.random.default_rng(1).standard_normal(1_000) > 0).astype(np.int16)
    sex = Subgroup(levels=("man", "woman"), codes=tilted)
    design = replace(design, subgroups={"sex": sex})
    common = {"capacity": "aft=0.2,amo=0", "seeds": 1, "main": "individual"}
    free = build("policy", **common).estimate(design)
    fair = build(
        "policy", fairness="equal_shares", fairness_by="sex", fairness_slack=0.01, **common
    ).estimate(design)

    def gap(estimates: Estimates, rule: str) -> float:
        without = [
            row(
                estimates,
                term="policy_share",
                programme="none",
                comparator=rule,
                subgroup=f"sex={s}",
            ).estimate
            for s in ("man", "woman")
        ]
        return abs(without[0] - without[1])

    for rule in ("rule_individual_limited", "rule_tree_limited"):
        assert gap(free, rule) > 0.05
        assert gap(fair, rule) <= 0.02 + 1e-6
    assert "sex directly" in fair.run["policy"]["needed_before_use"]["en"]
    assert "sex directly" not in free.run["policy"]["needed_before_use"]["en"]
    kept = build("policy", fairness="no_loss", fairness_by="sex", **common).estimate(design)
    lines = kept.run["policy"]["limits"]["rule_individual_limited"]
    assert any("keeps its places" in line["limit"] for line in lines)


def test_money_moves_the_rule_and_makes_rows_in_nok() -> None:
    design, _ = divided(1_500, 4)
    cheap, dear = (
        build(
            "policy",
            seeds=1,
            costs=f"aft={cost},amo=100",
            value_per_unit=1_000.0,
            tax_financing=0.0,
        ).estimate(design)
        for cost in (100, 5_000)
    )
    first = row(cheap, term="policy_share", programme="aft", comparator="rule_individual")
    second = row(dear, term="policy_share", programme="aft", comparator="rule_individual")
    assert first.estimate > 0.4 and second.status == "not_supported" and second.n_treated == 0
    net = row(cheap, term="policy_net_value", programme="rule_everyone_aft")
    plain = row(cheap, term="policy_value", programme="rule_everyone_aft")
    assert net.unit == "nok" and net.estimate == pytest.approx(1_000 * plain.estimate - 100)
    limited = build(
        "policy", seeds=1, costs="aft=100,amo=100", value_per_unit=1_000.0, budget=30_000.0
    ).estimate(design)
    line = limited.run["policy"]["limits"]["rule_tree_limited"][0]
    assert line["limit"] == "budget" and line["used"] <= line["bound"] + 1e-9


def test_small_cells_and_what_gives_them_away_are_hidden() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        levels = rng.poisson(rng.choice([2, 15, 60], size=(2, 3, 3))).astype(float)
        counts = np.concatenate([levels.sum(axis=0, keepdims=True), levels])
        hidden = hidden_cells(counts, [-1, 0, 0], least=10)
        assert hidden[(counts > 0) & (counts < 10)].all()
        kind = kind_of(3)
        sums = [np.eye(3, dtype=bool)[[k]].repeat(3, 0).T for k in range(3)]
        sums += [s.T for s in sums] + [kind == k for k in range(4)]
        for table, gone in zip(counts, hidden):
            for cells in sums:
                lost = table[gone & cells]
                assert (
                    lost.sum() == 0 or lost.sum() >= 10 or not (cells & ~gone & (table >= 0)).any()
                )
        columns = counts.sum(axis=2)
        gone = hidden_columns(columns, [-1, 0, 0], least=10)
        for lost in gone:
            assert lost.sum() != 1


def test_few_changed_programmes_are_told_with_the_unaffected() -> None:
    counts = np.array([[900.0, 40, 55, 5], [500, 20, 30, 0], [400, 20, 25, 5]])
    told, hidden = told_kinds(counts, [-1, 0, 0], least=10)
    assert list(told) == [UNAFFECTED, "place_gained", "place_lost"] and not hidden.any()
    counts[0, 3] = counts[2, 3] = 60  # enough: told apart
    told, hidden = told_kinds(counts, [-1, 0, 0], least=10)
    assert list(told) == list(KINDS) and not hidden.any()
    # a small number gained is not given away by the number lost and the places there are
    counts[1, 1], counts[0, 1] = 3, 23
    for changed in (60.0, 5.0):
        counts[0, 3] = counts[2, 3] = changed
        told, hidden = told_kinds(counts, [-1, 0, 0], least=10)
        gained = list(told).index("place_gained")
        assert hidden[1, gained : gained + 2].all() and hidden[2, gained]
        if changed == 5:
            assert hidden[1].all()


def test_released_rows_have_no_small_count() -> None:
    design = make_design(500, seed=3)
    rare = Subgroup(levels=("a", "b"), codes=(np.arange(500) > 20).astype(np.int16))
    design = replace(design, subgroups={"g": rare})
    released = release_estimates(build("policy", seeds=1).estimate(design), "nav").table
    shown = released[released.status == "ok"]
    assert (shown.n_treated >= 4).all() and len(shown) > 20
    hidden = released[(released.term == "transition") & (released.subgroup == "g=a")]
    assert hidden.estimate.isna().any()


def test_no_heterogeneity_gives_no_gain_over_the_best_single_arm() -> None:
    design = make_design(2_000, seed=6, months=1, recurring=False)
    estimates = build("policy", seeds=1).estimate(design)
    values = [
        row(estimates, term="policy_value", programme=name)
        for name in ("rule_tree", "rule_everyone_aft")
    ]
    assert values[0].estimate <= values[1].estimate + values[0].std_error


@pytest.mark.parametrize(
    ("options", "where"),
    [
        ({"depth": 0}, "depth"),
        ({"fairness": "equal_shares"}, "fairness"),
        ({"fairness": "fair"}, "fairness"),
        ({"fairness": "no_loss", "fairness_by": "sexx"}, "fairness_by"),
        ({"capacity": "aft"}, "capacity"),
        ({"capacity": "afft=0.1"}, "capacity"),
        ({"tree_scores": 2.0}, "tree_scores"),
        ({"budget": 100.0}, "budget"),
        ({"costs": "catalogue"}, "aft, amo"),
        ({"covariates": ("x9",)}, "covariates"),
        ({"min_leaf": 5}, "min_leaf"),
        ({"value_per_unit": 1.0}, "value_per_unit"),
        ({"outcome": "wrok"}, "outcome"),
        ({"main": "forest"}, "main"),
    ],
)
def test_bad_options_are_told(options, where) -> None:
    design = make_design(300, seed=1)
    with pytest.raises(InputError, match=where):
        build("policy", seeds=1, **options).estimate(design)


def test_nothing_is_learnt_from_the_fold_it_is_judged_on() -> None:
    """Other outcomes in a fold change what is learnt for other folds, but not what is learnt for it."""
    design, _ = divided(600, 5)
    policy = build("policy", seeds=1)
    options = policy.scoring()
    nuisances = nuisances_for(design, options)
    scores = unit_scores(design, options, nuisances=nuisances)
    held = nuisances[0].fold == 2
    outcomes = design.outcomes.copy()
    outcomes[held] += 100 * np.random.default_rng(0).standard_normal(outcomes[held].shape)
    other = replace(design, outcomes=outcomes)
    before, after = (scores_without(d, options, scores, nuisances) for d in (design, other))
    np.testing.assert_array_equal(before(0, 2).psi, after(0, 2).psi)
    assert not np.allclose(before(0, 1).psi, after(0, 1).psi)
    assert before(0, 2).n == (~held).sum()
    with pytest.raises(InputError, match="overlap"):
        policy.of_scores(replace(scores, target="overlap"), before)


def test_the_statement_has_the_same_points_in_both_languages() -> None:
    assert len(NEEDS["nb"]) == len(NEEDS["en"]) == 7
    assert "landgruppe" in needed_before_use("nb", uses=["landgruppe"])
    with pytest.raises(InputError, match="language"):
        needed_before_use("sv")  # type: ignore[arg-type]
