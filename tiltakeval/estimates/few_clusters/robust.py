"""Cluster-robust errors of a regression for few clusters: CR1, CR2 with its degrees of freedom, CR3."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tiltakeval.estimates.few_clusters.effective import effective_number
from tiltakeval.estimates.few_clusters.moments import Moments, identified, invert
from tiltakeval.estimates.inference import correction

Floats = NDArray[np.float64]

#: Eigenvalues of I - H_gg below this are zero: the cluster alone identifies a direction.
_NONE_LEFT = 1e-8
NOTHING_LEFT = "no cluster leaves anything to judge it by"


@dataclass(frozen=True)
class Robust:
    """An estimate's error and degrees of freedom; ``reason`` tells why there is none."""

    estimate: float
    std_error: float
    df: float
    reason: str = ""


def cr1(moments: Moments, combination: Floats) -> Robust:
    """Sum of squared scores times G / (G - 1), G - 1 degrees of freedom."""
    a = moments.bread @ combination
    squares = float(((moments.scores @ a) ** 2).sum())
    found = float(combination @ moments.coef)
    return Robust(
        found, float(np.sqrt(squares * correction(moments.clusters))), moments.clusters - 1.0
    )


def cr2(moments: Moments, combination: Floats) -> Robust:
    """Residuals multiplied by (I - H_gg)^(-1/2), which makes the variance unbiased where rows are
    independent with variance 1 / weight; Satterthwaite's degrees of freedom under the same model.

    Bell & McCaffrey (2002, Survey Methodology 28:169-181); Pustejovsky & Tipton (2018, Journal of
    Business & Economic Statistics 36:672-683), generalised inverse where I - H_gg is singular. As H_gg
    = X_g M X_g' has the rank of X_g, all of it is done in K dimensions: with X_g = Q R, Q'Q = I,
    (I - H_gg)^p = I + Q [(I - R M R')^p - I] Q'.
    """
    found, _ = cr2_of(moments, combination[:, None])
    if not np.isfinite(found.std_error[0]):
        return Robust(float(found.estimate[0]), np.nan, np.nan, NOTHING_LEFT)
    return Robust(float(found.estimate[0]), float(found.std_error[0]), float(found.df[0]))


@dataclass(frozen=True)
class Several:
    """Of r combinations of coefficients: ``estimate``, ``std_error`` and degrees of freedom ``df`` [r],
    NaN where there are none."""

    estimate: Floats
    std_error: Floats
    df: Floats


def cr2_of(moments: Moments, maps: Floats) -> tuple[Several, Floats]:
    """`cr2` of combinations ``maps`` [K, r], with what clusters add to them [G, r]."""
    weights, df = corrected(moments, maps)
    z = np.einsum("gkr,gk->gr", weights, moments.scores)
    se = np.sqrt((z**2).sum(axis=0))
    good = (se > 0) & (df > 0)
    found = Several(moments.coef @ maps, np.where(good, se, np.nan), np.where(good, df, np.nan))
    return found, z


def cr2_weights(moments: Moments, combination: Floats) -> tuple[Floats, float]:
    """[G, K] what multiplies a cluster's score X_g'e_g, and the degrees of freedom, from X alone."""
    weights, df = corrected(moments, combination[:, None])
    return weights[:, :, 0], float(df[0])


def corrected(moments: Moments, maps: Floats, power: float = -0.5) -> tuple[Floats, Floats]:
    """[G, K, r] what multiplies scores where residuals are multiplied by (I - H_gg)^power, and [r]
    Satterthwaite's degrees of freedom (0: none)."""
    bread, a = moments.bread, moments.bread @ maps
    k, r = a.shape
    weights = np.zeros((moments.clusters, k, r))
    own = np.zeros((moments.clusters, r))  # u_g'u_g, u_g = (I - H_gg)^power X_g a
    along = np.zeros((moments.clusters, k, r))  # X_g'u_g
    for g in range(moments.clusters):
        values, vectors = np.linalg.eigh(moments.gram[g])
        good = values > 1e-12 * max(float(values[-1]), 1e-300)
        root = np.sqrt(values[good])
        reduced = root[:, None] * vectors[:, good].T
        left, axes = np.linalg.eigh(np.eye(root.size) - reduced @ bread @ reduced.T)
        there = left > _NONE_LEFT
        turn = (axes[:, there] * left[there] ** power) @ axes[:, there].T
        turned = turn @ (reduced @ a)
        weights[g] = vectors[:, good] @ (turned / root[:, None])  # Q'e_g = R^-1' X_g'e_g
        own[g] = (turned**2).sum(axis=0)
        along[g] = reduced.T @ turned
    df = np.zeros(r)
    for j in range(r):
        gaps = np.diag(own[:, j]) - along[:, :, j] @ bread @ along[:, :, j].T
        spread = float((gaps**2).sum())
        df[j] = float(np.trace(gaps)) ** 2 / spread if spread > 0 else 0.0
    return weights, df


