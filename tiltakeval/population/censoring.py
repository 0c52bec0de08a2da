"""Weights for later decisions: what the comparison would have shown had it gone on without.

A comparison unit stops telling about "no programme" when its person gets a decision after time zero.
Those who remain are weighted by the inverse probability of having remained (Vikström 2017): the
product over the months m in k+1..k+h in which the person is at risk of a decision of
1 / (1 - p_m(X_m)), zero from the month of the decision on. Months out of registration, or in which
no decision can be made, contribute the factor 1. p_m is a logit per base state with the covariates
of the baseline, measured at m.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import ibis
import numpy as np
import pandas as pd
from ibis.expr.types import Table
from numpy.typing import NDArray

from tiltakeval.errors import InputError
from tiltakeval.estimates.check import Check
from tiltakeval.numerics.logit import fit_logit
from tiltakeval.population.criteria import narrow
from tiltakeval.population.features import Facts, blocks, collect, constant, matrix, parts_of, rare
from tiltakeval.population.risk import risk_segments
from tiltakeval.population.sampling import folds, month_draw
from tiltakeval.population.spec import STATES
from tiltakeval.population.trials import UNIT_COLUMNS, Population
from tiltakeval.spells.build import OPEN

CHUNK = 250_000
#: Purpose of the draw of person-months, so that it isn't that of the trials.
_PURPOSE = 1


@dataclass(frozen=True, kw_only=True)
class CensoringModel:
    """Options. covariates: sets and blocks of ``features``. max_rows: about how many person-months
    without a decision the model is fitted on (all with one are used). cap: largest weight, None no
    cap. folds: 1 fits on everybody, more predict each person from the others' months. ridge: of the
    logit. least_events: below it a state's monthly share is used instead of a model.
    persons_per_block: fit each block of that many persons on its own (many registers in one)."""

    covariates: tuple[str, ...] = ("standard", "in_programme")
    max_rows: int = 200_000
    cap: float | None = 25.0
    folds: int = 1
    ridge: float = 1e-3
    least_events: int = 30
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
    p, month = _events(population)
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


def _events(population: Population) -> tuple[Table, ibis.expr.types.IntegerValue]:
    """Participation rows that count as events on the study's clock, and their month."""
    p = population.work.parts
    if population.spec.time_zero == "start":
        p = p.filter(p.begun)
        return p, p.start_month
    return p, p.decided


def censoring_weights(
    population: Population,
    at_risk: AtRisk,
    jobs: Table,
    benefits: Table,
    *,
    horizon: int,
    options: CensoringModel,
) -> tuple[NDArray[np.float32], list[Check]]:
    """[n, horizon + 1, A] weights by which comparison units' outcomes are multiplied; 1 for treated.

    Under ``vs_no_programme`` all arms share one set of weights (a broadcast view). Raises InputError
    when a model can't be fitted.
    """
    work, spec = population.work, population.spec
    u = population.units
    fetched = work.engine.arrow(u.select("unit", "person", "k", "arm", "weight"))
    order = np.argsort(fetched["unit"].to_numpy())
    person, k, arm, weight = (
        fetched[c].to_numpy()[order].astype(np.int64 if c != "weight" else np.float64)
        for c in ("person", "k", "arm", "weight")
    )
    waiting = np.flatnonzero(arm == 0)
    followed = np.unique(person[waiting])
    log_stay, fit_checks = _log_stay(
        population, at_risk, jobs, benefits, followed, horizon, options
    )
    months = k[waiting, None] + np.arange(horizon + 1)
    column = np.minimum(months, at_risk.last) - (at_risk.first - 1)
    row = np.searchsorted(followed, person[waiting])
    out = np.ones((len(k), horizon + 1, len(at_risk.targets)), dtype=np.float32)
    checks = list(fit_checks)
    for place, target in enumerate(at_risk.targets):
        total = log_stay[place]
        base = total[row, k[waiting] - (at_risk.first - 1)]
        found = np.exp(total[row[:, None], column] - base[:, None])
        ends = _next_event(population, person[waiting], k[waiting], target)
        found[months >= ends[:, None]] = 0.0
        capped = 0.0
        if options.cap is not None:
            above = found > options.cap
            capped = float(above.sum() / max(1, (found > 0).sum()))
            found = np.minimum(found, options.cap)
        out[waiting, :, place] = found
        against = "all" if target == 0 else population.arms[target]
        checks.append(_effective(spec.base, against, weight[waiting], found, capped, options))
    if at_risk.targets == (0,):
        shape = (len(k), horizon + 1, len(population.arms))
        return np.broadcast_to(out, shape), checks
    full = np.ones((len(k), horizon + 1, len(population.arms)), dtype=np.float32)
    full[:, :, list(at_risk.targets)] = out
    return full, checks


