"""Negative controls: effects that can't be there are looked for, found where they are, and told."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from tiltakeval.errors import InputErrors
from tiltakeval.estimators.weighting.aipw import AIPW
from tiltakeval.report.words import Words
from tiltakeval.study.controls import DRAWN, NO_EFFECT, control_checks, dealt_by_lot
from tiltakeval.study.run import StudyResult, run_study, write_outputs
from tiltakeval.study.spec import parse_spec
from tiltakeval.study.spec_controls import NegativeControl
from tiltakeval.study.stages import Stages

FILE = """
level = "cross_section"
slug = "offers"
seed = 5
title = { nb = "Prøve", en = "Trial" }
question = { nb = "Virker det?", en = "Does it work?" }
[[sample]]
key = "all"
parts = [{ source = "rows.csv" }]
[columns]
treatment = "offer"
programme = "course"
outcomes = { pay = "usd", height = "cm" }
covariates = ["x", "z"]
subgroups = { sex = "sex" }
[[analysis]]
key = "main"
sample = "all"
estimator = "aipw_att"
[[negative_control]]
key = "height"
programme = "course"
outcome = "height"
reason = { nb = "Ingen vokser av kurs.", en = "Nobody grows by a course." }
[[negative_control]]
key = "pay"
programme = "course"
outcome = "pay"
subgroup = "sex=female"
reason = { nb = "Kurset gir ikke lønn.", en = "The course pays nothing." }
[[negative_control]]
key = "lot"
kind = "drawn"
programme = "course"
outcome = "pay"
draws = 10
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A programme that pays, and makes nobody taller; who takes part depends on x."""
    place = tmp_path_factory.mktemp("controls") / "offers"
    place.mkdir()
    rng = np.random.default_rng(4)
    n = 2_000
    x, z = rng.normal(size=(2, n))
    offer = (rng.random(n) < 0.25 / (1 + np.exp(-x))).astype(int)
    frame = pd.DataFrame({"x": x, "z": z, "offer": offer, "pay": 20 + 2 * x + offer})
    frame["pay"] += rng.normal(size=n)
    frame["height"] = 170 + 5 * x + 6 * rng.normal(size=n)
    frame["sex"] = np.where(rng.random(n) < 0.5, "female", "male")
    frame.round(4).to_csv(place / "rows.csv", index=False)
    (place / "study.toml").write_text(FILE, "utf-8")
    return place


@pytest.fixture(scope="module")
def result(folder: Path) -> StudyResult:
    return run_study(folder, progress=False)


@pytest.fixture(scope="module")
def written(result: StudyResult, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("out")
    write_outputs(result, out)
    return out / "offers"


def test_an_effect_that_cannot_be_there_is_found_where_it_is(result: StudyResult) -> None:
    found = {c.scope["control"]: c for c in result.checks if c.key in (NO_EFFECT, DRAWN)}
    assert found["height"].status == "passed" and found["height"].statistic > 0.05
    assert found["pay"].status == "failed" and found["pay"].scope["subgroup"] == "sex=female"
    assert found["lot"].status == "passed" and found["lot"].message["draws"] == 10
    assert found["height"].threshold == 0.05


def test_the_page_tells_it_in_both_languages(written: Path) -> None:
    for language, texts in {
        "nb": ("Virkninger som ikke kan finnes", "Ingen vokser av kurs. Den målte virkningen",
               "Kurset gir ikke lønn. Likevel", "ved loddtrekning 10 ganger"),
        "en": ("Effects that can't be there", "Nobody grows by a course. The effect measured",
               "The course pays nothing. All the same", "by lot 10 times"),
    }.items():  # fmt: skip
        page = (written / f"report.{language}.html").read_text("utf-8").replace("&#39;", "'")
        checks = re.search(r'(?s)<section id="checks".*?</section>', page)
        assert checks
        for text in texts:
            assert text in checks[0], text


def test_those_drawn_are_like_participants_and_have_no_effect(folder: Path) -> None:
    from tiltakeval.study.designs import design_of
    from tiltakeval.study.from_file import sample_frame

    spec = parse_spec(FILE)
    design = design_of(spec, spec.analysis[0], sample_frame(spec, spec.sample[0], folder))
    estimator = AIPW(target="att", seed=1)
    nuisance = estimator.nuisance(design)
    one = NegativeControl(key="lot", kind="drawn", programme="course", outcome="pay")
    dealt = dealt_by_lot(design, nuisance, one, (None, None), np.random.default_rng(1))
    assert dealt.counts() == {
        "none": int((design.arm == 0).sum() - (design.arm == 1).sum()),
        "course": int((design.arm == 1).sum()),
    }
    x = [design.covariates[design.arm == 1, 0], dealt.covariates[dealt.arm == 1, 0]]
    assert abs(x[0].mean() - x[1].mean()) < 0.2 < x[1].mean()
    # the test fails an estimator that doesn't adjust for what the programme was dealt by
    blind = replace(design, covariates=design.covariates[:, 1:], covariate_names=("z",))
    estimates = estimator.estimate(design, nuisance)
    quick = one.model_copy(update={"draws": 10})
    for seen, status in ((design, "passed"), (blind, "failed")):
        (check,) = control_checks([quick], seen, estimator, estimates, nuisance, analysis="main",
                                  month=None, level=0.05, seed=1, stages=Stages(show=False))  # fmt: skip
        assert check.status == status


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (
            'programme = "course"\noutcome = "height"',
            'programme = "ips"\noutcome = "height"',
            "ips",
        ),
        ('outcome = "height"\nreason', 'outcome = "weight"\nreason', "unknown outcome 'weight'"),
        (
            'reason = { nb = "Ingen vokser av kurs.", en = "Nobody grows by a course." }',
            "",
            "reason",
        ),
        ("draws = 10", 'draws = 10\nsubgroup = "sex=male"', "neither a subgroup"),
        ("draws = 10", "draws = 10\nmonths = [0, 2]", "have no months"),
        ('subgroup = "sex=female"', 'subgroup = "age=old"', "unknown subgroup 'age'"),
        ('key = "pay"', 'key = "height"', "'height' is used twice"),
        ('key = "lot"', 'key = "lot"\nanalysis = "other"', "unknown analysis 'other'"),
    ],
)
def test_what_a_study_file_may_not_say(old: str, new: str, says: str) -> None:
    assert old in FILE
    with pytest.raises(InputErrors, match=re.escape(says)):
        parse_spec(FILE.replace(old, new, 1))


def test_a_register_study_names_months_within_its_horizon(small_study: Path) -> None:
    text = (small_study / "study.toml").read_text("utf-8")
    control = """
