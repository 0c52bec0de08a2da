"""What running the analyses of a study gives, whatever level it entered at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tiltakeval.estimates.attrition import Attrition
from tiltakeval.estimates.check import Check
from tiltakeval.estimates.table import Estimates


@dataclass(frozen=True, kw_only=True)
class Found:
    """Estimates with their checks and attrition; ``data`` fingerprints what was read, ``runs`` says
    per analysis what was run, ``facts`` are protocol facts known only afterwards. ``hazards`` are the
    estimates of models of hazards beside the main ones, ``for_whom`` those of what works for whom."""

    estimates: Estimates
    checks: tuple[Check, ...]
    attrition: Attrition
    data: Mapping[str, Any]
    runs: Mapping[str, Any]
    truth: Estimates | None = None
    published: Estimates | None = None
    hazards: Estimates | None = None
    for_whom: Estimates | None = None
    synthetic: bool = False
    facts: Mapping[str, Any] = field(default_factory=dict)
