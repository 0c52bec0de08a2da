"""Programmes against one another on one common population."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from tiltakeval.design.cross_section import CrossSection
from tiltakeval.errors import InputErrors
from tiltakeval.study import against
from tiltakeval.study.run import StudyResult, run_study
from tiltakeval.study.spec import parse_spec
from tiltakeval.study.spec_register import RegisterStudy

THREE = 'arms = ["aft", "amo", "lonnstilskudd_midlertidig"]'
BOTH = 'estimands = ["now_vs_wait", "vs_programme_b"]'
COMMON = "nedsatt_arbeidsevne:programmes"


def text_of(small_study: Path, **changes: str) -> str:
    text = (small_study / "study.toml").read_text("utf-8")
    text = re.sub(r"(?s)\[\[for_whom\]\].*?(?=\[inference\])", "", text)
    for old, new in {
        'arms = ["aft", "amo"]': changes.get("arms", THREE),
        'estimands = ["now_vs_wait"]': changes.get("estimands", BOTH),
        "horizon = 24": "horizon = 8",
        "windows = [6, 12, 24]": "windows = [6]",
        'subgroups = ["sex"]': changes.get("extra", ""),
    }.items():
        assert old in text
        text = text.replace(old, new)
    return text + changes.get("end", "")


def study_of(small_study: Path, **changes: str) -> RegisterStudy:
    spec = parse_spec(text_of(small_study, **changes))
    assert isinstance(spec, RegisterStudy)
    return spec


@pytest.fixture(scope="module")
def result(
    register: Path, small_study: Path, tmp_path_factory: pytest.TempPathFactory
) -> StudyResult:
    folder = tmp_path_factory.mktemp("against")
    (folder / "study.toml").write_text(text_of(small_study), "utf-8")
    return run_study(folder, data=register, progress=False)


def test_every_pair_is_compared_on_one_population(result: StudyResult) -> None:
    found = result.estimates.select(estimand="vs_programme_b", term="effect").table
    assert set(found["population"]) == {COMMON}
    assert set(zip(found["programme"], found["comparator"])) == {
        ("aft", "amo"),
        ("aft", "lonnstilskudd_midlertidig"),
        ("amo", "lonnstilskudd_midlertidig"),
    }
    ok = found[found["status"] == "ok"]
    assert np.isfinite(ok["std_error"]).all() and len(ok)
    wide = ok.pivot(index=["outcome", "horizon"], columns=["programme", "comparator"])["estimate"]
    total = wide[("aft", "amo")] + wide[("amo", "lonnstilskudd_midlertidig")]
    # on one population the pairs add up; on populations of their own they needn't
    assert np.allclose(total, wide[("aft", "lonnstilskudd_midlertidig")], rtol=1e-5, atol=1e-6)


def test_the_common_population_is_in_the_flow(result: StudyResult) -> None:
    steps = result.attrition.steps
    here = steps[steps["population"] == COMMON].set_index("step")
    assert here.loc["in_any_compared", "units"] >= here.loc["could_enter_all", "units"] > 0


def test_the_truth_is_of_the_same_pairs_and_within_reach(result: StudyResult) -> None:
    assert result.truth is not None
    keys = ["population", "programme", "comparator", "outcome", "horizon", "subgroup", "estimand"]
    found = result.estimates.select(estimand="vs_programme_b", term="effect", subgroup="all").table
    both = found.merge(result.truth.select(term="effect").table, on=keys, suffixes=("", "_true"))
    assert len(both) == len(found)
    z = (both["estimate"] - both["estimate_true"]) / both["std_error"]
    assert np.abs(z).max() < 5 and np.sqrt((z**2).mean()) < 2


def test_checks_compare_the_programmes_with_one_another(result: StudyResult) -> None:
    checks = [c for c in result.checks if c.scope.get("estimand") == "vs_programme_b"]
    assert {c.key for c in checks} >= {"balance", "overlap", "support", "placebo_outcomes"}
    pairs = {(c.scope["programme"], c.scope["comparator"]) for c in checks if c.key == "balance"}
    assert len(pairs) == 3 and not any("none" in pair for pair in pairs)
    for check in checks:
        if check.key == "balance" and check.detail is not None:
            # weighting to the common population brings the programmes nearer to one another
            before, after = (check.detail[f"difference_{w}"].abs() for w in ("before", "after"))
            assert after.mean() < before.mean()


def test_a_single_pair_is_the_contrast(register: Path, small_study: Path, tmp_path: Path) -> None:
    pair = '\n[[contrast]]\nprogramme = "amo"\nagainst = "aft"\n'
    one = text_of(small_study, extra='pairs = [["amo", "aft"]]')
    other = text_of(small_study, estimands='estimands = ["now_vs_wait"]', end=pair)
    tables = []
    for name, text in (("one", one), ("other", other)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "study.toml").write_text(text, "utf-8")
        found = run_study(tmp_path / name, data=register, progress=False)
        tables.append(found.estimates.select(estimand="vs_programme_b").table)
        assert found.truth is not None
        known = found.truth.select(comparator="aft", programme="amo", term="effect").table
        assert set(known["population"]) == {"nedsatt_arbeidsevne:either"}
    assert len(tables[0]) and tables[0].equals(tables[1])


def test_pairs_declared_name_the_population(small_study: Path) -> None:
    spec = study_of(
        small_study, extra='pairs = [["amo", "aft"], ["amo", "lonnstilskudd_midlertidig"]]'
    )
    base, analysis = spec.base[0], spec.analysis[0]
    pairs = against.common_pairs(analysis, base)
    assert pairs == (("amo", "aft"), ("amo", "lonnstilskudd_midlertidig"))
    assert against.named(pairs) == ("amo", "aft", "lonnstilskudd_midlertidig")
    assert against.takes_a_pass(analysis, base)
    assert against.own_pairs(spec, analysis, base) == ()


def test_everything_wrong_with_pairs_is_said_at_once(small_study: Path) -> None:
    end = """