def without_each(moments: Moments, combination: Floats) -> Floats:
    """[G] the estimate without each cluster, NaN where it can't be had."""
    return left_out_of(moments, combination[:, None])[:, 0]


def left_out_of(moments: Moments, maps: Floats) -> Floats:
    """[G, r] the combinations ``maps`` [K, r] without each cluster, NaN where they can't be had."""
    gram, right = moments.gram.sum(axis=0), moments.right.sum(axis=0)
    out = np.full((moments.clusters, maps.shape[1]), np.nan)
    for g in range(moments.clusters):
        rest = gram - moments.gram[g]
        bread = invert(rest)
        coef = bread @ (right - moments.right[g])
        for j, combination in enumerate(maps.T):
            if identified(rest, bread, combination):
                out[g, j] = combination @ coef
    return out


def cr3_of(moments: Moments, maps: Floats) -> tuple[Several, Floats]:
    """`cr3` of combinations ``maps`` [K, r], and what leaving a cluster out moves them by [G, r]. The
    degrees of freedom are Satterthwaite's, for residuals multiplied by (I - H_gg)^-1, which is what
    leaving a cluster out comes to (Pustejovsky & Tipton 2018)."""
    point = moments.coef @ maps
    moved = point - left_out_of(moments, maps)
    se = np.sqrt((moved**2).sum(axis=0) / correction(moments.clusters))
    _, df = corrected(moments, maps, power=-1.0)
    return Several(point, se, np.where(np.isfinite(se) & (df > 0), df, np.nan)), moved


def jackknife(estimate: float, left_out: Floats) -> Robust:
    """(G - 1) / G times the sum of squares about the estimate, G - 1 degrees of freedom: CR3.

    MacKinnon, Nielsen & Webb (2023); conservative on average (Efron & Stein 1981). ``left_out``
    [G] are the estimates without each cluster. Where some can't be had, nor can the error.
    """
    lost = int((~np.isfinite(left_out)).sum())
    clusters = left_out.size
    if lost:
        said = f"{lost} of {clusters} clusters can't be left out: there is no estimate without them"
        return Robust(estimate, np.nan, np.nan, said)
    squares = float(((left_out - estimate) ** 2).sum())
    return Robust(estimate, float(np.sqrt(squares / correction(clusters))), clusters - 1.0)


def cr3(moments: Moments, combination: Floats) -> Robust:
    """Leave one cluster out, exactly."""
    return jackknife(float(combination @ moments.coef), without_each(moments, combination))


@dataclass(frozen=True)
class Leverage:
    """By cluster [G]: ``leverage``, the part of the rank of X that is the cluster's (sums to the rank),
    and ``partial``, its share of the variation that identifies one combination (sums to 1).
    ``effective`` is the effective number of clusters with independent rows: `effective_number` of
    ``partial``."""

    leverage: Floats
    partial: Floats
    effective: float


def leverage(moments: Moments, combination: Floats) -> Leverage:
    """MacKinnon, Nielsen & Webb (2023, Stata Journal 23:942-982)."""
    a = moments.bread @ combination
    whole = np.einsum("gkl,lk->g", moments.gram, moments.bread)
    partial = np.einsum("k,gkl,l->g", a, moments.gram, a)
    partial = partial / partial.sum()
    return Leverage(whole, partial, effective_number(partial))
