"""The page: words, structure, self-containment, and that it follows the numbers."""

from __future__ import annotations

import re
import sys
import tomllib
from html.parser import HTMLParser
from importlib import resources
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

sys.path.insert(0, str(Path(__file__).parent))

import invented

from tiltakeval.diagnostics import CHECKS
from tiltakeval.disclosure.release import NotReleasedError, release_estimates
from tiltakeval.errors import InputError
from tiltakeval.estimates.table import Estimates, tidy
from tiltakeval.registers.quality import RULES
from tiltakeval.report.build import build_report, sections
from tiltakeval.report.canvas import Look
from tiltakeval.report.figures import effect_panel
from tiltakeval.report.lockin import lock_in
from tiltakeval.report.summary import break_even_clause, summary, verdict
from tiltakeval.report.view import View
from tiltakeval.report.words import Words

VOID = {"meta", "br", "path", "use", "rect"}


@pytest.fixture(scope="module")
def material():
    return invented.material(small=True)


@pytest.fixture(scope="module")
def pages(material):
    return {language: build_report(material, language) for language in ("nb", "en")}


class Outline(HTMLParser):
    """Headings, ids, tables and open tags of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.headings: list[int] = []
        self.ids: list[str] = []
        self.unscoped = self.uncaptioned = self.unnamed = 0
        self.stack: list[str] = []
        self._caption = True
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        if tag not in VOID:
            self.stack.append(tag)
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if "id" in found:
            self.ids.append(found["id"])
        if tag == "th" and found.get("scope") not in ("row", "col"):
            self.unscoped += 1
        if tag == "svg" and not (found.get("role") == "img" and found.get("aria-label")):
            self.unnamed += 1
        if tag == "table":
            self._caption = False
        if tag == "caption":
            self._caption = True

    def handle_endtag(self, tag):
        if tag in VOID:
            return
        assert self.stack.pop() == tag
        if tag == "table":
            self.uncaptioned += not self._caption


@pytest.mark.parametrize("language", ["nb", "en"])
def test_page_is_accessible_and_self_contained(pages, language):
    page = pages[language]
    assert f'<html lang="{language}">' in page
    assert not re.search(r"https?://|<script|<link|@import|<img|url\((?!#)", page)
    assert len(page.encode()) < 3_000_000
    outline = Outline(page)
    assert outline.stack == []
    assert outline.headings.count(1) == 1
    assert all(b - a <= 1 for a, b in zip(outline.headings, outline.headings[1:]))
    assert len(outline.ids) == len(set(outline.ids))
    assert outline.unscoped == outline.uncaptioned == outline.unnamed == 0
    for anchor in re.findall(r'href="#([^"]+)"', page):
        assert anchor in outline.ids


def test_both_languages_have_the_same_texts_with_the_same_fields():
    def flat(table, prefix=""):
        for key, value in table.items():
            if isinstance(value, dict):
                yield from flat(value, f"{prefix}{key}.")
            else:
                yield f"{prefix}{key}", value

    folder = resources.files("tiltakeval.report").joinpath("text")
    nb, en = (
        dict(flat(tomllib.loads(folder.joinpath(f"{name}.toml").read_text("utf-8"))))
        for name in ("nb", "en")
    )
    assert set(nb) == set(en)
    for key, text in nb.items():
        assert text, key
        assert set(re.findall(r"{(\w+)}", text)) == set(re.findall(r"{(\w+)}", en[key])), key


def test_every_text_asked_for_exists():
    folder = Path(str(resources.files("tiltakeval.report")))
    known = Words("nb")
    source = "\n".join(path.read_text() for path in folder.glob("*.py"))
    source += (folder / "templates/report.html.j2").read_text()
    asked = set(re.findall(r'words\(\s*"([a-z_0-9.]+)"[,)]', source))
    assert len(asked) > 60
    assert sorted(key for key in asked if not known.has(key)) == []


def test_every_check_has_a_name_in_both_languages():
    made_elsewhere = {"arm_sizes", "history_covered", "covariates", "months_observed"}
    made_elsewhere |= {"for_whom_not_made", "for_whom_programmes", "policy_tree"}
    made_elsewhere |= {"hazard_programmes", "hazard_model", "mass_points", "exit_income"}
    made_elsewhere |= {"mass_points_agree", "small_cohorts", "entry_overridden"}
    made_elsewhere |= {"bacon", "negative_weights", "foreign_weights", "two_way_misleads"}
    made_elsewhere |= {"treated_clusters"}
    keys = {*RULES, *CHECKS, *made_elsewhere, "censoring_model", "censoring_weights"}
    for language in ("nb", "en"):
        words = Words(language)
        assert not [key for key in keys if not words.has(f"check.{key}.title")]


def test_numbers_follow_the_language():
    nb, en = Words("nb"), Words("en")
    assert nb.number(-12345.67, 1) == "\u221212\u202f345,7"
    assert en.number(-12345.67, 1) == "\u221212,345.7"
    assert nb.interval(0.011, 0.073, "share") == "[1,1; 7,3]"
    assert en.interval(0.011, np.nan, "share") == "[1.1, open]"
    assert en.interval(-1234.0, 56.0, "nok") == "[−1,234 to 56]"
    assert nb.number(-0.001, 1) == "0,0"
    assert nb.amount(1234.4, "NOK") == "1\u202f234"
    assert nb.unit("NOK") == "kroner"
    assert nb.number(np.nan) == "–"
    with pytest.raises(InputError, match="unknown language"):
        Words("nn")


def test_same_material_gives_the_same_bytes(material):
    view, again = View(material, "en"), View(material, "en")
    assert lock_in(view) == lock_in(again)
    nsw = invented.nsw_material()
    assert build_report(nsw, "en") == build_report(nsw, "en")


def test_pages_show_the_symbol_and_say_why(pages):
    assert "<td>*</td>" in pages["en"]
    assert "not shown" in pages["en"]
    assert "fewer than 4 persons" in pages["en"]
    assert "færre enn 4 personer" in pages["nb"]


def row(**changes) -> pd.Series:
    base = {"estimate": 1.0, "conf_low": 0.5, "conf_high": 1.5, "status": "ok", "period": "0-36"}
    return pd.Series({**base, **changes})


def test_words_follow_the_interval():
    assert verdict(row()) == "up"
    assert verdict(row(conf_low=-0.1)) == "unclear"
    assert verdict(row(conf_low=-2, conf_high=-0.1)) == "down"
    assert verdict(row(status="suppressed")) == "unknown"
    assert verdict(row(status="not_supported")) == "unknown"
    assert verdict(row(conf_high=np.nan)) == "unknown"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"estimate": 26, "conf_low": 21, "conf_high": 34},
            "after 26 months (uncertainty: 21 to 34)",
        ),
        ({"estimate": 9, "conf_low": 0, "conf_high": 14}, "after 9 months, 14 at the latest"),
        (
            {"estimate": 30, "conf_high": np.nan, "status": "open"},
            "is not certain within 36 months",
        ),
        (
            {"estimate": np.nan, "conf_high": np.nan, "status": "open"},
            "not shown that this is earned",
        ),
        (
            {"estimate": np.nan, "status": "not_reached"},
            "has not been earned back within 36 months",
        ),
        ({"estimate": np.nan, "status": "no_loss"}, ""),
    ],
)
def test_break_even_in_words(material, changes, said):
    clause = break_even_clause(View(material, "en"), row(**changes))
    assert said in clause
    assert bool(said) == bool(clause)


def test_the_answer_names_loss_and_break_even(material):
    bullets = [b for b in summary(View(material, "en")) if b.kind == "bullets"]
    texts = dict(bullets[0].items)
    assert "AFT costs 0." in texts["AFT (work preparatory training)"]
    assert "earned back" in texts["AFT (work preparatory training)"]
    assert "not been earned back within 36 months" in texts["Higher education"]
    assert "more of every 100" in texts["Temporary wage subsidy"]
    for text in texts.values():
        assert not re.search(r"confidence|estimand|AIPW|interval|covariate", text)


def test_sections_without_material_are_left_out(pages):
    nsw = invented.nsw_material()
    keys = [section.key for section in sections(View(nsw, "en"))]
    assert "single" in keys
    assert not {"flow", "balance", "profiles", "subgroups", "contrasts", "lockin", "exits",
                "checks"} & set(keys)  # fmt: skip
    assert "1,794.34" in build_report(nsw, "en")
    assert "1\u202f794,34" in build_report(nsw, "nb")
    for key in ("flow", "balance", "profiles", "subgroups", "contrasts", "lockin", "exits",
                "checks", "limits", "reproduction"):  # fmt: skip
        assert f'<section id="{key}"' in pages["nb"]
    assert '<section id="single"' not in pages["nb"]


def test_only_released_material_is_taken():
    with pytest.raises(NotReleasedError, match="takes Released, not Estimates"):
        invented.nsw_material(estimates=Estimates(tidy([])))
    with pytest.raises(InputError, match="takes ReportMaterial"):
        build_report({"estimates": 1}, "nb")  # type: ignore[arg-type]
    with pytest.raises(NotReleasedError, match="effect_panel takes Released"):
        effect_panel(Estimates(tidy([])), words=Words("en"), look=Look.of(0), key="k", alt="a")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="no title in en"):
        invented.nsw_material(title={"nb": "x"})


def test_texts_are_escaped():
    page = build_report(invented.nsw_material(question={"nb": "a <b> & c", "en": "x"}), "nb")
    assert "a &lt;b&gt; &amp; c" in page


def test_colours_have_contrast_and_a_marker_each():
    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return float(np.dot((0.2126, 0.7152, 0.0722), linear))

    looks = [Look.of(i) for i in range(8)]
    assert len({look.marker for look in looks}) == len({look.colour for look in looks}) == 8
    for look in looks:
        assert 1.05 / (luminance(look.colour) + 0.05) >= 4.5


def test_suppressed_months_leave_gaps_not_numbers():
    months = range(6)
    rows = [{"estimand": "now_vs_wait", "programme": "aft", "outcome": "o", "unit": "nok",
             "horizon": h, "estimate": 99.0 if h == 3 else 1.0, "conf_low": 0.0, "conf_high": 2.0,
             "n_treated": 2 if h == 3 else 500, "n_comparison": 900} for h in months]  # fmt: skip
    released = release_estimates(Estimates(tidy(rows)), "nav")
    drawing = effect_panel(released, words=Words("en"), look=Look.of(0), key="k", alt="text")
    assert 'aria-label="text"' in drawing.svg
    assert "99" not in re.sub(r'(d|x|y|points|transform|width)="[^"]*"', "", drawing.svg)
