"""Person-months of a register as the design of grouped hazards."""

from __future__ import annotations

from collections.abc import Sequence

from tiltakeval.design.person_periods import PersonPeriods, StatusLabel
from tiltakeval.design.person_periods_table import RowColumns, person_periods_from_table
from tiltakeval.population.person_periods import RegisterPeriods


def person_periods_of_register(
    periods: RegisterPeriods,
    *,
    interactions: Sequence[tuple[str, str]] = (),
    subgroups: Sequence[str] = (),
    leave_out: Sequence[str] = (),
) -> PersonPeriods:
    """The rows collapsed to cells. ``interactions`` are pairs of categories, ``subgroups`` categories in
    whose levels effects of programme status are wanted, ``leave_out`` categories not to use (levels
    are then summed over). Raises InputError as ``person_periods_from_table``."""
    categories = {
        name: levels for name, levels in periods.categories.items() if name not in leave_out
    }
    status = [name for name in periods.status if name not in leave_out]
    return person_periods_from_table(
        periods.work.engine,
        periods.table,
        transitions=periods.transitions,
        categories=categories,
        status=status,
        labels={
            name: StatusLabel(m.programme, m.time_origin, m.horizon, m.period)
            for name, m in periods.meanings.items()
        },
        interactions=interactions,
        subgroups=subgroups,
        columns=RowColumns(exposure=periods.exposure),
        population=periods.spec.base,
        estimand="in_programme_and_after",
        attrition=periods.attrition,
        fingerprint=f"{periods.work.registers.fingerprint}:{periods.spec}",
        where=f"person-months, {periods.spec.base}",
    )
