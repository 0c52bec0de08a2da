"""Search everything that leaves for numbers that must not: pages, csv, JSON, SVG text."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pandas as pd
import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "report"))

import invented

from tiltakeval.disclosure.release import (
    release_attrition,
    release_checks,
    release_estimates,
)
from tiltakeval.disclosure.rules import RuleSet
from tiltakeval.disclosure.write import write_released
from tiltakeval.estimates.attrition import Attrition
from tiltakeval.estimates.check import Check
from tiltakeval.estimates.table import Estimates, tidy
from tiltakeval.report.build import build_report

# A threshold so high that "small" counts can be numbers found nowhere else on the page.
RULES = RuleSet(name="test", dated="2024-01-01", threshold=80_000, symbol="*")
SMALL, TELLING = 73_519, 5_876_543.0


def estimates(column: str) -> Estimates:
    """One programme of three is small in one column; subgroups let totals give a level away."""
    rows = []
    for place, programme in enumerate(("aft", "amo", "ips")):
        for subgroup, share in (("all", 1.0), ("sex=female", 0.5), ("sex=male", 0.5)):
            for month in range(0, 25):
                big = (
                    int(4_000_000 * share)
                    - 100_000 * month * (share == 1)
                    - 50_000 * month * (share < 1)
                )
                small = place == 0 and subgroup != "sex=male"
                rows.append({
                    "study": "s", "analysis": "aipw", "population": "jobseeker", "estimand":
                    "now_vs_wait", "programme": programme, "subgroup": subgroup, "outcome":
                    "earnings_nok", "unit": "nok", "time_origin": "vedtak", "horizon": month,
                    "estimate": TELLING if small else 100.0, "std_error": 1.0,
                    "conf_low": TELLING - 1 if small else 99.0,
                    "conf_high": TELLING + 1 if small else 101.0,
                    "n_treated": big, "n_comparison": big, "n_events": big // 2, "n_clusters": big,
                    "n_effective": float(big), **({column: SMALL} if small else {}),
                })  # fmt: skip
    return Estimates(tidy(rows))


def digits(text: str) -> str:
    """The text with separators inside numbers taken out."""
    return re.sub(r"(?<=\d)[\u202f\u00a0,.  ](?=\d)", "", text)


@pytest.mark.parametrize(
    "column", ["n_treated", "n_comparison", "n_events", "n_clusters", "n_effective"]
)
def test_no_small_cell_reaches_a_page_or_file(column, tmp_path):
    checks = [
        Check(key="overlap", status="passed", scope={"programme": "aft"}, message={"n_out": SMALL},
              counts=("n_treated",), detail=pd.DataFrame(
                  {"bin": ["a", "b", "c"], "n_treated": [SMALL, 90_000, 1_000_000],
                   "mean": [TELLING, 1.0, 2.0]})),
    ]  # fmt: skip
    attrition = Attrition.of("jobseeker", [("register", 900_000, None), ("age", 900_000 - SMALL, None),
                                           ("analysed", 500_000, None)])  # fmt: skip
    released = (release_estimates(estimates(column), RULES), release_checks(checks, RULES),
                release_attrition(attrition, RULES))  # fmt: skip
    page_material = invented.material_of(*released)
    texts = [build_report(page_material, language) for language in ("nb", "en")]
    for gate in released:
        texts += [path.read_text() for path in write_released(gate, tmp_path)]
    for text in texts:
        plain = digits(text)
        assert str(SMALL) not in plain
        assert "587654" not in plain
        assert str(900_000 - SMALL) not in plain
    assert "400000" in digits(texts[0])
