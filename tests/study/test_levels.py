"""Studies on prepared files: panels, spells and event histories, from the file to the report."""

from __future__ import annotations

import io
import re
from contextlib import redirect_stderr
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tiltakeval.errors import InputError, InputErrors
from tiltakeval.estimators.heterogeneity.survival.from_frame import spell_outcomes_from_frame
from tiltakeval.estimators.weighting.aipw import AIPW
from tiltakeval.study.example_data import example
from tiltakeval.study.new_study import LEVELS, new_study
from tiltakeval.study.one_line import estimate_file
from tiltakeval.study.run import StudyResult, run_study, write_outputs
from tiltakeval.study.sources import derive, read_source
from tiltakeval.study.spec import parse_spec

FILES = [level for level in LEVELS if level != "register"]


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("studies")
    for level in FILES:
        new_study(level, folder, level=level)
    return folder


@pytest.fixture(scope="module")
def results(studies: Path) -> dict[str, StudyResult]:
    return {level: run_study(studies / level, progress=False) for level in FILES}


@pytest.fixture(scope="module")
def pages(
    results: dict[str, StudyResult], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, dict[str, str]]:
    out = tmp_path_factory.mktemp("out")
    found = {}
    for level, result in results.items():
        write_outputs(result, out)
        found[level] = {
            language: (out / level / f"report.{language}.html").read_text("utf-8")
            for language in ("nb", "en")
        }
    return found


def text_of(page: str) -> str:
    page = re.sub(r"(?s)<style>.*?</style>|<svg.*?</svg>", " ", page)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))


@pytest.mark.parametrize("level", FILES)
@pytest.mark.parametrize("language", ["nb", "en"])
def test_the_report_speaks_of_its_own_level(pages, level: str, language: str) -> None:
    text = text_of(pages[level][language])
    for word in ("vedtak", "nedsatt arbeidsevne", "reduced work capacity", "person-month", "_"):
        where = text.split("Etterprøving")[0] if word == "_" else text
        assert word not in where.split("Reproducing it")[0], word
    own = {
        "panel": ("per enhet og måned", "a row for each unit and month"),
        "durations": ("Aalen–Johansen", "a row for each spell"),
        "event_history": ("asardrate", "azard ratio"),
    }
    if level in own:
        expected = "for hver enhet og måned" if (level, language) == ("panel", "nb") else None
        assert (expected or own[level][language == "en"]) in text
    assert {"nb": "Svaret kort", "en": "The answer in short"}[language] in text


def test_time_is_told_in_the_unit_of_the_study(pages) -> None:
    nb, en = (text_of(pages["durations"][language]) for language in ("nb", "en"))
    assert "26 weeks" in en or "25 weeks" in en
    assert "uker" in nb and "95 %-intervall for hver uke" in nb
    assert not re.search(r"måned|month", (nb + en).split("Glossary")[0]), "no month is left"


def test_a_panel_gives_months_and_placebo_months(results) -> None:
    table = results["panel"].estimates.select(subgroup="all").table
    effects = table[table["term"] == "effect"].set_index("horizon")["estimate"]
    assert effects.index.tolist() == list(range(13))
    assert effects.loc[:3].mean() + 0.05 < effects.loc[6:].mean() > 0.05
    placebo = table[table["term"] == "placebo"]
    assert placebo["horizon"].tolist() == [-7, -6, -5, -4, -3, -2]
    assert {c.key for c in results["panel"].checks} >= {"balance", "overlap", "placebo_outcomes"}
    assert set(table["programme"]) == {"programme"}


def test_spells_give_curves_by_arm(results) -> None:
    table = results["durations"].estimates.table
    assert set(table["analysis"]) == {"ways_out", "still_there", "alike"}
    curves = table[(table["term"] == "cumulative_incidence") & (table["subgroup"] == "all")]
    assert set(curves["programme"]) == {"none", "offer"}
    assert set(curves["outcome"]) == {"job", "education"}
    assert curves["band_low"].notna().any()
    gap = table[(table["term"] == "survival_difference") & (table["horizon"] == 26)]
    assert (gap[gap["subgroup"] == "all"]["conf_high"] < 0).all()  # the offer shortens spells


def test_an_event_history_gives_hazard_ratios(results) -> None:
    table = results["event_history"].estimates.table
    row = table[(table["term"] == "log_hazard_ratio") & (table["subgroup"] == "all")]
    assert set(row["programme"]) == {"taken_part"} and set(row["outcome"]) == {"job"}
    assert abs(row["estimate"].iloc[0] - np.log(1.5)) < 3 * row["std_error"].iloc[0]
    assert {"coefficient"} <= set(table["term"])


