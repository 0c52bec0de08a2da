"""A programme introduced office by office, from registers to a staggered panel of offices."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tiltakeval.design.staggered import StaggeredPanel
from tiltakeval.design.staggered_read import staggered_from_frame
from tiltakeval.errors import InputError, unknown
from tiltakeval.estimates.attrition import Attrition
from tiltakeval.population.rollout import CHARACTERISTICS, OfficePeriods, office_periods
from tiltakeval.population.rollout_spec import RolloutSpec
from tiltakeval.programmes.catalogue import Catalogue
from tiltakeval.registers.read import Registers
from tiltakeval.spells.outcomes import outcome

Floats = NDArray[np.float64]
_UNITS = {"age_years": "years", "months_registered": "months"}


def rollout_from_registers(
    registers: Registers,
    catalogue: Catalogue,
    spec: RolloutSpec,
    *,
    regions: Mapping[str, str] | None = None,
    clusters: Mapping[str, str] | None = None,
    covariates: tuple[str, ...] = (),
) -> StaggeredPanel:
    """The roll-out as a panel of offices (or regions): see ``panel_of``. ``regions``: office to region.

    Raises InputError as ``office_periods`` and ``panel_of`` do."""
    found = office_periods(registers, catalogue, spec, regions=regions)
    return panel_of(found, covariates=covariates, clusters=clusters)


def panel_of(
    found: OfficePeriods,
    *,
    covariates: tuple[str, ...] = (),
    clusters: Mapping[str, str] | None = None,
) -> StaggeredPanel:
    """Means over the eligible by unit and period, first treated in the period of the unit's start.

    A unit weighs by its person-months before anybody's start that is used (those of a fixed group by
    its persons): sizes that the programme can't have changed. ``covariates``: of ``CHARACTERISTICS``,
    their means in those periods. ``clusters``: unit to what errors are clustered by (default the unit);
    with a split, the parts of a unit are always in one cluster.

    Units with a start at or before the month a fixed group is chosen in, those treated in the first
    period and those without anybody before are left out; attrition counts the units left (that of
    persons is in ``found``). Raises InputError as ``staggered_from_frame`` does, and for units without
    a cluster. Profiles of predictors are added up: `intensity_register.intensity_of` has them.
    """
    found = found.whole()
    values = {
        name: found.sums[..., j] / np.maximum(found.counts, 1)
        for j, name in enumerate(found.spec.outcomes)
    }
    return _panel(found, values, covariates, clusters)


def composition_of(
    found: OfficePeriods, *, clusters: Mapping[str, str] | None = None
) -> StaggeredPanel:
    """The same panel with who the eligible are as its outcomes: means of ``CHARACTERISTICS``, all known
    before the outcomes. An effect on them means that the programme changed who is there, so that an
    effect on the outcomes isn't one on persons. In a fixed group it can only come from emigration."""
    found = found.whole()
    values = {
        name: found.made_of[..., j] / np.maximum(found.counts, 1)
        for j, name in enumerate(CHARACTERISTICS)
    }
    return _panel(found, values, (), clusters)


def timing(
    spec: RolloutSpec, starts: Floats, periods: NDArray[np.int64]
) -> tuple[Floats, NDArray[np.bool_], NDArray[np.bool_]]:
    """From the months of starts [U] and periods [T]: each unit's first treated period [U] (infinite
    never), whether it can be used [U], and the periods before any start that is used [T]."""
    first = np.floor(starts / spec.step)
    used = np.ones(starts.size, dtype=bool)
    if spec.who == "fixed":
        used = starts > spec.base_months[0]
    earliest = np.min(first, where=used & (first > periods[0]), initial=float(periods[-1]))
    return first, used, periods < earliest


def _panel(
    found: OfficePeriods,
    values: Mapping[str, Floats],
    covariates: tuple[str, ...],
    clusters: Mapping[str, str] | None,
) -> StaggeredPanel:
    return office_panel(
        found, staggered_from_frame, values, covariates=covariates, clusters=clusters
    )


