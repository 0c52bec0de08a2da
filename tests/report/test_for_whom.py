"""The section on what works for whom: what it draws and leaves out, and that nothing small gets in."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

sys.path.insert(0, str(Path(__file__).parent))

import invented

from tiltakeval.disclosure.release import NotReleasedError, release_checks, release_estimates
from tiltakeval.disclosure.rules import RuleSet
from tiltakeval.estimates.check import Check
from tiltakeval.estimates.table import Estimates, tidy
from tiltakeval.report.build import build_report
from tiltakeval.report.canvas import Look
from tiltakeval.report.for_whom_figures import (
    group_forest,
    predicted_panel,
    targeting_panel,
    values_panel,
)
from tiltakeval.report.tree_figure import Box, ordered, tree_drawing
from tiltakeval.report.words import Words

RULES = RuleSet(name="test", dated="2024-01-01", threshold=80_000, symbol="*")
SMALL, TELLING = 73_519, 5_876_543.0
KEPT = ("programme", "subgroup", "estimand")
FEW = ("all", "sex=female", "predicted_effect=1/5", "ranked_first=10%")


def row(term: str, estimate: float, count: int = 900_000, **more) -> dict:
    base = {
        "study": "s", "analysis": "w", "population": "jobseeker:common", "estimand": "now_vs_wait",
        "programme": "amo", "subgroup": "all", "outcome": "earnings_nok", "unit": "nok",
        "time_origin": "vedtak", "horizon": 24, "term": term, "estimate": estimate, "std_error": 1.0,
        "conf_low": estimate - 2, "conf_high": estimate + 2, "band_low": estimate - 3,
        "band_high": estimate + 3, "n_treated": count, "n_comparison": count, "n_clusters": count,
    }  # fmt: skip
    return base | more


def rows(small: str = "") -> list[dict]:
    """One programme by sex and age, groups of predicted effect, targeting, rules and moves; ``small``
    names a term of which one row rests on few."""
    out = [row("effect", 100.0), row("effect", 300.0, subgroup="sex=female", count=400_000),
           row("effect", 50.0, subgroup="sex=male", count=500_000),
           row("effect_shrunk", 200.0, subgroup="sex=female", count=400_000),
           row("effect_shrunk", 80.0, subgroup="sex=male", count=500_000),
           row("test_equal_effects", 9.0, subgroup="sex", p_value=0.001, status="test"),
           row("test_equal_effects", 3.0, programme="all", p_value=0.01, status="test"),
           row("calibration_gain", 1.0), row("test_autoc", 2.0, p_value=0.3, status="test")]  # fmt: skip
    out += [row("sorted_effect", 10.0 * g, subgroup=f"predicted_effect={g}/5") for g in range(1, 6)]
    out += [row("toc", 50.0 - q, subgroup=f"ranked_first={q}%") for q in range(10, 100, 10)]
    rule = {"estimand": "assignment_rule", "n_comparison": None}
    names = ("today", "rule_random", "rule_tree_limited", "rule_individual_limited")
    out += [row("policy_value", 1_000.0, **rule | {"programme": n}) for n in names]
    out += [
        row("policy_gain", 5.0, **rule | {"programme": n, "comparator": "today"}) for n in names[1:]
    ]
    share = rule | {"unit": "share"}
    for a in ("none", "amo"):
        for b in ("none", "amo"):
            out.append(row("transition", 0.25, **share | {"programme": b, "comparator": a}))
    for name in ("today", "rule_tree_limited"):
        for arm, value in (("none", 0.96), ("amo", 0.04)):
            own = {"programme": arm, "comparator": name, "period": "policy_share"}
            out.append(row("policy_share", value, **share | own))
    for group in ("all", "sex=female", "sex=male"):
        for kind in ("place_gained", "place_lost", "programme_changed"):
            own = {"programme": "rule_tree_limited", "comparator": "today", "period": kind}
            out.append(row(kind, 0.1, subgroup=group, **share | own))
    for one in out:
        if small and one["term"] == small and one["subgroup"] in FEW:
            one |= {
                "n_treated": SMALL,
                "estimate": TELLING,
                "conf_low": TELLING - 1,
                "conf_high": TELLING + 1,
            }
            one |= {"band_low": TELLING - 1, "band_high": TELLING + 1}
    return out


def tree(name: str = "age") -> Check:
    nodes = pd.DataFrame(
        {
            "node": [0, 1, 2, 2],
            "covariate": [name, "", "", ""],
            "kind": ["whole", "leaf", "leaf", "leaf"],
            "threshold": [30.0, np.nan, np.nan, np.nan],
            "left": [1, -1, -1, -1],
            "right": [2, -1, -1, -1],
            "share": [1.0, 0.4, 0.6, 0.6],
            "programme": ["", "amo", "none", "amo"],
            "part": [np.nan, 1.0, 0.7, 0.3],
        }
    )
    scope = {"population": "jobseeker", "analysis": "w"}
    message = {"rule": "rule_tree_limited", "main": "rule_tree_limited", "uses": ["sex"]}
    return Check(key="policy_tree", status="informative", scope=scope, statistic=0.8,
                 message=message, detail=nodes)  # fmt: skip


def page(small: str = "", language: str = "en") -> str:
    plain = invented.material()
    material = replace(
        plain,
        for_whom=release_estimates(Estimates(tidy(rows(small))), RULES),
        checks=release_checks([tree()], RULES),
    )
    found = build_report(material, language)
    return re.search(r'(?s)<section id="for_whom".*?</section>', found)[0]


def test_the_section_says_what_the_tests_say() -> None:
    text = page()
    assert "Signs that the effect differs by sex" in text
    assert "Taken together there are signs" in text
    assert "It is not shown that the ranking finds" in text
    assert "The rule would have given a better result than today" in text
    assert "a legal basis of its own" in text  # the rule looks at sex
    assert "By lot: no programme 70" in text and "Age: 30 years or less?" in text
    assert text.count("<svg") == 5
    assert "beslutningsstøtte" in page(language="nb").lower()


@pytest.mark.parametrize(
    "term", ["effect", "sorted_effect", "toc", "policy_value", "transition", "place_gained"]
)
@pytest.mark.parametrize("language", ["nb", "en"])
def test_no_small_cell_reaches_the_section(term: str, language: str) -> None:
    text = page(term, language)
    digits = re.sub(r"(?<=\d)[\u202f\u00a0,.  ](?=\d)", "", text)
    assert str(SMALL) not in digits and "587654" not in digits


def test_where_moves_are_few_places_are_told_instead() -> None:
    few, many = page("transition"), page()
    assert "Places today and with the rule" in few and "Here are the places" in few
    assert "Places today and with the rule" not in many and "From today&#39;s programme" in many
    kept = [r for r in rows() if r["term"] != "programme_changed"]
    material = replace(
        invented.material(), for_whom=release_estimates(Estimates(tidy(kept)), RULES)
    )
    text = build_report(material, "nb")
    assert "er for få til å vises" in text and "Mister plass" in text
    assert "Får et annet tiltak" not in text


def test_the_truth_of_invented_data_stands_beside() -> None:
    known = [
        row(r["term"], r["estimate"] + 7_000, **{k: r[k] for k in KEPT}, source="truth")
        for r in rows()
        if r["term"] in ("effect", "policy_value", "policy_gain")
        and r["programme"] != "rule_individual_limited"
    ]
    truth = release_estimates(Estimates(tidy(known)), RULES, uncounted="allow")
    plain = invented.material()
    shown = release_estimates(Estimates(tidy(rows())), RULES)
    text = build_report(replace(plain, for_whom=shown, truth=truth), "en")
    text = re.search(r'(?s)<section id="for_whom".*?</section>', text)[0]
    assert text.count("Known truth (invented data)") == 2 and "7,300" in text and "8,000" in text
    assert "Known truth" not in page()


def test_predictions_that_do_not_beat_the_average_are_not_shown() -> None:
    kept = [r for r in rows() if r["term"] != "sorted_effect"]
    material = replace(
        invented.material(), for_whom=release_estimates(Estimates(tidy(kept)), RULES)
    )
    text = build_report(material, "en")
    assert "So they are not shown" in text and "Measured effect in groups" not in text


def test_every_drawing_takes_released_results_only() -> None:
    table = Estimates(tidy(rows()))
    shared = {"words": Words("en"), "look": Look.of(0), "key": "k", "alt": "a"}
    with pytest.raises(NotReleasedError):
        group_forest(table, table, ["a"], average=0.0, **shared)
    with pytest.raises(NotReleasedError):
        predicted_panel(table, average=0.0, **shared)
    with pytest.raises(NotReleasedError):
        targeting_panel(table, [10.0], **shared)
    with pytest.raises(NotReleasedError):
        values_panel(table, ["a"], factor=1.0, label="x", **shared)
    with pytest.raises(NotReleasedError):
        tree_drawing([tree()], [Box("a", "", 0, -1)], alt="a")


def test_a_tree_is_drawn_from_the_top_and_nothing_in_it_is_markup() -> None:
    nodes = {0: {"left": 1, "right": 4}, 1: {"left": 2, "right": 3}, 4: {"left": -1, "right": -1}}
    nodes |= {2: {"left": -1, "right": -1}, 3: {"left": -1, "right": -1}}
    assert ordered(nodes) == [(0, 0, -1), (1, 1, 0), (2, 2, 1), (3, 2, 1), (4, 1, 0)]
    boxes = [Box("<b> & 'x'?", "", 0, -1), Box("amo " * 30, "yes", 1, 0, Look.of(1))]
    svg = tree_drawing(release_checks([tree()], RULES), boxes, alt='a "b"').svg
    assert "<b>" not in svg and "&lt;b&gt; &amp;" in svg and 'aria-label="a &quot;b&quot;"' in svg
    assert svg.count("<text") > 3  # long texts are wrapped
    assert svg == tree_drawing(release_checks([tree()], RULES), boxes, alt='a "b"').svg


def test_the_short_answer_gets_one_sentence() -> None:
    material = replace(
        invented.material(), for_whom=release_estimates(Estimates(tidy(rows())), RULES)
    )
    answer = re.search(r'(?s)<section id="answer".*?</section>', build_report(material, "en"))
    assert answer and answer[0].count("work differently for different groups of jobseekers") == 1


@pytest.mark.parametrize(
    ("kind", "second", "told"),
    [("whole", 40.0, "Age 31 to 40"), ("whole", 31.0, "Age 31 "),
     ("number", 40.0, "Age over 30 and at most 40")],
)  # fmt: skip
def test_a_second_cut_of_a_covariate_says_all_that_the_first_did(
    kind: str, second: float, told: str
) -> None:
    nodes = pd.DataFrame(
        {
            "node": [0, 1, 2, 3, 4],
            "covariate": ["age", "", "age", "", ""],
            "kind": [kind, "leaf", kind, "leaf", "leaf"],
            "threshold": [30.0, np.nan, second, np.nan, np.nan],
            "left": [1, -1, 3, -1, -1],
            "right": [2, -1, 4, -1, -1],
            "share": [1.0, 0.4, 0.6, 0.3, 0.3],
            "programme": ["", "amo", "", "none", "amo"],
            "part": [np.nan, 1.0, np.nan, 1.0, 1.0],
        }
    )
    page = build_report(
        replace(
            invented.material(),
            for_whom=release_estimates(Estimates(tidy(rows())), RULES),
            checks=release_checks([replace(tree(), detail=nodes)], RULES),
        ),
        "en",
    )
    said = [one for one in re.findall(r"<strong>([^<]*)</strong>", page) if "Age" in one]
    assert any(f"{one} ".startswith(told) for one in said)
    assert any(f"over {second:.0f}" in one for one in said)
    assert not any("over 30" in one and "at most" not in one for one in said)
