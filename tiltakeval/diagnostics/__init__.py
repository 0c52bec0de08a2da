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
    """Where a diagnostic is, what it needs, which thresholds it takes, whether it is of roll-outs."""

    module: str
    description: str
    needs: tuple[str, ...]
    thresholds: tuple[str, ...] = ()
    rollouts: bool = False


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
    "pretrend": Entry(
        "rollout",
        "do trends differ before the start of a roll-out",
        ("estimates",),
        ("pretrend_level",),
        rollouts=True,
    ),
    "pretrend_power": Entry(
        "honest.checks",
        "how steep a trend that test would find",
        ("estimates",),
        ("pretrend_level",),
        rollouts=True,
    ),
    "robust_to_trends": Entry(
        "honest.checks",
        "how large a departure from parallel trends the effect bears",
        ("estimates",),
        ("breakdown_mbar",),
        rollouts=True,
    ),
    "few_clusters": Entry(
        "rollout",
        "how many clusters the error rests on in effect",
        ("estimates",),
        ("effective_clusters",),
        rollouts=True,
    ),
    "cells_not_supported": Entry(
        "rollout", "which cohorts and periods have no estimate", ("estimates",), rollouts=True
    ),
    "collinear_covariates": Entry(
        "rollout", "which covariates were dropped", ("estimates",), rollouts=True
    ),
    "overlap_in_cells": Entry(
        "rollout", "are there comparable units in every cell", ("estimates",), rollouts=True
    ),
    "rows_not_imputed": Entry(
        "not_imputed",
        "which treated units have nothing untreated to impute from",
        ("estimates",),
        rollouts=True,
    ),
    "covariates_moved": Entry(
        "varying_covariates",
        "do covariates that vary with time move with the programme",
        ("design", "estimates"),
        ("placebo_level",),
        rollouts=True,
    ),
    "rows_without_covariates": Entry(
        "varying_covariates",
        "how many rows have no value of such a covariate",
        ("estimates",),
        rollouts=True,
    ),
    "synthetic_fit": Entry(
        "synthetic",
        "does the synthetic comparison run parallel before treatment",
        ("estimates",),
        ("worst_fit",),
        rollouts=True,
    ),
    "synthetic_concentration": Entry(
        "synthetic",
        "how few units and periods it rests on",
        ("estimates",),
        ("largest_weight",),
        rollouts=True,
    ),
    "paths_cross": Entry(
        "rollout_designs",
        "how many units' treatment goes to both sides of where it started",
        ("design",),
        ("crossing_share",),
        rollouts=True,
    ),
    "treatment_received": Entry(
        "rollout_designs",
        "how much treatment has been received by time since its first change",
        ("estimates",),
        rollouts=True,
    ),
    "prediction_spread": Entry(
        "rollout_designs",
        "does predicted participation tell units apart",
        ("estimates",),
        ("prediction_spread",),
        rollouts=True,
    ),
    "comparisons_left_out": Entry(
        "triple",
        "which cohorts a triple difference couldn't compare with",
        ("estimates",),
        rollouts=True,
    ),
    "units_left_out": Entry(
        "rollout", "which units are not analysed", ("estimates",), rollouts=True
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
    """The checks of ``keys`` that can be made from what is given (by default all; those of roll-outs
    where the estimates are of one).

    ``thresholds`` and ``options`` (target, …) are passed to the diagnostics that take them; a check
    whose input is missing comes back as ``not_evaluated``. Raises InputError for an unknown key.
    """
    given = {"design": design, "nuisance": nuisance, "estimates": estimates}
    found: list[Check] = []
    for key in CHECKS if keys is None else keys:
        if key not in CHECKS:
            raise unknown("check", key, CHECKS)
        entry = CHECKS[key]
        if entry.rollouts and keys is None and not _of_rollout(estimates):
            continue
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


def _of_rollout(estimates: Any) -> bool:
    """Whether the estimates are of a roll-out."""
    return estimates is not None and bool(estimates.table["cohort"].ne("").any())
