"""The two-way regression of a roll-out, summed by cluster: CR2, CR3 and the wild bootstrap of it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tiltakeval.design.staggered import StaggeredPanel
from tiltakeval.errors import InputError
from tiltakeval.estimates.few_clusters.moments import Moments, identified
from tiltakeval.estimators.did.varying import known_rows, standard_varying

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

#: Numbers laid out at once.
_PIECE = 4_000_000


def static_moments(
    design: StaggeredPanel, inside: Bools, outcome: int
) -> tuple[Moments, Floats, Ints]:
    """Moments of y_it = a_i + f_t + b D_it (+ covariates) by cluster, the combination that
    is b, and the clusters [G] in order. Units have one weight in all rows; effects are taken out.

    Raises InputError where b isn't identified.
    """
    y = np.ascontiguousarray(design.outcomes[:, :, outcome])
    v = np.zeros((*y.shape, 0))
    known = known_rows(design)
    if known is not None:
        assert design.varying is not None
        y = np.where(known, y, np.nan)
        seen = np.isfinite(y) & inside[:, None]
        v = standard_varying(design.varying, seen, design.weight, design.varying_names).values
    inside = inside & np.isfinite(y).any(axis=1)
    centre = design.covariates[inside].mean(axis=0)
    spread = design.covariates[inside].std(axis=0)
    x = (design.covariates - centre) / np.where(spread > 0, spread, 1.0)
    x = np.concatenate([np.ones((design.n, 1)), x], axis=1)
    names = np.unique(design.cluster[inside])
    periods, q = y.shape[1], x.shape[1]
    k = v.shape[2] + (periods - 1) * q + 1
    gram, right = np.zeros((names.size, k, k)), np.zeros((names.size, k))
    step = max(1, _PIECE // (periods * (k + 1)))
    for g, name in enumerate(names):
        units = np.flatnonzero(inside & (design.cluster == name))
        for start in range(0, units.size, step):
            part = _rows(design, x, v, y, units[start : start + step])
            whole = part.T @ part
            gram[g] += whole[:k, :k]
            right[g] += whole[:k, k]
    moments = Moments(gram, right)
    combination = np.zeros(k)
    combination[-1] = 1.0
    if not identified(gram.sum(axis=0), moments.bread, combination):
        raise InputError("treatment is collinear with periods or covariates")
    return moments, combination, names


def _rows(design: StaggeredPanel, x: Floats, v: Floats, y: Floats, units: Ints) -> Floats:
    """[rows, k + 1] regressors and outcome of units' rows, unit means taken out, by root of weight."""
    m, periods = units.size, y.shape[1]
    dummies = np.eye(periods)[:, 1:]
    columns = np.einsum("mq,tp->mtqp", x[units], dummies).reshape(m, periods, -1)
    treated = (design.periods[None, :] >= design.first[units, None]) * 1.0
    both = np.concatenate([v[units], columns, treated[:, :, None], y[units][:, :, None]], axis=2)
    seen = np.isfinite(y[units])
    both[~seen] = 0.0
    both -= both.sum(axis=1, keepdims=True) / np.maximum(seen.sum(axis=1), 1)[:, None, None]
    both *= np.sqrt(design.weight[units])[:, None, None]
    return np.asarray(both[seen])