def office_panel(
    found: OfficePeriods,
    build: Callable[..., StaggeredPanel],
    values: Mapping[str, Floats],
    *,
    covariates: tuple[str, ...] = (),
    clusters: Mapping[str, str] | None = None,
    counted: str = "units_with_eligible",
) -> StaggeredPanel:
    """The design that ``build`` makes of a row a unit, level and period with the means ``values``
    [U, S, T] by name; ``counted`` is what attrition calls units with anybody eligible. The rows have
    the places ``u`` and ``s`` of their unit and level, and the level's name. Raises InputError."""
    spec = found.spec
    place = f"roll-out of {spec.programme}"
    for name in covariates:
        if name not in CHARACTERISTICS:
            raise unknown("covariate", name, CHARACTERISTICS, where=place)
    first, used, before = timing(spec, found.starts, found.periods)
    weight = found.counts[:, :, before].sum(axis=2)
    made_of = found.made_of[:, :, before].sum(axis=2)
    frame = _frame(found, values, first, weight, made_of, covariates)
    few = (frame["n"] > 0) & (frame["n"] < spec.fewest)
    frame = frame[(frame["n"] > 0) & ~few & used[frame["u"].to_numpy()]]
    if frame.empty:
        raise InputError("no unit has anybody before its start", where=place)
    by = _clusters(found, clusters, place)
    frame = frame.assign(cluster=[by[u] for u in frame["u"]])
    panel = build(
        frame,
        unit="unit",
        period="period",
        first="first",
        outcome=tuple(values),
        covariates=covariates,
        weight="weight",
        cluster="cluster",
        subgroups=() if spec.split is None else {spec.split: "level"},
        programme=spec.programme,
        population=spec.state,
        units={name: _UNITS.get(name, _unit(name)) for name in values},
        entry="office",
        where=place,
    )
    lines = [
        (counted, None, int((found.counts.sum(axis=2) > 0).sum())),
        ("start_after_reference", None, int((found.counts.sum(axis=2) > 0)[used].sum())),
    ]
    return replace(
        panel,
        cluster_kind="unit" if clusters is None else "cluster",
        monthly=spec.step == 1,
        parts_of_year=12 // spec.step if spec.step in (3, 6) else 1,
        attrition=Attrition.concat([Attrition.of(spec.state, lines), panel.attrition]),
        fingerprint=_mark(found, panel),
    )


def _frame(
    found: OfficePeriods,
    values: Mapping[str, Floats],
    first: Floats,
    weight: NDArray[np.int64],
    made_of: Floats,
    covariates: tuple[str, ...],
) -> pd.DataFrame:
    """A row of each unit, level and period; no persons, only their sums."""
    shape = found.counts.shape
    u, s, t = (x.ravel() for x in np.indices(shape))
    levels = np.array(found.spec.levels)
    columns = {
        "u": u,
        "s": s,
        "unit": [f"{found.units[i]}/{levels[j]}" for i, j in zip(u, s)],
        "level": levels[s],
        "period": found.periods[t],
        "first": first[u],
        "n": found.counts.ravel(),
        "weight": weight[u, s].astype(float),
        **{name: array.ravel() for name, array in values.items()},
    }
    for name in covariates:
        mean = made_of[..., CHARACTERISTICS.index(name)] / np.maximum(weight, 1)
        columns[name] = mean[u, s]
    return pd.DataFrame(columns)


def _clusters(
    found: OfficePeriods, clusters: Mapping[str, str] | None, place: str
) -> tuple[str, ...]:
    if clusters is None:
        return found.units
    lacking = [name for name in found.units if name not in clusters]
    if lacking:
        raise InputError(
            f"{len(lacking)} of {len(found.units)} units have no cluster, {lacking[0]} among them",
            where=f"{place}, clusters",
        )
    return tuple(str(clusters[name]) for name in found.units)


def _unit(name: str) -> str:
    return "share" if name in CHARACTERISTICS else outcome(name).unit


def _mark(found: OfficePeriods, panel: StaggeredPanel) -> str:
    digest = hashlib.blake2b(found.fingerprint.encode(), digest_size=16)
    digest.update(panel.fingerprint.encode())
    return digest.hexdigest()
