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
    residuals and H the regression's hat matrix, E (a_g'e_g)^2 is a_g'(I - H_gg)a_g times the errors'
    variance where these are alike, and h = a_g'H_gg a_g / a_g'a_g (the direction that matters in Bell &
    McCaffrey's correction). A cluster that is alone on its side has no influence there.
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
    if sides.inverse is None:
        assert sides.share is not None
        left = np.bincount(other, weights=a, minlength=labels)
        product = left * np.bincount(other, weights=a * sides.share, minlength=labels)
    else:
        x = sides.basis[:, treated:]
        weighted = sides.weight[treated:] * a
        left = np.array([np.bincount(other, weights=row * a, minlength=labels) for row in x])
        right = np.array(
            [np.bincount(other, weights=row * weighted, minlength=labels) for row in x]
        )
        product = (left * (sides.inverse @ right)).sum(axis=0)
    squares = np.bincount(other, weights=a * a, minlength=labels)
    out[treated:] = _factor(product / np.where(squares > 0, squares, 1.0))[other]
    return out


def _factor(h: Floats) -> Floats:
    h = np.clip(h, 0.0, None)
    alone = h > 1 - 1e-9
    return np.asarray(np.where(alone, 1.0, 1 / np.sqrt(np.where(alone, 1.0, 1 - h))))
