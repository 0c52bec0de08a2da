"""The report's material: released results with the names and protocol facts a reader needs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from tiltakeval.disclosure.release import Released, ReleasedChecks
from tiltakeval.programmes import catalogue
from tiltakeval.report.material import ReportMaterial
from tiltakeval.study.manifest import VOLATILE
from tiltakeval.study.rollout_kinds import LIMITS, TOLD_AS
from tiltakeval.study.spec import FileStudy, RegisterStudy, StudySpec
from tiltakeval.study.spec_cross_section import Columns
from tiltakeval.study.spec_durations import DurationStudy, EventHistoryStudy
from tiltakeval.study.spec_panel import PanelStudy
from tiltakeval.study.spec_parts import Text
from tiltakeval.study.spec_rollout import StaggeredStudy
from tiltakeval.study.spec_rollout_register import RegisterRolloutStudy

#: Limits that a roll-out is held to.
ROLLOUT_LIMITS = (
    *("pretrend_level", "pretrend_power", "mbar", "breakdown_mbar"),
    *("smallest_cohort", "effective_clusters", "treated_clusters"),
)
#: Manifest fields that a reader of the report needs; the rest is in manifest.json.
SHOWN = ("study", "spec_sha256", "seed", "data", "versions", "python", "command")


def columns_added(runs: Mapping[str, Mapping[str, Any]]) -> dict[str, list[int]]:
    """Fewest and most columns that analyses added to the covariates; {} where none could be added."""
    added = [
        max(run["columns_in_models"] - run["covariates"], 0)
        for run in runs.values()
        if "columns_in_models" in run and run["options"].get("basis") == "products"
    ]
    return {"columns_added": sorted({min(added), max(added)})} if added else {}


def material(
    spec: StudySpec,
    *,
    checks: ReleasedChecks,
    released: Mapping[str, Any],
    facts: Mapping[str, Any],
    manifest: Mapping[str, Any],
    synthetic: bool,
) -> ReportMaterial:
    """Everything the report is made from, named in both languages.

    ``released`` has estimates and attrition, and truth and published where there are any.
    """
    own = {key: _both(text) for key, text in spec.labels.items()}
    own |= {
        f"reason:{one.key}": _both(one.reason)
        for one in getattr(spec, "negative_control", ())
        if one.reason is not None
    }
    facts = {**facts, **columns_added(manifest["analyses"])}
    shown = {name: manifest[name] for name in SHOWN if name in manifest}
    common: dict[str, Any] = {
        "slug": spec.slug,
        "title": _both(spec.title),
        "question": _both(spec.question),
        "checks": checks,
        **released,
        "manifest": {**shown, "made": manifest[VOLATILE[0]]},
        "labels": own,
        "notes": {} if spec.notes is None else _both(spec.notes),
        "synthetic": synthetic,
    }
    if isinstance(spec, RegisterStudy):
        return ReportMaterial(
            **common,
            spec={**register_facts(spec), **facts},
            populations=populations(spec, released["estimates"]),
            programmes=programme_names(spec),
            primary_estimand=spec.primary,
            primary_outcome=spec.analysis[0].outcomes[0],
            summary_month=min(spec.summary_month, spec.population.horizon),
            price_year=spec.price_year,
        )
    table = released["estimates"].table
    return ReportMaterial(
        **common,
        level=_level(spec),
        time_unit=spec.time_units,
        spec={**file_facts(spec), **facts},
        populations=tuple(dict.fromkeys(table["population"])),
        programmes=rollout_programme(spec)
        if isinstance(spec, RegisterRolloutStudy)
        else {name: own.get(name, {}) for name in file_programmes(spec, table)},
        primary_estimand="vs_comparison",
        primary_outcome=next(iter(getattr(spec.columns, "outcomes", ())), ""),
        summary_month=getattr(spec, "summary_month", 24),
        price_year=spec.price_year if isinstance(spec, RegisterRolloutStudy) else None,
    )


def _level(spec: FileStudy | RegisterRolloutStudy) -> str:
    """The level in whose words the report speaks: of a roll-out that of its first analysis."""
    if isinstance(spec, StaggeredStudy | RegisterRolloutStudy):
        return TOLD_AS.get(spec.analyses[0].estimator, "staggered")
    return spec.level


def file_programmes(spec: FileStudy, table: pd.DataFrame) -> list[str]:
    """Programmes or arms of a study on a prepared file, in the order of its file."""
    columns = spec.columns
    declared = getattr(columns, "programmes", None) or {}
    first = [getattr(columns, "programme", None)] if isinstance(columns, Columns) else []
    found = [*first, *declared.values(), *table.loc[table["unit"] != "log", "programme"]]
    return [str(name) for name in dict.fromkeys(found) if name and name != "none"]


def rollout_programme(spec: RegisterRolloutStudy) -> dict[str, dict[str, str]]:
    """The name of the programme that is rolled out."""
    one = catalogue.load()[spec.rollout.programme]
    return {spec.rollout.programme: {"nb": one.name("nb"), "en": one.name("en")}}


def populations(spec: RegisterStudy, estimates: Released) -> tuple[str, ...]:
    """Populations with effects against no programme, in the order of the study's base states."""
    table = estimates.select(comparator="none").table
    found = list(dict.fromkeys(table["population"]))
    return tuple(name for base in spec.base for name in found if name.split(":")[0] == base.state)


