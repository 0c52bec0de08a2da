"""How much of its own residual each cluster explains, and what that takes from an error."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tiltakeval.estimators.did.cells.fit import Weighing

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Comparisons of more clusters than this have leverages that don't matter.
MANY = 1000


def spread(sides: Weighing, label: Ints, labels: int) -> Floats:
    """[m] what units' influence is multiplied by: (1 - h)^(-1/2), h the leverage of the unit's cluster
    (``label`` [m] in 0..labels-1) on its side.

    In the cohort h is the cluster's share of the weight. In the comparison, with a the weights of
    residuals, the effect's variance is the sum of a_g'a_g where errors are alike, and 1 - h is what
    the cluster's squared influence expects for a_g'a_g (`_expected`). A cluster that is alone on its
    side has no influence there.
    """
    assert sides.basis is not None and sides.weight is not None and sides.centre is not None
    treated = label.size - sides.odds.size
    out = np.ones(label.size)
    wt, own = sides.weight[:treated], label[:treated]
    share = np.bincount(own, weights=wt, minlength=labels) / wt.sum()
    out[:treated] = _factor(share)[own]
    other = label[treated:]
    if other.size > MANY and np.count_nonzero(np.bincount(other, minlength=labels)) > MANY:
        return out
    a = sides.centre if sides.share is None else sides.share + sides.centre
    squares = np.bincount(other, weights=a * a, minlength=labels)
    expected = _expected(sides, a, treated, other, labels)
    out[treated:] = _factor(1 - expected / np.where(squares > 0, squares, 1.0))[other]
    return out


def _expected(sides: Weighing, a: Floats, treated: int, label: Ints, labels: int) -> Floats:
    """[labels] what a comparison cluster's squared influence expects, the errors' variance being one.

    The influence is linear in the residuals (I - H)e of the outcome's regression (Bell & McCaffrey
    2002): those of the cluster itself by a, less its part in their weighted mean and in what they teach
    of the propensity (`fit.effects`), to which a unit that weighs much adds most.
    """
    assert sides.basis is not None and sides.weight is not None

    def sums(rows: Floats) -> Floats:
        return np.array([np.bincount(label, weights=row, minlength=labels) for row in rows])

    x, w = sides.basis[:, treated:], sides.weight[treated:]
    found: Floats = sums((a * a)[None])[0]
    along, weighed = -sums(x * a), -sums(x * (a * w))
    if sides.share is not None:
        assert sides.surprise is not None and sides.information is not None
        s = sides.share
        shared = np.concatenate([s[None], x * s - np.outer(x @ s, s)])
        taught = np.linalg.solve(sides.information, sums(x * sides.surprise[treated:]))
        part = np.concatenate([sums(s[None]), -taught])
        found += (part * (shared @ shared.T @ part - 2 * sums(shared * a))).sum(axis=0)
        along += (x @ shared.T) @ part
        weighed += ((x * w) @ shared.T) @ part
    if sides.inverse is not None:
        found -= (along * (sides.inverse @ weighed)).sum(axis=0)
    return found


def _factor(h: Floats) -> Floats:
    h = np.clip(h, 0.0, None)
    alone = h > 1 - 1e-9
    return np.asarray(np.where(alone, 1.0, 1 / np.sqrt(np.where(alone, 1.0, 1 - h))))
