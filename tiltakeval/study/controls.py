"""Negative controls of a study: effects that can't be there, looked for with the study's own methods."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from tiltakeval.design.cross_section import CrossSection
from tiltakeval.diagnostics.placebo import wald
from tiltakeval.errors import InputError
from tiltakeval.estimates.check import Check
from tiltakeval.estimates.table import Estimates
from tiltakeval.estimators.weighting.nuisance import Nuisance
from tiltakeval.study.spec_controls import NegativeControl
from tiltakeval.study.stages import Stages

NO_EFFECT, DRAWN = "negative_control", "drawn_programme"
#: Why a control isn't evaluated: the outcome is then the same for everybody.
SAME = {"reason": "same_for_all"}


def control_checks(
    asked: Sequence[NegativeControl],
    design: CrossSection,
    estimator: Any,
    estimates: Estimates,
    nuisance: Nuisance | None,
    *,
    analysis: str,
    month: int | None,
    level: float,
    seed: int,
    stages: Stages,
) -> list[Check]:
    """A check per control whose programme is an arm here: is an effect found where none can be?

    ``negative_control``: the mean over the months of the effects in ``estimates``; ``statistic`` is the
    p value, fails below ``level``. ``drawn_programme``: in what share of the draws an effect is found at
    ``level``; fails where so many are improbable (below ``level``) with no effect. ``month`` is looked
    at where a control names none. What can't be calculated is not evaluated, and neither is an outcome
    that is the same for everybody in those months, which shows nothing (nobody who is registered has a
    job in month 0, say). Checks hold no effects: ``message`` names the rows of ``analysis`` that do, as
    far as they may be shown.
    """
    out = []
    for one in asked:
        if one.programme not in design.arms:
            continue
        months = (month, month) if one.months is None else one.months
        scope = {"control": one.key, "population": design.population, "programme": one.programme}
        if one.subgroup != "all":
            scope["subgroup"] = one.subgroup
        said: dict[str, Any] = {"analysis": analysis, "estimand": design.estimand}
        said |= {"outcome": one.outcome}
        if months[0] is not None:
            said |= {"month_from": months[0], "month_to": months[1]}
        if same_for_all(one, design, months):
            stages.say(f"{one.key}: {one.outcome} is the same for everybody in those months")
            key = NO_EFFECT if one.kind == "no_effect" else DRAWN
            common: dict[str, Any] = {"key": key, "scope": scope, "threshold": level}
            out.append(Check(status="not_evaluated", message={**said, **SAME}, **common))
        elif one.kind == "no_effect":
            out.append(_no_effect(one, estimates, scope, said, months, level))
        else:
            made = _drawn(one, design, estimator, nuisance, months, level, seed, stages)
            out.append(replace(made, scope=scope, message={**said, **made.message}))
    return out


def same_for_all(
    one: NegativeControl, design: CrossSection, months: tuple[int | None, int | None]
) -> bool:
    """Whether participants and those without a programme have one value of the outcome each month."""
    inside = (design.weight > 0) & np.isin(design.arm, (0, design.arms.index(one.programme)))
    name, _, level = one.subgroup.partition("=")
    if name in design.subgroups:
        group = design.subgroups[name]
        codes = [code for code, known in enumerate(group.levels) if known == level]
        inside &= np.isin(group.codes, codes)
    k = design.outcome_names.index(one.outcome)
    rows = np.flatnonzero(inside)
    for t in _at(design, months):
        y = design.outcomes[rows, t, k]
        y = y[np.isfinite(y)]
        if y.size and y.min() != y.max():
            return False
    return True


def _no_effect(
    one: NegativeControl,
    estimates: Estimates,
    scope: dict[str, str],
    said: dict[str, Any],
    months: tuple[int | None, int | None],
    level: float,
) -> Check:
    table = estimates.table
    rows = table[
        (table["term"] == "effect")
        & (table["comparator"] == "none")
        & (table["programme"] == one.programme)
        & (table["outcome"] == one.outcome)
        & (table["subgroup"] == one.subgroup)
    ]
    if months[0] is not None:
        rows = rows[rows["horizon"].between(*months).fillna(False)]
    at = rows.index[rows["estimate"].notna()].to_numpy()
    common: dict[str, Any] = {"key": NO_EFFECT, "scope": scope, "threshold": level}
    if not at.size or estimates.influence is None:
        return Check(status="not_evaluated", message=said, **common)
    influence = estimates.influence
    mean = np.array([table.loc[at, "estimate"].to_numpy(dtype=float).mean()])
    z = influence.columns(at).mean(axis=1, keepdims=True)
    found = wald(mean, z, float(table.loc[at, "n_treated"].min()), influence.form)
    if found is None:
        return Check(status="not_evaluated", message=said, **common)
    return Check(
        status="failed" if found.p_value < level else "passed",
        statistic=found.p_value,
        message={**said, "df_residual": found.residual},
        **common,
    )


def _drawn(
    one: NegativeControl,
    design: CrossSection,
    estimator: Any,
    nuisance: Nuisance | None,
    months: tuple[int | None, int | None],
    level: float,
    seed: int,
    stages: Stages,
) -> Check:
    """The programme dealt by lot among people without one, ``draws`` times, estimated anew each time."""
    common: dict[str, Any] = {"key": DRAWN, "threshold": level}
    if nuisance is None or not hasattr(estimator, "nuisance"):
        return Check(status="not_evaluated", **common)
    found = 0
    rng = np.random.default_rng([seed, sum(one.key.encode())])
    own = {"placebo": False, "bands": False, "contrasts": "none"}
    plain = replace(estimator, **{k: v for k, v in own.items() if hasattr(estimator, k)})
    try:
        for _ in range(one.draws):
            dealt = dealt_by_lot(design, nuisance, one, months, rng)
            table = plain.estimate(dealt).table
            row = table[(table["term"] == "effect") & table["p_value"].notna()]
            found += int((row["p_value"] < level).any())
    except InputError as error:
        stages.say(f"{one.key} can't be made (not released): {error}")
        return Check(status="not_evaluated", **common)
    improbable = float(stats.binom.sf(found - 1, one.draws, level)) < level
    return Check(
        status="failed" if improbable else "passed",
        statistic=found / one.draws,
        message={"draws": one.draws, "found": found},
        **common,
    )


def dealt_by_lot(
    design: CrossSection,
    nuisance: Nuisance,
    one: NegativeControl,
    months: tuple[int | None, int | None],
    rng: np.random.Generator,
) -> CrossSection:
    """The comparison group alone, in which as many as took part in the programme got it by lot.

    Who gets it is drawn with chances as the odds of the programme against none (Huber, Lechner & Wunsch
    2013, J. Econometrics 175, section 3), so that they are like participants in what is recorded and
    there is no effect. The outcome is its mean over the months.
    """
    a = design.arms.index(one.programme)
    k = design.outcome_names.index(one.outcome)
    at = _at(design, months)
    if not at:
        raise InputError("the design has none of the months", where=one.key)
    y = design.outcomes[:, at, k].astype(np.float64).mean(axis=1)
    e = nuisance.propensity
    open_to = design.eligible[:, a] & nuisance.kept & np.isfinite(y) & (design.weight > 0)
    rows = np.flatnonzero((design.arm == 0) & open_to & (e[:, 0] > 0) & (e[:, a] > 0))
    odds: NDArray[np.float64] = design.weight[rows] * e[rows, a] / e[rows, 0]
    size = int(((design.arm == a) & open_to).sum())
    if not 1 < size < rows.size / 2:
        raise InputError("too few people without a programme to deal it to", where=one.key)
    drawn = rng.choice(rows.size, size=size, replace=False, p=odds / odds.sum())
    part = design.take(rows)
    arm = np.zeros(rows.size, dtype=design.arm.dtype)
    arm[drawn] = 1
    weight = part.weight.astype(np.float64).copy()
    weight[drawn] = 1.0
    return replace(
        part,
        arms=(design.arms[0], one.programme),
        arm=arm,
        weight=weight,
        eligible=np.ones((rows.size, 2), dtype=bool),
        outcomes=y[rows][:, None, None].astype(np.float32),
        outcome_names=(one.outcome,),
        units=(design.units[k],),
        horizons=(design.horizons[at[-1]],),
        subgroups={},
        placebo=None,
        placebo_names=(),
        placebo_horizons=(),
        censor_weight=None,
    )


def _at(design: CrossSection, months: tuple[int | None, int | None]) -> list[int]:
    """Positions of the months in the design; of all where none is named."""
    return [t for t, h in enumerate(design.horizons) if months[0] is None or _inside(h, months)]


def _inside(horizon: int | None, months: tuple[int | None, int | None]) -> bool:
    first, last = months
    return (
        horizon is not None and first is not None and last is not None and first <= horizon <= last
    )
