"""How far doubly robust scores are to be trusted above predictions when a tree is learnt."""

from __future__ import annotations

import numpy as np

from tiltakeval.estimators.heterogeneity.policy.units import Units

#: Cells a covariate is cut into.
CELLS = 4


def trust(units: Units) -> float:
    """How far scores are to be trusted above predictions, 0 to 1, from the scores of these people.

    Doubly robust scores are right on average and noisy; predictions are smooth and may be wrong. In
    quarters of every covariate the mean of score less prediction (of every arm's gain over arm 0) is
    noise, with its standard error, plus what the predictions miss there. The part that isn't noise,
    1 - sum of squared errors / sum of squared means, is the positive-part James-Stein factor (Efron &
    Morris 1973), taken over cells of about the size of a leaf. It goes to 1 as numbers grow, unless the
    predictions are right.
    """
    residual = units.reward - units.predicted
    gain = residual[:, 1:] - residual[:, :1]
    w = units.weight / units.weight.sum()
    square, noise = 0.0, 0.0
    for j in range(units.x.shape[1]):
        edges = np.unique(np.quantile(units.x[:, j], np.arange(1, CELLS) / CELLS))
        cell = np.searchsorted(edges, units.x[:, j], side="left")
        for c in np.unique(cell):
            part = np.where(cell == c, w, 0.0)
            size = part.sum()
            if size > 0:
                mean = part @ gain / size
                square += float((mean**2).sum())
                noise += float(((part**2) @ (gain - mean) ** 2).sum() / size**2)
    return float(np.clip(1.0 - noise / square, 0.0, 1.0)) if square > 0 else 0.0
