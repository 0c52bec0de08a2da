"""What scores of units are put together from: arms compared, who is in, regressions, splits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiltakeval.design.cross_section import CrossSection
from tiltakeval.errors import InputError, unknown
from tiltakeval.estimators.heterogeneity.score_types import Split
from tiltakeval.estimators.numerics.ridge import Predictions
from tiltakeval.estimators.numerics.scores import unit_scores as scores_of_units
from tiltakeval.estimators.numerics.threads import one_thread
from tiltakeval.estimators.weighting.aipw import AIPW
from tiltakeval.estimators.weighting.nuisance import Nuisance
from tiltakeval.estimators.weighting.pipeline import Work, prepare
from tiltakeval.estimators.weighting.targets import Target

Floats = NDArray[np.floating]
#: Positions of a horizon and an outcome in a design.
Column = tuple[int, int]


@dataclass(frozen=True)
class Regressions:
    """One seed's nuisance, sorted arrays, regressions, and where the columns wanted are in them."""

    nuisance: Nuisance
    seed: int
    work: Work
    predictions: Predictions
    at: tuple[int, ...]

    def notes(self, design: CrossSection) -> dict[str, Any]:
        """What an ensemble's learners weigh, by arm, for the run record."""
        out: dict[str, Any] = {}
        if self.nuisance.learners:
            out["learners_propensity"] = dict(self.nuisance.learners)
        found = self.work.notes.get("learners_outcome", {})
        if found:
            out["learners_outcome"] = {
                name: {design.arms[int(a)]: share for a, share in by.items()}
                for name, by in found.items()
            }
        return out


def arms_compared(
    design: CrossSection, nuisance: Nuisance, arms: Sequence[str] | None
) -> tuple[int, ...]:
    """Positions in the design of the arms compared, each once and large enough."""
    if arms is None:
        return nuisance.present
    for name in arms:
        if name not in design.arms:
            raise unknown("arm", str(name), design.arms, where="arms")
    found = tuple(design.arms.index(name) for name in arms)
    if len(set(found)) < max(len(found), 2):
        raise InputError("at least two different arms are compared", where="arms")
    for a in found:
        if a not in nuisance.present:
            raise InputError(
                f"'{design.arms[a]}' has too few units to be compared",
                where="arms",
                remedy="Leave it out, pool it with another, or lower min_arm.",
            )
    return found


def common_units(
    design: CrossSection, nuisance: Nuisance, compared: Sequence[int], y: Floats
) -> tuple[NDArray[np.int64], dict[str, int]]:
    """Positions of the units scored, and counts of the others by the first reason that applies."""
    left = np.ones(design.n, dtype=bool)
    excluded: dict[str, int] = {}
    for reason, good in (
        ("arm_not_compared", np.isin(design.arm, compared)),
        ("not_eligible_for_all_arms", design.eligible[:, list(compared)].all(axis=1)),
        ("trimmed", nuisance.kept),
        ("outcome_not_observed", np.isfinite(y)),
        ("weight_zero", design.weight > 0),
    ):
        excluded[reason] = int((left & ~good).sum())
        left = left & good
    counts = {design.arms[a]: int((left & (design.arm == a)).sum()) for a in compared}
    few = [name for name, count in counts.items() if count < 2]
    if few:
        raise InputError(
            "no common population: fewer than two units that could have entered every arm compared "
            f"are in {', '.join(few)}",
            where="arms",
            remedy="Compare arms that the same people can enter, or trim less.",
        )
    return np.flatnonzero(left), excluded


def fit_regressions(
    design: CrossSection,
    options: AIPW,
    nuisance: Nuisance,
    seed: int,
    compared: tuple[int, ...],
    columns: Sequence[Column],
) -> Regressions:
    """The outcome regressions of every arm compared, for ``columns`` (ridge: for all there are)."""
    pairs = tuple((a, compared[0]) for a in compared[1:])
    target = Target("common", compared, compared, pairs, options.target == "overlap")
    outcomes, names, censor = design.outcomes, len(design.outcome_names), design.censor_weight
    at = tuple(t * names + k for t, k in columns)
    if options.learner_outcome != "ridge":
        t, k = (sorted(set(part)) for part in zip(*columns))
        outcomes, names = outcomes[:, t][:, :, k], len(k)
        censor = None if censor is None else censor[:, t]
        at = tuple(t.index(i) * names + k.index(j) for i, j in columns)
    work, _ = prepare(
        design,
        nuisance,
        (target,),
        outcomes,
        names,
        np.ones((design.n, 1)),
        censor,
        options.folds,
    )
    if len(work.sums[0].means) != len(compared):
        raise InputError(
            "the comparison is censored in another way for each programme, so it has no outcome that "
            "all programmes can be compared with",
            where=design.estimand,
            remedy="Use the estimand now_vs_wait or vs_no_programme, or one programme at a time.",
        )
    with one_thread():
        return Regressions(nuisance, seed, work, options.predict(work, seed), at)


def split_of(
    design: CrossSection,
    fit: Regressions,
    compared: tuple[int, ...],
    number: int,
    inside: NDArray[np.int64],
) -> Split:
    """The scores of a column from one fit, in the order of the units ``inside``."""
    work, sums = fit.work, fit.work.sums[0]
    with one_thread():
        psi, fitted, weight = scores_of_units(
            sums,
            arm=work.arm,
            propensity=work.propensity,
            block=work.block,
            predictions=fit.predictions,
            layout=work.layout,
            column=fit.at[number],
        )
    own = np.array([[m.arm for m in sums.means].index(a) for a in compared])
    of_unit = np.full(design.n, -1, dtype=np.int64)
    of_unit[work.units] = np.arange(work.units.size)
    rows = of_unit[inside]
    e = fit.nuisance.propensity[np.ix_(inside, np.array(compared))]
    return Split(
        psi=psi[np.ix_(rows, own)],
        fitted=fitted[np.ix_(rows, own)],
        propensity=e / e.sum(axis=1, keepdims=True),
        fold=fit.nuisance.fold[inside],
        weight=design.weight[inside].astype(np.float64) * weight[rows],
        seed=fit.seed,
    )
