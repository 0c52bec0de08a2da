"""Standard errors of a fit, and the influence of every cluster on functions of its parameters.

Three covariances of the free parameters: inverse outer product of the scores (as durmod reports),
inverse of minus the Hessian, and their sandwich, whose middle is summed by cluster. They condition on
the mass points found: points at a hazard of zero, or at the top of the box, are held there.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tiltakeval.estimates.inference import correction, standard_errors
from tiltakeval.estimators.duration.mixture.likelihood import CHUNK, Mixing, evaluate, unit_scores
from tiltakeval.estimators.duration.mixture.newton import Fit, free_parameters
from tiltakeval.estimators.duration.mixture.panel import Panel
from tiltakeval.estimators.numerics.groups import Groups

Floats = NDArray[np.float64]
KINDS = ("opg", "hessian", "sandwich")
#: Directions with less information than this, relative to the most, count as unknown.
SINGULAR = 1e-11


@dataclass(frozen=True, kw_only=True)
class Errors:
    """Standard errors [k] by kind of k functions of the parameters, and their influence [G, k].

    ``unknown`` counts directions of the parameters the data say nothing about.
    """

    by_kind: dict[str, Floats]
    influence: Floats
    unknown: int


@dataclass(frozen=True)
class Information:
    """What a fit's errors rest on, by cluster; made once, asked for any functions' errors."""

    panel: Panel
    fit: Fit
    groups: Groups

    def errors(self, gradients: Floats, *, kind: str) -> Errors:
        """Errors of functions with ``gradients`` [k, q] by all parameters (fixed ones included).

        The influence reproduces the errors of ``kind``.
        """
        free, scores_of = self._free, self._scores
        outer, (inverse_hessian, unknown) = self._outer, self._hessian
        rows = gradients[:, free]
        inverse_opg, lost = _inverse(outer)
        sandwich = inverse_hessian @ outer @ inverse_hessian * correction(self.groups.n_clusters)
        covariances = {"opg": inverse_opg, "hessian": inverse_hessian, "sandwich": sandwich}
        by_kind = {
            name: np.sqrt(
                np.maximum(np.einsum("kq,qr,kr->k", rows, matrix, rows, optimize=True), 0.0)
            )
            for name, matrix in covariances.items()
        }
        directions = (inverse_opg if kind == "opg" else inverse_hessian) @ rows.T
        influence = np.zeros((self.groups.count, len(rows)))
        for group, scores in scores_of():
            np.add.at(influence, group, scores @ directions)
        found = standard_errors(influence)
        scale = np.divide(by_kind[kind], found, out=np.ones_like(found), where=found > 0)
        return Errors(by_kind=by_kind, influence=influence * scale, unknown=max(lost, unknown))

    @cached_property
    def _free(self) -> NDArray[np.int64]:
        free = free_parameters(self.panel, self.fit.mixing)
        return np.setdiff1d(free, [_reference(self.panel, self.fit.mixing)])

    @cached_property
    def _scores(self):  # type: ignore
        return _by_cluster(self.panel, self.fit, self._free, self.groups)

    @cached_property
    def _outer(self) -> Floats:
        outer = np.zeros((self._free.size, self._free.size))
        for _, scores in self._scores():
            outer += scores.T @ scores
        return outer

    @cached_property
    def _hessian(self) -> tuple[Floats, int]:
        """Inverse of minus the Hessian, and how many directions nothing is known of."""
        hessian = evaluate(self.panel, self.fit.at, self.fit.mixing).hessian
        return _inverse(-hessian[np.ix_(self._free, self._free)])


def _reference(panel: Panel, mixing: Mixing) -> int:
    """The logit left out, because probabilities sum to one: the most likely point's."""
    return panel.coefficients + mixing.mu.size + int(mixing.p.argmax())


def _inverse(matrix: Floats) -> tuple[Floats, int]:
    """Inverse of a symmetric matrix, and the number of directions left out as singular."""
    scale = 1 / np.sqrt(np.maximum(np.abs(np.diag(matrix)), 1e-300))
    values, vectors = np.linalg.eigh(matrix * scale * scale[:, None])
    good = values > SINGULAR
    half = (vectors[:, good] / np.sqrt(values[good])) * scale[:, None]
    return half @ half.T, int((~good).sum())


def _by_cluster(panel: Panel, fit: Fit, free: NDArray[np.int64], groups: Groups):  # type: ignore
    """A function that gives (groups [m], weighted scores [m, q] summed by cluster) in blocks."""
    cluster = groups.cluster[panel.person]
    group_of = np.zeros(groups.n_clusters, dtype=np.int64)
    group_of[groups.cluster] = groups.group
    alone = bool(np.unique(cluster).size == cluster.size)

    def blocks():  # type: ignore
        total = None if alone else np.zeros((groups.n_clusters, free.size))
        for lo in range(0, panel.units, CHUNK):
            hi = min(lo + CHUNK, panel.units)
            scores = unit_scores(panel, fit.at, fit.mixing, lo, hi)[:, free]
            scores *= panel.weight[lo:hi, None]
            if total is None:
                yield group_of[cluster[lo:hi]], scores
            else:
                np.add.at(total, cluster[lo:hi], scores)
        if total is not None:
            yield group_of, total

    return blocks
