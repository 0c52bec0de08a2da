"""What scores of units are: arrays of one outcome at one horizon, and the splits behind them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiltakeval.design.cross_section import Subgroup
from tiltakeval.estimators.numerics.groups import Groups

#: Whom scores can describe, by the target of the averages they belong to.
TARGET_OF = {"ate": "common", "overlap": "overlap", "att": "treated", "programmes": "programmes"}
#: Targets that are participants: units without a programme aren't described, only compared with.
PARTICIPANTS = ("treated", "programmes")


@dataclass(frozen=True, kw_only=True)
class Labels:
    """What the scores are of; ``population`` includes the target (``jobseeker:common``)."""

    outcome: str
    horizon: int | None
    unit: str
    population: str
    estimand: str
    time_origin: str


@dataclass(frozen=True, kw_only=True)
class Split:
    """The scores of one way of dealing folds: psi, fitted, propensity [n, A], fold, weight [n]."""

    psi: NDArray[np.float64]
    fitted: NDArray[np.float64]
    propensity: NDArray[np.float64]
    fold: NDArray[np.int16]
    weight: NDArray[np.float64]
    seed: int


@dataclass(frozen=True, kw_only=True)
class UnitScores:
    """n units that could have entered every one of A arms (arm 0 the comparison), in the design's order.

    ``psi`` [n, A] doubly robust scores: their mean with ``weight`` [n] (sampling times target weight)
    is the mean outcome had everybody been in that arm, and psi[:, a] - psi[:, 0] are scores of effects.
    ``fitted`` [n, A] cross-fitted outcome predictions, ``propensity`` [n, A] cross-fitted, positive,
    adding up to one over the arms compared. ``arm`` [n] position in ``arms``, ``y`` [n] observed
    outcome, ``fold`` [n] the fold each unit was held out in (whole clusters), ``cluster`` [n] numbered
    densely, ``x`` [n, p] the covariates ``names``. ``units`` [n] are positions in the design;
    ``groups`` (of the whole design) deal clusters for influence. With several seeds ``psi``, ``fitted``,
    ``propensity`` and ``weight`` are means over the ``splits`` and ``fold`` is the first's; what is
    linear in psi is computed for every split and the median taken (``rows.over_splits``).
    ``target`` says who is described: common (all), overlap (all, by overlap; in ``weight``), treated
    (each programme's own participants), programmes (participants of any). Effects are then ratios of
    the means of `scores_of`, of which psi alone is the case common.
    ``excluded`` counts units of the design that are not scored, by reason.
    """

    arms: tuple[str, ...]
    psi: NDArray[np.float64]
    fitted: NDArray[np.float64]
    propensity: NDArray[np.float64]
    arm: NDArray[np.int64]
    y: NDArray[np.float64]
    weight: NDArray[np.float64]
    cluster: NDArray[np.int64]
    fold: NDArray[np.int16]
    x: NDArray[np.float64]
    names: tuple[str, ...]
    subgroups: Mapping[str, Subgroup]
    labels: Labels
    units: NDArray[np.int64]
    groups: Groups
    cluster_kind: str = "person"
    target: str = "common"
    splits: tuple[Split, ...] = ()
    excluded: Mapping[str, int] = field(default_factory=dict)
    run: Mapping[str, Any] = field(default_factory=dict)

    @property
    def n(self) -> int:
        """Number of units scored."""
        return int(self.arm.size)

    @property
    def folds(self) -> int:
        """Number of folds."""
        return int(self.fold.max()) + 1

    @property
    def effects(self) -> NDArray[np.float64]:
        """[n, A - 1] scores of the effects of arms 1, 2, ... against arm 0, for everybody."""
        return self.psi[:, 1:] - self.psi[:, :1]

    def scores_of(self, a: int, b: int = 0) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """N [n] and D [n] of arm a against arm b on whom ``target`` describes: the effect is
        sum(weight N) / sum(weight D), with influence weight (N - effect D) / sum(weight D).

        With psi and mu the differences of the two arms' scores and fitted outcomes, D = 1 if the unit is
        described, and h(X) its chance of that (the propensity of the arms described),

            N = h psi + (D - h) mu:

        for participants of a, 1{A=a}(Y - mu_b) - 1{A=b} (e_a / e_b)(Y - mu_b) (Hahn 1998, Econometrica
        66:315-331; `aipw_att`). Treated: participants of a, and of b where that is a programme.
        """
        psi = self.psi[:, a] - self.psi[:, b]
        if self.target not in PARTICIPANTS:
            return psi, np.ones(self.n)
        own = {a, b} if self.target == "treated" else range(1, len(self.arms))
        described = [arm for arm in own if arm]
        chance = self.propensity[:, described].sum(axis=1)
        counted = np.isin(self.arm, described).astype(np.float64)
        fitted = self.fitted[:, a] - self.fitted[:, b]
        return chance * psi + (counted - chance) * fitted, counted

    def all_scores(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """N and D [n, A - 1] of every programme against arm 0 (`scores_of`)."""
        found = [self.scores_of(a) for a in range(1, len(self.arms))]
        return np.stack([n for n, _ in found], axis=1), np.stack([d for _, d in found], axis=1)

    @property
    def counted(self) -> NDArray[np.float64]:
        """[n, A - 1] who is described by the effect of each programme: D of `scores_of`."""
        return self.all_scores()[1]

    @property
    def fitted_effects(self) -> NDArray[np.float64]:
        """[n, A - 1] differences of the fitted outcomes: a first guess of individual effects."""
        return self.fitted[:, 1:] - self.fitted[:, :1]

    def of_split(self, number: int) -> UnitScores:
        """The scores of one way of dealing folds alone."""
        one = self.splits[number]
        return replace(
            self,
            psi=one.psi,
            fitted=one.fitted,
            propensity=one.propensity,
            fold=one.fold,
            weight=one.weight,
            splits=(one,),
        )

    def take(self, keep: NDArray) -> UnitScores:
        """Some of the units (a mask or positions); groups stay those of the whole design."""

        def cut(split: Split) -> Split:
            return Split(
                psi=split.psi[keep],
                fitted=split.fitted[keep],
                propensity=split.propensity[keep],
                fold=split.fold[keep],
                weight=split.weight[keep],
                seed=split.seed,
            )

        return replace(
            self,
            psi=self.psi[keep],
            fitted=self.fitted[keep],
            propensity=self.propensity[keep],
            arm=self.arm[keep],
            y=self.y[keep],
            weight=self.weight[keep],
            cluster=np.unique(self.cluster[keep], return_inverse=True)[1].reshape(-1),
            fold=self.fold[keep],
            x=self.x[keep],
            units=self.units[keep],
            subgroups={
                name: Subgroup(levels=group.levels, codes=group.codes[keep])
                for name, group in self.subgroups.items()
            },
            splits=tuple(cut(split) for split in self.splits),
        )
