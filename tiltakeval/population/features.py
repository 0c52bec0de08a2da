"""Raw facts of person-months as numbers: named blocks of covariates, and pre-specified subgroups.

A study names blocks ("age", "work_24") or sets of them ("standard"). Values keep their meaning
(years, months, hundred thousands of kroner); nothing is standardised.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from ibis.expr.types import Table
from numpy.typing import NDArray

from tiltakeval.errors import unknown
from tiltakeval.numerics.independent import independent
from tiltakeval.population import covariates as raw
from tiltakeval.population.tables import Working
from tiltakeval.spells.outcomes import BENEFITS

Floats = NDArray[np.floating]
Columns = list[tuple[str, NDArray]]


#: Columns that are zero for all but fewer units, or a smaller share of them, are left out of a design.
LEAST_UNITS = 20
LEAST_SHARE = 0.001


@dataclass(frozen=True)
class Facts:
    """Raw columns by name, each [n]; ``programmes`` names the codes of ``last_code``; ``origin``
    the month the trend counts from."""

    n: int
    columns: Mapping[str, NDArray]
    programmes: tuple[str, ...]
    origin: int
    named: Mapping[str, NDArray] = field(default_factory=dict)

    def __getitem__(self, name: str) -> NDArray:
        return self.columns[name]


def collect(
    work: Working,
    units: Table,
    n: int,
    jobs: Table,
    benefits: Table,
    *,
    origin: int,
    parts: Iterable[str] = ("facts", "work", "benefits", "programmes"),
) -> Facts:
    """Fetch the raw columns of ``n`` units (numbered by ``unit``), Arrow to NumPy.

    Units without a row in a history get zeros (``last_code`` and ``months_since_end`` -1).
    """
    tables = {"facts": lambda: raw.facts(work, units)}
    tables["work"] = lambda: raw.work_history(units, jobs)
    tables["benefits"] = lambda: raw.benefit_history(units, benefits)
    tables["programmes"] = lambda: raw.programme_history(work, units)
    columns: dict[str, NDArray] = {}
    for part in parts:
        rows = work.engine.arrow(tables[part]())
        at = rows["unit"].to_numpy()
        for name in rows.column_names:
            if name == "unit":
                continue
            values = rows[name].to_numpy()
            empty: float = -1 if name in ("last_code", "months_since_end") else 0
            if name in ("office_unemployment", "vacancies"):
                empty = np.nan
            full = np.full(n, empty, dtype=values.dtype)
            full[at] = values
            columns[name] = full
    return Facts(n, columns, work.programmes, origin)


def _dummies(name: str, codes: NDArray, levels: Sequence[tuple[str, int]]) -> Columns:
    return [(f"{name}_{label}", (codes == code).astype(np.float64)) for label, code in levels]


def _bands(name: str, values: NDArray, edges: Sequence[int]) -> Columns:
    """Indicators of [edge, next edge), the first (below edges[0]) left out."""
    found = []
    for low, high in zip(edges, [*edges[1:], None]):
        inside = values >= low
        if high is not None:
            inside = inside & (values < high)
        label = f"{low}_{high - 1}" if high is not None else f"{low}_up"
        found.append((f"{name}_{label}", inside.astype(np.float64)))
    return found


def _age(f: Facts) -> Columns:
    years = f["age_months"] / 12.0
    return [
        ("age", years),
        ("age_squared", (years - 40.0) ** 2 / 100.0),
        *_bands("age", np.floor(years), (25, 30, 40, 50, 60)),
    ]


def _registered(f: Facts) -> Columns:
    months = f["registered_months"].astype(np.float64)
    return [
        ("registered_years", months / 12.0),
        ("registered_log", np.log1p(months)),
        *_bands("registered", months, (3, 6, 12, 24)),
    ]


def _programmes(f: Facts) -> Columns:
    since = f["months_since_end"]
    known = since >= 0
    found: Columns = [
        ("programmes_24", np.minimum(f["programmes_24"], 3).astype(np.float64)),
        ("unbegun_24", np.minimum(f["unbegun_24"], 2).astype(np.float64)),
        ("since_end_log", np.where(known, np.log1p(np.maximum(since, 0)), 0.0)),
        ("since_end_1_6", (known & (since <= 6)).astype(np.float64)),
        ("since_end_7_24", (known & (since > 6) & (since <= 24)).astype(np.float64)),
        ("since_end_25_up", (known & (since > 24)).astype(np.float64)),
    ]
    return found


def _last_programme(f: Facts) -> Columns:
    codes = f["last_code"]
    recent = np.where((f["months_since_end"] >= 0) & (f["months_since_end"] <= 24), codes, -1)
    # the most common one is the reference: all together would add up to the bands since the end
    present, counts = np.unique(recent[recent >= 0], return_counts=True)
    present = np.delete(present, np.argmax(counts)) if len(present) else present
    return [(f"last_{f.programmes[code]}", (recent == code).astype(np.float64)) for code in present]


def _market(f: Facts) -> Columns:
    found: Columns = []
    for name in ("office_unemployment", "vacancies"):
        values = np.log(np.maximum(f[name], 0.05))
        lacking = ~np.isfinite(values)
        fill = 0.0 if lacking.all() else float(values[~lacking].mean())
        found.append((f"{name}_log", np.where(lacking, fill, values)))
        if lacking.any():
            found.append((f"{name}_missing", lacking.astype(np.float64)))
    return found


def _trend(f: Facts) -> Columns:
    years = (f["k"] - f.origin) / 12.0
    return [("trend_years", years), ("trend_squared", years**2)]


def _year(f: Facts) -> Columns:
    year = f["k"] // 12
    return [(f"year_{y}", (year == y).astype(np.float64)) for y in np.unique(year)[1:]]


def _season(f: Facts) -> Columns:
    month = f["k"] % 12
    return [(f"month_{m + 1:02d}", (month == m).astype(np.float64)) for m in range(1, 12)]


def _count(name: str, scale: float = 1.0) -> Callable[[Facts], Columns]:
    def block(f: Facts) -> Columns:
        return [(name, f[name] / scale)]

    return block


def _benefit(months: int) -> Callable[[Facts], Columns]:
    def block(f: Facts) -> Columns:
        return [(f"{b}_{months}", f[f"{b}_{months}"] / float(months)) for b in BENEFITS]

    return block


def _named(name: str) -> Callable[[Facts], Columns]:
    def block(f: Facts) -> Columns:
        values, codes = np.unique(f.named[name].astype(str), return_inverse=True)
        return [(f"{name}_{v}", (codes == i).astype(np.float64)) for i, v in enumerate(values)][1:]

    return block


#: Blocks by name, in the order their columns come.
BLOCKS: Mapping[str, Callable[[Facts], Columns]] = {
    "age": _age,
    "sex": lambda f: [("female", f["female"].astype(np.float64))],
    "landgruppe": lambda f: _dummies(
        "landgruppe", f["landgruppe"], [("1", 1), ("2", 2), ("3", 3), ("unknown", -1)]
    ),
    "education": lambda f: _dummies(
        "education", f["education"], [(e, i) for i, e in enumerate(raw.EDUCATION)][1:]
    ),
    "diagnosis": lambda f: _dummies(
        "diagnosis", f["diagnosis"], [(d, i) for i, d in enumerate(raw.DIAGNOSIS)][1:]
    ),
    "innsatsgruppe": lambda f: _dummies(
        "innsatsgruppe", f["innsatsgruppe"], [(g, i) for i, g in enumerate(raw.INNSATSGRUPPER)]
    ),
    "registered": _registered,
    "earlier_registration": lambda f: [
        ("earlier_registration", f["earlier_registration"].astype(np.float64)),
        ("other_state_before", f["other_state_before"].astype(np.float64)),
    ],
    **{f"work_{w}": _count(f"worked_{w}", w) for w in raw.WORK_WINDOWS},
    "subsidised_work": _count("subsidised_24", 24.0),
    **{f"earnings_{w}": _count(f"earnings_{w}", 100_000.0) for w in raw.EARNINGS_WINDOWS},
    **{f"benefits_{w}": _benefit(w) for w in raw.BENEFIT_WINDOWS},
    "programmes": _programmes,
    "last_programme": _last_programme,
    "season": _season,
    "trend": _trend,
    "year": _year,
    "labour_market": _market,
    "state": lambda f: [("nedsatt_arbeidsevne", f["rwc"].astype(np.float64))],
    "in_programme": lambda f: [
        ("running", f["running"].astype(np.float64)),
        ("pending", f["pending"].astype(np.float64)),
    ],
    "office": _named("office"),
    "municipality": _named("municipality"),
}
_DEMOGRAPHIC = ("age", "sex", "landgruppe", "education")
_STANDARD = tuple(
    name
    for name in BLOCKS
    if name not in ("year", "state", "in_programme", "office", "municipality")
)
SETS: Mapping[str, tuple[str, ...]] = {
    "demographic": _DEMOGRAPHIC,
    "standard": _STANDARD,
    "lean": (
        *_DEMOGRAPHIC, "diagnosis", "registered", "work_6", "work_24", "earnings_12",
        "benefits_12", "programmes", "season", "trend", "labour_market",
    ),
    "extended": (*_STANDARD, "year", "office"),
}  # fmt: skip


def blocks(chosen: str | Iterable[str]) -> tuple[str, ...]:
    """The blocks named by a set, or by a list of sets and blocks, each once, in the order of
    ``BLOCKS``. Raises InputError with the nearest name."""
    names = (chosen,) if isinstance(chosen, str) else tuple(chosen)
    found: set[str] = set()
    for name in names:
        if name in SETS:
            found.update(SETS[name])
        elif name in BLOCKS:
            found.add(name)
        else:
            raise unknown("covariate", name, (*SETS, *BLOCKS), where="covariates")
    return tuple(name for name in BLOCKS if name in found)


def parts_of(chosen: Iterable[str]) -> tuple[str, ...]:
    """The raw parts the blocks are made of."""
    names = set(chosen)
    found = ["facts"]
    if any(n.startswith(("work_", "earnings_")) or n == "subsidised_work" for n in names):
        found.append("work")
    if any(n.startswith("benefits_") for n in names):
        found.append("benefits")
    if names & {"programmes", "last_programme", "in_programme"}:
        found.append("programmes")
    return tuple(found)


def matrix(facts: Facts, chosen: Iterable[str]) -> tuple[Floats, tuple[str, ...]]:
    """All columns of the blocks: float64 [n, p] and their names."""
    columns = [column for name in chosen for column in BLOCKS[name](facts)]
    out = np.empty((facts.n, len(columns)))
    for j, (_, values) in enumerate(columns):
        out[:, j] = values
    return out, tuple(name for name, _ in columns)


def constant(values: Floats) -> NDArray[np.bool_]:
    """Which columns are the same for every unit, [p]."""
    if not len(values):
        return np.ones(values.shape[1], dtype=bool)
    same: NDArray[np.bool_] = (values == values[0]).all(axis=0)
    return same


def rare(values: Floats) -> NDArray[np.bool_]:
    """Which columns are 0 (or 1) for all but a few units, [p]: fewer than ``LEAST_UNITS``, or than
    ``LEAST_SHARE`` of them. Their coefficients are noise that a large weight would multiply."""
    least = max(LEAST_UNITS, LEAST_SHARE * len(values))
    other = np.minimum((values != 0).sum(axis=0), (values != 1).sum(axis=0))
    found: NDArray[np.bool_] = other < least
    return found


def dependent(values: Floats, tolerance: float = 1e-7) -> NDArray[np.bool_]:
    """Which columns are a linear combination of a constant and the columns before them, [p]."""
    p = values.shape[1]
    centred_gram = np.zeros((p, p))
    mean = values.mean(axis=0) if len(values) else np.zeros(p)
    for i in range(0, len(values), 65536):
        block = values[i : i + 65536] - mean
        centred_gram += block.T @ block
    found = np.ones(p, dtype=bool)
    found[independent(centred_gram, tolerance)] = False
    return found
