"""Small-sample errors of regressions by cluster: what each cluster explains of its own residuals.

Bell & McCaffrey (2002, Survey Methodology 28:169-181): a cluster's residuals are multiplied by
(I - H_gg)^(-1/2), with which the variance is unbiased where errors are alike. All coefficients at once,
and only k x k matrices are needed: with B = W^(1/2) X L, L L' the inverse of X'WX, H_gg = B_g B_g' and
B_g'(I - B_g B_g')^(-1/2) = (I - B_g'B_g)^(-1/2) B_g'.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tiltakeval.estimators.did.cells.leverage import MANY
from tiltakeval.estimators.numerics.groups import Groups

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def settles(groups: Groups) -> bool:
    """Whether leverage is worth it and can be had: groups are clusters, clustered one way, not many."""
    few = groups.count <= MANY and groups.count == groups.n_clusters
    return few and groups.form is None


def by_group(
    x: Floats,
    weight: Floats,
    residual: Floats,
    inverse: NDArray[np.floating],
    at: Ints,
    groups: Groups,
    own: bool,
) -> Floats:
    """[size, k] influence by group on the coefficients of a least-squares regression of units ``at``
    [m]: ``x`` [m, k], ``inverse`` [k, k] that of X'WX. With ``own`` each cluster's is divided by what
    its own leverage leaves; a cluster that alone tells a coefficient is left as it is."""
    z = groups.add_up((x * (weight * residual)[:, None]) @ inverse, at)
    if not (own and settles(groups)):
        return z
    k = x.shape[1]
    outer = (x[:, :, None] * (x * weight[:, None])[:, None, :]).reshape(at.size, k * k)
    grams = groups.add_up(outer, at).reshape(-1, k, k)
    root = np.linalg.cholesky(inverse)
    values, vectors = np.linalg.eigh(root.T @ grams @ root)
    values = np.clip(values, 0.0, None)
    alone = values > 1 - 1e-9
    factor = np.where(alone, 1.0, 1 / np.sqrt(np.where(alone, 1.0, 1 - values)))
    scores = np.linalg.solve(root, z.T).T
    turned = np.einsum("gji,gj->gi", vectors, scores) * factor
    return np.asarray(np.einsum("gij,gj->gi", vectors, turned) @ root.T)
