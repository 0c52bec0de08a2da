"""The logit of later decisions, and what it says of having remained without one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from ibis.expr.types import Table
from numpy.typing import NDArray

from tiltakeval.errors import InputError
from tiltakeval.estimates.check import Check
from tiltakeval.numerics.logit import fit_logit
from tiltakeval.population.censoring_rows import AtRisk, CensoringModel
from tiltakeval.population.features import Facts, blocks, collect, constant, matrix, parts_of, rare
from tiltakeval.population.spec import STATES
from tiltakeval.population.trials import Population

#: Person-months whose covariates are in memory at once, beyond those of the fit.
CHUNK = 250_000


def log_stay(
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
