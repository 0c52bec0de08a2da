"""A study on prepared files: samples → designs → estimates, and agreement with published figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from tiltakeval.design.cross_section import CrossSection
from tiltakeval.design.prepared import cross_section_from_frame, frame_fingerprint
from tiltakeval.errors import InputError, unknown
from tiltakeval.estimates.agree import agree
from tiltakeval.estimates.check import Check
from tiltakeval.estimates.table import Estimates, tidy
from tiltakeval.study.estimator import defaults, estimate_and_check, estimator_of, scoped
from tiltakeval.study.found import Found
from tiltakeval.study.sources import compare, read_source
from tiltakeval.study.spec_cross_section import CrossSectionStudy, Sample, SampleAnalysis
from tiltakeval.study.stages import Stages


def sample_frame(spec: CrossSectionStudy, sample: Sample, folder: Path) -> pd.DataFrame:
    """The rows of a sample with the derived columns. Raises InputError."""
    parts = []
    for part in sample.parts:
        frame = read_source(part.source, folder)
        if part.where is not None:
            frame = frame[compare(frame, part.where, where=f"sample {sample.key}")]
        parts.append(frame)
    stacked = pd.concat(parts, ignore_index=True)
    for name, rule in spec.columns.derived.items():
        stacked[name] = compare(stacked, rule, where=f"columns.derived.{name}").astype(float)
    return stacked


def design_of(
    spec: CrossSectionStudy, analysis: SampleAnalysis, frame: pd.DataFrame
) -> CrossSection:
    """The design of one analysis on its sample. Raises InputError."""
    columns = spec.columns
    given = columns.covariates if analysis.covariates is None else analysis.covariates
    return cross_section_from_frame(
        frame,
        treatment=columns.treatment,
        outcome=analysis.outcomes or tuple(columns.outcomes),
        covariates=given,
        cluster=columns.cluster,
        subgroups=columns.subgroups,
        units=columns.outcomes,
        arms={"1": columns.programme},
        population=analysis.sample,
        where=f"sample {analysis.sample}",
    )


def published_estimates(spec: CrossSectionStudy, found: Estimates) -> Estimates:
    """The published figures as estimates, labelled as what they are compared with."""
    rows = []
    for figure in spec.published:
        hits = found.select(analysis=figure.analysis, outcome=figure.outcome, term="effect")
        hits = hits.select(subgroup="all")
        if len(hits) != 1:
            known = sorted(set(found.table["outcome"]))
            raise unknown("outcome", figure.outcome, known, where=f"published {figure.key}")
        like = hits.table.iloc[0]
        half = None if figure.std_error is None else 1.96 * figure.std_error
        rows.append(
            {
                **{name: like[name] for name in ("population", "estimand", "programme", "unit")},
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


def agreement(spec: CrossSectionStudy, found: Estimates, published: Estimates) -> list[Check]:
    """One check for each published figure. Raises InputError where none says how close is close."""
    checks = []
    for position, figure in enumerate(spec.published):
        if figure.absolute is None and figure.relative is None and figure.max_z is None:
            raise InputError(
                "say how close is close: absolute, relative or max_z",
                where=f"published {figure.key}",
            )
        check = agree(
            found.select(analysis=figure.analysis),
            published.take([position]),
            absolute=figure.absolute,
            relative=figure.relative,
            max_z=figure.max_z,
        )
        checks.append(scoped(check, analysis=figure.analysis, published=figure.key))
    return checks


def run(spec: CrossSectionStudy, folder: Path, stages: Stages) -> Found:
    """Every analysis on its sample, the checks, and the published figures. Raises InputError."""
    estimators = {
        analysis.key: estimator_of(
            analysis.estimator, defaults(spec.inference, spec.seed), analysis.options
        )
        for analysis in spec.analysis
    }
    frames: dict[str, pd.DataFrame] = {}
    data: dict[str, Any] = {}
    with stages.stage("samples"):
        for sample in spec.sample:
            frames[sample.key] = sample_frame(spec, sample, folder)
            sources = [part.source for part in sample.parts]
            data[sample.key] = {"sources": sources, "rows": frame_fingerprint(frames[sample.key])}
    parts, checks, runs = [], [], {}
    for analysis in spec.analysis:
        with stages.stage(f"analysis {analysis.key}: {analysis.estimator}"):
            design = design_of(spec, analysis, frames[analysis.sample])
            done = estimate_and_check(estimators[analysis.key], design, spec.checks)
            checks += [scoped(check, analysis=analysis.key) for check in done.checks]
            parts.append(done.estimates.assign(analysis=analysis.key))
            runs[analysis.key] = dict(done.estimates.run)
    found = Estimates.concat(parts)
    published = published_estimates(spec, found) if spec.published else None
    if published is not None:
        checks += agreement(spec, found, published)
    return Found(
        estimates=found,
        checks=tuple(checks),
        attrition=found.attrition,
        data=data,
        runs=runs,
        published=published,
    )
