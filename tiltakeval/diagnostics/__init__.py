"""Every diagnostic by key: an explicit list. Reading it imports no diagnostic.

A diagnostic is a function that takes what it needs of ``design``, ``nuisance``, ``estimates`` by
keyword and its thresholds, fixed in advance, and returns a tuple of ``Check``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from tiltakeval.errors import unknown
from tiltakeval.estimates.check import Check


@dataclass(frozen=True)
class Entry:
    """Where a diagnostic is, what it needs, and which thresholds it takes."""

    module: str
    description: str
    needs: tuple[str, ...]
    thresholds: tuple[str, ...] = ()


CHECKS: Mapping[str, Entry] = {
    "balance": Entry(
        "balance",
        "are covariates alike after weighting",
        ("design", "nuisance"),
        ("balance_smd",),
    ),
    "overlap": Entry(
        "overlap",
        "are there enough comparable units",
        ("design", "nuisance"),
        ("overlap_share", "effective_units"),
    ),
    "placebo_outcomes": Entry(
        "placebo", "is there an 'effect' before the programme", ("estimates",), ("placebo_level",)
    ),
    "placebo_together": Entry(
        "placebo",
        "is there one over all programmes together",
        ("estimates",),
        ("placebo_level",),
    ),
    "support": Entry(
        "support", "how many units carry each month", ("estimates",), ("support_units",)
    ),
    "sensitivity": Entry(
        "sensitivity",
        "how strong an unseen factor would have to be",
        ("design", "nuisance", "estimates"),
        (),
    ),
}


def run_checks(
    keys: Iterable[str] | None = None,
    *,
    design: Any = None,
    nuisance: Any = None,
    estimates: Any = None,
    thresholds: Mapping[str, float] | None = None,
    **options: Any,
) -> tuple[Check, ...]:
    """The checks of ``keys`` (all by default) that can be made from what is given.

    ``thresholds`` and ``options`` (target, …) are passed to the diagnostics that take them; a check
    whose input is missing comes back as ``not_evaluated``. Raises InputError for an unknown key.
    """
    given = {"design": design, "nuisance": nuisance, "estimates": estimates}
    found: list[Check] = []
    for key in CHECKS if keys is None else keys:
        if key not in CHECKS:
            raise unknown("check", key, CHECKS)
        entry = CHECKS[key]
        if any(given[name] is None for name in entry.needs):
            found.append(Check(key=key, status="not_evaluated"))
            continue
        function = getattr(import_module(f"tiltakeval.diagnostics.{entry.module}"), key)
        arguments = {name: given[name] for name in entry.needs}
        arguments |= {k: v for k, v in (thresholds or {}).items() if k in entry.thresholds}
        accepted = function.__kwdefaults__ or {}
        arguments |= {k: v for k, v in options.items() if k in accepted}
        found.extend(function(**arguments))
    return tuple(found)
