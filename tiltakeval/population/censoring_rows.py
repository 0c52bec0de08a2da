"""The person-months in which a comparison person could get a decision after time zero."""

from __future__ import annotations

from dataclasses import dataclass, replace

import ibis
import numpy as np
from ibis.expr.types import IntegerValue, Table
from numpy.typing import NDArray

from tiltakeval.population.criteria import narrow
from tiltakeval.population.risk import risk_segments
from tiltakeval.population.sampling import folds, month_draw
from tiltakeval.population.spec import STATES
from tiltakeval.population.trials import UNIT_COLUMNS, Population
from tiltakeval.spells.build import OPEN

#: Purpose of the draw of person-months, so that it isn't that of the trials.
_PURPOSE = 1


@dataclass(frozen=True, kw_only=True)
class CensoringModel:
    """Options. covariates: sets and blocks of ``features``. max_rows: about how many person-months
    without a decision the model is fitted on (all with one are used). cap: largest weight, None no
    cap. folds: 1 fits on everybody, more predict each person from the others' months. ridge: of the
    logit. least_events: below it a state's monthly share is used instead of a model. products: add
    thresholds and products of covariates that the logit lacks (``numerics.products``). groups: of
    units at risk in a month with about the same p, whose weight is kept among them; 0 for none.
    persons_per_block: fit each block of that many persons on its own (many registers in one)."""

    covariates: tuple[str, ...] = ("standard", "in_programme")
    max_rows: int = 200_000
    cap: float | None = 25.0
    folds: int = 1
    ridge: float = 1e-3
    least_events: int = 30
    products: bool = True
    groups: int = 5
    least_effective_share: float = 0.1
    persons_per_block: int | None = None

    def parts(self, seed: int, person: NDArray) -> NDArray[np.int64]:
        """[n] the fold of each person-month, or its block."""
        if self.persons_per_block:
            return np.asarray(person // self.persons_per_block, dtype=np.int64)
        if self.folds == 1:
            return np.zeros(len(person), dtype=np.int64)
        return np.asarray(folds(seed, person, self.folds), dtype=np.int64)


@dataclass(frozen=True)
class AtRisk:
    """Person-months at risk of a decision after time zero, numbered with those of the fit first.

    ``rows``: unit, UNIT_COLUMNS, event_<j> (0/1; j = 0 for any programme, or 1.. by arm),
    fit_weight (0: not in the fit), wanted (bool: its probability is needed).
    """

    rows: Table
    n: int
    n_fit: int
    first: int
    last: int
    targets: tuple[int, ...]


def at_risk_months(
    population: Population, estimand: str, *, horizon: int, options: CensoringModel
) -> AtRisk:
    """The person-months of the censoring model, in the engine.

    For ``vs_no_programme`` a person-month is at risk as in the trials (first decision of the spell,
    not in a programme), in either base state, at ages 18-66. For ``vs_without_this_programme`` every
    registered person-month is, since another programme doesn't end the comparison.
    """
    spec, work = population.spec, population.work
    covered = work.coverage.get("participation", (0, OPEN))[1]
    first, last = spec.entry[0] + 1, min(spec.entry[1] + horizon, covered)
    wide = replace(
        spec, entry=(first, max(first, last)), age=(18, 66), max_months_registered=None,
        innsatsgrupper=(),
    )  # fmt: skip
    segments = risk_segments(work, STATES, time_zero=spec.time_zero)
    by_arm = estimand == "vs_without_this_programme"
    if by_arm:
        segments = segments.mutate(
            event_month=ibis.literal(OPEN, "int32"), busy_to=ibis.literal(0, "int32")
        )
    rows, _ = narrow(segments, wide)
    rows = rows.filter(rows.lo <= rows.hi)
    rows = rows.mutate(k=ibis.range(rows.lo, rows.hi + 1, 1).unnest().cast("int32"))
    assessed = (rows.assessed_from <= rows.k).ifelse(rows.innsatsgruppe, ibis.null("string"))
    rows = rows.mutate(assessed=assessed)
    targets = tuple(range(1, len(population.arms))) if by_arm else (0,)
    if by_arm:
        rows = _decisions_by_arm(population, rows, targets)
    else:
        rows = rows.mutate(event_0=(rows.k == rows.event_month).cast("int8"))
    events = [rows[f"event_{j}"] for j in targets]
    happened = events[0] if len(events) == 1 else ibis.greatest(*events)
    rows = rows.mutate(happened=happened > 0)
    counts = work.engine.frame(rows.agg(n=rows.count(), events=rows.happened.sum()))
    calm = int(counts.n[0]) - int(counts.events.fillna(0)[0])
    share = min(1.0, options.max_rows / max(1, calm))
    limit = int(share * 2**32)
    drawn = month_draw(rows.mark, rows.k, _PURPOSE) < limit
    weight = rows.happened.ifelse(1.0, drawn.ifelse(1.0 / share, 0.0))
    waiting = population.units.filter(population.units.arm == 0)
    followed = waiting.group_by("person_id").agg(
        from_month=waiting.k.min(), to_month=waiting.k.max() + horizon
    )
    joined = rows.left_join(followed, "person_id")
    wanted = (rows.k > followed.from_month) & (rows.k <= followed.to_month)
    table = joined.select(
        *(rows[c] for c in UNIT_COLUMNS),
        *(rows[f"event_{j}"] for j in targets),
        fit_weight=weight,
        wanted=wanted.fill_null(False),
    )
    table = table.filter((table.fit_weight > 0) | table.wanted)
    order = [
        (table.fit_weight > 0).ifelse(0, 1),
        table.person,
        table.k,
        table.spell_no,
        table.state,
    ]
    number = ibis.row_number().over(ibis.window(order_by=order))
    kept = work.keep(table.mutate(unit=number.cast("int32")), "censoring")
    sizes = work.engine.frame(
        kept.agg(n=kept.count(), n_fit=(kept.fit_weight > 0).cast("int64").sum())
    )
    return AtRisk(kept, int(sizes.n[0]), int(sizes.n_fit.fillna(0)[0]), first, last, targets)


def _decisions_by_arm(population: Population, rows: Table, targets: tuple[int, ...]) -> Table:
    """Adds event_<j>: a decision (or start) for arm j in the month."""
    p, month = later_events(population)
    p = p.mutate(event_at=month).filter(
        p.code.isin([population.work.code(a) for a in population.spec.arms])
    )
    codes = [population.work.code(population.arms[j]) for j in targets]
    found = p.group_by("person_id", "event_at").agg(
        **{f"event_{j}": (p.code == c).cast("int8").max() for j, c in zip(targets, codes)}
    )
    joined = rows.left_join(found, [rows.person_id == found.person_id, rows.k == found.event_at])
    return joined.select(
        *(rows[c] for c in rows.columns),
        **{f"event_{j}": ibis.coalesce(found[f"event_{j}"], 0).cast("int8") for j in targets},
    )


def later_events(population: Population) -> tuple[Table, IntegerValue]:
    """Participation rows that count as events on the study's clock, and their month."""
    p = population.work.parts
    if population.spec.time_zero == "start":
        p = p.filter(p.begun)
        return p, p.start_month
    return p, p.decided
