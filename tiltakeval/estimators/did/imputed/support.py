"""Who carries an imputed effect: the units of a cell, and those untreated in its period."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tiltakeval.design.staggered import StaggeredPanel
from tiltakeval.estimators.did.level import Support
from tiltakeval.estimators.did.plan import Cell

Bools = NDArray[np.bool_]
Bits = NDArray[np.uint8]
Ints = NDArray[np.int64]


class Comparison:
    """Who the untreated units of each period are."""

    def __init__(self, design: StaggeredPanel, units: Ints, used: Bools) -> None:
        self.design, self.units, self.used = design, units, used
        self.clusters = int(design.cluster.max()) + 1
        self.known: dict[int, tuple[Bits, Bits, float]] = {}

    def of(self, cell: Cell, treated: Ints) -> Support:
        """The support of a cell with ``treated`` units."""
        if cell.t not in self.known:
            inside = self.units[self.used[:, cell.t]]
            weight = self.design.weight[inside]
            effective = float(weight.sum() ** 2 / (weight @ weight)) if inside.size else 0.0
            self.known[cell.t] = (
                bits(inside, self.design.n),
                bits(self.design.cluster[inside], self.clusters),
                effective,
            )
        others, theirs, effective = self.known[cell.t]
        return Support(
            treated=bits(treated, self.design.n),
            comparison=others,
            clusters=theirs | bits(self.design.cluster[treated], self.clusters),
            effective=effective,
            trimmed=0,
        )


def bits(where: Ints, size: int) -> Bits:
    """Positions ``where`` as bits over ``size``."""
    mask = np.zeros(size, dtype=bool)
    mask[where] = True
    return np.packbits(mask)