def test_only_counts_that_may_be_shown_are_written(results, tmp_path: Path) -> None:
    for level, result in results.items():
        write_outputs(result, tmp_path)
        table = pd.read_csv(tmp_path / level / "estimates.csv")
        for name in ("n_treated", "n_comparison", "n_events", "n_clusters"):
            counts = table[name].dropna()
            assert not ((counts > 0) & (counts < 4)).any(), (level, name)


def test_arms_become_programme_status_in_a_hazard_model(studies: Path, tmp_path: Path) -> None:
    text = (studies / "durations/study.toml").read_text("utf-8")
    text += (
        '\n[[analysis]]\nkey = "rates"\nsample = "everybody"\nestimator = "cox"\n'
        '[[analysis]]\nkey = "all"\nsample = "everybody"\nestimator = "kaplan_meier"\nby_arm = false\n'
    )
    (tmp_path / "study.toml").write_text(text, "utf-8")
    example("durations").to_csv(tmp_path / "example.csv", index=False)
    table = run_study(tmp_path, progress=False).estimates.table
    rates = table[(table["analysis"] == "rates") & (table["subgroup"] == "all")]
    status = rates[rates["term"] == "log_hazard_ratio"].set_index("outcome")["estimate"]
    assert set(status.index) == {"job", "education"} and status["job"] > 0
    assert set(rates.loc[rates["term"] == "coefficient", "programme"]) == {"age"}
    assert set(table.loc[table["analysis"] == "all", "programme"]) == {"all"}


def test_a_file_named_on_the_command_line(studies: Path, tmp_path: Path) -> None:
    text = (studies / "panel/study.toml").read_text("utf-8")
    (tmp_path / "study").mkdir()
    (tmp_path / "study/study.toml").write_text(text.replace('"example.csv"', '"data:mine.csv"'))
    example("panel").to_csv(tmp_path / "mine.csv", index=False)
    with pytest.raises(InputError, match=r"--data PATH/mine\.csv"):
        run_study(tmp_path / "study", progress=False)
    one = run_study(tmp_path / "study", data=tmp_path, progress=False)
    two = run_study(tmp_path / "study", data=tmp_path / "mine.csv", progress=False)
    assert one.estimates.table.equals(two.estimates.table)
    with pytest.raises(InputError, match="--data does nothing here"):
        run_study(studies / "panel", data=tmp_path, progress=False)
    with pytest.raises(InputError, match="no such file"):
        read_source("data:other.csv", tmp_path, tmp_path)


def test_all_errors_of_a_study_file_come_at_once(studies: Path) -> None:
    text = (studies / "durations/study.toml").read_text("utf-8")
    wrong = text.replace('"kaplan_meier"', '"aipw_att"\nby_arm = false').replace(
        'key = "ways_out"\nsample = "everybody"', 'key = "ways_out"\nsample = "everyone"'
    )
    wrong += '[[published]]\nkey = "p"\nanalysis = "way_out"\noutcome = "job"\nestimate = 1\n'
    wrong += 'source = "a paper"\n'
    with pytest.raises(InputErrors) as caught:
        parse_spec(wrong)
    said = str(caught.value)
    assert said.startswith("study.toml has 4 errors")
    assert wrong.count("aipw_att") == 1
    for expected in (
        "analysis 1: unknown sample 'everyone'",
        "analysis 2, by_arm: aipw_att compares arms",
        "published 1: unknown analysis 'way_out'\n  Did you mean 'ways_out'?",
        "published 1: say how close is close",
    ):
        assert expected in said, said
    keys = text.replace("duration =", "durations =").replace('"weeks"\nsummary', '"week"\nsummary')
    with pytest.raises(InputErrors) as caught:
        parse_spec(keys)
    assert "Did you mean 'duration'?" in str(caught.value)
    assert "Did you mean 'weeks'?" in str(caught.value)


