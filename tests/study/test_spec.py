"""The study file: read whole, refused with every error at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tiltakeval.errors import InputError, InputErrors
from tiltakeval.study import spec, vocabulary


@pytest.fixture(scope="module")
def register_text(root: Path) -> str:
    return (root / "studies/programme_comparison/study.toml").read_text("utf-8")


@pytest.fixture(scope="module")
def file_text(root: Path) -> str:
    return (root / "studies/nsw_training/study.toml").read_text("utf-8")


def test_the_two_studies_are_valid(register_text: str, file_text: str) -> None:
    register, file = spec.parse_spec(register_text), spec.parse_spec(file_text)
    assert isinstance(register, spec.RegisterStudy)
    assert isinstance(file, spec.CrossSectionStudy)
    assert {arm for base in register.base for arm in base.arms} == {
        *("aft", "lonnstilskudd_midlertidig", "amo", "fag_og_yrkesopplaering"),
        *("hoyere_utdanning", "ips"),
    }
    assert {name for a in register.analysis for name in a.estimands} == {
        "now_vs_wait",
        "vs_no_programme",
    }


def test_all_errors_come_at_once_with_the_nearest_key(register_text: str) -> None:
    wrong = (
        register_text.replace("horizon = 36", 'horizon = "36 months"')
        .replace("placebo_months", "placebo_mnths")
        .replace('"amo", "fag_og', '"amoo", "fag_og')
        .replace("seed = 20240601\n", "")
        .replace('"full_time"', '"fulltime"')
        .replace('"2020-12"', '"2020-13"')
        .replace("balance_smd = 0.1", "balance_smd = -1")
        .replace('estimator = "aipw_att"', 'estimator = "aipw_at"')
        .replace('cluster = "person"', 'cluster = "persons"')
    )
    with pytest.raises(InputErrors) as caught:
        spec.parse_spec(wrong, where="study.toml")
    text = str(caught.value)
    assert text.startswith("study.toml has 10 errors; nothing was run.")
    for expected in (
        "population, horizon: '36 months' must be a whole number",
        "population: unknown key 'placebo_mnths'\n  Did you mean 'placebo_months'?",
        "unknown programme 'amoo'\n  Did you mean 'amo'?",
        "top level: 'seed' is missing\n  It is seed of sampling, folds and bands.",
        "analysis 1, outcomes 3: unknown outcome 'fulltime'\n  Did you mean 'full_time'?",
        "population, entry 2: '2020-13' is not a month",
        "checks, balance_smd: -1 must be greater than 0",
        "analysis 1, estimator: unknown estimator 'aipw_at'\n  Did you mean 'aipw_att'?",
        "inference, cluster: unknown value 'persons'\n  Did you mean 'person'?",
    ):
        assert expected in text
    assert "pydantic" not in text


def test_keys_are_called_what_the_file_calls_them(register_text: str) -> None:
    wrong = register_text.replace('register = "synthetic', 'registr = "synthetic')
    with pytest.raises(InputErrors, match="Did you mean 'register'"):
        spec.parse_spec(wrong)


def test_an_arm_the_law_shuts_is_refused(register_text: str) -> None:
    wrong = register_text.replace('"amo", "fag_og_yrkesopplaering"]', '"amo", "aft"]')
    with pytest.raises(InputErrors, match="aft: by the catalogue not open to jobseeker"):
        spec.parse_spec(wrong)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('entry = ["2016-01", "2020-12"]', 'entry = ["2020-12", "2016-01"]', "is reversed"),
        ("windows = [6, 12, 24, 36]", "windows = [6, 48]", "beyond the horizon 36"),
        ('primary = "now_vs_wait"', 'primary = "late"', "no analysis estimates the primary"),
        ('rules = "nav"', 'rules = "navv"', "Did you mean 'nav'"),
        ('level = "register"', 'level = "registr"', "Did you mean 'register'"),
        ('level = "register"', "", "'level' is missing"),
        ("persons = 100_000 ", "persons = 10 ", "must be at least 500"),
        ("[population]", "[population", "not valid TOML"),
    ],
)
def test_what_can_be_wrong_is_said(register_text: str, old: str, new: str, message: str) -> None:
    assert old in register_text
    with pytest.raises(InputError) as caught:
        spec.parse_spec(register_text.replace(old, new, 1))
    assert message in str(caught.value)


def test_a_sample_that_is_not_declared_is_refused(file_text: str) -> None:
    wrong = file_text.replace('sample = "cps_controls"', 'sample = "cps_control"', 1)
    with pytest.raises(InputErrors, match="Did you mean 'cps_controls'"):
        spec.parse_spec(wrong)


def test_a_study_is_found_by_folder_file_or_name(root: Path, monkeypatch) -> None:
    monkeypatch.chdir(root)
    path = Path("studies/nsw_training/study.toml")
    for name in ("nsw_training", "studies/nsw_training", str(path)):
        assert spec.find_study(name) == path
    with pytest.raises(InputError, match="Did you mean 'nsw_training'"):
        spec.find_study("nsw_traning")


def test_vocabulary_mirrors_what_the_layers_offer() -> None:
    from tiltakeval.design.cross_section import ESTIMANDS
    from tiltakeval.disclosure.rules import rule_names
    from tiltakeval.population.features import BLOCKS, SETS
    from tiltakeval.population.person_months import CATEGORIES
    from tiltakeval.population.person_periods import EXITS
    from tiltakeval.population.subgroups import SUBGROUPS
    from tiltakeval.spells.outcomes import OUTCOMES

    assert set(vocabulary.ESTIMANDS) == set(ESTIMANDS)
    assert set(vocabulary.OUTCOMES) == set(OUTCOMES)
    assert set(vocabulary.SUBGROUPS) == set(SUBGROUPS)
    assert set(vocabulary.COVARIATES) == {*SETS, *BLOCKS}
    assert tuple(vocabulary.EXITS) == EXITS
    assert set(vocabulary.CATEGORIES) == set(CATEGORIES)
    assert set(vocabulary.RULE_SETS) == set(rule_names())