[[contrast]]
programme = "aft"
against = "aft"
[[contrast]]
programme = "aft"
against = "ips"
[[analysis]]
key = "plain"
estimator = "difference_in_means"
estimands = ["vs_programme_b"]
outcomes = ["work_any"]
[[analysis]]
key = "more"
estimator = "aipw_att"
estimands = ["now_vs_wait"]
outcomes = ["work_any"]
pairs = [["aft", "amo"], ["amo", "aft"]]
"""
    with pytest.raises(InputErrors) as caught:
        study_of(small_study, end=end)
    said = str(caught.value)
    for expected in (
        "contrast 1: 'aft' can't be compared with itself",
        "contrast 2: aft and ips aren't both arms of one base",
        "analysis 2, estimator: difference_in_means can't compare programmes",
        "analysis 3, pairs: aft and amo are paired twice",
        "analysis 3, pairs: pairs are only compared under the estimand vs_programme_b",
    ):
        assert expected in said, said
    assert said.startswith("study.toml has 5 errors")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"arms": 'arms = ["aft"]'}, "every base has one arm"),
        (
            {
                "estimands": 'estimands = ["vs_programme_b"]',
                "end": '\n[[contrast]]\nprogramme = "aft"\nagainst = "amo"\n',
            },
            "a contrast needs an analysis with another estimand",
        ),
        ({"extra": 'pairs = [["aft", "amoo"]]'}, "Did you mean 'amo'"),
        ({"extra": 'pairs = [["aft"]]'}, "pairs 1"),
    ],
)
def test_what_can_be_wrong_is_said(small_study: Path, changes: dict[str, str], said: str) -> None:
    with pytest.raises(InputErrors) as caught:
        study_of(small_study, **changes)
    assert said in str(caught.value)


def test_other_arms_leave_the_design() -> None:
    n = 12
    design = CrossSection(
        arms=("none", "a", "b", "c"),
        arm=np.array([0, 1, 2, 3] * 3, dtype=np.int16),
        eligible=np.ones((n, 4), dtype=bool),
        weight=np.ones(n),
        person=np.arange(n) // 2,
        covariates=np.random.default_rng(1).normal(size=(n, 2)),
        covariate_names=("x", "z"),
        outcomes=np.zeros((n, 1, 1), dtype=np.float32),
        outcome_names=("y",),
        units=("share",),
        horizons=(0,),
        population="base",
        estimand="vs_programme_b",
        time_origin="vedtak",
    )
    part = against.among(design, ("c", "a"))
    assert part.arms == ("none", "c", "a")
    assert part.counts() == {"none": 3, "c": 3, "a": 3}
    assert part.person.max() + 1 == np.unique(design.person[design.arm != 2]).size
    assert against.among(design, ("a", "b", "c")) is design
