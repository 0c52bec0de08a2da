"""A study on prepared files: samples → designs → estimates, and agreement with published figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tiltakeval.design.columns import frame_fingerprint
from tiltakeval.disclosure.rules import load_rules
from tiltakeval.errors import InputError, unknown
from tiltakeval.estimates.agree import agree
from tiltakeval.estimates.check import Check
from tiltakeval.estimates.table import Estimates, tidy
from tiltakeval.estimators.heterogeneity.survival.outcomes import SpellOutcomes
from tiltakeval.study.controls import control_checks
from tiltakeval.study.designs import design_of
from tiltakeval.study.estimator import defaults, estimate_and_check, estimator_of, scoped
from tiltakeval.study.for_whom import for_whom
from tiltakeval.study.for_whom_asked import Asked, prepared
from tiltakeval.study.found import Found
from tiltakeval.study.hazard_rows import OBSERVED, follows, named, points_checks, told
from tiltakeval.study.sources import compare, derive, read_source
from tiltakeval.study.spec_controls import NegativeControl
from tiltakeval.study.spec_file import FileStudy, Published, Sample
from tiltakeval.study.stages import Stages

#: What a published figure takes over from the estimate it is about.
LIKE = (
    *("population", "estimand", "programme", "comparator", "unit", "time_origin", "horizon"),
    *("period", "term"),
)


def sample_frame(
    spec: FileStudy, sample: Sample, folder: Path, data: Path | None = None
) -> pd.DataFrame:
    """The rows of a sample with the derived columns; ``data`` is what the command line names.

    Raises InputError.
    """
    parts = []
    for part in sample.parts:
        frame = read_source(part.source, folder, data)
        if part.where is not None:
            frame = frame[compare(frame, part.where, where=f"sample {sample.key}")]
        parts.append(frame)
    stacked = pd.concat(parts, ignore_index=True)
    for name, rule in spec.columns.derived.items():
        stacked[name] = derive(stacked, rule, where=f"columns.derived.{name}")
    return stacked


def published_estimates(spec: FileStudy, found: Estimates) -> Estimates:
    """The published figures as estimates, labelled as what they are compared with."""
    rows = []
    for figure in spec.published:
        like = _estimate_of(figure, found)
        half = None if figure.std_error is None else 1.96 * figure.std_error
        rows.append(
            {
                **{name: like[name] for name in LIKE},
                "study": spec.slug,
                "analysis": figure.key,
                "outcome": figure.outcome,
                "estimate": figure.estimate,
                "std_error": figure.std_error,
                "conf_low": None if half is None else figure.estimate - half,
                "conf_high": None if half is None else figure.estimate + half,
                "source": figure.source,
            }
        )
    return Estimates(tidy(rows))


def _estimate_of(figure: Published, found: Estimates) -> pd.Series:
    """The row a published figure is about. Raises InputError where there isn't one, or are several."""
    where = f"published {figure.key}"
    hits = found.select(analysis=figure.analysis, subgroup="all")
    wanted = {"outcome": figure.outcome, "term": figure.term, "programme": figure.programme}
    for name, value in wanted.items():
        if value is None:
            continue
        part = hits.select(**{name: value})
        if not len(part):
            raise unknown(name, value, sorted(set(hits.table[name])), where=where)
        hits = part
    if figure.horizon is not None:
        hits = hits.select(horizon=figure.horizon)
    if len(hits) != 1:
        raise InputError(
            f"{len(hits)} estimates of the analysis fit the figure",
            where=where,
            remedy="Say which: programme, horizon, term.",
        )
    return hits.table.iloc[0]


def agreement(spec: FileStudy, found: Estimates, published: Estimates) -> list[Check]:
    """One check for each published figure."""
    checks = []
    for position, figure in enumerate(spec.published):
        check = agree(
            found.select(analysis=figure.analysis),
            published.take([position]),
            absolute=figure.absolute,
            relative=figure.relative,
            max_z=figure.max_z,
        )
        checks.append(scoped(check, analysis=figure.analysis, published=figure.key))
    return checks