def programme_names(spec: RegisterStudy) -> dict[str, dict[str, str]]:
    """Names of the study's programmes, in the order of its file."""
    known = catalogue.load()
    keys = dict.fromkeys(arm for base in spec.base for arm in base.arms)
    return {key: {"nb": known[key].name("nb"), "en": known[key].name("en")} for key in keys}


def register_facts(spec: RegisterStudy) -> dict[str, Any]:
    """The protocol of a study on a register, in reading order."""
    entry, inference, analysis = spec.population, spec.inference, spec.analysis[0]
    return {
        "entry": list(entry.entry),
        "ages": list(entry.ages),
        "time_origin": entry.time_origin,
        "horizon": entry.horizon,
        "placebo_months": entry.placebo_months,
        "primary": spec.primary,
        "estimator": [item.estimator for item in spec.analysis],
        "covariates": list(spec.covariates),
        "folds": analysis.options.get("folds"),
        "trimming": analysis.options.get("trim"),
        "censoring": entry.death,
        "sampling": spec.sampling.comparison_units,
        "cluster": inference.cluster,
        "level": inference.level,
        "draws": inference.draws,
        "price_year": spec.price_year,
        "thresholds": spec.checks.model_dump(),
    }


def file_facts(spec: FileStudy | RegisterRolloutStudy) -> dict[str, Any]:
    """The protocol of a study on a prepared file, or of a roll-out, in reading order."""
    options = [item.options for item in spec.analyses]
    cluster, level = spec.columns.cluster or spec.inference.cluster, spec.inference.level
    declared = spec.columns.covariates
    used = [declared if a.covariates is None else a.covariates for a in spec.analyses]
    facts: dict[str, Any] = {
        "estimator": list(dict.fromkeys(item.estimator for item in spec.analyses)),
        "covariates": list(dict.fromkeys(name for names in used for name in names)),
    }
    if isinstance(spec, PanelStudy):
        facts |= {
            "time_unit": spec.time_unit,
            "baseline": spec.follow_up.baseline,
            "horizon": spec.follow_up.horizon,
            "placebo_months": spec.follow_up.placebo_months,
        }
    elif isinstance(spec, StaggeredStudy | RegisterRolloutStudy):
        return facts | rollout_facts(spec)
    elif isinstance(spec, DurationStudy | EventHistoryStudy):
        facts |= {"time_unit": spec.time_unit}
        if not any(one.of_units for one in spec.analyses):
            # curves and hazard models have no balance, overlap or placebo to hold to a limit
            return facts | {"cluster": cluster, "level": level}
    return {
        **facts,
        "folds": next((item["folds"] for item in options if "folds" in item), None),
        "cluster": cluster,
        "level": level,
        "thresholds": spec.checks.model_dump(),
    }


def rollout_facts(spec: StaggeredStudy | RegisterRolloutStudy) -> dict[str, Any]:
    """What a roll-out's protocol says beside its estimators and covariates."""
    limits = spec.checks
    own = [name for item in spec.analyses for name in LIMITS.get(item.estimator, ())]
    return {
        "rollout_entry": f"entry_{spec.entry}",
        "treatment_column": spec.columns.treatment,
        "dose_column": spec.columns.dose,
        "participation": spec.columns.predicted or spec.columns.participation,
        "predictors": list(spec.columns.predictors),
        "override": spec.override,
        "time_unit": spec.time_unit,
        "cluster": spec.columns.cluster or spec.columns.unit or "rows",
        "level": spec.inference.level,
        "thresholds": {name: getattr(limits, name) for name in (*ROLLOUT_LIMITS, *own)},
    }


def _both(text: Text) -> dict[str, str]:
    return {"nb": text.nb, "en": text.en}