@pytest.mark.parametrize(
    ("level", "old", "new", "said"),
    [
        ("panel", 'period = "month"', 'period = "months"', "Did you mean 'month'"),
        ("panel", "baseline = -1", "baseline = 0", "must be less than 0"),
        ("panel", 'month_zero = "2021-01"', "", "units have no month zero"),
        ("panel", "comparison = 0", "comparison = 7", "unknown value of the treatment column"),
        ("durations", 'event = "how"', 'event = "hov"', "Did you mean 'how'"),
        ("durations", "within = 26", "within = 0", "must be at least 1"),
        ("durations", "within = 26", "withn = 26", "Did you mean 'within'"),
        (
            "durations",
            'estimator = "kaplan_meier"',
            'estimator = "kaplan_meier"\nsubgroups = ["sexx"]',
            "Did you mean 'sex'",
        ),
        ("durations", "within = 26", 'within = 26, measure = "incidence"', "say which counts"),
        ("durations", "within = 26", 'within = 26, exit = "job"', "is about any exit"),
        (
            "durations",
            'key = "ways_out"',
            'key = "ways_out"\noutcomes = ["weeks_until_out"]',
            "aalen_johansen takes the spells themselves",
        ),
        ("durations", 'treatment = "offer"\ncomparison = 0\n', "", "none is declared"),
        ("event_history", '1 = "job", 2', '1 = "job", 3', "aren't named: 2"),
        ("event_history", 'id = "person"', "", "'id' is missing"),
    ],
)
def test_what_can_be_wrong_is_said(
    tmp_path: Path, studies: Path, level: str, old: str, new: str, said: str
) -> None:
    text = (studies / level / "study.toml").read_text("utf-8")
    assert old in text
    (tmp_path / "study.toml").write_text(text.replace(old, new), "utf-8")
    example(level).to_csv(tmp_path / "example.csv", index=False)
    with pytest.raises(InputError) as caught:
        run_study(tmp_path, progress=False)
    assert said in str(caught.value)


def said_by(folder: Path, frame: pd.DataFrame) -> list[str]:
    """What a study in ``folder`` says on the screen when run on these rows."""
    frame.to_csv(folder / "example.csv", index=False)
    heard = io.StringIO()
    with redirect_stderr(heard):
        run_study(folder, progress=True)
    return heard.getvalue().splitlines()


def test_what_works_for_whom_is_asked_of_spells_too(tmp_path: Path, studies: Path) -> None:
    text = (studies / "durations/study.toml").read_text("utf-8")
    old = "weeks_until_out = { within = 26 }"
    new = f'{old}\njob_by_26 = {{ within = 26, measure = "incidence", exit = "job" }}'
    text = text.replace(old, new)
    asked = '\n[[for_whom]]\nkey = "whom"\noutcome = "job_by_26"\nleast = 30\nparts = []\n'
    frame = example("durations")
    frame.to_csv(tmp_path / "example.csv", index=False)
    (tmp_path / "study.toml").write_text(text + asked, "utf-8")
    result = run_study(tmp_path, progress=False)
    # the same as from the library, both outcomes at once
    table = result.estimates.select(analysis="alike", term="effect", subgroup="all").table
    assert table["outcome"].tolist() == ["weeks_until_out", "job_by_26"]
    assert table["unit"].tolist() == ["weeks", "share"] and table["horizon"].isna().all()
    columns = {"treatment": "offer", "comparison": 0, "duration": "weeks", "event": "how"}
    for (_, row), (measure, exit) in zip(
        table.iterrows(), (("restricted_mean", None), ("incidence", "job")), strict=True
    ):
        cross = spell_outcomes_from_frame(
            frame, **columns, censored="none", covariates="age", subgroups="sex", horizon=26,
            measure=measure, exit=exit, time_unit="weeks",
        )  # fmt: skip
        own = AIPW(target="ate", seed=1).estimate(cross).table
        own = own[(own["term"] == "effect") & (own["subgroup"] == "all")]
        assert own["estimate"].tolist() == pytest.approx(
            [row["estimate"]], rel=2e-3
        )  # folds by another seed
    assert result.for_whom is not None
    groups = result.for_whom.select(term="effect").table
    assert {"all", "sex=female", "sex=male"} <= set(groups["subgroup"])
    assert not any("(not released)" in text for text in said_by(tmp_path, frame))
    lost = frame.assign(offer=frame["offer"].where(np.arange(len(frame)) >= 12, 2))
    assert any("2 has too few spells" in text for text in said_by(tmp_path, lost))
    for new, said in (
        ("job_by_25", "for_whom 1: unknown outcome 'job_by_25'"),
        ("weeks_until_out", "larger the longer people stay"),
    ):
        ranked = asked.replace("job_by_26", new).replace("parts = []", 'parts = ["targeting"]')
        (tmp_path / "study.toml").write_text(text + ranked, "utf-8")
        with pytest.raises(InputError, match=said):
            run_study(tmp_path, progress=False)


