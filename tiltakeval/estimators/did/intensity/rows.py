"""Rows of an estimate given a prediction, and what the prediction's own error adds to them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tiltakeval.estimators.did.beside import Beside
from tiltakeval.estimators.did.intensity.predict import Prediction

Floats = NDArray[np.float64]
#: Step of the derivative by the prediction's coefficients, which are of standardised predictors.
STEP = 1e-4


#: Rows from a prediction [n].
Fit = Callable[[Floats], Sequence[Beside]]


def with_prediction(fit: Fit, prediction: Prediction, counted: bool) -> list[Beside]:
    """The rows at the prediction. Where it is ``counted`` as estimated, their influence holds that of
    its coefficients times d row / d coef (central differences, each a fit of its own)."""
    rows = list(fit(prediction.value))
    if not counted or not prediction.coef.size:
        return rows
    slopes = []
    for j in range(prediction.coef.size):
        moved = []
        for sign in (1, -1):
            coef = prediction.coef.copy()
            coef[j] += sign * STEP
            moved.append(np.array([one.estimate for one in fit(prediction.at(coef))]))
        slopes.append((moved[0] - moved[1]) / (2 * STEP))
    jacobian = np.stack(slopes, axis=1)
    return [
        one if one.z is None else replace(one, z=one.z + prediction.z @ jacobian[i])
        for i, one in enumerate(rows)
    ]