def run(spec: FileStudy, folder: Path, data: Path | None, stages: Stages) -> Found:
    """Every analysis on its sample, the checks, and the published figures.

    ``folder`` holds the study file, ``data`` is what the command line names. Raises InputError.
    """
    estimators = {
        analysis.key: estimator_of(
            analysis.estimator, defaults(spec.inference, spec.seed), analysis.options
        )
        for analysis in spec.analyses
    }
    asked, beside = _asked(spec, estimators), []
    frames: dict[str, pd.DataFrame] = {}
    read: dict[str, Any] = {}
    with stages.stage("samples"):
        for sample in spec.sample:
            frames[sample.key] = sample_frame(spec, sample, folder, data)
            sources = [part.source for part in sample.parts]
            read[sample.key] = {"sources": sources, "rows": frame_fingerprint(frames[sample.key])}
    parts, checks, runs = [], [], {}
    for analysis in spec.analyses:
        with stages.stage(f"analysis {analysis.key}: {analysis.estimator}"):
            design = design_of(spec, analysis, frames[analysis.sample])
            mine = _controls(spec, analysis.key)
            for_whom_here = [one for one in asked if one.spec.analysis == analysis.key]
            _refuse_unknown(design, mine, for_whom_here)
            if isinstance(design, SpellOutcomes):
                _say_of_spells(design, analysis.key, stages)
            done = estimate_and_check(estimators[analysis.key], design, spec.checks)
            checks += [scoped(check, analysis=analysis.key) for check in done.checks]
            if mine:
                checks += control_checks(
                    mine,
                    design,
                    estimators[analysis.key],
                    done.estimates,
                    done.nuisance,
                    analysis=analysis.key,
                    month=_month(spec),
                    level=spec.checks.placebo_level,
                    seed=spec.seed,
                    stages=stages,
                )
            estimates, run_of = done.estimates.assign(analysis=analysis.key), done.estimates.run
            population = str(estimates.table["population"].iloc[0])
            scope = {"population": population, "analysis": analysis.key}
            checks += follows(estimates.table, scope)
            estimates = estimates.take(
                np.flatnonzero((estimates.table["term"] != OBSERVED).to_numpy())
            )
            if "certificate" in run_of:
                checks += points_checks(estimates.table, run_of, scope)
                estimates, run_of = (
                    replace(estimates, table=named(estimates.table)),
                    told(run_of),
                )
            parts.append(estimates)
            runs[analysis.key] = dict(run_of)
        for one in for_whom_here:
            with stages.stage(f"{one.spec.key} (for whom)"):
                threshold, draws = load_rules(spec.rules).threshold, spec.inference.draws
                groups, more, runs[one.spec.key] = for_whom(
                    one, design, done.nuisance, threshold=threshold, draws=draws, stages=stages
                )
            checks += more
            beside += [] if groups is None else [groups]
    found = Estimates.concat(parts)
    published = published_estimates(spec, found) if spec.published else None
    if published is not None:
        checks += agreement(spec, found, published)
    return Found(
        estimates=found,
        checks=tuple(checks),
        attrition=found.attrition,
        data=read,
        runs=runs,
        published=published,
        for_whom=Estimates.concat(beside) if beside else None,
    )


def _controls(spec: FileStudy, key: str) -> list[NegativeControl]:
    """The tables `[[negative_control]]` that belong to an analysis."""
    first = _first_of_units(spec)
    asked = getattr(spec, "negative_control", ())
    return [one for one in asked if (one.analysis or first) == key]


def _refuse_unknown(
    design: Any, controls: Sequence[NegativeControl], asked: Sequence[Asked]
) -> None:
    """Raise InputError for a programme that tables name and the file doesn't have: a level whose arms
    the data tell can't be checked before."""
    named = [(f"negative_control {one.key}", one.programme) for one in controls]
    for one in asked:
        rule = one.spec.policy
        capacity = rule.capacity if rule is not None and isinstance(rule.capacity, dict) else {}
        named += [(f"for_whom {one.spec.key}", name) for name in (*one.spec.programmes, *capacity)]
    for where, name in named:
        if name not in design.arms[1:]:
            raise unknown("programme", name, design.arms[1:], where=where)


def _say_of_spells(design: SpellOutcomes, key: str, stages: Stages) -> None:
    """What outcomes made of spells rest on, for the screen: shares of an arm may tell small counts."""
    for name, notes in design.notes.items():
        few = [f"{arm} has too few spells and no outcome" for arm in notes["too_small"]]
        raised = [
            f"a chance of being followed raised for {100 * share:.1f} % of {arm}"
            for arm, share in notes["raised"].items()
            if share > 0
        ]
        if few or raised:
            stages.say(f"{key}, {name} (not released): {'; '.join(few + raised)}")


def _first_of_units(spec: FileStudy) -> str | None:
    """The analysis that tables without one belong to."""
    return next((one.key for one in spec.analyses if one.of_units), None)


def _month(spec: FileStudy) -> int | None:
    """The month that is looked at where a table names none; None where outcomes have one date."""
    last = spec.last_period
    return None if last is None else min(getattr(spec, "summary_month", last), last)


def _asked(spec: FileStudy, estimators: Mapping[str, Any]) -> list[Asked]:
    """The tables `[[for_whom]]` of a study, each with an analysis."""
    first = _first_of_units(spec)
    out = []
    for one in getattr(spec, "for_whom", ()):
        one = one if one.analysis else one.model_copy(update={"analysis": first})
        out.append(
            prepared(
                one,
                estimators[str(one.analysis)],
                defaults(spec.inference, spec.seed),
                horizon=_month(spec) if one.horizon is None else one.horizon,
                threshold=load_rules(spec.rules).threshold,
            )
        )
    return out
