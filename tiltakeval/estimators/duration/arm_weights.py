"""Weights that make arms alike in covariates, and what their estimation adds to the errors.

One multinomial logit of the arm on the covariates, fitted to all spells. Unit i of arm b stands for a
target T (``att``: the programme's participants, ``ate``: everybody) with weight e_T / e_b. A curve
weighted so estimates what would be seen had the whole target been in arm b (Xie & Liu 2005), given
that arms are comparable within covariates and censoring is independent within an arm. With the
curve's derivative D along the logit's coefficients, scores s_i and information H, the estimation of
the weights adds D' H^-1 s_i to the influence; d log(e_T / e_b) / d gamma_j = x (1{j in T} e_j / e_T -
1{j = b}).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tiltakeval.design.durations import Durations
from tiltakeval.errors import InputError
from tiltakeval.estimators.numerics import propensity as numeric
from tiltakeval.estimators.numerics.basis import expand
from tiltakeval.estimators.numerics.groups import Groups
from tiltakeval.estimators.numerics.hajek import logit_pieces
from tiltakeval.estimators.numerics.threads import one_thread

Floats = NDArray[np.floating]
Adjust = Literal["auto", "none", "att", "ate"]
RIDGE = 0.1


@dataclass(frozen=True)
class Adjustment:
    """Propensities of the spells and what their estimation adds.

    ``e`` [n, A] as used, ``unclipped`` [n] whether a spell's weight follows the fit, ``x`` [n, q] with
    the constant first, ``along`` [G, (A-1) q] influence of the coefficients by group.
    """

    target: Literal["att", "ate"]
    e: NDArray[np.float64]
    unclipped: NDArray[np.bool_]
    x: NDArray[np.float64]
    along: NDArray[np.float64]

    def weights(self, design: Durations, arm: int, programme: int) -> NDArray[np.float64]:
        """[n] weights of ``arm``'s spells standing for the target of ``programme``; 0 for others."""
        top = self.e[:, programme] if self.target == "att" else 1.0
        return np.where(design.arm == arm, design.weight * top / self.e[:, arm], 0.0)

    def loading(self, rows: NDArray[np.bool_], weight: Floats, arm: int, programme: int) -> Floats:
        """[rows, (A-1) q] derivative of the weights by the logit's coefficients."""
        e, x = self.e[rows], self.x[rows]
        size = np.where(self.unclipped[rows], weight[rows], 0.0)
        parts = []
        for j in range(1, e.shape[1]):
            share = float(j == programme) if self.target == "att" else e[:, j]
            parts.append(x * (size * (share - float(j == arm)))[:, None])
        return np.concatenate(parts, axis=1)


def resolve(adjust: Adjust, design: Durations) -> Literal["none", "att", "ate"]:
    """The adjustment asked for, ``auto`` being ``att`` where there are arms and covariates."""
    if adjust not in ("auto", "none", "att", "ate"):
        raise InputError(
            f"unknown adjustment '{adjust}'", where="adjust", remedy="Use none, att or ate."
        )
    possible = design.covariates is not None and len(design.arms) > 1
    if adjust == "auto":
        return "att" if possible else "none"
    if adjust != "none" and not possible:
        raise InputError(
            "weighting arms to be alike needs a treatment and covariates",
            where="adjust",
            remedy="Declare treatment = a column and covariates = columns.",
        )
    return adjust


def fit_adjustment(
    design: Durations, groups: Groups, *, target: Literal["att", "ate"], floor: float
) -> Adjustment:
    """Fit the propensities. Raises InputError under separation, or for an arm without spells."""
    assert design.covariates is not None
    if not 0 <= floor < 1:
        raise InputError("the floor must be at least 0 and below 1", where="floor")
    arms = len(design.arms)
    allowed = np.ones((design.n, arms), dtype=bool)
    with one_thread():
        x = expand(design.covariates, weight=design.weight, basis="linear")
        e = numeric.in_sample(x, arm=design.arm, allowed=allowed, weight=design.weight, ridge=RIDGE)
        numeric.refuse_separation(e, arm=design.arm, allowed=allowed, arms=design.arms)
        used, low = numeric.clip(
            e, arm=design.arm, allowed=allowed, weight=design.weight, floor=floor
        )
        full = np.column_stack([np.ones(design.n), x])
        sums, inverse = logit_pieces(
            full,
            e=e,
            arm=design.arm,
            w=design.weight,
            group=groups.group,
            groups=groups.count,
            ridge=RIDGE,
        )
    unclipped = np.asarray(~low.any(axis=1), dtype=bool)
    return Adjustment(target, used, unclipped, full, sums @ inverse)
