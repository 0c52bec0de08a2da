"""Functions of the dose: bins, and polynomial splines with their slopes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import BSpline

from tiltakeval.errors import InputError

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Spline:
    """A constant and the B-splines on ``knots`` but the first: a curve of ``degree`` between knots."""

    knots: Floats
    degree: int

    @property
    def size(self) -> int:
        """Number of coefficients."""
        return int(self.knots.size - self.degree - 1)

    def values(self, dose: Floats) -> Floats:
        """[m, size]; doses beyond the end knots count as these."""
        inside = np.clip(dose, self.knots[0], self.knots[-1])
        if not inside.size:
            return np.zeros((0, self.size))
        basis = BSpline.design_matrix(inside, self.knots, self.degree).toarray()
        basis[:, 0] = 1.0
        return np.asarray(basis)

    def slopes(self, dose: Floats) -> Floats:
        """[m, size] first derivatives (at the end knots those from inside)."""
        inside = np.clip(dose, self.knots[0], self.knots[-1])
        out = np.zeros((inside.size, self.size))
        for j in range(1, self.size):
            coef = np.zeros(self.size)
            coef[j] = 1.0
            out[:, j] = BSpline(self.knots, coef, self.degree).derivative()(inside)
        return out


def spline_of(dose: Floats, *, degree: int, knots: int) -> Spline:
    """End knots at the smallest and largest dose, ``knots`` at evenly spaced quantiles between, as R's
    contdid and diff-diff place them. Raises InputError with fewer doses than coefficients."""
    different = np.unique(dose).size
    if different < degree + knots + 1:
        raise InputError(
            f"{different} different doses are too few for {degree + knots + 1} coefficients",
            where="degree",
            remedy="Lower degree and knots, or say curve=false and look at the bins.",
        )
    inner = np.quantile(dose, np.linspace(0, 1, knots + 2)[1:-1])
    ends = [np.repeat(d, degree + 1) for d in (dose.min(), dose.max())]
    return Spline(np.concatenate([ends[0], inner, ends[1]]), degree)


@dataclass(frozen=True)
class Bins:
    """Dose bins (low, high], the lowest closed below; ``labels`` name them."""

    edges: Floats
    labels: tuple[str, ...]

    @property
    def cuts(self) -> tuple[float, ...] | None:
        """The inner cut points; None where every dose is a bin, which cut points can't say."""
        single = all(label.startswith("dose ") and label[5:6].isdigit() for label in self.labels)
        single = single and not any(" to " in label for label in self.labels)
        return None if single else tuple(float(edge) for edge in self.edges[1:-1])

    def of(self, dose: Floats) -> NDArray[np.int64]:
        """[m] number of each dose's bin, -1 for doses outside."""
        code = np.searchsorted(self.edges, dose, side="left") - 1
        code = np.where(dose == self.edges[0], 0, code)
        return np.where((code >= 0) & (code < len(self.labels)), code, -1).astype(np.int64)


def rounded(doses: Floats, low: float, high: float) -> Floats:
    """Different round numbers near ``doses``, a twentieth of the range or less apart from them: names of
    bins and points of a curve are shown, and a quantile is somebody's dose."""
    if not high > low:
        return np.unique(doses)
    digits = -int(np.floor(np.log10((high - low) / 20)))
    step = 10.0**-digits
    near = np.round(doses, digits)
    near = np.where(near < low, near + step, np.where(near > high, near - step, near))
    near = np.unique(np.round(near, digits))
    near = near[(near >= low) & (near <= high)]
    return near if near.size else np.unique(doses)


def bins_of(dose: Floats, bins: int | Sequence[float]) -> Bins:
    """Bins at ``bins`` inner cut points, or that many of about equal size with round cuts; where there
    are no more different doses than that, a bin for each. Raises InputError for cut points that don't
    cut."""
    low, high = float(dose.min()), float(dose.max())
    if isinstance(bins, int):
        if bins < 1:
            raise InputError("at least one bin is needed", where="bins")
        values = np.unique(dose)
        if values.size <= bins:
            edges = np.concatenate([values[:1] - 1.0, values])
            return Bins(edges, tuple(f"dose {v:g}" for v in values))
        cuts = rounded(np.quantile(dose, np.linspace(0, 1, bins + 1)[1:-1]), low, high)
    else:
        cuts = np.array(sorted(float(c) for c in bins))
    cuts = cuts[(cuts > low) & (cuts < high)] if isinstance(bins, int) else cuts
    if np.unique(cuts).size != cuts.size or ((cuts < low) | (cuts >= high)).any():
        raise InputError(
            "cut points must differ and lie between the smallest and the largest dose", where="bins"
        )
    edges = np.concatenate([[low], cuts, [high]])
    labels = [f"dose {a:.4g} to {b:.4g}" for a, b in pairwise(edges)]
    if cuts.size:  # the smallest and the largest dose are single units'
        labels[0], labels[-1] = f"dose up to {cuts[0]:.4g}", f"dose above {cuts[-1]:.4g}"
    else:
        labels = ["any dose"]
    return Bins(edges, tuple(labels))
