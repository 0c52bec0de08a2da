"""Person-periods of a register, collapsed to cells by the database.

The rows stay in the engine: two small aggregates (levels; cells) come out, and once more, for the
errors by person, a stream of (person, covariate key, time, event). The categories of a row are packed
into one integer key (mixed radix), so that grouping and looking up work on integers.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ibis
import numpy as np
import pyarrow as pa
from ibis.expr.types import Table
from numpy.typing import NDArray

from tiltakeval.design.cross_section import Subgroup
from tiltakeval.design.person_periods import (
    PersonPeriods,
    Pieces,
    StatusLabel,
    unique_codes,
)
from tiltakeval.design.person_periods_columns import (
    Factor,
    as_text,
    dummies,
    factors_of,
    refuse_bad_rows,
)
from tiltakeval.design.person_periods_stream import Stream, column
from tiltakeval.engine import Engine
from tiltakeval.errors import InputError
from tiltakeval.estimates.attrition import Attrition

Floats = NDArray[np.float64]

#: Sums of exposures and weights are taken over whole multiples of 1 / this, so that they don't
#: depend on the order in which the engine adds.
_UNIT = 2.0**30
MAX_CONTINUOUS = 10_000_000
#: Most combinations x columns held: a byte each, or eight beside continuous covariates.
MAX_VALUES = 1_500_000_000


@dataclass(frozen=True, kw_only=True)
class RowColumns:
    """Which columns of the table are what. ``time`` counts whole periods since the spell's origin;
    ``event`` is 0 or the position (1..) of a transition; ``exposure`` is the share of the period at
    risk (all of it when left out); ``cluster`` is the person's own number when left out."""

    person: str = "person"
    time: str = "time"
    event: str = "event"
    exposure: str | None = None
    weight: str | None = None
    cluster: str | None = None

    @property
    def given(self) -> tuple[str, ...]:
        """The columns' names."""
        named = (self.person, self.time, self.event, self.exposure, self.weight, self.cluster)
        return tuple(name for name in named if name is not None)


