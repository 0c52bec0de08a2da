"""A prepared file with a row a spell, for any estimator that takes a cross-section."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from tiltakeval.design.durations import durations_from_frame
from tiltakeval.estimators.heterogeneity.survival.outcomes import (
    Measure,
    SpellOutcomes,
    spell_outcomes,
)


def spell_outcomes_from_frame(
    df: pd.DataFrame,
    *,
    treatment: str,
    duration: str,
    event: str | Sequence[str],
    horizon: Sequence[int] | int,
    measure: Measure = "restricted_mean",
    exit: str | None = None,
    covariates: str | Sequence[str] = (),
    weight: str | None = None,
    cluster: str | None = None,
    subgroups: str | Sequence[str] | Mapping[str, str] = (),
    comparison: str | float | int | bool | None = None,
    exits: str | Mapping[str, str] | None = None,
    censored: str | float | int | None = 0,
    least_followed: float = 0.05,
    time_unit: str = "months",
    population: str = "file",
    where: str = "prepared file",
) -> SpellOutcomes:
    """A file with a row a spell, as a cross-section for any estimator that takes one.

    Columns as in ``durations_from_frame``; the rest as in `spell_outcomes`. Raises InputError.
    """
    spells = durations_from_frame(
        df,
        duration=duration,
        event=event,
        treatment=treatment,
        covariates=covariates,
        weight=weight,
        cluster=cluster,
        subgroups=subgroups,
        comparison=comparison,
        exits=exits,
        censored=censored,
        time_unit=time_unit,
        population=population,
        where=where,
    )
    return spell_outcomes(
        spells, horizons=horizon, measure=measure, exit=exit, least_followed=least_followed
    )
