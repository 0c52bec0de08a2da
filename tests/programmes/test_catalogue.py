"""The shipped catalogue: complete, unambiguous, sourced; and extended by adding a file."""

from __future__ import annotations

import datetime as dt
import math
from pathlib import Path

import pytest

from tiltakeval.errors import InputError, InputErrors
from tiltakeval.months import parse_month
from tiltakeval.programmes import catalogue as catalogue_module
from tiltakeval.programmes.catalogue import Catalogue, load
from tiltakeval.programmes.document import markdown

RWC, JS = "nedsatt_arbeidsevne", "jobseeker"

EXPECTED = (
    "aft", "arbeidspraksis_skjermet", "lonnstilskudd_midlertidig", "lonnstilskudd_varig", "amo",
    "fag_og_yrkesopplaering", "hoyere_utdanning", "arbeidstrening", "oppfolging",
    "arbeid_med_stotte", "ips", "ips_ung", "mentor", "inkluderingstilskudd",
    "arbeidsrettet_rehabilitering", "avklaring", "jobbklubb", "vta", "sommerjobb",
    "funksjonsassistanse", "ekspertbistand", "arbeids_og_utdanningsreiser", "kvp",
    "introduksjonsprogram", "jobbsjansen", "helse_i_arbeid", "ungdomsgaranti", "ungdomsprogram",
    "aktivitetsplikt", "friskmelding_til_arbeidsformidling", "digitalt_jobbsokerkurs",
    "egenetablering", "lonnstilskudd_firearig", "resultatbasert_oppfolging",
    "utvidet_oppfolging_i_opplaering", "bedriftsintern_opplaering",
)  # fmt: skip

NEW = """
group = "oppfolging"
codes = [{ system = "arena", code = "NYTTTILT", source = "here" }]
entry = [{ states = ["jobseeker"], min_age = 18, max_age = 29, from = 2020-02-01, source = "here" }]
duration = [{ states = ["jobseeker"], maximum = 26, unit = "weeks", source = "here" }]
costs = [{ item = "operation", unit = "NOK per participant and month", status = "not given" }]
[name]
nb = "Nytt tiltak for unge på Ås"
en = "A new measure"
source = "here"
[availability]
from = 2020-01-01
to = 2022-07-01
source = "here"
[delivery]
kinds = ["in_house"]
assumed = true
[aim]
employment = true
assumed = true
[wage]
subsidised = false
assumed = true
"""


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return load()


def test_every_programme_of_the_brief_has_a_file(catalogue: Catalogue) -> None:
    assert set(EXPECTED) <= set(catalogue)
    assert len(catalogue) == len(list(catalogue_module.FOLDER.glob("*.toml")))


def test_a_code_stands_for_one_programme_at_a_date(catalogue: Catalogue) -> None:
    for code, _, _, key in catalogue.code_rows():
        for day in (dt.date(2010, 1, 1), dt.date(2016, 6, 1), dt.date(2026, 1, 1)):
            owners = {
                p.key
                for p in catalogue.programmes.values()
                for c in p.codes
                if c.code == code and c.valid(day)
            }
            assert len(owners) <= 1
            assert catalogue.by_code(code, day) in (*owners, None)
        assert catalogue.by_code(code) == key


@pytest.mark.parametrize(
    ("code", "key"),
    [
        ("ARBFORB", "aft"),
        ("PRAKSKJERM", "arbeidspraksis_skjermet"),
        ("MIDLONTIL", "lonnstilskudd_midlertidig"),
        ("GRUPPEAMO", "amo"),
        ("ENKELTPLASS_ARBEIDSMARKEDSOPPLAERING", "amo"),
        ("GRUFAGYRKE", "fag_og_yrkesopplaering"),
        ("UTVAOONAV", "arbeid_med_stotte"),
        ("JOBBKLUBB", "jobbklubb"),
        ("UFØREPENLØ", "lonnstilskudd_utfaset"),
        ("MIDLERTIDIG_LONNSTLSKUDD", "lonnstilskudd_midlertidig"),
        ("KVP", "kvp"),
        ("KURS", None),
        ("arbforb", None),
        ("", None),
    ],
)
def test_codes(catalogue: Catalogue, code: str, key: str | None) -> None:
    assert catalogue.by_code(code) == key


