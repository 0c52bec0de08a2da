"""The section on a weighted comparison: how far treated units lie from it before the start."""

from __future__ import annotations

from tiltakeval.report.blocks import Block, Panels, Para
from tiltakeval.report.rollout import by_time
from tiltakeval.report.view import View

FIT = "fit_before"


def synthetic(view: View) -> list[Block]:
    """The distance by time before the start, for each population, where an analysis weighs units."""
    if not view.rollout:
        return []
    parts = [by_time(view, population, FIT, "synthetic") for population in view.populations]
    blocks: list[Block] = [part for part in parts if isinstance(part, Panels)]
    return [Para(view.words("synthetic.intro")), *blocks] if blocks else []