def _log_stay(
    population: Population,
    at_risk: AtRisk,
    jobs: Table,
    benefits: Table,
    followed: NDArray[np.int64],
    horizon: int,
    options: CensoringModel,
) -> tuple[list[NDArray[np.float32]], list[Check]]:
    """Cumulated -log(1 - p) per followed person and month (column 0: the month before the first),
    one array per target."""
    chosen = blocks(options.covariates)
    width = max(1, at_risk.last - at_risk.first + 1) + 1
    total = [np.zeros((len(followed), width), dtype=np.float32) for _ in at_risk.targets]
    starts = [0, *range(at_risk.n_fit, at_risk.n, CHUNK)]
    stops = [at_risk.n_fit, *(min(s + CHUNK, at_risk.n) for s in starts[1:])]
    models: list[_Model] = []
    checks: list[Check] = []
    for number, (start, stop) in enumerate(zip(starts, stops)):
        if stop <= start:
            continue
        facts, keys = _facts(population, at_risk, jobs, benefits, chosen, start, stop)
        x, names = matrix(facts, chosen)
        if number == 0:
            models, checks = _fit(population, at_risk, x, names, facts, keys, options)
        else:
            x = _aligned(x, names, models[0].names)
        wanted = keys["wanted"].astype(bool)
        row = np.searchsorted(followed, keys["person"][wanted])
        column = keys["k"][wanted] - (at_risk.first - 1)
        for place, model in enumerate(models):
            p = model.probability(x, facts["rwc"], keys["person"])[wanted]
            total[place][row, column] = -np.log1p(-np.minimum(p, 0.99))
    for array in total:
        np.cumsum(array, axis=1, out=array)
    return total, checks


def _facts(
    population: Population,
    at_risk: AtRisk,
    jobs: Table,
    benefits: Table,
    chosen: tuple[str, ...],
    start: int,
    stop: int,
) -> tuple[Facts, Mapping[str, NDArray]]:
    rows = at_risk.rows
    if start > 0 or stop < at_risk.n:
        rows = rows.filter((rows.unit >= start) & (rows.unit < stop))
    if start > 0:
        rows = rows.mutate(unit=(rows.unit - start).cast("int32"))
    n = stop - start
    facts = collect(
        population.work, rows, n, jobs, benefits, origin=population.spec.entry[0],
        parts=parts_of(chosen),
    )  # fmt: skip
    columns = ("person", "k", "fit_weight", "wanted", *(f"event_{j}" for j in at_risk.targets))
    fetched = population.work.engine.arrow(rows.select("unit", *columns))
    order = np.argsort(fetched["unit"].to_numpy())
    return facts, {c: fetched[c].to_numpy(zero_copy_only=False)[order] for c in columns}


@dataclass(frozen=True)
class _Model:
    """Coefficients per state and fold, [1 + p] on all columns; a constant share has zero slopes."""

    names: tuple[str, ...]
    coef: tuple[tuple[NDArray[np.float64], ...], ...]
    seed: int
    options: CensoringModel

    def probability(self, x: NDArray, rwc: NDArray, person: NDArray) -> NDArray[np.float64]:
        """Monthly probability of the event, [n]."""
        part = self.options.parts(self.seed, person)
        eta = np.full(len(x), -np.inf)
        for state in (0, 1):
            for number, coef in enumerate(self.coef[state]):
                mine = np.flatnonzero((rwc == state) & (part == number))
                if 4 * len(mine) > len(x):  # cheaper than copying the rows
                    eta[mine] = (coef[0] + x @ coef[1:])[mine]
                elif len(mine):
                    eta[mine] = coef[0] + x[mine] @ coef[1:]
        with np.errstate(over="ignore"):
            found: NDArray[np.float64] = 1.0 / (1.0 + np.exp(-eta))
        return found


