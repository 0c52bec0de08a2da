"""What groups of a roll-out are called: cohorts, switchers by direction, doses. Estimators write their
labels in English; here they are read and said in the report's language."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tiltakeval.report.view import View

_PATH = re.compile(
    r"^(?P<start>\S+) from (?P<baseline>\S+) (?P<direction>up|down)(?P<rest> in .+)?$"
)
_DOSE = re.compile(r"^dose (?P<dose>-?[\d.e+-]+)$")
_UP_TO = re.compile(r"^dose up to (?P<high>\S+)$")
_ABOVE = re.compile(r"^dose above (?P<low>\S+)$")
_BETWEEN = re.compile(r"^dose (?P<low>\S+) to (?P<high>\S+)$")


def cohort_name(view: View, label: str) -> str:
    """A cohort in words: ``2019, fra 0 opp`` of units whose treatment changes, else as it is."""
    found = _PATH.match(label)
    if not found:
        return label
    words = view.words
    name = words(
        "rollout.path",
        start=found["start"],
        baseline=_shown(view, found["baseline"]),
        direction=words(f"rollout.{found['direction']}"),
    )
    return name + (f" ({found['rest'].removeprefix(' in ')})" if found["rest"] else "")


def short_names(view: View, labels: Sequence[str]) -> dict[str, str]:
    """Names for the side of a drawing: without the level treatment changes from, where that tells
    nothing more."""
    parts = {label: _PATH.match(label) for label in labels}
    levels = {(one["direction"], one["baseline"]) for one in parts.values() if one}
    plain = len({direction for direction, _ in levels}) == len(levels)
    out = {}
    for label, one in parts.items():
        short = one is not None and plain and not one["rest"]
        out[label] = (
            view.words(
                "rollout.path_short",
                start=one["start"],
                direction=view.words(f"rollout.{one['direction']}"),
            )
            if one is not None and short
            else cohort_name(view, label)
        )
    return out


def dose_of(label: str) -> float | None:
    """The dose of a point on a curve."""
    found = _DOSE.match(label)
    return float(found["dose"]) if found else None


def dose_name(view: View, label: str) -> str:
    """A dose or a group of doses in words."""
    words = view.words
    for pattern, key in ((_UP_TO, "up_to"), (_ABOVE, "above"), (_BETWEEN, "between")):
        found = pattern.match(label)
        if found:
            ends = {name: _shown(view, text) for name, text in found.groupdict().items()}
            return words(f"doses.{key}", **ends)
    dose = dose_of(label)
    return words("doses.all") if dose is None else words("doses.dose", dose=_shown(view, label[5:]))


def _shown(view: View, text: str) -> str:
    """A number written by an estimator, as the language writes it."""
    try:
        value = float(text)
    except ValueError:
        return text
    decimals = len(text.partition(".")[2]) if "e" not in text else 2
    return view.words.number(value, min(decimals, 2))
