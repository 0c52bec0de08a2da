"""A discrete mixing distribution."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
#: Log of a hazard of zero: far enough below that the hazard underflows, finite so that 0 * it is 0.
ZERO = -700.0


@dataclass(frozen=True, kw_only=True)
class Mixing:
    """A discrete distribution: ``mu`` [C, J] log mass points (``ZERO`` for none), ``p`` [J].

    ``top`` [C] bounds the log mass points from above; points on it stay there.
    """

    mu: Floats
    p: Floats
    top: Floats

    @property
    def points(self) -> int:
        """Number of mass points."""
        return int(self.p.shape[0])

    @cached_property
    def v(self) -> Floats:
        """[C, J] mass points as multipliers of the hazard."""
        return np.exp(self.mu)

    @cached_property
    def free(self) -> NDArray[np.bool_]:
        """[C, J] coordinates that are parameters: not those at a hazard of zero, nor at the top."""
        return (self.mu > ZERO) & (self.mu < self.top[:, None])

    def changed(self, mu: Floats, p: Floats) -> Mixing:
        """Other points and probabilities within the same bounds."""
        return Mixing(mu=np.minimum(mu, self.top[:, None]), p=p, top=self.top)
