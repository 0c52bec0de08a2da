"""Regressions of a roll-out summed by cluster: what CR2, CR3 and the wild bootstrap need of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tiltakeval.design.staggered import StaggeredPanel
from tiltakeval.errors import InputError
from tiltakeval.estimates.few_clusters.moments import Moments, identified
from tiltakeval.estimators.did.two_way.columns import blocks_of, sample_of, static_columns
from tiltakeval.estimators.did.two_way.fit import Block, Regression, regress, scores
from tiltakeval.estimators.did.two_way.kept import Fit

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

#: Clusters times coefficients squared that are laid out at most: 400 MB.
MOST = 50_000_000
MOST_CLUSTERS = 2000


def moments_of(fits: Sequence[Fit], cluster: Ints) -> tuple[Moments, Ints]:
    """Moments by cluster of regressions that share no coefficient, those of one after those of another,
    and the clusters [G] in order. ``cluster`` [n] is that of the units of their panels; every unit is in
    one, so that its effect can be taken out beforehand.

    Raises InputError where clusters and coefficients are so many that nothing needs correction.
    """
    used = [np.concatenate([block.units for block in fit.blocks]) for fit in fits]
    names = np.unique(cluster[np.concatenate(used)])
    ends = np.cumsum([0, *(fit.owner.size for fit in fits)])
    k = int(ends[-1])
    if names.size > MOST_CLUSTERS or names.size * k * k > MOST:
        raise InputError(
            f"{names.size} clusters and {k} coefficients are too many for it",
            where="inference",
            remedy="With so many clusters, errors by cluster need no correction: leave it out, or say "
            "inference = bootstrap_t.",
        )
    gram, right = np.zeros((names.size, k, k)), np.zeros((names.size, k))
    for fit, low, high in zip(fits, ends, ends[1:]):
        for g, name in enumerate(names):
            own = _within(fit.blocks, cluster == name)
            if own:
                found = regress(fit.panel, own, fit.owner)
                gram[g, low:high, low:high] = found.gram
                right[g, low:high] = _right(fit, own, found)
    return Moments(gram, right), names


def _within(blocks: Sequence[Block], inside: Bools) -> list[Block]:
    """The blocks' units ``inside`` [n]."""
    cut = [replace(block, units=block.units[inside[block.units]]) for block in blocks]
    return [block for block in cut if block.units.size]


def _right(fit: Fit, blocks: Sequence[Block], found: Regression) -> Floats:
    """[K] X'y, unit effects taken out: scores about coefficients that are zero."""
    k = fit.owner.size
    nothing = replace(found, coef=np.zeros(k), bread=np.eye(k))
    out = np.zeros(k)
    for _, z in scores(fit.panel, blocks, nothing, np.eye(k)):
        out += z.sum(axis=0)
    return out


def static_moments(
    design: StaggeredPanel, inside: Bools, outcome: int
) -> tuple[Moments, Floats, Ints]:
    """Moments of y_it = a_i + f_t + b D_it (+ covariates) by cluster, the combination that is b, and the
    clusters [G] in order. Raises InputError where b isn't identified."""
    sample = sample_of(design, inside, outcome)
    columns = static_columns(sample)
    fit = Fit(sample.panel, blocks_of(sample, columns), columns.owner)
    moments, names = moments_of([fit], design.cluster)
    combination = np.zeros(columns.owner.size)
    combination[-1] = 1.0
    if not identified(moments.gram.sum(axis=0), moments.bread, combination):
        raise InputError("treatment is collinear with periods or covariates")
    return moments, combination, names