def _fit(
    population: Population,
    at_risk: AtRisk,
    x: NDArray,
    names: tuple[str, ...],
    facts: Facts,
    keys: Mapping[str, NDArray],
    options: CensoringModel,
) -> tuple[list[_Model], list[Check]]:
    weight, rwc = keys["fit_weight"], facts["rwc"]
    seed = population.spec.seed
    fold = options.parts(seed, keys["person"])
    number_of_parts = int(fold.max(initial=0)) + 1 if options.persons_per_block else options.folds
    models, checks = [], []
    for target in at_risk.targets:
        y = keys[f"event_{target}"] > 0
        fits = []
        for state, label in enumerate(STATES):
            mine = (rwc == state) & (weight > 0)
            keep = ~(constant(x[mine]) | rare(x[mine]))
            found = []
            for number in range(number_of_parts):
                own = options.persons_per_block is not None or options.folds == 1
                rows = mine & ((fold == number) if own else (fold != number))
                events = int(y[rows].sum())
                if events < options.least_events:
                    total = float(weight[rows].sum())
                    found.append(_constant(events, total, len(names)))
                    continue
                try:
                    fit = fit_logit(x[rows][:, keep], y[rows], weight[rows], ridge=options.ridge)
                except InputError as error:
                    raise InputError(
                        error.what,
                        where=f"censoring model, {label}",
                        remedy="Use fewer covariates for it, or a larger ridge.",
                    ) from None
                coef = np.zeros(len(names) + 1)
                coef[np.concatenate([[True], keep])] = fit.coef
                found.append(coef)
            fits.append(tuple(found))
            against = "all" if target == 0 else population.arms[target]
            checks.append(
                Check(
                    key="censoring_model",
                    status="informative",
                    scope={"population": population.spec.base, "state": label,
                           "programme": against},
                    statistic=float(y[mine].sum()),
                    message={
                        "events": int(y[mine].sum()),
                        "person_months": int(mine.sum()),
                        "covariates": int(keep.sum()),
                        "modelled": bool(found[0][1:].any()),
                    },
                )
            )  # fmt: skip
        models.append(_Model(names, tuple(fits), seed, options))
    return models, checks


def _constant(events: int, total: float, width: int) -> NDArray[np.float64]:
    """Coefficients that give everybody the share ``events / total``."""
    coef = np.zeros(width + 1)
    share = events / total if total > 0 else 0.0
    coef[0] = np.log(share / (1 - share)) if 0 < share < 1 else -np.inf
    return coef


def _aligned(x: NDArray, names: tuple[str, ...], wanted: tuple[str, ...]) -> NDArray:
    """The wanted columns in their order; those not there are zero."""
    if names == wanted:
        return x
    at = {name: j for j, name in enumerate(names)}
    out = np.zeros((len(x), len(wanted)))
    for j, name in enumerate(wanted):
        if name in at:
            out[:, j] = x[:, at[name]]
    return out


def _next_event(
    population: Population, person: NDArray[np.int64], k: NDArray[np.int64], target: int
) -> NDArray[np.int64]:
    """Month of each unit's first event after k, ``OPEN`` if none."""
    work = population.work
    p, month = _events(population)
    p = p.mutate(event_at=month)
    if target > 0:
        p = p.filter(p.code == work.code(population.arms[target]))
    rows = p.inner_join(work.people, "person_id").select("person", "event_at")
    found = work.engine.arrow(rows.distinct())
    scale = np.int64(2**20)
    events = np.sort(
        found["person"].to_numpy().astype(np.int64) * scale + found["event_at"].to_numpy()
    )
    place = np.searchsorted(events, person * scale + k, side="right")
    inside = place < len(events)
    following = np.full(len(k), OPEN, dtype=np.int64)
    following[inside] = events[place[inside]]
    same = inside & (following // scale == person)
    return np.where(same, following % scale, OPEN)


def _effective(
    base: str,
    against: str,
    weight: NDArray[np.float64],
    found: NDArray,
    capped: float,
    options: CensoringModel,
) -> Check:
    """Kish effective number of comparison units by horizon, and how many remain."""
    total = weight[:, None] * found
    squares = (total**2).sum(axis=0)
    effective = np.divide(
        total.sum(axis=0) ** 2, squares, out=np.zeros_like(squares), where=squares > 0
    )
    remaining = (found > 0).sum(axis=0)
    detail = pd.DataFrame(
        {
            "horizon": np.arange(found.shape[1]),
            "remaining": remaining,
            "effective": np.round(effective, 1),
            "largest_weight": found.max(axis=0, initial=0.0),
        }
    )
    share = float(effective[-1] / max(1.0, effective[0]))
    return Check(
        key="censoring_weights",
        status="passed" if share >= options.least_effective_share else "failed",
        scope={"population": base, "programme": against},
        statistic=share,
        threshold=options.least_effective_share,
        message={"share_capped": capped, "cap": options.cap},
        detail=detail,
        counts=("remaining",),
    )