def person_periods_from_table(
    engine: Engine,
    table: Table,
    *,
    transitions: Sequence[str],
    categories: Mapping[str, Sequence[str] | None],
    status: Sequence[str] = (),
    labels: Mapping[str, StatusLabel] | None = None,
    continuous: Sequence[str] = (),
    interactions: Sequence[tuple[str, str]] = (),
    reference: Mapping[str, str] | None = None,
    subgroups: Sequence[str] = (),
    columns: RowColumns | None = None,
    population: str = "file",
    estimand: str = "vs_comparison",
    time_origin: str = "none",
    attrition: Attrition | None = None,
    fingerprint: str = "",
    where: str = "person-periods",
) -> PersonPeriods:
    """Collapse a lazy table with a row a person and period.

    ``categories``: columns with their levels; integer columns hold positions in the levels, text
    columns the levels themselves; None: the levels found. Each level but the first found (or the one
    of ``reference``) is a 0/1 covariate ``column_level``. ``status`` names the categories that are
    programme status, whose first level is none; ``labels`` say what ``column_level`` is of.
    ``interactions`` are pairs of categories; ``continuous`` columns end the collapse: rows then stay
    rows. ``subgroups`` are categories in whose levels effects are wanted. Raises InputError for
    missing values, unknown levels, a time below 0, an event that is no transition, too many codes.
    """
    columns = columns or RowColumns()
    _require(table, [*columns.given, *categories, *continuous], where=where)
    for name in (*status, *subgroups, *(n for pair in interactions for n in pair)):
        if name not in categories:
            raise InputError(f"'{name}' isn't one of the categories", where=where)
    names = (columns.person, columns.time, columns.event, columns.exposure, columns.weight)
    refuse_bad_rows(
        engine, table, names, [*categories, *continuous, columns.cluster], transitions, where=where
    )
    factors = factors_of(engine, table, categories, status, reference or {}, where=where)
    rows = table.select(
        person=table[columns.person].cast("int64"),
        key=packed(table, factors).cast("int64"),
        time=table[columns.time].cast("int32"),
        event=table[columns.event].cast("int16"),
        **({} if columns.cluster is None else {"cluster": table[columns.cluster].cast("int64")}),
        **({} if columns.exposure is None else {"exposure": table[columns.exposure]}),
        **({} if columns.weight is None else {"weight": table[columns.weight]}),
        **{f"x{i}": table[name].cast("float64") for i, name in enumerate(continuous)},
    )
    name = f"periods_{uuid.uuid4().hex[:8]}"
    kept = engine.materialise(rows, name)
    shared: dict[str, Any] = {
        "transitions": tuple(transitions),
        "whole": columns.exposure is None,
        "cluster_kind": columns.cluster or "person",
        "population": population,
        "estimand": estimand,
        "time_origin": time_origin,
        "attrition": attrition or Attrition(),
        "fingerprint": fingerprint,
    }
    if continuous:
        found = _uncollapsed(engine, kept, len(continuous), len(transitions), where)
    else:
        found = _collapsed(engine, kept, len(transitions))
    held = len(found["key"]) * (sum(len(f.levels) - 1 for f in factors) + len(continuous))
    if held * (8 if continuous else 1) > MAX_VALUES:
        raise InputError(
            f"{len(found['key']):,} different combinations of covariates are too many to hold",
            where=where,
            remedy="Use fewer or coarser categories, or a sample of persons.",
        )
    levels = [level_of(found["key"], factors, f) for f in range(len(factors))]
    x, x_names = dummies(factors, levels, interactions, codes=len(found["key"]), where=where)
    if continuous:
        engine.drop(name)  # these rows are in memory
        x = np.column_stack([x, found.pop("continuous")])
        x_names = (*x_names, *continuous)
    found.pop("key")
    named = {f"{f.name}_{label}": label for f in factors if f.status for label in f.levels}
    programme = {n: (labels or {}).get(n, StatusLabel(named[n])) for n in x_names if n in named}
    wanted = [next(i for i, f in enumerate(factors) if f.name == n) for n in subgroups]
    k = len(transitions)
    return PersonPeriods(
        x=x,
        covariate_names=x_names,
        programme=programme,
        enters=np.ones((k, len(x_names)), dtype=bool),
        at_risk=np.ones((len(x), k), dtype=bool),
        edges=np.arange(int(found["time"].max()) + 2, dtype=np.float64),
        subgroups={
            factors[f].name: Subgroup(levels=factors[f].levels, codes=levels[f]) for f in wanted
        },
        **found,
        **shared,
    )


def _require(table: Table, names: Sequence[str], *, where: str) -> None:
    lacking = [name for name in names if name not in table.columns]
    if lacking:
        raise InputError(
            f"no column '{lacking[0]}'", where=where, remedy=f"It has: {', '.join(table.columns)}."
        )


def packed(table: Table, factors: Sequence[Factor]) -> ibis.expr.types.IntegerValue:
    """The row's levels as one integer."""
    key: Any = ibis.literal(0, "int64")
    for factor in factors:
        position: Any = table[factor.name]
        if factor.text:
            text = as_text(table, factor.name, factor.name)
            pairs = [(text == label, i) for i, label in enumerate(factor.levels)]
            position = ibis.cases(*pairs, else_=-1)
        key = key * len(factor.levels) + position.cast("int64")
    return key


def level_of(key: NDArray[np.int64], factors: Sequence[Factor], at: int) -> NDArray[np.int64]:
    """[C] the level of one factor in each key."""
    after = int(np.prod([len(f.levels) for f in factors[at + 1 :]], dtype=object))
    found: NDArray[np.int64] = key // after % len(factors[at].levels)
    return found


