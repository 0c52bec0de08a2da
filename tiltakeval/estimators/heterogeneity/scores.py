"""Scores of units: the cross-fitted doubly robust outcome of everyone under every arm.

Averages, subgroup effects, projections, tests and the values of assignment rules are all weighted
means of the columns of ``psi``. The scores are those that the averages of ``weighting.aipw`` sum: same
propensities, same outcome regressions, same folds and clusters, so that their influences combine.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiltakeval.design.cross_section import CrossSection, Subgroup
from tiltakeval.errors import InputError, unknown
from tiltakeval.estimators.heterogeneity.score_types import Labels, Split, UnitScores
from tiltakeval.estimators.numerics.ridge import Predictions
from tiltakeval.estimators.numerics.scores import unit_scores as scores_of_units
from tiltakeval.estimators.numerics.threads import one_thread
from tiltakeval.estimators.weighting.aipw import AIPW
from tiltakeval.estimators.weighting.nuisance import Nuisance
from tiltakeval.estimators.weighting.pipeline import Work, prepare
from tiltakeval.estimators.weighting.targets import Target

__all__ = ["Labels", "Split", "UnitScores", "nuisances_for", "unit_score_sets", "unit_scores"]

Floats = NDArray[np.floating]
#: Positions of a horizon and an outcome in a design.
Column = tuple[int, int]


def unit_scores(
    design: CrossSection,
    options: AIPW,
    *,
    outcome: str | None = None,
    horizon: int | None = None,
    arms: Sequence[str] | None = None,
    nuisances: Sequence[Nuisance] | None = None,
) -> UnitScores:
    """Scores of one outcome at one horizon for the units jointly eligible for all ``arms`` compared.

    ``outcome`` and ``horizon`` may be left out where there is one; the rest as in `unit_score_sets`.
    """
    column = find_column(design, outcome, horizon)
    return next(unit_score_sets(design, options, [column], arms=arms, nuisances=nuisances))


def unit_score_sets(
    design: CrossSection,
    options: AIPW,
    columns: Sequence[Column],
    *,
    arms: Sequence[str] | None = None,
    nuisances: Sequence[Nuisance] | None = None,
) -> Iterator[UnitScores]:
    """Scores of several ``columns`` (positions of horizon and outcome) in turn; what they share is
    fitted once, and the arrays of one column exist at a time.

    ``options`` an ``AIPW`` with its learners, folds, seeds, trimming; ``target`` "overlap" weighs units
    by overlap, every other describes all of them ("common"). ``arms`` (the comparison first) defaults
    to every arm large enough; units in other arms are not scored. ``nuisances`` of `nuisances_for`
    saves fitting propensities again. With the learner ridge the regressions are those of all outcomes
    and months (the penalty is chosen over months), as in the averages. Raises InputError.
    """
    found = nuisances_for(design, options) if nuisances is None else tuple(nuisances)
    compared = _compared(design, found[0], arms)
    fits = [
        _fit(design, options, nuisance, seed, compared, columns)
        for nuisance, seed in zip(found, options.all_seeds, strict=True)
    ]
    for number, (t, k) in enumerate(columns):
        inside, excluded = _common(design, found[0], compared, design.outcomes[:, t, k])
        splits = [_split(design, fit, compared, number, inside) for fit in fits]
        yield _assembled(
            design,
            options,
            found[0],
            compared,
            (t, k),
            inside,
            excluded,
            splits,
            fits[0].notes(design),
        )


@dataclass(frozen=True)
class _Fit:
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


def _assembled(
    design: CrossSection,
    options: AIPW,
    nuisance: Nuisance,
    compared: tuple[int, ...],
    column: Column,
    inside: NDArray[np.int64],
    excluded: Mapping[str, int],
    splits: Sequence[Split],
    notes: Mapping[str, Any],
) -> UnitScores:
    t, k = column
    position = np.full(len(design.arms), -1)
    position[list(compared)] = np.arange(len(compared))
    groups = nuisance.groups
    target = "overlap" if options.target == "overlap" else "common"
    return UnitScores(
        arms=tuple(design.arms[a] for a in compared),
        psi=np.mean([s.psi for s in splits], axis=0),
        fitted=np.mean([s.fitted for s in splits], axis=0),
        propensity=np.mean([s.propensity for s in splits], axis=0),
        arm=position[design.arm[inside]].astype(np.int64),
        y=design.outcomes[inside, t, k].astype(np.float64),
        weight=np.mean([s.weight for s in splits], axis=0),
        cluster=np.unique(groups.cluster[inside], return_inverse=True)[1].reshape(-1),
        fold=splits[0].fold,
        x=design.covariates[inside].astype(np.float64),
        names=design.covariate_names,
        subgroups={
            name: Subgroup(levels=group.levels, codes=np.asarray(group.codes)[inside])
            for name, group in design.subgroups.items()
        },
        labels=Labels(
            outcome=design.outcome_names[k],
            horizon=design.horizons[t],
            unit=design.units[k],
            population=f"{design.population}:{target}",
            estimand=design.estimand,
            time_origin=design.time_origin,
        ),
        units=inside,
        groups=groups,
        cluster_kind=options.cluster,
        target=target,
        splits=tuple(splits),
        excluded=excluded,
        run={"design": design.fingerprint, "seeds": list(options.all_seeds), **notes},
    )


def nuisances_for(design: CrossSection, options: AIPW) -> tuple[Nuisance, ...]:
    """Propensities, folds and groups of every seed: shared by all outcomes and months."""
    return tuple(options.nuisance(design, seed=seed) for seed in options.all_seeds)


def find_column(design: CrossSection, outcome: str | None, horizon: int | None) -> Column:
    """Positions of the horizon and the outcome; either may be left out where there is one."""
    if outcome is None:
        if len(design.outcome_names) > 1:
            raise InputError(
                f"there are {len(design.outcome_names)} outcomes: say which",
                where="outcome",
                remedy=f"One of: {', '.join(design.outcome_names)}.",
            )
        outcome = design.outcome_names[0]
    if outcome not in design.outcome_names:
        raise unknown("outcome", outcome, design.outcome_names, where="outcome")
    if horizon is None and len(design.horizons) == 1:
        return 0, design.outcome_names.index(outcome)
    if horizon not in design.horizons:
        raise InputError(
            "no such horizon" if horizon is not None else "there are several horizons: say which",
            where="horizon",
            remedy=f"One of: {', '.join(str(h) for h in design.horizons)}.",
        )
    return design.horizons.index(horizon), design.outcome_names.index(outcome)


def _compared(
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


def _common(
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


def _fit(
    design: CrossSection,
    options: AIPW,
    nuisance: Nuisance,
    seed: int,
    compared: tuple[int, ...],
    columns: Sequence[Column],
) -> _Fit:
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
        return _Fit(nuisance, seed, work, options.predict(work, seed), at)


def _split(
    design: CrossSection,
    fit: _Fit,
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
