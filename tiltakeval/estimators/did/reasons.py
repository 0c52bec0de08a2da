"""Why a cell, an average or a row has no estimate: a key of a closed list, with the sentence."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Any


class Why(StrEnum):
    """Kinds of reasons; reports have a text for each (``label.reason``)."""

    NO_PERIOD_BEFORE = "no_period_before"
    NO_WINDOW = "no_window"
    NOT_SEEN = "not_seen"
    NO_COMPARISON = "no_comparison"
    TOO_FEW = "too_few"
    SEPARATED = "separated"
    COLLINEAR = "collinear"
    NO_DIFFERENCE = "no_difference"
    NO_TREATMENT = "no_treatment"
    ANTICIPATED = "anticipated"
    NO_PART = "no_part"
    SEVERAL = "several"
    OTHER = "other"


class Reason(str):
    """A sentence, as any text, that knows which kind of reason it gives: ``why``."""

    why: Why

    def __new__(cls, why: Why, text: str) -> Reason:
        self = super().__new__(cls, text)
        self.why = why
        return self

    def __getnewargs__(self) -> Any:  # copies and pickles keep the key
        return self.why, str(self)


def why_of(reason: str) -> Why:
    """The kind of a reason; ``OTHER`` for a sentence that doesn't say."""
    return reason.why if isinstance(reason, Reason) else Why.OTHER


def longer(reason: str, text: str) -> Reason:
    """The same kind of reason in other words."""
    return Reason(why_of(reason), text)


def together(reasons: Iterable[str]) -> str:
    """Several reasons as one, in order of their words; empty for none."""
    said = sorted({one for one in reasons if one})
    kinds = {why_of(one) for one in said}
    return Reason(kinds.pop() if len(kinds) == 1 else Why.SEVERAL, "; ".join(said)) if said else ""
