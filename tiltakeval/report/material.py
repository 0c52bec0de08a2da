"""Everything a report is made from, in one frozen object: released results and words about them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from tiltakeval.disclosure.release import (
    Released,
    ReleasedAttrition,
    ReleasedChecks,
    require_released,
)
from tiltakeval.errors import InputError

Language = Literal["nb", "en"]
LANGUAGES: tuple[Language, ...] = ("nb", "en")
Texts = Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class ReportMaterial:
    """What ``build_report`` takes.

    ``title`` and ``question`` have a text per language, as has every entry of ``programmes``,
    ``outcomes`` and ``labels`` (populations, subgroups "name=level" and "name", analyses,
    covariates, attrition steps, checks: whatever key needs a better name than the built-in one).

    ``spec``: protocol facts in the order they should be read. Keys the report has words for:
    register, persons, entry, ages, time_origin, horizon, placebo_months, comparison, covariates,
    estimator, learner, folds, trimming, censoring, cluster, level, draws, sampling, primary,
    price_year, thresholds; others are printed under their own name. ``manifest``: facts for
    reproduction (fingerprints, spec_hash, versions, seed, command, made); nested mappings are fine.

    ``populations`` orders the populations of the main sections (left out: as they come in
    ``estimates``). ``summary_month`` is the month the answers are given for; ``published`` holds
    published figures for comparison, ``truth`` the known effects of invented data, ``hazards`` what
    models of the hazard of leaving found, ``for_whom`` what works for whom. ``units`` names the unit of
    counts ("person", "unit"). ``level`` is that of the study file, ``time_unit`` what horizons are
    counted in.
    Raises NotReleasedError for anything not released.
    """

    slug: str
    title: Texts
    question: Texts
    estimates: Released
    checks: ReleasedChecks
    attrition: ReleasedAttrition
    spec: Mapping[str, Any] = field(default_factory=dict)
    manifest: Mapping[str, Any] = field(default_factory=dict)
    truth: Released | None = None
    published: Released | None = None
    hazards: Released | None = None
    for_whom: Released | None = None
    populations: tuple[str, ...] = ()
    programmes: Mapping[str, Texts] = field(default_factory=dict)
    outcomes: Mapping[str, Texts] = field(default_factory=dict)
    labels: Mapping[str, Texts] = field(default_factory=dict)
    primary_estimand: str = ""
    primary_outcome: str = ""
    summary_month: int = 24
    level: str = "register"
    time_unit: str = "months"
    price_year: int | None = None
    notes: Texts = field(default_factory=dict)
    synthetic: bool = False
    unreleased: bool = False

    def __post_init__(self) -> None:
        require_released(self.estimates, Released, "ReportMaterial.estimates")
        require_released(self.checks, ReleasedChecks, "ReportMaterial.checks")
        require_released(self.attrition, ReleasedAttrition, "ReportMaterial.attrition")
        for name in ("truth", "published", "hazards", "for_whom"):
            value = getattr(self, name)
            if value is not None:
                require_released(value, Released, f"ReportMaterial.{name}")
        for name in ("title", "question"):
            missing = [language for language in LANGUAGES if not getattr(self, name).get(language)]
            if missing:
                raise InputError(
                    f"no {name} in {' and '.join(missing)}",
                    where=f"report of {self.slug}",
                    remedy="Give the text in both languages of the report (nb and en).",
                )
