import pytest

from tiltakeval.errors import InputError
from tiltakeval.months import parse_month
from tiltakeval.population.cases import run_cases
from tiltakeval.population.spec import PopulationSpec
from tiltakeval.programmes import catalogue

ARMS = {
    "jobseeker": ("lonnstilskudd_midlertidig", "amo", "fag_og_yrkesopplaering"),
    "nedsatt_arbeidsevne": (
        "aft", "lonnstilskudd_midlertidig", "amo", "fag_og_yrkesopplaering", "hoyere_utdanning",
        "ips",
    ),
}  # fmt: skip


def _spec(base, **changes):
    conditions = {"ips": {"diagnosis_group": ("mental",)}} if base != "jobseeker" else {}
    return PopulationSpec(
        **{"base": base, "arms": ARMS[base], "arm_conditions": conditions,
           "entry": (parse_month("2016-01"), parse_month("2020-12")), **changes}
    )  # fmt: skip


@pytest.mark.parametrize("base", ["jobseeker", "nedsatt_arbeidsevne"])
def test_every_invented_person_meets_the_expected_fate(root, base):
    path = root / "studies" / "programme_comparison" / "cases.toml"
    checks = run_cases(path, _spec(base), catalogue.load())
    failed = [(c.scope["case"], c.message) for c in checks if c.status != "passed"]
    assert not failed
    assert len(checks) >= 10


def test_a_wrong_expectation_fails_and_says_what_differs(root):
    path = root / "studies" / "programme_comparison" / "cases.toml"
    checks = run_cases(path, _spec("jobseeker", age=(18, 24)), catalogue.load())
    failed = [c for c in checks if c.status == "failed"]
    assert failed
    assert all(c.message["differs"] for c in failed)


def test_a_misspelt_step_is_named(tmp_path):
    path = tmp_path / "cases.toml"
    path.write_text('[[person]]\nname = "x"\nexpect = { in = false, lost_at = "agee" }\n')
    with pytest.raises(InputError, match="Did you mean 'age'"):
        run_cases(path, _spec("jobseeker"), catalogue.load())
