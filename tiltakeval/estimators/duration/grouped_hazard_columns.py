"""The columns of grouped hazard models: plain, or with status interacted with a subgroup."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tiltakeval.design.person_periods import PersonPeriods
from tiltakeval.estimators.duration.grouped_hazard_fit import Columns


def plain(periods: PersonPeriods, *, drop: bool) -> Columns:
    """The design's own columns. ``drop``: 0/1 columns that are never on at an event may be left out."""
    p = len(periods.covariate_names)
    status = tuple(periods.programme.get(name) for name in periods.covariate_names)
    on, off = np.full(p, -1, dtype=np.int64), np.full(p, -1, dtype=np.int64)
    at = [j for j, label in enumerate(status) if label is not None]
    if at:
        flags = np.asarray(periods.x[:, at]) != 0
        counted = periods.support(np.vstack([flags.T, ~flags.any(axis=1)]))
        on[at], off[at] = counted[:-1], counted[-1]
    return Columns(
        x=periods.x,
        names=periods.covariate_names,
        enters=periods.enters,
        status=status,
        within=("all",) * p,
        droppable=_binary(periods.x) if drop else np.zeros(p, dtype=bool),
        on=on,
        off=off,
        keep=np.ones(periods.x.shape[0], dtype=bool),
    )


def interacted(periods: PersonPeriods, name: str, *, least: int) -> Columns:
    """Status within each level of the subgroup ``name``, the levels themselves (where the covariates
    don't already tell them apart), and the other covariates. Codes of unknown level are left out;
    status in a level with fewer than ``least`` persons, or no event, may be."""
    group = periods.subgroups[name]
    names, x = periods.covariate_names, np.asarray(periods.x, dtype=np.float64)
    status = [j for j, label in enumerate(names) if label in periods.programme]
    others = [j for j in range(len(names)) if j not in status]
    keep = group.codes >= 0
    parts, labels = [x[:, others]], [names[j] for j in others]
    enters = [periods.enters[:, others]]
    trials = np.bincount(periods.code, weights=periods.trials, minlength=len(x))
    size = np.bincount(group.codes[keep], weights=trials[keep], minlength=len(group.levels))
    largest = int(size.argmax())
    for level in range(len(group.levels)):
        if level == largest:
            continue
        inside = (group.codes == level).astype(np.float64)
        if not _spanned(np.column_stack(parts)[keep], inside[keep]):
            parts.append(inside[:, None])
            labels.append(group.label(name, level))
            enters.append(np.ones((len(periods.transitions), 1), dtype=bool))
    plain_columns = len(labels)
    within = ["all"] * plain_columns
    places: list[int] = []
    masks = []
    calm = ~(x[:, status] != 0).any(axis=1)
    for level in range(len(group.levels)):
        inside = group.codes == level
        for j in status:
            parts.append((x[:, j] * inside)[:, None])
            labels.append(names[j])
            enters.append(periods.enters[:, [j]])
            within.append(group.label(name, level))
            places.append(j)
            masks.append((x[:, j] != 0) & inside)
        masks.append(calm & inside)
    counted = periods.support(np.array(masks)).reshape(len(group.levels), len(status) + 1)
    before = np.full(plain_columns, -1, dtype=np.int64)
    each = [periods.programme[names[j]] for j in places]
    together = np.column_stack(parts)
    return Columns(
        x=together,
        names=tuple(labels),
        enters=np.concatenate(enters, axis=1),
        status=(*[None] * plain_columns, *each),
        within=tuple(within),
        droppable=_binary(together),
        on=np.concatenate([before, counted[:, :-1].ravel()]),
        off=np.concatenate([before, np.repeat(counted[:, -1], len(status))]),
        keep=keep,
        least=least,
        levels=tuple(group.codes == level for level in range(len(group.levels))),
    )


def _binary(x: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Which columns hold only 0 and 1, [p]."""
    found = [bool(np.isin(x[:, j], (0.0, 1.0)).all()) for j in range(x.shape[1])]
    return np.array(found, dtype=bool)


def _spanned(x: NDArray[np.float64], column: NDArray[np.float64]) -> bool:
    """Whether the column is a linear combination of a constant and the columns of ``x``."""
    if not len(x):
        return True
    z = x - x.mean(axis=0)
    c = column - column.mean()
    size = float(c @ c)
    if size <= 1e-12:
        return True
    coefficient = np.linalg.lstsq(z.T @ z, z.T @ c, rcond=None)[0] if x.shape[1] else np.zeros(0)
    rest = c - z @ coefficient
    return float(rest @ rest) < 1e-9 * size
