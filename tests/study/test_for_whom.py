"""What works for whom in a study: estimates, what is shown of them, and what a file may not say."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tiltakeval.design.cross_section import CrossSection, Subgroup
from tiltakeval.errors import InputErrors
from tiltakeval.estimators.weighting.aipw import AIPW
from tiltakeval.study.for_whom import LEFT_OUT, NOT_MADE, for_whom
from tiltakeval.study.for_whom_asked import prepared
from tiltakeval.study.for_whom_rules import TREE
from tiltakeval.study.for_whom_units import fewer
from tiltakeval.study.run import StudyResult, run_study, write_outputs
from tiltakeval.study.spec import parse_spec
from tiltakeval.study.spec_for_whom import ForWhom
from tiltakeval.study.stages import Stages

QUIET = Stages(show=False)
GIVEN = {"seed": 3, "level": 0.95, "cluster": "person", "draws": 199}
FILE = """
level = "cross_section"
slug = "offers"
seed = 5
title = { nb = "Prøve", en = "Trial" }
question = { nb = "For hvem?", en = "For whom?" }
[[sample]]
key = "all"
parts = [{ source = "rows.csv" }]
[columns]
treatment = "offer"
programme = "course"
outcomes = { pay = "usd" }
covariates = ["x", "young", "rare"]
subgroups = { sex = "sex", age_band = "band" }
[[analysis]]
key = "main"
sample = "all"
estimator = "aipw_ate"
[[for_whom]]
key = "groups"
outcome = "pay"
[for_whom.policy]
covariates = ["x", "young"]
depth = 2
"""


def design(n: int = 4_000, seed: int = 1, months: int = 3) -> CrossSection:
    """Three arms; arm a works for the young, arm b for nobody; only half may enter arm c."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 2))
    young = (rng.random(n) < 0.5).astype(float)
    e = np.column_stack([np.full(n, 2.0), np.exp(0.3 * x[:, 0]), np.exp(-0.3 * x[:, 0])])
    e = np.column_stack([e, 0.3 * (x[:, 1] > 0)])
    e /= e.sum(axis=1, keepdims=True)
    arm = (rng.random(n)[:, None] > e.cumsum(axis=1)).sum(axis=1)
    effect = np.column_stack([np.zeros(n), young, np.zeros((n, 2))])[np.arange(n), arm]
    y = x[:, 0] + effect + rng.normal(size=n)
    outcomes = np.stack([y + 0.1 * rng.normal(size=n) for _ in range(months)], axis=1)
    eligible = np.ones((n, 4), dtype=bool)
    eligible[:, 3] = x[:, 1] > 0
    return CrossSection(
        arms=("none", "a", "b", "c"),
        arm=arm.astype(np.int16),
        eligible=eligible,
        weight=np.ones(n),
        person=np.arange(n),
        covariates=np.column_stack([x, young]),
        covariate_names=("x", "z", "young"),
        outcomes=outcomes[:, :, None].astype(np.float32),
        outcome_names=("y",),
        units=("index",),
        horizons=tuple(range(months)),
        subgroups={
            "age": Subgroup(levels=("old", "young"), codes=young.astype(int)),
            "side": Subgroup(levels=("low", "high"), codes=(x[:, 1] > 0).astype(int)),
        },
        population="all",
        estimand="now_vs_wait",
        time_origin="start",
    )


def asked(spec: ForWhom, estimator: AIPW | None = None, horizon: int = 2):
    estimator = AIPW(target="att", basis="linear") if estimator is None else estimator
    return prepared(spec, estimator, GIVEN, horizon=horizon, threshold=4)


@pytest.fixture(scope="module")
def found():
    spec = ForWhom(
        key="w",
        outcome="y",
        programmes=("a", "b"),
        policy={"covariates": ("x", "young"), "depth": 1, "capacity": "today"},
    )
    one = asked(spec)
    return for_whom(one, design(), None, threshold=4, draws=199, stages=QUIET)


