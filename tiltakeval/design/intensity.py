"""Roll-outs among people or offices of whom some take part more than others: predicted participation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tiltakeval.design.columns import listed, require_columns
from tiltakeval.design.panel_rows import Errors
from tiltakeval.design.staggered import StaggeredPanel
from tiltakeval.design.staggered_read import staggered_from_frame
from tiltakeval.design.staggered_rows import number_column
from tiltakeval.errors import InputError

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class IntensityRollout(StaggeredPanel):
    """A roll-out with what foretells who takes part. Either ``predicted`` [n], made elsewhere; or
    ``predictors`` [n, q] known before the roll-out, with the ``participation`` [n] seen (0 to 1, NaN
    where it isn't known), from which a prediction is fitted."""

    predicted: Floats | None = None
    predictors: Floats | None = None
    predictor_names: tuple[str, ...] = ()
    participation: Floats | None = None

    def __post_init__(self) -> None:
        """Raise InputError unless there is exactly one kind of prediction."""
        super().__post_init__()
        fitted = self.predictors is not None and self.participation is not None
        if (self.predicted is None) == (not fitted):
            raise InputError(
                "predicted participation isn't declared, or declared twice",
                where="predicted",
                remedy="Say predicted = a column; or participation = a column and predictors = "
                "columns known before the roll-out.",
            )


def intensity_from_frame(
    df: pd.DataFrame,
    *,
    outcome: str | Sequence[str],
    unit: str,
    period: str | None = None,
    first: str | None = None,
    treated: str | None = None,
    time: str | None = None,
    cohort: str | None = None,
    predicted: str | None = None,
    participation: str | None = None,
    predictors: str | Sequence[str] = (),
    covariates: str | Sequence[str] = (),
    covariate_period: int | str | None = None,
    weight: str | None = None,
    cluster: str | Sequence[str] | None = None,
    subgroups: str | Sequence[str] | Mapping[str, str] = (),
    never: int | str | None = None,
    programme: str = "treated",
    population: str = "file",
    estimand: str = "vs_comparison",
    units: Mapping[str, str] | None = None,
    entry: str | None = None,
    override: str | None = None,
    where: str = "panel file",
) -> IntensityRollout:
    """A roll-out from a long file as in `staggered.staggered_from_frame`, with one of: ``predicted``, a
    prediction of participation (constant in a unit, from data before the roll-out); or ``participation``
    (0 to 1, constant in a unit: whether it ever took part, or the share; missing where the programme
    never came or it isn't known) with ``predictors``, constant in a unit or read in
    ``covariate_period``. ``cluster`` is what starts together. Raises InputErrors.
    """
    errors = Errors()
    foretelling, known = listed(predictors), listed(covariates)
    if (predicted is None) == (participation is None):
        errors.add(
            "predicted participation isn't declared, or declared twice",
            where=where,
            remedy="Say predicted = a column; or participation = a column and predictors = columns.",
        )
    elif (participation is not None) != bool(foretelling):
        errors.add(
            "predictors and participation go together",
            where=where,
            remedy="Participation is predicted from columns known before the roll-out.",
        )
    column = predicted or participation or ""
    for name in sorted({column, *foretelling} & {*listed(outcome), *known, unit}):
        errors.add(f"'{name}' can't be a prediction and something else too", where=where)
    if column in foretelling:
        errors.add(f"'{column}' can't foretell itself", where=where)
    errors.attempt(lambda: require_columns(df, [unit, column or None, *foretelling], where=where))
    if df.empty:
        errors.add("the file has no rows", where=where)
    errors.stop(where)
    what = "a prediction" if predicted else "participation"
    place = f"{where}, column '{column}'"
    number = number_column(df, column, where=where, what=f"a {what}".replace("a a ", "a "))
    outside = int(((number < 0) | (number > 1)).sum())
    if outside:
        raise InputError(
            f"{outside} of {number.size} values lie outside 0 to 1",
            where=place,
            remedy="Participation, seen or predicted, is a probability or a share.",
        )
    panel = staggered_from_frame(
        df, outcome=outcome, unit=unit, period=period, first=first, treated=treated, time=time,
        cohort=cohort, covariates=(*known, *foretelling), covariate_period=covariate_period,
        varying=(column,), weight=weight, cluster=cluster, subgroups=subgroups, never=never,
        programme=programme, population=population, estimand=estimand, units=units, entry=entry,
        override=override, where=where,
    )  # fmt: skip
    assert panel.varying is not None
    value = _constant(panel.varying[:, :, 0], complete=predicted is not None, where=place)
    own = [name.split("=")[0] in foretelling for name in panel.covariate_names]
    at, rest = np.flatnonzero(own), np.flatnonzero(~np.array(own, dtype=bool))
    base = {f.name: getattr(panel, f.name) for f in fields(StaggeredPanel)}
    base |= {"varying": None, "varying_names": (), "covariates": panel.covariates[:, rest]}
    base |= {"covariate_names": tuple(panel.covariate_names[j] for j in rest)}
    if predicted is not None:
        return IntensityRollout(**base, predicted=value)
    return IntensityRollout(
        **base,
        predictors=panel.covariates[:, at],
        predictor_names=tuple(panel.covariate_names[j] for j in at),
        participation=value,
    )


def _constant(held: Floats, *, complete: bool, where: str) -> Floats:
    """[n] the one value of every unit, NaN where it has none. Raises InputError where it changes, or
    (``complete``) is missing."""
    seen = np.isfinite(held)
    high = np.where(seen, held, -np.inf).max(axis=1)
    low = np.where(seen, held, np.inf).min(axis=1)
    changing = int((seen.any(axis=1) & (high != low)).sum())
    if changing:
        raise InputError(
            f"the values change within {changing} units",
            where=where,
            remedy="It is one number for a unit: whether it ever took part, or a prediction of that.",
        )
    absent = int((~seen.any(axis=1)).sum())
    if complete and absent:
        raise InputError(f"{absent} units have no predicted participation", where=where)
    return np.where(seen.any(axis=1), high, np.nan)
