"""Several fits as one answer: weights by penalised likelihood, estimates and errors averaged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from tiltakeval.estimates.inference import standard_errors

Floats = NDArray[np.float64]
#: Fits that count for less are left out of an average.
LEAST_WEIGHT = 0.01


def weights_by_likelihood(
    log_likelihood: Mapping[int, float], parameters: Mapping[int, int], *, penalty: float
) -> dict[int, float]:
    """Weight of each fit: proportional to exp(log-likelihood - penalty x parameters).

    Penalty 1 gives weights by AIC (Burnham & Anderson 2002, section 2.9). A mass point more than the
    data need lies at the boundary of what it may be, and its parameters raise the likelihood by less
    than regular ones do: AIC leaves too few points, so that effects are biased the way they are
    without heterogeneity, the full likelihood has too many, so that they are biased the other way.
    """
    numbers = list(log_likelihood)
    value = np.array([log_likelihood[j] - penalty * parameters[j] for j in numbers])
    weight = np.exp(value - value.max())
    weight /= weight.sum()
    kept = {j: float(w) for j, w in zip(numbers, weight) if w >= LEAST_WEIGHT}
    return {j: w / sum(kept.values()) for j, w in kept.items()}


def averaged(
    weights: Sequence[float], values: Sequence[Floats], influence: Sequence[Floats]
) -> tuple[Floats, Floats]:
    """Values [m] and influence [G, m] averaged over fits; the spread between fits widens the errors.

    Burnham & Anderson (2002, section 4.3): the error is the mean over fits of
    sqrt(error^2 + (estimate - average)^2).
    """
    share = np.asarray(weights, dtype=np.float64)
    value: Floats = np.tensordot(share, np.stack(values), 1)
    if len(share) == 1:
        return value, influence[0]
    mean = np.zeros_like(influence[0])
    wide = np.zeros_like(value)
    for w, own, z in zip(share, values, influence):
        mean += w * z
        wide += w * np.hypot(standard_errors(z), own - value)
    now = standard_errors(mean)
    return value, mean * np.divide(wide, now, out=np.ones_like(now), where=now > 0)