def test_effects_by_group_find_the_truth_and_rules_the_young(found) -> None:
    estimates, checks, told = found
    table = estimates.table
    level = table[(table.term == "effect") & (table.programme == "a")].set_index("subgroup")
    assert abs(level.estimate["age=young"] - 1) < 4 * level.std_error["age=young"]
    assert abs(level.estimate["age=old"]) < 4 * level.std_error["age=old"]
    assert set(table.analysis) == {"w"} and set(table.population) == {"all:common"}
    test = table[(table.term == "test_equal_effects") & (table.subgroup == "age")]
    assert test.set_index("programme").p_value["a"] < 1e-6
    (tree,) = [c for c in checks if c.key == TREE]
    root = tree.detail.iloc[0]
    assert root.covariate == "young" and root.kind == "indicator" and tree.statistic == 1.0
    gain = table[(table.term == "policy_gain") & (table.subgroup == "all")]
    gain = gain.set_index(["programme", "comparator"])
    assert gain.conf_low["rule_tree_limited", "today"] > 0
    assert told["main_rule"] == "rule_tree_limited"


def test_predicted_effects_are_kept_only_where_they_beat_the_average(found) -> None:
    table = found[0].table
    tests = table[table.term == "test_calibration_gain"].set_index("programme").p_value
    assert tests["a"] < 0.05
    assert set(table[table.term == "sorted_effect"].programme) == set(tests.index[tests < 0.05]) - {
        "all"
    }
    assert set(table[table.term == "mean_difference"].programme) >= {"a"}


def test_hidden_factors_are_bounded_for_the_averages_shown(found) -> None:
    estimates, checks, _ = found
    hidden = {c.scope["programme"]: c for c in checks if c.key == "sensitivity"}
    assert set(hidden) == {"a", "b"}
    assert {c.scope["analysis"] for c in hidden.values()} == {"w"}
    a, b = hidden["a"], hidden["b"]
    assert 0.05 < a.message["robustness_value_interval"] < a.statistic < 0.9
    assert b.message["robustness_value_interval"] == 0  # no effect to wipe out
    whole = design()
    inside = np.isin(whole.arm, (0, 1, 2))
    average = estimates.table.query("term == 'effect' and subgroup == 'all'")
    counts = average.set_index("programme").n_treated
    assert a.detail.n_treated.iloc[0] == counts["a"] == (whole.arm[inside] == 1).sum()


def test_effects_on_participants_are_those_of_the_estimator() -> None:
    spec = ForWhom(key="w", outcome="y", programmes=("a", "b"), target="treated")
    one, whole = asked(spec), design()
    estimates, checks, _ = for_whom(one, whole, None, threshold=4, draws=99, stages=QUIET)
    table = estimates.table
    assert set(table.population) == {"all:treated"}
    assert one.heterogeneity.target == "treated"
    estimator = replace(one.heterogeneity, compare=("none", "a", "b"), parts=())
    last = replace(whole, outcomes=whole.outcomes[:, 2:], horizons=(2,))
    direct = estimator.estimate(last)
    keys = ["programme", "term", "subgroup"]
    both = table.merge(direct.table, on=keys, suffixes=("", "_direct"))
    both = both[both.term == "effect"]
    assert len(both) == 10
    np.testing.assert_allclose(both.estimate, both.estimate_direct, rtol=1e-9)
    a = table[(table.term == "effect") & (table.programme == "a")].set_index("subgroup")
    assert abs(a.estimate["age=young"] - 1) < 4 * a.std_error["age=young"]
    hidden = {c.scope["programme"]: c for c in checks if c.key == "sensitivity"}
    assert hidden["a"].message["robustness_value_interval"] > 0.05
    assert hidden["b"].message["robustness_value_interval"] == 0


def test_the_analysis_lends_its_propensities_and_nothing_changes() -> None:
    spec = ForWhom(key="w", outcome="y", programmes=("a", "b"), parts=("tests",))
    one, whole = asked(spec), design(1_500)
    nuisance = one.estimator.nuisance(whole)
    lent, _, told = for_whom(one, whole, nuisance, threshold=4, draws=99, stages=QUIET)
    own, _, other = for_whom(one, whole, None, threshold=4, draws=99, stages=QUIET)
    assert told["shared"] and not other["shared"]
    pd.testing.assert_frame_equal(lent.table, own.table)
    forest = asked(spec.model_copy(update={"options": {"folds": 4}}))
    _, _, told = for_whom(forest, whole, nuisance, threshold=4, draws=99, stages=QUIET)
    assert not told["shared"]  # other folds than the analysis's


