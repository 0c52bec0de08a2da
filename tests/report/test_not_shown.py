"""What can't be shown is said in words; scopes, small shares and folded tables are named."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

sys.path.insert(0, str(Path(__file__).parent))

import invented

from tiltakeval.disclosure.release import release_attrition, release_checks, release_estimates
from tiltakeval.estimates.attrition import Attrition
from tiltakeval.estimates.check import Check
from tiltakeval.estimates.table import Estimates, tidy
from tiltakeval.registers import schema
from tiltakeval.report.balance import balance
from tiltakeval.report.build import build_report
from tiltakeval.report.checks import checks
from tiltakeval.report.design import reproduction
from tiltakeval.report.exits import exits
from tiltakeval.report.lockin import lock_in
from tiltakeval.report.summary import summary
from tiltakeval.report.tables import scope_text, small_or_number
from tiltakeval.report.view import View
from tiltakeval.report.words import Words


def material(rows=(), found=(), **changes):
    base = {"population": "jobseeker", "estimand": "now_vs_wait", "time_origin": "vedtak",
            "unit": "share", "n_treated": 500, "n_comparison": 9_000}  # fmt: skip
    table = tidy([{**base, **row} for row in rows])
    return invented.material(
        estimates=release_estimates(Estimates(table), "nav"),
        checks=release_checks(list(found), "nav"),
        attrition=release_attrition(Attrition(), "nav"),
        truth=None,
        **changes,
    )


def curve(programme, values, n=500, hidden=()):
    return [
        {"programme": programme, "outcome": "job", "term": "cumulative_incidence", "horizon": month,
         "estimate": value, "conf_low": value * 0.9, "conf_high": value * 1.1 + 0.01,
         "n_treated": 2 if month in hidden else n, "n_comparison": None}
        for month, value in enumerate(values, start=1)
    ]  # fmt: skip


def panels(rows, language="en"):
    view = View(material(rows), language)
    (block,) = [b for b in exits(view) if b.kind == "panels"]
    return block, {panel.title: panel for panel in block.panels}


RISING = list(np.linspace(0.1, 0.6, 6))


def test_a_hidden_curve_is_words_and_no_drawing():
    rows = curve("aft", RISING, hidden=range(1, 7)) + curve("amo", RISING) + curve("none", RISING)
    block, found = panels(rows)
    hidden = next(panel for title, panel in found.items() if "AFT" in title)
    shown = next(panel for title, panel in found.items() if "AMO" in title)
    assert hidden.drawing is None
    assert hidden.table is None
    assert "Can't be shown" in hidden.note
    assert shown.drawing is not None
    assert shown.note == block.note == ""
    page = build_report(material(rows), "nb")
    assert "Kan ikke vises: Tallene bygger på for få personer" in page


def test_zeros_before_hidden_months_are_no_curve():
    """Its areas alone would stand in the figure as a band around nothing."""
    rows = curve("aft", [0.0, 0.0, 0.3, 0.4], hidden=(3, 4)) + curve("none", RISING[:4])
    _, found = panels(rows)
    (panel,) = found.values()
    assert panel.drawing is None
    assert "Can't be shown" in panel.note


def test_a_curve_on_which_nobody_leaves_has_no_area_and_is_said():
    rows = curve("aft", [0.0] * 4) + curve("amo", [0.0] * 4) + curve("none", [0.0] * 4)
    block, found = panels(rows)
    assert all(panel.drawing is None for panel in found.values())
    assert all("Nobody in this group left" in panel.note for panel in found.values())
    assert block.legend == ()
    _, found = panels(curve("aft", [0.0] * 4) + curve("none", RISING[:4]))
    (panel,) = found.values()
    assert "Nobody in this group left" in panel.note
    assert panel.drawing.svg.count("fill-opacity") == 1  # the interval of the curve that moves


def test_months_that_may_not_be_shown_are_gaps_in_line_and_area():
    whole, _ = panels(curve("aft", RISING) + curve("none", RISING))
    rows = curve("aft", RISING, hidden=(3, 4)) + curve("none", RISING)
    block, found = panels(rows)
    (panel,) = found.values()
    assert "missing in the figure" in block.note
    assert whole.note == ""
    assert panel.drawing.svg.count("fill-opacity") >= whole.panels[0].drawing.svg.count(
        "fill-opacity"
    )
    assert panel.drawing.svg != whole.panels[0].drawing.svg


def test_a_comparison_that_may_not_be_shown_is_said():
    rows = curve("aft", RISING) + curve("none", [0.0, 0.0, *RISING[2:]], hidden=range(3, 7))
    _, found = panels(rows)
    (panel,) = found.values()
    assert panel.drawing is not None
    assert "Comparison: the curve can't be shown" in panel.note


def effects(programme, n=500, sums=500):
    common = {"programme": programme, "outcome": "work_unsubsidised"}
    value = {"estimate": 0.1, "conf_low": 0.05, "conf_high": 0.15}
    rows = [{**common, **value, "term": "effect", "horizon": h, "n_treated": n} for h in range(25)]
    for term, keys in (
        ("cumulated", [{"period": "0-24", "horizon": None}]),
        ("cumulated_path", [{"horizon": h} for h in range(25)]),
    ):
        more = {**common, **value, "term": term, "unit": "months", "n_treated": sums}
        rows += [{**more, **key} for key in keys]
    money = {**common, **value, "outcome": "earnings_nok", "unit": "nok", "period": "0-24"}
    return [*rows, {**money, "term": "cumulated", "horizon": None, "n_treated": sums},
            {**money, "term": "effect", "horizon": 24, "period": "", "n_treated": n}]  # fmt: skip


@pytest.mark.parametrize(
    ("language", "why", "total", "lead"),
    [
        (
            "nb",
            "bygger på for få personer",
            "i sum koster eller gir",
            "For AFT kan tallet ikke vises",
        ),
        (
            "en",
            "rests on too few persons",
            "costs or gives in total",
            "The number can't be shown for AFT",
        ),
    ],
)
def test_the_answer_says_what_it_cannot_show(language, why, total, lead):
    view = View(material([*effects("aft", n=2, sums=2), *effects("amo")]), language)
    blocks = summary(view)
    texts = dict(next(b for b in blocks if b.kind == "bullets").items)
    aft = next(text for name, text in texts.items() if "AFT" in name)
    amo = next(text for name, text in texts.items() if "AMO" in name)
    assert why in aft
    assert total in aft
    assert why not in amo and total not in amo
    assert next(b for b in blocks if b.kind == "para").text.count(lead) == 1
    hidden = Words(language)("summary.money_hidden", outcome="")
    assert hidden in aft and hidden not in amo


def test_a_hidden_sum_is_words_in_its_panel():
    view = View(material([*effects("aft", sums=2), *effects("amo")]), "en")
    (block,) = [b for b in lock_in(view) if b.kind == "panels"]
    drawn = {panel.title: panel for panel in block.panels}
    aft = next(panel for title, panel in drawn.items() if "AFT" in title)
    amo = next(panel for title, panel in drawn.items() if "AMO" in title)
    assert aft.drawing is None and "Can't be shown" in aft.note
    assert amo.drawing is not None and amo.note == ""


def test_scopes_are_words_of_the_language():
    view = View(material(), "nb")
    scope = {"estimand": "vs_no_programme", "population": "jobseeker", "state": "jobseeker",
             "programme": "all"}  # fmt: skip
    text = scope_text(scope, view)
    assert text == "tiltak eller ikke noe tiltak, arbeidssøkere, blant arbeidssøkere, alle tiltak"
    assert scope_text({"programme": "aft", "comparator": "none"}, view) == "AFT"
    assert scope_text({"programme": "aft", "comparator": "amo"}, view) == "AFT mot AMO"
    assert scope_text({"population": "jobseeker", "comparator": "amo"}, view).endswith("mot AMO")
    register = scope_text({"table": "participation", "column": "started"}, view)
    assert register == "tiltaksdeltakelse, om deltakelsen er begynt"


@pytest.mark.parametrize("language", ["nb", "en"])
def test_every_register_table_and_column_has_a_name(language):
    words = Words(language)
    for table in schema.load().tables.values():
        assert words.has(f"label.table.{table.name}")
        assert not [c for c in table.columns if not words.has(f"label.field.{c}")]


def found_checks():
    scope = {"population": "jobseeker", "programme": "amo"}
    other = {"population": "jobseeker", "programme": "aft"}
    quantiles = pd.DataFrame({"quantile": [0.1, 0.9], "propensity": [0.0002, 0.4]})
    facts = {"outside": 0.0312, "largest_weight": 0.0004, "clipped": 0.0, "trimmed_treated": 0.0}
    keys = pd.DataFrame({"outcome": ["job", "job"], "horizon": [-2, -1]})
    return [
        *(Check(key=key, status="passed") for key in ("structure", "types", "orphans")),
        Check(key="ranges", status="failed", scope={"table": "jobs", "column": "hours"}),
        *(Check(key="overlap", status="passed", scope=s, statistic=900.0, threshold=200.0,
                message=facts, detail=quantiles) for s in (scope, other)),
        Check(key="placebo_outcomes", status="passed", scope=scope, statistic=0.0001,
              threshold=0.05, detail=keys),
        *(Check(key="sensitivity", status="informative", scope=s, statistic=0.1,
                detail=quantiles) for s in (scope, other)),
    ]  # fmt: skip


def test_details_are_folded_under_title_and_scope():
    view = View(material(found=found_checks()), "nb")
    folded = [b.folded for b in (*balance(view), *checks(view)) if b.kind == "table" and b.folded]
    assert folded == ["Overlapp: arbeidssøkere, AMO", "Overlapp: arbeidssøkere, AFT",
                      "Skjult utvelging: arbeidssøkere, AMO",
                      "Skjult utvelging: arbeidssøkere, AFT"]  # fmt: skip
    page = build_report(material(found=found_checks()), "nb")
    summaries = re.findall(r"<summary>(.*?)</summary>", page)
    assert summaries == folded


def test_sound_checks_of_the_extract_are_one_row():
    view = View(material(found=found_checks()), "en")
    blocks = checks(view)
    table = next(b for b in blocks if b.kind == "table" and not b.folded)
    assert len(table.rows) == len(found_checks()) - 2
    first = table.rows[0]
    assert first[0] == "The registers, 3 checks"
    assert first[1] == "Tables and columns, types of the columns and rows without a person"
    assert first[2] == "Passed"
    assert [row[2] for row in table.rows].count("Not passed") == 1
    assert "7 passed" not in blocks[0].text and "6 passed" in blocks[0].text
    assert ["Placebo", "Jobseekers, AMO", "Passed", "<0.001", "0.050"] in table.rows


def test_small_shares_are_not_nothing():
    for language, small, more in (("nb", "<0,5 %", "3 %"), ("en", "<0.5%", "3%")):
        blocks = balance(View(material(found=found_checks()), language))
        facts = next(b for b in blocks if b.kind == "table" and not b.folded)
        assert facts.rows[0][1:] == [more, small, small, small]
    words = Words("nb")
    assert small_or_number(0.0004, words) == "<0,001"
    assert small_or_number(-0.0004, words) == ">\u22120,001"
    assert small_or_number(0.0, words) == "0"
    assert small_or_number(0.0312, words) == "0,031"
    assert small_or_number(3.0, words) == "3"


def test_an_interval_may_go_below_its_estimate_and_stays_as_it_was():
    page = build_report(invented.material(), "nb")
    cells = re.findall(r"<td>([^<]+) <span class=\"range\">(\[[^<]+\])</span></td>", page)
    assert len(cells) > 20
    table = next(b for b in lock_in(View(invented.material(), "nb")) if b.kind == "table")
    assert table.rows[0][1] in {f"{estimate} {interval}" for estimate, interval in cells}


def test_the_manifest_is_in_the_words_of_the_language():
    facts = {"versions": {"numpy": "2.1"}, "data": {"invented": True, "persons": 40_000}}
    view = View(material(manifest=facts), "nb")
    found = next(b for b in reproduction(view) if b.kind == "facts")
    assert list(found.rows) == [
        ("Versjon av numpy", "2.1"), ("Oppdiktede data", "ja"), ("Personer i registeret", "40000"),
    ]  # fmt: skip
