"""Effects of a batch in which nobody is missing, and their influence summed by group, from sums.

`fit.effects` writes down every unit's influence on every cell. Where all cells of a batch have the same
units, the influence is linear in outcomes of the two periods with weights that are the cells' own
property, so that outcomes need only be summed by group once a period, whatever is regressed out of them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from tiltakeval.estimators.did.cells.batches import Batch
from tiltakeval.estimators.did.cells.fit import Weighing

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def summed_effects(
    batch: Batch, sides: Weighing, label: Ints, labels: int, factor: Floats | None
) -> tuple[Floats, Floats]:
    """Effects [k] of the batch's cells and the sums [labels, k] by ``label`` [m] of their influence,
    times ``factor`` [m] where given. The batch's units must be seen in all of its periods.

    The influence is that of `fit.effects`: with a the weights of residuals, b the outcome's regression,
    l the propensity's part and s its score, a_i (dy_i - x_i'b) less its mean's part, less s_i x_i'l.
    """
    assert sides.basis is not None and sides.weight is not None and sides.centre is not None
    assert batch.where is not None
    x, treated = sides.basis, batch.treated
    share = np.concatenate(
        [sides.weight[:treated] / sides.weight[:treated].sum(), np.zeros(sides.odds.size)]
    )
    other = np.zeros_like(share)
    a = share.copy()
    a[treated:] = -sides.centre
    if sides.share is not None:
        other[treated:] = sides.share
        a[treated:] -= sides.share
    spread = np.ones_like(share) if factor is None else factor
    now = [cell.t for cell in batch.cells]
    then = [cell.b for cell in batch.cells]
    y = batch.units.by_unit  # periods not asked for stay in columns of their own
    periods = y.shape[1]
    by_group = np.zeros((labels, periods))
    mean, moments = np.zeros(periods), np.zeros((periods, x.shape[0]))
    leaning = x * other
    scaled, done = a * spread, 0
    for s in batch.where:
        here = slice(done, done + s.stop - s.start)
        done = here.stop
        rows = y[s]  # a view: products with it copy nothing
        if here.stop > treated:
            moments += rows.T @ leaning[:, here].T
        else:
            mean += share[here] @ rows
        by_group += _spread_out(scaled[here], label[here], labels) @ rows
    differences = by_group[:, now] - by_group[:, then]
    eta = mean[now] - mean[then]
    moment = moments[now] - moments[then]
    slope = np.zeros((len(batch.cells), x.shape[0]))
    if sides.inverse is not None:
        slope = batch.known_products()[:, list(sides.kept)] @ sides.inverse
        eta = eta - slope @ (x @ share)
        moment = moment - slope @ (leaning @ x.T)
    z = differences - _sums(x * scaled, label, labels) @ slope.T
    z -= np.outer(_sums((share * spread)[None], label, labels)[:, 0], eta)
    if sides.share is None:
        return eta, z
    assert sides.surprise is not None and sides.information is not None
    eta_c = moment[:, 0]
    lean = np.linalg.solve(sides.information, moment.T - np.outer(x @ other, eta_c))
    z += np.outer(_sums((other * spread)[None], label, labels)[:, 0], eta_c)
    z -= _sums(x * (sides.surprise * spread), label, labels) @ lean
    return eta - eta_c, z


def _spread_out(weight: Floats, label: Ints, labels: int) -> sparse.csc_array:
    """[labels, m] with a unit's weight in the row of its label: a product with it sums by label."""
    columns = np.arange(weight.size + 1, dtype=np.int32)
    return sparse.csc_array((weight, label.astype(np.int32), columns), shape=(labels, weight.size))


def _sums(rows: Floats, label: Ints, labels: int) -> Floats:
    """[labels, r] sums of ``rows`` [r, m]."""
    return np.stack([np.bincount(label, weights=row, minlength=labels) for row in rows], axis=1)