def test_a_sum_over_months_is_the_months_added_up() -> None:
    spec = ForWhom(key="w", outcome="y", programmes=("a",), parts=("tests",), cumulated=True)
    whole = design(1_500)
    total, _, _ = for_whom(asked(spec), whole, None, threshold=4, draws=99, stages=QUIET)
    same = replace(whole, outcomes=np.repeat(whole.outcomes[:, :1], 3, axis=1))
    summed, _, _ = for_whom(asked(spec), same, None, threshold=4, draws=99, stages=QUIET)
    one = spec.model_copy(update={"cumulated": False})
    single, _, _ = for_whom(asked(one, horizon=0), same, None, threshold=4, draws=99, stages=QUIET)
    effect = total.table[total.table.term == "effect"]
    assert set(effect.period) == {"0-2"} and effect.horizon.isna().all()
    first, three = (t.table[t.table.term == "effect"].estimate for t in (single, summed))
    np.testing.assert_allclose(three, 3 * first, rtol=1e-3, atol=1e-4)


def test_a_programme_few_could_have_entered_is_left_out_and_said() -> None:
    spec = ForWhom(key="w", outcome="y", parts=("tests",), least=150)
    whole = design(2_000)
    estimates, checks, _ = for_whom(asked(spec), whole, None, threshold=4, draws=99, stages=QUIET)
    (left,) = [c for c in checks if c.key == LEFT_OUT]
    assert left.scope["programme"] == "c" and left.threshold == 150
    average = estimates.table[
        (estimates.table.term == "effect") & (estimates.table.subgroup == "all")
    ]
    assert set(average.programme) == {"a", "b"}
    # with c gone those who couldn't have entered it are in again
    assert average.n_treated.sum() == (whole.arm == 1).sum() + (whole.arm == 2).sum()


@pytest.mark.parametrize(
    ("spec", "where"),
    [
        ({"outcome": "y", "least": 5_000}, "all, least"),
        ({"outcome": "z"}, "outcome"),
        ({"outcome": "y", "programmes": ("d",)}, "programmes"),
        ({"outcome": "y", "policy": {"covariates": ("income",)}}, "policy, covariates"),
    ],
)
def test_what_the_data_cannot_carry_is_a_failed_check(spec: dict, where: str) -> None:
    one = asked(ForWhom(key="w", parts=("tests",), **spec))
    estimates, checks, told = for_whom(one, design(800), None, threshold=4, draws=99, stages=QUIET)
    assert estimates is None and told == {}
    (check,) = checks
    assert (check.key, check.status) == (NOT_MADE, "failed")
    assert check.message == {"reason": where}


def test_fewer_without_a_programme_stand_for_all() -> None:
    from tiltakeval.estimators.heterogeneity.scores import unit_scores

    scores = unit_scores(
        design(1_500), AIPW(target="ate", basis="linear"), horizon=0, arms=("none", "a", "b")
    )
    less = fewer(scores, 200, 1)
    assert (less.arm == 0).sum() == 200 and (less.arm > 0).sum() == (scores.arm > 0).sum()
    assert less.weight.sum() == pytest.approx(scores.weight.sum())
    assert less.splits[0].weight.sum() == pytest.approx(scores.weight.sum())
    assert fewer(scores, None, 1) is scores