def test_unclaimed_codes_are_claimed_by_none(catalogue: Catalogue) -> None:
    assert catalogue.unclaimed["KURS"] == "Andre kurs"
    assert not any(catalogue.by_code(code) for code in catalogue.unclaimed)


def test_every_fact_has_a_source_or_is_assumed_or_not_given(catalogue: Catalogue) -> None:
    for p in catalogue.programmes.values():
        for section, origin in p.provenance.items():
            if section != "availability" or p.available_from or p.available_to:
                assert origin.source or origin.assumed, (p.key, section)
        for cost in p.costs:
            assert (cost.value is None) != bool(cost.provenance.source or cost.provenance.assumed)
        for duration in p.durations:
            given = duration.limit != "not given"
            assert given == bool(duration.provenance.source or duration.provenance.assumed)
        assert p.costs, p.key


def test_aft_is_for_reduced_work_capacity_from_2016(catalogue: Catalogue) -> None:
    aft = catalogue["aft"]
    assert not aft.open_to(RWC, parse_month("2015-12"), 40)
    assert aft.open_to(RWC, parse_month("2016-01"), 40)
    assert not aft.open_to(JS, parse_month("2018-01"), 40)
    assert aft.open_to(RWC, parse_month("2018-01"), 40, "BATT")
    assert not aft.open_to(RWC, parse_month("2018-01"), 40, "BFORM")
    assert catalogue["arbeidspraksis_skjermet"].open_to(RWC, parse_month("2015-12"), 40)
    assert not catalogue["arbeidspraksis_skjermet"].open_to(RWC, parse_month("2016-01"), 40)


def test_ages_are_inclusive(catalogue: Catalogue) -> None:
    month = parse_month("2022-03")
    ips_ung = catalogue["ips_ung"]
    assert [age for age in range(10, 40) if ips_ung.open_to(RWC, month, age)] == list(range(16, 31))
    assert not catalogue["amo"].open_to(JS, month, 18)
    assert catalogue["amo"].open_to(JS, month, 19)
    assert not catalogue["hoyere_utdanning"].open_to(RWC, month, 21)


def test_subsidy_rates_by_date_state_and_month(catalogue: Catalogue) -> None:
    wage = catalogue["lonnstilskudd_midlertidig"]
    day = dt.date(2021, 5, 1)
    assert [wage.subsidy_rate(JS, m, day) for m in (0, 5, 6, 11)] == [0.4, 0.4, 0.3, 0.3]
    assert [wage.subsidy_rate(RWC, m, day) for m in (0, 11, 12)] == [0.6, 0.6, 0.5]
    assert wage.subsidy_rate(JS, 0, dt.date(2018, 12, 31)) is None
    assert catalogue["aft"].subsidy_rate(RWC, 0, day) == 0.0
    assert catalogue["lonnstilskudd_varig"].subsidies[0].cap_g_per_year == 5


def test_durations(catalogue: Catalogue) -> None:
    assert catalogue["aft"].max_duration_months(RWC) == 36
    assert catalogue["aft"].max_duration_months(JS) is None
    assert catalogue["lonnstilskudd_midlertidig"].max_duration_months(JS) == 12
    assert catalogue["vta"].max_duration_months(RWC) == math.inf
    weeks = catalogue["avklaring"].max_duration_months(RWC)
    assert weeks == pytest.approx(16 * 7 / 30.4375)
    assert catalogue["mentor"].max_duration_months(RWC) is None


def test_subsidised_programmes(catalogue: Catalogue) -> None:
    subsidised = set(catalogue.subsidised())
    assert {"lonnstilskudd_midlertidig", "lonnstilskudd_varig", "sommerjobb", "vta"} <= subsidised
    assert not subsidised & {"aft", "amo", "ips", "mentor", "arbeidstrening"}
    assert not catalogue["avklaring"].employment_is_aim


