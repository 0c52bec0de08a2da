"""Random weights of wild bootstraps: mean 0, variance 1, one for each cluster."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tiltakeval.errors import InputError, unknown

Floats = NDArray[np.float64]

WEIGHTS = ("rademacher", "webb", "mammen")
#: All sign vectors are used, in place of draws, while there are at most so many.
EXACT_BELOW = 4096
_WEBB = np.sqrt([1.5, 1.0, 0.5])
_GOLDEN = (1 + np.sqrt(5)) / 2


def draw_weights(
    clusters: int, *, kind: str, draws: int, seed: int
) -> tuple[NDArray[np.floating], bool]:
    """[draws, clusters] weights, and whether they are all there are.

    ``rademacher``: signs; with at most 12 clusters all 2^G sign vectors instead of draws, up to a
    common sign (which changes no absolute t), so 2^(G - 1) of them, the first that of the sample.
    ``webb``: six points, for few clusters (Webb 2023, Canadian Journal of Economics 56:839-858).
    ``mammen``: two points with third moment 1 (Mammen 1993). Raises InputError.
    """
    if kind not in WEIGHTS:
        raise unknown("weights", kind, WEIGHTS, where="weights")
    if draws < 99:
        raise InputError(
            f"{draws} draws are too few for an interval", where="draws", remedy="Use 999 or more."
        )
    if kind == "rademacher" and 2**clusters <= EXACT_BELOW:
        bits = np.arange(2 ** (clusters - 1))[:, None] >> np.arange(clusters)[None, :] & 1
        return np.where(bits > 0, -1.0, 1.0), True
    rng = np.random.default_rng([seed, clusters])
    if kind == "rademacher":
        return np.where(rng.random((draws, clusters)) < 0.5, -1.0, 1.0), False
    if kind == "webb":
        points: Floats = np.concatenate([-_WEBB, _WEBB]).astype(np.float64)
        return np.take(points, rng.integers(0, 6, (draws, clusters))), False
    low = rng.random((draws, clusters)) < _GOLDEN / np.sqrt(5)
    return np.where(low, 1 - _GOLDEN, _GOLDEN), False