@pytest.fixture(scope="module")
def offers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study on a file: one programme, which pays for the young."""
    folder = tmp_path_factory.mktemp("offers") / "offers"
    folder.mkdir()
    rng = np.random.default_rng(2)
    n = 1_600
    x, young = rng.normal(size=n), rng.integers(0, 2, n)
    offer = rng.integers(0, 2, n)
    rare = np.zeros(n, dtype=int)
    rare[:7] = 1  # an indicator that few have
    pay = 20 + x + 4 * offer * young + rng.normal(size=n)
    frame = pd.DataFrame(
        {"x": x.round(4), "young": young, "rare": rare, "offer": offer, "pay": pay}
    )
    frame["sex"] = np.where(rng.random(n) < 0.5, "female", "male")
    frame["band"] = np.where(young == 1, "18-29", "30-66")
    frame.to_csv(folder / "rows.csv", index=False)
    (folder / "study.toml").write_text(FILE, "utf-8")
    return folder


@pytest.fixture(scope="module")
def written(offers: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("out")
    write_outputs(run_study(offers, progress=False), out)
    return out / "offers"


def section(folder: Path, language: str) -> str:
    page = (folder / f"report.{language}.html").read_text("utf-8")
    found = re.search(r'(?s)<section id="for_whom".*?</section>', page)
    assert found
    return found[0]


def test_the_page_has_every_part_in_both_languages(written: Path) -> None:
    en, nb = section(written, "en"), section(written, "nb")
    assert "decision support" in en and "beslutningsstøtte" in nb.lower()
    for text in (
        "Signs that the effect differs by age",
        "No sign that the effect differs by sex",
        "Highest calculated effect",
        "The ranking finds those it works best for",
        "The rule as a tree",
        "Young?",
        "Gain a place",
        "Randomised test",
        "would have to matter",
        "What is left of the effect",
    ):
        assert text in en, text
    assert nb.count("<svg") == en.count("<svg") == 6
    assert nb.count('role="img"') == 6
    answer = re.search(
        r'(?s)<section id="answer".*?</section>', (written / "report.en.html").read_text("utf-8")
    )
    assert answer and answer[0].count("work differently") == 1


def test_the_page_says_when_it_is_about_participants(offers: Path, tmp_path: Path) -> None:
    text = FILE.partition("[for_whom.policy]")[0].replace(
        'key = "groups"', 'key = "groups"\ntarget = "treated"\nparts = ["tests", "targeting"]'
    )
    (tmp_path / "study.toml").write_text(text, "utf-8")
    (tmp_path / "rows.csv").write_bytes((offers / "rows.csv").read_bytes())
    write_outputs(run_study(tmp_path, progress=False), tmp_path / "out")
    folder = tmp_path / "out" / "offers"
    en, nb = section(folder, "en"), section(folder, "nb")
    assert "The numbers are about those who got " in en and "Average for those who got" in en
    assert "All numbers are about the same persons" not in en and "What if places" not in en
    assert "Tallene gjelder dem som fikk " in nb and "Hvis vi rangerer dem som fikk" in nb
    assert "Gjennomsnitt for alle" not in nb and "i gjennomsnitt for alle" not in nb


def test_what_is_released_holds_no_small_cell(written: Path) -> None:
    table = pd.read_csv(written / "for_whom.csv")
    counts = table[["n_treated", "n_comparison", "n_clusters"]]
    assert not ((counts > 0) & (counts < 4)).to_numpy().any()
    assert "rare" not in set(table.outcome)  # seven persons have it
    moved = table[table.term.isin(["place_gained", "place_lost"])]
    assert set(moved.period) == {"places_moved"}
    hidden = moved.assign(hidden=moved.status == "suppressed")
    keys = ["population", "programme", "subgroup"]
    assert (hidden.groupby(keys)["hidden"].nunique() == 1).all()  # one hides the other
    shares = table[table.term.isin(["transition", "place_gained", "place_lost", "policy_share"])]
    shown = shares[shares.estimate.notna()]
    assert not (shown.n_treated < 10).any()
    checks = json.loads((written / "checks.json").read_text("utf-8"))["checks"]
    (tree,) = [c for c in checks if c["key"] == TREE]
    assert all(row["share"] is None or row["share"] > 0 for row in tree["detail"])
    cut = [row["threshold"] for row in tree["detail"] if row["kind"] == "number"]
    assert all(round(t, 2) == t for t in cut)
    manifest = json.loads((written / "manifest.json").read_text("utf-8"))
    assert set(manifest["analyses"]["groups"]) == {"estimator", "arms", "shared", "main_rule"}


def test_a_register_study_has_it_for_its_base_population(
    small_result: StudyResult, tmp_path: Path
) -> None:
    assert small_result.for_whom is not None
    table = small_result.for_whom.table
    assert set(table.population) == {"nedsatt_arbeidsevne:common"}
    assert set(table.study) == {"small"} and set(table.analysis) == {"groups"}
    assert small_result.for_whom.influence is None
    runs = small_result.manifest["analyses"]["groups/nedsatt_arbeidsevne"]
    assert runs["shared"]
    write_outputs(small_result, tmp_path)
    text = section(tmp_path / "small", "nb")
    assert "dagens praksis" in text and "Før en slik regel kan brukes" in text
    assert "Kjent fasit (oppdiktede data)" in text and "Kjent fasit: mer enn i dag" in text


def test_the_truth_is_of_those_who_could_have_entered_all(small_result: StudyResult) -> None:
    assert small_result.truth is not None and small_result.for_whom is not None
    true = small_result.truth.table
    true = true[true.population == "nedsatt_arbeidsevne:common"]
    found = small_result.for_whom.table
    keys = ["analysis", "estimand", "programme", "subgroup", "outcome", "horizon", "period", "unit"]
    effects = found[found.term == "effect"].merge(true[true.term == "effect"], on=keys)
    assert len(effects) == (found.term == "effect").sum() == 6  # two programmes: all, women, men
    gap = (effects.estimate_x - effects.estimate_y).abs()
    assert (gap < 4 * np.hypot(effects.std_error_x, effects.std_error_y)).all()
    value = true[true.term == "policy_value"].set_index("programme").estimate
    gain = true[true.term == "policy_gain"].set_index("programme").estimate
    rest = value.drop("today")
    np.testing.assert_allclose(gain[rest.index], rest - value["today"], atol=1e-12)
    assert set(value.index) <= set(found[found.term == "policy_value"].programme)
    assert {"today", "rule_random", "rule_everyone_aft", "rule_tree_limited"} <= set(value.index)
    effect = (
        true[(true.term == "effect") & (true.subgroup == "all")].set_index("programme").estimate
    )
    assert value["rule_everyone_aft"] - value["rule_everyone_none"] == pytest.approx(effect["aft"])


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('outcome = "pay"', 'outcome = "wage"', "unknown outcome 'wage'"),
        ('outcome = "pay"', 'outcome = "pay"\nhorizon = 3', "have no months"),
        ('outcome = "pay"', 'outcome = "pay"\nprogrammes = ["ips"]', "unknown programme 'ips'"),
        ('outcome = "pay"', 'outcome = "pay"\nsubgroups = ["sex"]', "fewer than two"),
        ('outcome = "pay"', 'outcome = "pay"\nparts = ["forest"]', "forest"),
        ('outcome = "pay"', 'outcome = "pay"\n[for_whom.options]\ncompare = ["a"]', "isn't among"),
        ('key = "groups"', 'key = "main"', "'main' is used twice"),
        ('key = "groups"', 'key = "groups"\nanalysis = "other"', "unknown analysis 'other'"),
        ("depth = 2", 'depth = 2\nfairness = "no_loss"', "go together"),
        ("depth = 2", 'depth = 2\nfairness = "no_loss"\nfairness_by = "sx"', "Did you mean 'sex'"),
        ("depth = 2", "depth = 2\ncapacity = { course = -1 }", "fewer than no places"),
        ("depth = 2", "depth = 9", "at most 3"),
        ('outcome = "pay"', 'outcome = "pay"\ntarget = "treated"', "not about participants"),
        ('outcome = "pay"', 'outcome = "pay"\ntarget = "overlap"', "target"),
        ('key = "groups"', 'key = "groups"\noptions = { target = "treated" }', "isn't among"),
        ('covariates = ["x", "young"]\ndepth', "depth", "'covariates' is missing"),
    ],
)
def test_what_a_study_file_may_not_say(old: str, new: str, says: str) -> None:
    assert old in FILE
    with pytest.raises(InputErrors, match=re.escape(says)):
        parse_spec(FILE.replace(old, new, 1))


def test_a_month_beyond_the_horizon_is_refused(small_study: Path) -> None:
    text = (small_study / "study.toml").read_text("utf-8")
    text = text.replace("horizon = 12\n", "horizon = 25\n", 1)
    with pytest.raises(InputErrors, match="month 25 is beyond the horizon 24"):
        parse_spec(text)