def _collapsed(engine: Engine, kept: Table, k: int) -> dict[str, Any]:
    weight = kept.weight.cast("float64") if "weight" in kept.columns else ibis.literal(1.0)
    spent = weight * kept.exposure.cast("float64") if "exposure" in kept.columns else weight
    sums = {}
    if "weight" in kept.columns:
        sums["weight"] = (weight * _UNIT).round().cast("int64").sum().cast("float64")
    if "exposure" in kept.columns:
        sums["spent"] = (spent * _UNIT).round().cast("int64").sum().cast("float64")
    grouped = kept.group_by("key", "time", "event").agg(n=kept.count(), **sums)
    cells = engine.arrow(grouped.order_by("key", "time", "event"))
    key, time, event = (column(cells, name) for name in ("key", "time", "event"))
    n = column(cells, "n", np.float64)
    trials = column(cells, "weight", np.float64) / _UNIT if "weight" in sums else n
    exposure = column(cells, "spent", np.float64) / _UNIT if "spent" in sums else trials
    keys, code = np.unique(key, return_inverse=True)
    periods = int(time.max()) + 1
    both = code.reshape(-1) * periods + time
    used, cell = np.unique(both, return_inverse=True)
    cell = cell.reshape(-1)

    def summed(values: Floats) -> Floats:
        return np.bincount(cell, weights=values, minlength=used.size).astype(np.float64)

    happened = [event == j + 1 for j in range(k)]
    persons = _distinct(engine, kept, "person")
    clusters = _distinct(engine, kept, "cluster") if "cluster" in kept.columns else persons
    return {
        "key": keys,
        "code": used // periods,
        "time": used % periods,
        "trials": summed(trials),
        "exposure": summed(exposure),
        "events": np.stack([summed(trials * hit) for hit in happened], axis=1),
        "counts": np.stack([summed(n * hit) for hit in happened], axis=1),
        "rows": int(n.sum()),
        "persons": int(persons.size),
        "clusters": clusters,
        "batches": Stream(engine, kept, keys, used, periods, persons, clusters),
    }


def _distinct(engine: Engine, kept: Table, name: str) -> NDArray[np.int64]:
    return np.sort(column(engine.arrow(kept.select(name).distinct()), name))


def _uncollapsed(
    engine: Engine, kept: Table, continuous: int, k: int, where: str
) -> dict[str, Any]:
    """Rows in memory, for continuous covariates: collapsed as far as they repeat."""
    n = engine.count(kept)
    if n > MAX_CONTINUOUS:
        raise InputError(
            f"{n:,} rows with continuous covariates: more than {MAX_CONTINUOUS:,} are not taken",
            where=where,
            remedy="Use bands (categories) of them, or a sample of persons.",
        )
    rows = engine.arrow(kept)
    order = np.lexsort(
        [column(rows, f"x{i}", np.float64) for i in range(continuous)]
        + [column(rows, name) for name in ("event", "key", "time", "person")]
    )
    ordered = rows.take(pa.array(order))
    x = np.column_stack([column(ordered, f"x{i}", np.float64) for i in range(continuous)])
    key = column(ordered, "key")
    first, code = unique_codes(x, key[:, None])
    person = np.unique(column(ordered, "person"), return_inverse=True)
    given = rows.schema.names
    weight = column(ordered, "weight", np.float64) if "weight" in given else np.ones(n)
    share = column(ordered, "exposure", np.float64) if "exposure" in given else np.ones(n)
    time = column(ordered, "time")
    cluster = column(ordered, "cluster" if "cluster" in given else "person")
    pieces = Pieces(
        code=code,
        time=time,
        event=column(ordered, "event"),
        weight=weight,
        exposure=weight * share,
        person=person[1].reshape(-1).astype(np.int64),
        cluster=cluster,
    )
    found = pieces.gathered(codes=first.size, periods=int(time.max()) + 1, transitions=k)
    return {**found, "key": key[first], "continuous": x[first]}
