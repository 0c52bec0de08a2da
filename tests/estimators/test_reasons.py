"""Every reason for a cell without estimate has a key, which survives copies and joining."""

from __future__ import annotations

import ast
import copy
import pickle
from pathlib import Path

import pytest

from tiltakeval.estimators.did.reasons import Reason, Why, longer, together, why_of
from tiltakeval.report.words import Words

FOLDER = Path(__file__).parents[2] / "tiltakeval/estimators/did"


def test_a_reason_is_its_sentence_and_knows_its_kind() -> None:
    reason = Reason(Why.TOO_FEW, "only 1 unit")
    assert reason == "only 1 unit" and why_of(reason) is Why.TOO_FEW
    assert why_of("some text") is Why.OTHER
    for copied in (copy.deepcopy(reason), pickle.loads(pickle.dumps(reason))):
        assert copied == reason and why_of(copied) is Why.TOO_FEW
    assert why_of(longer(reason, "only 1 unit, here")) is Why.TOO_FEW
    assert together([]) == "" and together(["", reason]) == reason
    assert why_of(together([reason, Reason(Why.TOO_FEW, "only 2 units")])) is Why.TOO_FEW
    both = together([reason, Reason(Why.NOT_SEEN, "nobody is seen")])
    assert both == "nobody is seen; only 1 unit" and why_of(both) is Why.SEVERAL


@pytest.mark.parametrize("language", ["nb", "en"])
def test_reports_have_a_text_for_every_kind(language: str) -> None:
    words = Words(language, {}, {}, {}, time_unit="months")
    assert [str(why) for why in Why if not words.has(f"label.reason.{why}")] == []


def test_no_estimator_gives_a_reason_without_a_kind() -> None:
    """No sentence is passed as ``reason=`` or returned as why there is none without its kind."""
    bare = []
    for path in sorted(FOLDER.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.keyword) and node.arg == "reason" and _sentence(node.value):
                bare.append(f"{path.name}:{node.value.lineno}")
            named = isinstance(node, ast.Assign) and any(
                isinstance(t, ast.Name) and t.id in ("reason", "why") for t in node.targets
            )
            if named and _sentence(node.value):
                bare.append(f"{path.name}:{node.lineno}")
    assert [place for place in bare if not place.startswith("plan.py")] == []


def _sentence(node: ast.expr) -> bool:
    if isinstance(node, ast.Constant):
        return isinstance(node.value, str) and bool(node.value)
    return isinstance(node, ast.JoinedStr)