[[negative_control]]
key = "again"
programme = "amo"
outcome = "earnings_nok"
months = [0, 3]
subgroup = "sex=female"
reason = { nb = "For tidlig.", en = "Too soon." }
"""
    *_, one = parse_spec(text + control).negative_control
    assert one.months == (0, 3) and one.kind == "no_effect"
    with pytest.raises(InputErrors, match="month 30 is beyond the horizon 24"):
        parse_spec(text + control.replace("[0, 3]", "[0, 30]"))
    with pytest.raises(InputErrors, match="months 3 to 0 can't be"):
        parse_spec(text + control.replace("[0, 3]", "[3, 0]"))
    with pytest.raises(InputErrors, match="unknown outcome 'registered'"):
        parse_spec(text + control.replace("earnings_nok", "registered"))
    known = text.replace('"earnings_nok"]', '"earnings_nok", "registered"]')
    same = control.replace("earnings_nok", "registered")
    parse_spec(known + same)
    with pytest.raises(InputErrors, match="everybody is registered in month 0"):
        parse_spec(known + same.replace("[0, 3]", "[0, 0]"))


def test_a_register_study_looks_for_them_month_by_month(
    small_result: StudyResult, tmp_path: Path
) -> None:
    found = {c.scope["control"]: c for c in small_result.checks if c.key == NO_EFFECT}
    assert found["at_once"].status == "not_evaluated"
    assert found["at_once"].message["reason"] == "same_for_all"
    soon, later = found["soon"], found["later"]
    assert all(one.detail is None for one in found.values()) and soon.status == "passed"
    table = small_result.estimates.table
    rows = table[
        (table.term == "effect")
        & (table.programme == "aft")
        & (table.outcome == "earnings_nok")
        & (table.subgroup == "all")
        & table.horizon.between(9, 11).fillna(False)
    ]
    assert len(rows) == 3
    write_outputs(small_result, tmp_path)
    pages = {
        language: (tmp_path / "small" / f"report.{language}.html").read_text("utf-8")
        for language in ("nb", "en")
    }
    same = "uten lønnstilskudd er likt for alle i måneden med vedtaket, så denne kontrollen viser"
    assert f"Ingen registrerte er i arbeid. Men arbeid {same}" in pages["nb"]
    # few earn anything so soon
    assert re.search(
        "The programme begins later. The effect on [^.]* can(&#39;|')t be calculated or shown",
        pages["en"],
    )
    # influence stays behind: the interval is told by the p value
    mean, error = float(rows.estimate.mean()), float(rows.std_error.sum()) / 3
    half = mean / norm.isf(later.statistic / 2) * norm.isf(0.025)
    assert 0.5 * 1.96 * error < abs(half) <= 1.02 * 1.96 * error
    page, words = pages["en"], Words("en")
    said = f"in months 9–11 is {words.amount(mean, 'NOK', signed=True)} "
    assert said in page
    low = re.search(rf"{re.escape(said)}[^\[]*\[(−?[0-9,]+)(?:,| to) ", page)
    assert low is not None
    shown = float(low[1].replace("−", "-").replace(",", ""))
    assert shown == pytest.approx(mean - abs(half), abs=0.05 * abs(half))


def test_what_is_the_same_for_everybody_shows_nothing(folder: Path) -> None:
    from tiltakeval.study.designs import design_of
    from tiltakeval.study.from_file import sample_frame

    spec = parse_spec(FILE)
    frame = sample_frame(spec, spec.sample[0], folder)
    design = design_of(spec, spec.analysis[0], frame)
    k, women = design.outcome_names.index("height"), frame["sex"].to_numpy() == "female"
    flat = design.outcomes.copy()
    flat[women, :, k] = 170.0
    design = replace(design, outcomes=flat)
    estimator = AIPW(target="att", seed=1)
    nuisance = estimator.nuisance(design)
    estimates = estimator.estimate(design, nuisance)
    text = {"nb": "Ingen.", "en": "None."}
    told = {"programme": "course", "outcome": "height"}
    asked = [
        NegativeControl(key="all", reason=text, **told),
        NegativeControl(key="women", reason=text, subgroup="sex=female", **told),
        NegativeControl(key="men", reason=text, subgroup="sex=male", **told),
    ]
    common = {"analysis": "main", "month": None, "level": 0.05, "seed": 1}
    stages = Stages(show=False)
    every, women_only, men = control_checks(
        asked, design, estimator, estimates, nuisance, stages=stages, **common
    )
    assert every.status == men.status == "passed" and "reason" not in men.message
    assert women_only.status == "not_evaluated" and women_only.statistic is None
    lot = NegativeControl(key="lot", kind="drawn", draws=10, **told)
    nobody = replace(design, outcomes=np.where(np.isfinite(flat), 1.0, np.nan).astype(np.float32))
    (check,) = control_checks(
        [lot], nobody, estimator, estimates, nuisance, stages=stages, **common
    )
    assert check.status == "not_evaluated" and check.message["reason"] == "same_for_all"
