"""People to whom rules are applied: what they are worth under each arm, what they could enter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tiltakeval.errors import InputError

Floats = NDArray[np.floating]
Ints = NDArray[np.integer]


@dataclass(frozen=True, kw_only=True)
class Units:
    """n units and A arms, arm 0 no programme.

    ``reward`` [n, A] doubly robust scores in the units the rule maximises (outcome, or NOK less cost);
    ``predicted`` [n, A] out-of-fold predictions of the same; ``x`` [n, p] covariates; ``eligible``
    [n, A] what each could enter (arm 0 always); ``arm`` [n] today's; ``weight`` [n]; ``fold`` [n] the
    fold each is held out in; ``codes`` groupings (fairness) with -1 for missing. Where a unit can't
    enter an arm, a rule that would offer it gives arm 0, and its reward and prediction are arm 0's.
    """

    reward: NDArray[np.float64]
    predicted: NDArray[np.float64]
    x: NDArray[np.float64]
    eligible: NDArray[np.bool_]
    arm: NDArray[np.int64]
    weight: NDArray[np.float64]
    fold: NDArray[np.integer]
    codes: Mapping[str, Ints]

    def __post_init__(self) -> None:
        n, arms = self.reward.shape
        shapes = {
            "predicted": (self.predicted, (n, arms)),
            "eligible": (self.eligible, (n, arms)),
            "arm": (self.arm, (n,)),
            "weight": (self.weight, (n,)),
            "fold": (self.fold, (n,)),
            **{f"codes {name}": (codes, (n,)) for name, codes in self.codes.items()},
        }
        wrong = [f"{k} is {v.shape}, not {s}" for k, (v, s) in shapes.items() if v.shape != s]
        if wrong or self.x.shape[0] != n:
            raise ValueError("arrays disagree: " + "; ".join(wrong or ["x"]))
        if not self.eligible[:, 0].all():
            raise InputError(
                f"{int((~self.eligible[:, 0]).sum())} units can't be without a programme",
                where="eligible",
                remedy="Arm 0 must be open to everybody.",
            )
        for name in ("reward", "predicted"):
            array = getattr(self, name)
            filled = np.where(self.eligible, array, array[:, :1])
            if not np.isfinite(filled).all():
                raise InputError(f"missing or infinite numbers in the {name}", where="scores")
            object.__setattr__(self, name, filled)
        if not (np.isfinite(self.weight).all() and (self.weight >= 0).all() and self.weight.sum()):
            raise InputError(
                "weights must be finite, not negative, and some positive", where="weight"
            )

    @property
    def n(self) -> int:
        """Number of units."""
        return int(self.arm.size)

    @property
    def arms(self) -> int:
        """Number of arms."""
        return int(self.reward.shape[1])

    def take(self, keep: NDArray) -> Units:
        """Some of the units."""
        return Units(
            reward=self.reward[keep],
            predicted=self.predicted[keep],
            x=self.x[keep],
            eligible=self.eligible[keep],
            arm=self.arm[keep],
            weight=self.weight[keep],
            fold=self.fold[keep],
            codes={name: codes[keep] for name, codes in self.codes.items()},
        )


def shares(probability: Floats, weight: Floats) -> NDArray[np.float64]:
    """[A] weighted shares of the arms."""
    return np.asarray(weight @ probability / weight.sum())
