"""The weights (Riesz representers) behind each effect of the weighting estimators.

An effect of arm a against b is E[alpha Y] for alpha = m (1{A = a} / e_a - 1{A = b} / e_b) / P, with
m = e_T for target arms T (T = {a}: effect on participants; all arms: on everybody), m = h = 1 / sum
1 / e_b for the overlap target, over the units S that could have entered the required arms, and P the
mean of 1{A in T} (of h) over them.

An effect on participants takes their own mean as it is: an unseen factor can move the weights, and
the regression, of the comparison only. What it explains is counted as a share of those. Counted as a
share of all weights (``whole``), as DoubleML does, the same factor's share is smaller the fewer take
part, as participants' equal weights make up nearly all of the sum of squares; bounds from the factor's
own shares hardly differ, but robustness values do.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tiltakeval.design.cross_section import CrossSection
from tiltakeval.errors import InputError
from tiltakeval.estimators.weighting.nuisance import Nuisance
from tiltakeval.estimators.weighting.targets import Target

Floats = NDArray[np.floating]
#: Target populations whose effects can be bounded.
LABELS = ("att", "either", "ate", "programmes", "overlap", "treated", "common")


@dataclass(frozen=True)
class Weights:
    """Of one pair on one target, over its m units: ``units`` [m] into the design.

    ``treated`` and ``other`` [m] mark the two arms' units, ``moved`` [m] those of arms whose weights an
    unseen factor could move. ``mass`` [m] is a unit's part of the target
    (sampling weight included), ``alpha`` [m] the signed weight before division by the mean mass, and
    ``moment`` [m] the functional at alpha, so that E[2 moment - alpha^2] is the mean square of the true
    weights up to an error of second order in that of alpha (Chernozhukov et al. 2022, section 4).
    """

    pair: tuple[int, int]
    units: NDArray[np.int64]
    treated: NDArray[np.bool_]
    other: NDArray[np.bool_]
    moved: NDArray[np.bool_]
    sampling: NDArray[np.float64]
    mass: NDArray[np.float64]
    alpha: NDArray[np.float64]
    moment: NDArray[np.float64]


def targets_in(
    population: str, pair: tuple[int, int], *, present: tuple[int, ...], where: str = "population"
) -> Target:
    """The target that a result's ``population`` label (``jobseeker:att``) and pair of arms stand for."""
    label = population.rsplit(":", 1)[-1] if ":" in population else ""
    programmes = tuple(a for a in present if a)
    everyone = tuple(present)
    if label == "att":
        return Target(label, (pair[0],), pair, (pair,))
    if label == "either":
        return Target(label, tuple(sorted(pair)), pair, (pair,))
    if label == "ate":
        return Target(label, everyone, pair, (pair,))
    if label == "programmes":
        return Target(label, programmes, everyone, (pair,))
    if label == "overlap":
        return Target(label, everyone, everyone, (pair,), overlap=True)
    # those of scores: of all who could have entered every arm compared
    if label == "treated":
        return Target(label, tuple(sorted(a for a in pair if a)), everyone, (pair,))
    if label == "common":
        return Target(label, everyone, everyone, (pair,))
    raise InputError(
        f"bounds for hidden factors aren't made for the population '{population}'",
        where=where,
        remedy="Use estimates of aipw_…, ipw_… or heterogeneity.",
    )


def weights_of(
    design: CrossSection,
    nuisance: Nuisance,
    target: Target,
    pair: tuple[int, int],
    *,
    propensity: Floats | None = None,
    whole: bool = False,
) -> Weights:
    """Weights of ``pair`` on ``target``; ``propensity`` [n, A] instead of the nuisance's if given.

    ``whole`` counts participants' weights although nothing can move them.
    """
    e_all = nuisance.propensity if propensity is None else propensity
    open_to = design.eligible[:, list(target.required)].all(axis=1) & nuisance.kept
    units = np.flatnonzero(open_to & (design.weight > 0))
    arm, e = design.arm[units], e_all[units]
    sampling = design.weight[units].astype(np.float64)
    first, second = (_ratio(e, target, a) for a in pair)
    treated, other = arm == pair[0], arm == pair[1]
    inside = np.isin(arm, target.arms)
    if target.overlap:
        own = np.zeros(units.size)
        for a in target.arms:
            own = np.where(arm == a, _ratio(e, target, a), own)
        mass = np.where(inside, own**2, 0.0)  # as in the estimator's score
        spread = e[:, pair[0]] * first * (first + second)
        moved = treated | other
    else:
        mass = inside.astype(np.float64)
        fixed = target.arms == pair[:1] and not whole
        spread = mass * second if fixed else mass * (first + second)
        moved = other if fixed else treated | other
    return Weights(
        pair=pair,
        units=units,
        treated=treated,
        other=other,
        moved=moved,
        sampling=sampling,
        mass=mass,
        alpha=np.where(treated, first, 0.0) - np.where(other, second, 0.0),
        moment=spread,
    )


def _ratio(e: Floats, target: Target, arm: int) -> NDArray[np.float64]:
    """e_T / e_arm, or h / e_arm; 0 where the arm isn't open to the unit."""
    own = e[:, arm]
    safe = np.where(own > 0, own, 1.0)
    if target.overlap:
        others = np.where(e[:, list(target.arms)] > 0, e[:, list(target.arms)], np.inf)
        found = 1.0 / (safe[:, None] / others).sum(axis=1)
    else:
        found = e[:, list(target.arms)].sum(axis=1) / safe
    return np.asarray(np.where(own > 0, found, 0.0), dtype=np.float64)