def test_a_panel_is_asked_for_whom_month_by_month(tmp_path: Path, studies: Path) -> None:
    text = (studies / "panel/study.toml").read_text("utf-8")
    asked = """
[[for_whom]]
key = "whom"
outcome = "work"
least = 30
parts = ["tests"]
[[negative_control]]
key = "at_once"
programme = "programme"
outcome = "work"
months = [0, 0]
[negative_control.reason]
nb = "Tiltaket begynner først."
en = "The programme has only begun."
"""
    example("panel").to_csv(tmp_path / "example.csv", index=False)
    (tmp_path / "study.toml").write_text(text + asked, "utf-8")
    result = run_study(tmp_path, progress=False)
    assert result.for_whom is not None
    table = result.for_whom.table
    assert set(table.loc[table["term"] == "effect", "horizon"]) == {12}  # the summary month
    assert {"all", "sex=female", "sex=male"} <= set(table["subgroup"])
    (control,) = [check for check in result.checks if check.key == "negative_control"]
    assert control.message["month_from"] == control.message["month_to"] == 0
    for old, new, said in (
        (
            'outcome = "work"\nleast',
            'outcome = "work"\nhorizon = 13\nleast',
            "beyond the horizon 12",
        ),
        ('"work"\nleast', '"work"\nprogrammes = ["programm"]\nleast', "Did you mean 'programme'"),
        ('programme = "programme"', 'programme = "aft"', "negative_control at_once"),
    ):
        assert old in asked
        (tmp_path / "study.toml").write_text(text + asked.replace(old, new), "utf-8")
        with pytest.raises(InputError, match=said):
            run_study(tmp_path, progress=False)


def test_columns_are_derived_by_comparison_or_product() -> None:
    frame = pd.DataFrame({"a": [1, 2], "b": [3.0, 4.0], "c": ["x", "y"]})
    assert derive(frame, "a * b", where="here").tolist() == [3.0, 8.0]
    assert derive(frame, "a == 1", where="here").tolist() == [1.0, 0.0]
    with pytest.raises(InputError, match="must be a number"):
        derive(frame, "a * c", where="here")
    with pytest.raises(InputError, match="unknown column 'd'"):
        derive(frame, "a * d", where="here")


def test_a_level_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Did you mean 'durations'"):
        new_study("mine", tmp_path, level="duration")
    assert not (tmp_path / "mine").exists()


def test_jobless_durations_meets_the_published_figures(root: Path, shared: Path) -> None:
    found = run_study(root / "studies/jobless_durations", data=shared / "data", progress=False)
    checks = [check for check in found.checks if check.key == "agreement"]
    assert len(checks) == 11
    assert [check.status for check in checks] == ["passed"] * 11
    # and some that are ours: cumulative incidence at ten periods
    table = found.estimates.select(analysis="ways_out", horizon=10, subgroup="all").table
    gap = table[table["term"] == "cumulative_incidence_difference"]
    assert len(gap) == 3 and (gap["conf_high"] < 0).all()
    assert set(found.estimates.select(analysis="ways_out").table["subgroup"]) == {"all"}
    # effects among those alike, not far from the groups as they are
    own = found.estimates.select(analysis="alike", term="effect", subgroup="all").table
    own = own.set_index("outcome")
    full = found.estimates.select(analysis="ways_out", outcome="censor1", horizon=10).table
    full = full[(full["term"] == "cumulative_incidence_difference") & (full["subgroup"] == "all")]
    raw = full["estimate"].item()
    assert own.loc["full_time_by_10", "estimate"] == pytest.approx(raw, abs=0.05)
    assert own.loc["time_jobless", "conf_low"] > 2.5


def test_a_panel_from_the_command_line(tmp_path: Path) -> None:
    example("panel").to_csv(tmp_path / "panel.csv", index=False)
    given = {
        **{"unit": "person", "period": "month", "treatment": "arm", "outcome": "work"},
        **{"start": "began", "month_zero": "2021-01", "covariates": "age,work", "baseline": "-1"},
        **{"horizon": "3", "placebo_months": "2", "folds": "2", "draws": "99"},
    }
    table = estimate_file("aipw_att", tmp_path / "panel.csv", given).estimates.table
    assert table.loc[table["term"] == "effect", "horizon"].tolist() == [0, 1, 2, 3]
    assert table.loc[table["term"] == "placebo", "horizon"].tolist() == [-3, -2]
    with pytest.raises(InputError, match="must be a whole number"):
        estimate_file("aipw_att", tmp_path / "panel.csv", {**given, "horizon": "x"})
