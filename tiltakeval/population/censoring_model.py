"""The logit of later decisions, and what it says of having remained without one."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any

import numpy as np
from ibis.expr.types import Table
from numpy.typing import NDArray

from tiltakeval.errors import InputError
from tiltakeval.estimates.check import Check
from tiltakeval.numerics.logit import fit_logit
from tiltakeval.numerics.products import Above, Product, columns, lacking
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
class _Logit:
    """Coefficients [1 + p] on all columns and [q] on products; a constant share has no slopes."""

    coef: NDArray[np.float64]
    products: tuple[Product, ...] = ()
    beside: NDArray[np.floating] | None = None

    def index(self, x: NDArray) -> NDArray[np.float64]:
        """[n] log odds."""
        found: NDArray[np.float64] = self.coef[0] + x @ self.coef[1:]
        if self.beside is not None:
            found += columns(x, self.products) @ self.beside
        return found


@dataclass(frozen=True)
class _Model:
    """A logit per state and fold."""

    names: tuple[str, ...]
    logits: tuple[tuple[_Logit, ...], ...]
    seed: int
    options: CensoringModel

    def probability(self, x: NDArray, rwc: NDArray, person: NDArray) -> NDArray[np.float64]:
        """Monthly probability of the event, [n]."""
        part = self.options.parts(self.seed, person)
        eta = np.full(len(x), -np.inf)
        for state in (0, 1):
            for number, logit in enumerate(self.logits[state]):
                mine = np.flatnonzero((rwc == state) & (part == number))
                if 4 * len(mine) > len(x):  # cheaper than copying the rows
                    eta[mine] = logit.index(x)[mine]
                elif len(mine):
                    eta[mine] = logit.index(x[mine])
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
                    found.append(
                        _known(x[rows], keep, y[rows], weight[rows], keys["person"][rows], options)
                    )
                except InputError as error:
                    raise InputError(
                        error.what,
                        where=f"censoring model, {label}",
                        remedy="Use fewer covariates for it, or a larger ridge.",
                    ) from None
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
                        "products": max(len(logit.products) for logit in found),
                        "modelled": bool(found[0].coef[1:].any()),
                    },
                )
            )  # fmt: skip
        models.append(_Model(names, tuple(fits), seed, options))
    return models, checks


#: The last fits by what they were fitted to.
_FITTED: OrderedDict[bytes, _Logit] = OrderedDict()
KEPT = 64


def _known(*given: Any) -> _Logit:
    """`_logit`, fitted once: all base populations of a study ask for the same fits.

    The model is of the whole register, and a second fit to the same numbers would only give them again.
    """
    mark = blake2b(digest_size=16)
    for part in given:
        mark.update(repr(part).encode() if isinstance(part, CensoringModel) else part.tobytes())
    key = mark.digest()
    if key not in _FITTED:
        _FITTED[key] = _logit(*given)
        if len(_FITTED) > KEPT:
            _FITTED.popitem(last=False)
    return _FITTED[key]


def _logit(
    x: NDArray,
    keep: NDArray[np.bool_],
    y: NDArray[np.bool_],
    weight: NDArray[np.float64],
    person: NDArray,
    options: CensoringModel,
) -> _Logit:
    """The logit on the columns to ``keep``, and the products of them that it lacks."""
    used, at = x[:, keep], np.flatnonzero(keep)
    fit = fit_logit(used, y, weight, ridge=options.ridge)
    coef = np.zeros(x.shape[1] + 1)
    wanted: tuple[Product, ...] = ()
    if options.products:
        wanted = lacking(used, y, weight, fit.coef[0] + used @ fit.coef[1:], cluster=person)
    products = tuple((_moved(a, at), _moved(b, at)) for a, b in wanted)
    if products:
        more = columns(x, products)
        start = np.concatenate([fit.coef, np.zeros(more.shape[1])])
        fit = fit_logit(np.hstack([used, more]), y, weight, ridge=options.ridge, start=start)
    coef[0], coef[1 + at] = fit.coef[0], fit.coef[1 : 1 + len(at)]
    return _Logit(coef, products, fit.coef[1 + len(at) :] if products else None)


def _moved(indicator: Above, at: NDArray[np.intp]) -> Above:
    """The indicator of a column among those kept, as one of all columns."""
    return replace(indicator, column=int(at[indicator.column]))


def _constant(events: int, total: float, width: int) -> _Logit:
    """A logit that gives everybody the share ``events / total``."""
    coef = np.zeros(width + 1)
    share = events / total if total > 0 else 0.0
    coef[0] = np.log(share / (1 - share)) if 0 < share < 1 else -np.inf
    return _Logit(coef)


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
