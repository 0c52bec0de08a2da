"""Roll-outs that reach units in different doses: months, intensity, the share eligible."""

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
from tiltakeval.errors import InputError

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class DosedRollout(StaggeredPanel):
    """A roll-out in which every unit has one ``dose`` [n] from its start on: above 0 where it is ever
    treated inside the panel, 0 where it isn't."""

    dose: Floats

    def __post_init__(self) -> None:
        """Raise InputError where the doses are those of other units, or none."""
        super().__post_init__()
        if self.dose.size != self.n:
            raise InputError(f"{self.dose.size} doses for {self.n} units", where="dose")
        treated = self.first <= self.periods[-1]
        low = int((~(self.dose[treated] > 0)).sum())
        if low:
            raise InputError(
                f"{low} of {int(treated.sum())} treated units have no dose above 0",
                where="dose",
                remedy="Treated units have a positive dose; leave those out for whom it isn't known.",
            )


def doses_from_frame(
    df: pd.DataFrame,
    *,
    outcome: str | Sequence[str],
    unit: str,
    dose: str,
    period: str | None = None,
    time: str | None = None,
    first: str | None = None,
    cohort: str | None = None,
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
) -> DosedRollout:
    """A roll-out with doses from a long file, a row a ``unit`` and ``period``.

    ``dose`` is either constant in a unit (missing or 0 where it is never treated), or the treatment of
    the row's period: 0 before the start, one positive number from then on. When units start is in
    ``first`` (also ``cohort``); left out, it is the first period with a dose above 0 (the dose must then
    be that of the row's period). All else as in `staggered.staggered_from_frame`. Raises InputErrors.
    """
    errors = Errors()
    when, start = period or time, first or cohort
    if when is None:
        errors.add("period must be given", where=where, remedy="Say period = a column.")
    for one, other in (("period", "time"), ("first", "cohort")):
        if {"period": period, "first": first}[one] and {"time": time, "cohort": cohort}[other]:
            errors.add(f"'{one}' and '{other}' mean the same: give one", where=where)
    if dose in {unit, when, start, *listed(outcome), *listed(covariates)}:
        errors.add(f"'{dose}' can't be the dose and something else too", where=where)
    errors.attempt(lambda: require_columns(df, [unit, when, start, dose], where=where))
    if df.empty:
        errors.add("the file has no rows", where=where)
    errors.stop(where)
    assert when is not None
    place = f"{where}, column '{dose}'"
    framed = df.assign(**{dose: _numbers(df[dose], where=place)})
    status: dict[str, str] = {}
    if start is None:
        framed["_treated"] = (framed[dose] > 0).astype(int)
        status["treated"] = "_treated"
    panel = staggered_from_frame(
        framed, outcome=outcome, unit=unit, period=when, first=start, covariates=covariates,
        covariate_period=covariate_period, varying=(dose,), weight=weight, cluster=cluster,
        subgroups=subgroups, never=never, programme=programme, population=population,
        estimand=estimand, units=units, entry=entry, override=override, where=where, **status,
    )  # type: ignore[arg-type]  # fmt: skip
    assert panel.varying is not None
    own = {f.name: getattr(panel, f.name) for f in fields(StaggeredPanel)}
    dose_of = _one_dose(panel, panel.varying[:, :, 0], constant=start is not None, where=place)
    return DosedRollout(**{**own, "varying": None, "varying_names": ()}, dose=dose_of)


def _numbers(values: pd.Series, *, where: str) -> pd.Series:
    """Doses, 0 where missing. Raises InputError for text, and for negative or infinite ones."""
    if not (pd.api.types.is_numeric_dtype(values) or pd.api.types.is_bool_dtype(values)):
        raise InputError("a dose must be a number", where=where)
    array = values.astype("float64").to_numpy()
    wrong = int((np.isinf(array) | (array < 0)).sum())
    if wrong:
        raise InputError(
            f"{wrong} of {array.size} doses are negative or infinite",
            where=where,
            remedy="A dose is 0 without treatment and positive with it; for treatments that rise "
            "and fall use switching_att.",
        )
    return values.astype("float64").fillna(0.0)


def _one_dose(panel: StaggeredPanel, held: Floats, *, constant: bool, where: str) -> Floats:
    """[n] the dose of every unit. Raises InputError where it changes after the start."""
    treated = panel.first <= panel.periods[-1]
    after = (panel.periods >= panel.first[:, None]) & np.isfinite(held)
    high = np.where(after, held, -np.inf).max(axis=1)
    low = np.where(after, held, np.inf).min(axis=1)
    changing = int((treated & after.any(axis=1) & (high != low)).sum())
    if changing:
        raise InputError(
            f"the dose changes after the start in {changing} units",
            where=where,
            remedy="A dose is constant from the start on; use switching_att for treatments that "
            "change.",
        )
    before = np.isfinite(held) & ~after & treated[:, None] & (held > 0)
    if not constant and before.any():
        raise InputError(
            f"{int(before.any(axis=1).sum())} units have a dose too early", where=where
        )
    own = np.where(after.any(axis=1), high, np.nanmax(np.where(np.isfinite(held), held, 0), axis=1))
    return np.where(treated, own, 0.0)
