"""Scores of units: the cross-fitted doubly robust outcome of everyone under every arm.

Averages, subgroup effects, projections, tests and the values of assignment rules are all weighted
means of the columns of ``psi``. The scores are those that the averages of ``weighting.aipw`` sum: same
propensities, same outcome regressions, same folds and clusters, so that their influences combine.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiltakeval.design.cross_section import CrossSection, Subgroup
from tiltakeval.errors import InputError, unknown
from tiltakeval.estimators.heterogeneity.score_fit import (
    Column,
    arms_compared,
    common_units,
    fit_regressions,
    split_of,
)
from tiltakeval.estimators.heterogeneity.score_types import TARGET_OF, Labels, Split, UnitScores
from tiltakeval.estimators.weighting.aipw import AIPW
from tiltakeval.estimators.weighting.nuisance import Nuisance

__all__ = ["Labels", "Split", "UnitScores", "nuisances_for", "unit_score_sets", "unit_scores"]


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

    ``options`` an ``AIPW`` with its learners, folds, seeds, trimming. Its ``target`` says who of them is
    described: ate all ("common"), overlap all by overlap, att each programme's own participants
    ("treated"), programmes the participants of any. ``arms`` (the comparison first) defaults
    to every arm large enough; units in other arms are not scored. ``nuisances`` of `nuisances_for`
    saves fitting propensities again. With the learner ridge the regressions are those of all outcomes
    and months (the penalty is chosen over months), as in the averages. Raises InputError.
    """
    found = nuisances_for(design, options) if nuisances is None else tuple(nuisances)
    compared = arms_compared(design, found[0], arms)
    fits = [
        fit_regressions(design, options, nuisance, seed, compared, columns)
        for nuisance, seed in zip(found, options.all_seeds, strict=True)
    ]
    for number, (t, k) in enumerate(columns):
        inside, excluded = common_units(design, found[0], compared, design.outcomes[:, t, k])
        splits = [split_of(design, fit, compared, number, inside) for fit in fits]
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
    target = TARGET_OF[options.target]
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
