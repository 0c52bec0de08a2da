"""What the report says of a check on hidden factors, in both languages."""

from __future__ import annotations

from types import SimpleNamespace

import pandas as pd
import pytest

from tiltakeval.disclosure.release import release_checks
from tiltakeval.estimates.check import Check
from tiltakeval.report.checks import hidden_line
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
    view = SimpleNamespace(words=words, outcome=lambda key: words.label("outcome", key))
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
        ("nb", {"times": 31.2}, "bety 31 ganger"),
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