def test_windows_agree_with_open_to(catalogue: Catalogue) -> None:
    month, age = parse_month("2019-07"), 20
    from_windows = {
        (w.programme, w.state)
        for w in catalogue.windows()
        if w.first_month <= month < w.stop_month and w.min_age <= age <= w.max_age
    }
    asked = {
        (p.key, state)
        for p in catalogue.programmes.values()
        for state in (JS, RWC)
        if p.open_to(state, month, age)
    }
    assert from_windows == asked


def test_unknown_key_names_the_nearest(catalogue: Catalogue) -> None:
    with pytest.raises(InputError, match="Did you mean 'amo'"):
        catalogue["amoo"]


def test_a_programme_is_added_by_adding_a_file(tmp_path: Path, catalogue: Catalogue) -> None:
    (tmp_path / "nytt_tiltak.toml").write_text(NEW, encoding="utf-8")
    more = load(tmp_path)
    assert set(more) - set(catalogue) == {"nytt_tiltak"}
    assert more.by_code("NYTTTILT") == "nytt_tiltak"
    assert more.fingerprint != catalogue.fingerprint
    new = more["nytt_tiltak"]
    assert new.name_nb.endswith("Ås")
    assert not new.open_to(JS, parse_month("2020-01"), 20)
    assert new.open_to(JS, parse_month("2020-02"), 20)
    assert not new.open_to(JS, parse_month("2022-07"), 20)


def test_a_user_file_replaces_the_shipped_one(tmp_path: Path) -> None:
    text = (catalogue_module.FOLDER / "mentor.toml").read_text(encoding="utf-8")
    (tmp_path / "mentor.toml").write_text(text.replace('nb = "Mentor"', 'nb = "Vår mentor"'))
    assert load(tmp_path)["mentor"].name_nb == "Vår mentor"


def test_all_faults_at_once_with_file_and_key(tmp_path: Path) -> None:
    broken = NEW.replace('kinds = ["in_house"]', 'kinds = ["inhouse"]')
    broken = broken.replace("maximum = 26", "maximun = 26").replace("min_age = 18", "min_age = 35")
    broken = broken.replace("assumed = true\n[aim]", "[aim]").replace(
        'code = "NYTTTILT"', 'code = "ARBFORB"'
    )
    (tmp_path / "broken.toml").write_text(broken, encoding="utf-8")
    (tmp_path / "worse.toml").write_text("group = ", encoding="utf-8")
    with pytest.raises(InputErrors) as caught:
        load(tmp_path)
    text = str(caught.value)
    for expected in (
        "broken.toml: delivery: unknown kinds 'inhouse'",
        "Did you mean 'in_house'?",
        "broken.toml: duration[0]: unknown key 'maximun'",
        "Did you mean 'maximum'?",
        "broken.toml: entry[0]: min_age is above max_age",
        "broken.toml: delivery: has neither source nor assumed = true",
        "code 'ARBFORB' also belongs to",
        "worse.toml: can't be read as TOML",
    ):
        assert expected in text, expected


def test_a_code_may_change_hands_over_time(tmp_path: Path) -> None:
    old = NEW.replace('code = "NYTTTILT"', 'code = "NYTTTILT", to = 2021-01-01')
    new = NEW.replace('code = "NYTTTILT"', 'code = "NYTTTILT", from = 2021-01-01')
    (tmp_path / "gammelt.toml").write_text(old, encoding="utf-8")
    (tmp_path / "nytt.toml").write_text(new, encoding="utf-8")
    found = load(tmp_path)
    assert found.by_code("NYTTTILT", dt.date(2020, 12, 31)) == "gammelt"
    assert found.by_code("NYTTTILT", dt.date(2021, 1, 1)) == "nytt"
    assert found.by_code("NYTTTILT") == "nytt"


def test_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a folder"):
        load(tmp_path / "none")


def test_the_page_is_up_to_date(root: Path) -> None:
    assert (root / "docs" / "programmes.md").read_text(encoding="utf-8") == markdown()
