"""What the report says of a check on hidden factors, in both languages."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "report"))

import invented

from tiltakeval.diagnostics.sensitivity.strength import contour, share_of
from tiltakeval.disclosure.release import release_checks
from tiltakeval.estimates.check import Check
from tiltakeval.report.hidden import contours, hidden_line
from tiltakeval.report.hidden_figure import Strength
from tiltakeval.report.view import View
from tiltakeval.report.words import Words

MESSAGE = {
    "outcome": "work_unsubsidised",
    "horizon": 24,
    "robustness_value_interval": 0.206,
    "benchmark": "work_history",
    "times": 4.81,
}


def line(language: str, *, treated: int = 900, **changes) -> tuple[str, bool]:
    words = Words(language)
    view = SimpleNamespace(
        words=words, outcome=lambda key: words.label("outcome", key), text=lambda key: key
    )
    detail = pd.DataFrame(
        {"outcome": ["work_unsubsidised"], "n_treated": [treated], "n_comparison": [5000]}
    )
    check = Check(
        key="sensitivity",
        status="informative",
        message={k: v for k, v in {**MESSAGE, **changes}.items() if v is not None},
        detail=detail,
        counts=("n_treated", "n_comparison"),
    )
    return hidden_line(view, release_checks([check], "nav").items[0])


@pytest.mark.parametrize(
    ("language", "changes", "said"),
    [
        ("nb", {}, "bety 4,8 ganger så mye som alt som er kjent om tidligere arbeid og lønn"),
        ("en", {}, "matter 4.8 times as much as everything known about earlier work and earnings"),
        ("nb", {"times": 0.47}, "betydde 47 prosent så mye"),
        ("en", {"times": 0.052}, "mattered 5.2 per cent as much"),
        ("nb", {"times": 13.2}, "bety 13 ganger"),
        ("nb", {"times": 31.2}, "bety mer enn 20 ganger"),
        ("en", {"times": 0.011}, "mattered less than 5 per cent as much"),
        ("nb", {"benchmark": ""}, "forklare 21 prosent av det som er uforklart"),
        ("en", {"benchmark": "", "robustness_value_interval": 0.014}, "explain 1.4 per cent"),
        ("en", {"benchmark": "past_pay"}, "known about past pay"),
    ],
)
def test_how_strong_in_words(language: str, changes: dict, said: str) -> None:
    text, clear = line(language, **changes)
    assert said in text and clear
    assert "24" in text and "{" not in text


def test_effects_that_are_not_clear_or_not_shown() -> None:
    text, clear = line("nb", robustness_value_interval=0.0)
    assert "ikke klar i utgangspunktet" in text and not clear
    assert line("nb", treated=3) == ("", False)  # suppressed
    assert line("en", robustness_value_interval=None) == ("", False)
    assert "after" not in line("en", horizon=None)[0]


BLOCKS = (("work_history", 0.07, 0.06), ("health", 0.02, 0.03), ("calendar", 0.05, 0.05))


def page(language: str, *, treated: int = 900, interval: float = 0.12) -> str:
    rows = [
        {"outcome": "work_unsubsidised", "horizon": 24, "robustness_value": 0.16,
         "robustness_value_interval": interval, "n_treated": treated, "n_comparison": 5_000,
         "benchmark": name, "benchmark_treatment_share": d, "benchmark_outcome_share": y}
        for name, d, y in BLOCKS
    ]  # fmt: skip
    check = Check(
        key="sensitivity",
        status="informative",
        scope={"population": "nedsatt_arbeidsevne", "programme": "lonnstilskudd_midlertidig"},
        statistic=0.16,
        message={**MESSAGE, "robustness_value_interval": interval},
        detail=pd.DataFrame(rows),
        counts=("n_treated", "n_comparison"),
    )
    material = replace(invented.material(), checks=release_checks([check], "nav"))
    view = View(material, language)
    return "".join(
        panel.drawing.svg + " ".join(cell for row in panel.table.rows for cell in row)
        for block in contours(view, [0])
        for panel in block.panels
    )


@pytest.mark.parametrize("language", ["nb", "en"])
def test_the_contours_are_drawn_with_the_yardsticks(language: str) -> None:
    text = page(language)
    assert text.count("<svg") == 1 and "{" not in text
    assert ("tidligere arbeid og lønn" if language == "nb" else "earlier work and earnings") in text
    assert page(language) == text  # same input, same bytes


def test_no_contours_of_effects_that_are_not_clear_or_not_shown() -> None:
    assert page("nb", interval=0.0) == "" and page("en", treated=3) == ""


def test_the_contours_are_those_of_the_bounds() -> None:
    theta, scale = -0.08, 0.5
    c0, c1 = abs(theta) / scale, 0.09
    found = Strength.of(theta, share_of(c0), share_of(c1))
    y, d, left = contour(theta, scale)
    assert found.left(d[20], y[10]) == pytest.approx(left[10, 20])
    assert found.to_unclear == pytest.approx(c1)
    assert found.left(share_of(c0), share_of(c0)) == pytest.approx(0, abs=1e-12)
