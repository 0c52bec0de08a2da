"""From the rows of a sample to the design of an analysis, at the level a study enters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from tiltakeval.design.durations import Durations
from tiltakeval.design.event_history import event_history_from_frame
from tiltakeval.design.panel import panel_from_frame
from tiltakeval.design.prepared import cross_section_from_frame, durations_from_frame
from tiltakeval.errors import InputError
from tiltakeval.estimators import ESTIMATORS
from tiltakeval.estimators.heterogeneity.survival.outcomes import SpellOutcomes, spell_outcomes
from tiltakeval.study.rollout_kinds import build_design, kind_of
from tiltakeval.study.spec_cross_section import CrossSectionStudy
from tiltakeval.study.spec_durations import DurationStudy, EventHistoryStudy
from tiltakeval.study.spec_file import FileAnalysis, FileStudy, SampleAnalysis
from tiltakeval.study.spec_panel import PanelStudy
from tiltakeval.study.spec_rollout import StaggeredStudy

#: Column numbering the spells of a file with a row a spell, where a person's rows are wanted.
_SPELL, _EXIT = "_spell", "_exit"


def design_of(spec: FileStudy, analysis: FileAnalysis, frame: pd.DataFrame) -> Any:
    """The design of one analysis on its sample. Raises InputError."""
    where = f"sample {analysis.sample}"
    if isinstance(spec, PanelStudy):
        assert isinstance(analysis, SampleAnalysis)
        return _panel(spec, analysis, frame, where)
    if isinstance(spec, StaggeredStudy):
        assert isinstance(analysis, SampleAnalysis)
        return _rollout(spec, analysis, frame, where)
    if isinstance(spec, DurationStudy):
        if ESTIMATORS[analysis.estimator].design == "event_history":
            return _history_of_spells(spec, analysis, frame, where)
        if analysis.of_units:
            assert isinstance(analysis, SampleAnalysis)
            return _spells_as_units(spec, analysis, frame, where)
        return _spells(spec, analysis, frame, where)
    if isinstance(spec, EventHistoryStudy):
        return _history(spec, analysis, frame, where)
    assert isinstance(spec, CrossSectionStudy) and isinstance(analysis, SampleAnalysis)
    columns = spec.columns
    return cross_section_from_frame(
        frame,
        treatment=columns.treatment,
        outcome=analysis.outcomes or tuple(columns.outcomes),
        covariates=_covariates(spec, analysis),
        cluster=columns.cluster,
        subgroups=columns.subgroups,
        units=columns.outcomes,
        arms={"1": columns.programme},
        population=analysis.sample,
        where=where,
    )


def _covariates(spec: FileStudy, analysis: FileAnalysis) -> tuple[str, ...]:
    """The covariates of an analysis: its own, or all declared."""
    declared: tuple[str, ...] = spec.columns.covariates
    return declared if analysis.covariates is None else analysis.covariates


def _subgroups(spec: DurationStudy, analysis: FileAnalysis) -> Mapping[str, str]:
    """The groupings of an analysis of spells: its own, or all declared."""
    declared, own = spec.columns.subgroups, getattr(analysis, "subgroups", None)
    return declared if own is None else {name: declared[name] for name in own}


def _panel(spec: PanelStudy, analysis: SampleAnalysis, frame: pd.DataFrame, where: str) -> Any:
    columns, follow_up = spec.columns, spec.follow_up
    return panel_from_frame(
        frame,
        unit=columns.unit,
        period=columns.period,
        treatment=columns.treatment,
        comparison=columns.comparison,
        arms=columns.programmes,
        outcome=analysis.outcomes or tuple(columns.outcomes),
        units=columns.outcomes,
        start=columns.start,
        month_zero=follow_up.month_zero,
        covariates=_covariates(spec, analysis),
        baseline=follow_up.baseline,
        horizon=follow_up.horizon,
        placebo_months=follow_up.placebo_months,
        weight=columns.weight,
        cluster=columns.cluster,
        subgroups=columns.subgroups,
        population=analysis.sample,
        where=where,
    )


def _rollout(
    spec: StaggeredStudy, analysis: SampleAnalysis, frame: pd.DataFrame, where: str
) -> Any:
    varying = getattr(analysis, "varying", None)
    return build_design(
        kind_of(analysis.estimator),
        frame,
        spec.columns,
        outcome=analysis.outcomes or tuple(spec.columns.outcomes),
        covariates=_covariates(spec, analysis),
        varying=spec.columns.varying if varying is None else varying,
        entry=spec.entry,
        override=spec.override,
        population=analysis.sample,
        where=where,
    )


def _spells(
    spec: DurationStudy, analysis: FileAnalysis, frame: pd.DataFrame, where: str
) -> Durations:
    columns = spec.columns
    by_arm = bool(getattr(analysis, "by_arm", True))
    return durations_from_frame(
        frame,
        duration=columns.duration,
        event=columns.event,
        censored=columns.censored,
        exits=columns.exits or None,
        treatment=columns.treatment if by_arm else None,
        comparison=columns.comparison,
        covariates=_covariates(spec, analysis) if by_arm else (),
        entry=columns.entry,
        weight=columns.weight,
        cluster=columns.cluster,
        subgroups=_subgroups(spec, analysis),
        time_unit=spec.time_unit,
        population=analysis.sample,
        where=where,
    )


def _spells_as_units(
    spec: DurationStudy, analysis: SampleAnalysis, frame: pd.DataFrame, where: str
) -> SpellOutcomes:
    """Spells as units whose outcomes are what the spells come to, censoring allowed for."""
    spells = _spells(spec, analysis, frame, where)
    found = {}
    for name in analysis.outcomes or tuple(spec.columns.outcomes):
        asked = spec.columns.outcomes[name]
        found[name] = spell_outcomes(
            spells,
            horizons=asked.within,
            measure=asked.measure,
            exit=asked.exit,
            seed=spec.seed,
        )
    first = next(iter(found.values()))
    return replace(
        first,
        outcomes=np.concatenate([one.outcomes for one in found.values()], axis=2),
        outcome_names=tuple(found),
        units=tuple(one.units[0] for one in found.values()),
        horizons=(None,),
        notes={name: dict(one.notes) for name, one in found.items()},
    )


def _history_of_spells(
    spec: DurationStudy, analysis: FileAnalysis, frame: pd.DataFrame, where: str
) -> Any:
    """A file with a row a spell as an event history of one row each; arms are programme status."""
    columns = spec.columns
    taken = [name for name in (_SPELL, _EXIT) if name in frame.columns]
    if taken:
        raise InputError(f"the column '{taken[0]}' is made here; rename yours", where=where)
    spells = _spells(spec, analysis.model_copy(update={"covariates": ()}), frame, where)
    status = {name: (spells.arm == a).astype(float) for a, name in enumerate(spells.arms) if a}
    lost = [name for name in status if name in frame.columns and name != columns.treatment]
    if lost:
        raise InputError(
            f"an arm is called '{lost[0]}', as a column is", where=where, remedy="Rename one."
        )
    rows = frame.reset_index(drop=True).assign(
        **{_SPELL: np.arange(len(frame)), _EXIT: spells.event.astype(int)}, **status
    )
    return event_history_from_frame(
        rows,
        id=_SPELL,
        event=_EXIT,
        exits={str(j): name for j, name in enumerate(spells.event_names, 1)},
        start=columns.entry,
        stop=columns.duration,
        covariates=tuple(name for name in _covariates(spec, analysis) if name not in status),
        programme=tuple(status),
        weight=columns.weight,
        cluster=columns.cluster,
        subgroups=_subgroups(spec, analysis),
        population=analysis.sample,
        where=where,
    )


def _history(
    spec: EventHistoryStudy, analysis: FileAnalysis, frame: pd.DataFrame, where: str
) -> Any:
    columns = spec.columns
    risk_sets: Mapping[str, str] | None = columns.risk_sets or None
    return event_history_from_frame(
        frame,
        id=columns.id,
        event=columns.event,
        exits=columns.exits,
        duration=columns.duration,
        start=columns.start,
        stop=columns.stop,
        covariates=_covariates(spec, analysis),
        programme=columns.programme,
        entries=columns.entries,
        state=columns.state,
        risk_sets=risk_sets,
        spell=columns.spell,
        observed_from=columns.observed_from,
        weight=columns.weight,
        cluster=columns.cluster,
        subgroups=columns.subgroups,
        population=analysis.sample,
        where=where,
    )
