"""Every estimator by key: an explicit list. Reading it imports no estimator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, get_type_hints

from tiltakeval.errors import InputError, unknown

#: Designs of roll-outs, whose estimators share options of inference with few clusters.
ROLL_OUTS = ("staggered", "paths", "doses", "intensity")


@dataclass(frozen=True)
class Entry:
    """Where an estimator is, what it does, the options its key fixes, and the design it takes."""

    module: str
    name: str
    description: str
    design: str = "cross_section"
    fixed: Mapping[str, Any] = field(default_factory=dict)

    def load(self) -> type:
        """The class (imports its module)."""
        loaded: type = getattr(import_module(f"tiltakeval.estimators.{self.module}"), self.name)
        return loaded

    def options(self) -> dict[str, Any]:
        """Names and defaults of the options a user may set (imports the module)."""
        from dataclasses import MISSING, fields

        return {
            f.name: None if f.default is MISSING else f.default
            for kind in (self.load(), *self._beside())
            for f in fields(kind)
            if f.name not in self.fixed
        }

    def hints(self) -> dict[str, Any]:
        """Types of the options (imports the module)."""
        kinds = (*self._beside(), self.load())
        return {name: hint for kind in kinds for name, hint in get_type_hints(kind).items()}

    def _beside(self) -> tuple[type, ...]:
        """Options that every estimator of the design has beside its own."""
        if self.design not in ROLL_OUTS:
            return ()
        return (import_module("tiltakeval.estimators.did.few_clusters.inference").Choice,)


ESTIMATORS: Mapping[str, Entry] = {
    "aipw_att": Entry(
        "weighting.aipw",
        "AIPW",
        "doubly robust, effect on each programme's participants",
        fixed={"target": "att"},
    ),
    "aipw_ate": Entry(
        "weighting.aipw", "AIPW", "doubly robust, effect on all units", fixed={"target": "ate"}
    ),
    "aipw_programmes": Entry(
        "weighting.aipw",
        "AIPW",
        "doubly robust, all programmes on the same people",
        fixed={"target": "programmes"},
    ),
    "aipw_overlap": Entry(
        "weighting.aipw",
        "AIPW",
        "doubly robust, all programmes on those who are met in every one of them",
        fixed={"target": "overlap"},
    ),
    "heterogeneity": Entry(
        "heterogeneity.estimator",
        "Heterogeneity",
        "effects of several programmes by subgroup on the same people, and whether they differ",
    ),
    "causal_forest": Entry(
        "heterogeneity.forest.estimator",
        "CausalForest",
        "the same with effects predicted by causal forests: do they hold up, who gains most",
    ),
    "ipw_att": Entry(
        "weighting.ipw",
        "IPW",
        "inverse-probability weights, effect on participants",
        fixed={"target": "att"},
    ),
    "ipw_ate": Entry(
        "weighting.ipw",
        "IPW",
        "inverse-probability weights, effect on all units",
        fixed={"target": "ate"},
    ),
    "difference_in_means": Entry(
        "randomised.difference", "DifferenceInMeans", "difference in means, HC2 or clustered errors"
    ),
    "regression": Entry(
        "randomised.regression", "Regression", "least squares with covariates, robust errors"
    ),
    "iv_2sls": Entry(
        "randomised.instruments", "TwoStageLeastSquares", "instrumental variables, two-stage"
    ),
    "kaplan_meier": Entry(
        "duration.exits", "KaplanMeier", "probability of remaining, by arm", design="durations"
    ),
    "aalen_johansen": Entry(
        "duration.exits", "AalenJohansen", "probability of each exit, by arm", design="durations"
    ),
    "restricted_mean": Entry(
        "duration.restricted_mean",
        "RestrictedMean",
        "mean time in the state, and lost to each exit, by arm",
        design="durations",
    ),
    "cox": Entry(
        "duration.cox",
        "Cox",
        "hazard ratios of each transition, time-varying covariates",
        design="event_history",
    ),
    "grouped_hazard": Entry(
        "duration.grouped_hazard",
        "GroupedHazard",
        "hazards of each exit by covariates and time, from rows collapsed to cells",
        design="event_history",
    ),
    "timing_of_events": Entry(
        "duration.timing_of_events",
        "TimingOfEvents",
        "mixed proportional hazards with unobserved heterogeneity, by programme status",
        design="event_history",
    ),
    "group_time_att": Entry(
        "did.group_time",
        "GroupTimeATT",
        "effects of a staggered roll-out by cohort and period, and their averages",
        design="staggered",
    ),
    "did_imputation": Entry(
        "did.imputation",
        "Imputation",
        "effects of a staggered roll-out, untreated outcomes imputed by unit and period effects",
        design="staggered",
    ),
    "two_stage": Entry(
        "did.two_stage",
        "TwoStage",
        "effects of a staggered roll-out by two regressions, untreated rows first",
        design="staggered",
    ),
    "twfe": Entry(
        "did.two_way_effects",
        "TwoWayEffects",
        "two-way fixed effects with one treatment dummy, and what it is made of",
        design="staggered",
    ),
    "twfe_event_study": Entry(
        "did.event_study",
        "TwoWayEventStudy",
        "two-way fixed effects with leads and lags, and what they mix",
        design="staggered",
    ),
    "sun_abraham": Entry(
        "did.sun_abraham",
        "SunAbraham",
        "event study of a roll-out, effects by cohort averaged by cohort shares",
        design="staggered",
    ),
    "etwfe": Entry(
        "did.etwfe",
        "ExtendedTwoWay",
        "two-way fixed effects with an effect of its own for every cohort and period",
        design="staggered",
    ),
    "triple_difference": Entry(
        "did.triple_difference",
        "TripleDifference",
        "effects on the eligible of a roll-out, net of what happens to the ineligible beside them",
        design="staggered",
    ),
    "synthetic_did": Entry(
        "did.synthetic_did",
        "SyntheticDiD",
        "few treated offices against a comparison weighted to run parallel with them",
        design="staggered",
    ),
    "stacked": Entry(
        "did.stacked",
        "Stacked",
        "a clean experiment for every cohort in a window, put together by treated units",
        design="staggered",
    ),
    "switching_att": Entry(
        "did.switching_att",
        "SwitchingATT",
        "effects of a treatment that may end, come back or take several values",
        design="paths",
    ),
    "policy": Entry(
        "heterogeneity.policy.estimator",
        "Policy",
        "values of rules that assign programmes, policy trees, who would gain or lose a place",
    ),
    "dose_response": Entry(
        "did.dose_response",
        "DoseResponse",
        "effects of a roll-out by the dose in which it came: bins and a curve",
        design="doses",
    ),
    "intensity": Entry(
        "did.intensity_effects",
        "Intensity",
        "effects of taking part, from a roll-out times predicted participation",
        design="intensity",
    ),
}


def build(key: str, **options: Any) -> Any:
    """The estimator of a key with options set. Raises InputError for an unknown key or option."""
    if key not in ESTIMATORS:
        raise unknown("estimator", key, ESTIMATORS)
    entry = ESTIMATORS[key]
    known = entry.options()
    for name in options:
        if name in entry.fixed:
            raise InputError(f"'{name}' is fixed by the estimator's key", where=key)
        if name not in known:
            raise unknown("option", name, known, where=key)
    if entry.design in ROLL_OUTS:
        few = import_module("tiltakeval.estimators.did.few_clusters.inference")
        return few.with_choice(key, entry.load(), {**entry.fixed, **options})
    return entry.load()(**entry.fixed, **options)
