"""What works for whom in a study: heterogeneity and rules from one set of scores."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tiltakeval.design.cross_section import CrossSection
from tiltakeval.errors import InputError, unknown
from tiltakeval.estimates.check import Check
from tiltakeval.estimates.lockin import CUMULATED_UNIT
from tiltakeval.estimates.table import Estimates
from tiltakeval.estimators import build
from tiltakeval.estimators.heterogeneity.cate import dr_learner
from tiltakeval.estimators.heterogeneity.estimator import Heterogeneity
from tiltakeval.estimators.heterogeneity.policy import estimator as policies
from tiltakeval.estimators.heterogeneity.policy.evaluate import Training, scores_without
from tiltakeval.estimators.heterogeneity.policy.small_cells import KINDS
from tiltakeval.estimators.heterogeneity.rows import Lines, estimates_of
from tiltakeval.estimators.heterogeneity.scores import UnitScores, nuisances_for, unit_scores
from tiltakeval.estimators.heterogeneity.sorting import classification, sorted_effects
from tiltakeval.estimators.weighting.aipw import AIPW
from tiltakeval.estimators.weighting.nuisance import Nuisance
from tiltakeval.study.spec_for_whom import ForWhom
from tiltakeval.study.stages import Stages

NOT_MADE, LEFT_OUT, TREE = "for_whom_not_made", "for_whom_programmes", "policy_tree"
BEATS, PREDICTED = "test_calibration_gain", ("sorted", "classification")
RULES = "assignment_rule"
#: Fewest persons in a cell of what a rule does, whatever the disclosure rules say.
LEAST = 10
#: Columns that tell the models of bends and seasons, not a reader who somebody is.
_TECHNICAL = re.compile(
    r"_(squared|log|missing)$|^(trend|month|year|office|municipality)_|_(\d+_)?up$"
)
_BAND = re.compile(r"^(age|registered|since_end)_\d+_\d+$")
_SHARED = frozenset(f.name for f in fields(AIPW)) - {
    *("target", "contrasts", "bands", "placebo", "min_arm", "draws"),
}


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A table of the study file, and the estimators it leads to."""

    spec: ForWhom
    estimator: Any
    heterogeneity: Heterogeneity
    policy: policies.Policy | None
    horizon: int | None


def prepared(
    spec: ForWhom, estimator: Any, given: Mapping[str, Any], *, horizon: int | None, threshold: int
) -> Asked:
    """The estimators with the study's defaults, the analysis's learners, and the table's own options.

    ``estimator`` is the analysis's, ``given`` the study's seed, level, cluster and draws, ``threshold``
    that of the disclosure rules. Raises InputError for options that don't fit.
    """
    known = Heterogeneity.__dataclass_fields__
    base = {name: value for name, value in given.items() if name in known}
    if isinstance(estimator, AIPW):
        base |= {name: getattr(estimator, name) for name in _SHARED if name in known}
    parts = tuple(part for part in spec.parts if part not in PREDICTED)
    if set(spec.parts) & set(PREDICTED) and "calibration" not in parts:
        parts += ("calibration",)
    heterogeneity = build("heterogeneity", **{**base, **spec.options, "parts": parts})
    policy = None
    if spec.policy is not None:
        asked, least = spec.policy, max(LEAST, threshold)
        own = {name: getattr(heterogeneity, name) for name in ("seed", "level", "cluster", "folds")}
        policy = build(
            "policy",
            **own,
            depth=asked.depth,
            capacity=None if asked.capacity == "none" else asked.capacity,
            fairness=asked.fairness,
            fairness_by=asked.fairness_by,
            fairness_slack=asked.fairness_slack,
            min_cell=least,
            min_leaf=max(asked.min_leaf, least),
            **asked.options,
        )
    return Asked(
        spec=spec, estimator=estimator, heterogeneity=heterogeneity, policy=policy, horizon=horizon
    )


def for_whom(
    asked: Asked,
    design: CrossSection,
    nuisance: Nuisance | None,
    *,
    threshold: int,
    draws: int,
    stages: Stages,
) -> tuple[Estimates | None, list[Check], dict[str, Any]]:
    """The estimates of one table in one population, what must be said of it, and its run.

    ``nuisance`` of the analysis saves fitting propensities where its learners are the same. Programmes
    with few participants are left out. What the data can't carry gives no estimates and a failed check;
    the reason, which may tell counts, goes to the screen.
    """
    spec = asked.spec
    scope = {"population": design.population, "analysis": spec.key}
    try:
        one = _one_outcome(asked, design)
        arms, few = _compared(one, spec)
        options = asked.heterogeneity.scoring()
        shared = nuisance is not None and _same(options, asked.estimator)
        nuisances = (nuisance,) if shared and nuisance else nuisances_for(one, options)
        scores = unit_scores(one, options, arms=arms, nuisances=nuisances)
        parts = [_effects(asked, scores, threshold=threshold, draws=draws)]
        checks, told = [], dict[str, Any]()
        if asked.policy is not None:
            policy = _fitting(asked.policy, spec, scores)
            assert spec.policy is not None
            less = fewer(scores, spec.policy.units, asked.heterogeneity.seed)
            found = policy.of_scores(less, _training(one, options, less, nuisances))
            parts.append(_apart(found))
            told = {"main_rule": found.run["policy"]["main"]}
            checks.append(_tree(found.run["policy"], scores, scope, policy))
    except InputError as error:
        stages.say(f"{spec.key} can't be made (not released): {error}")
        reason = {} if error.where is None else {"reason": error.where}
        return None, [Check(key=NOT_MADE, status="failed", scope=scope, message=reason)], {}
    checks += [
        Check(
            key=LEFT_OUT,
            status="informative",
            scope={**scope, "programme": programme},
            threshold=spec.least,
        )
        for programme in few
    ]
    table = pd.concat([part.table for part in parts], ignore_index=True).assign(analysis=spec.key)
    if spec.cumulated:
        table = table.assign(
            period=table["period"].mask(table["period"] == "", f"0-{asked.horizon}")
        )
    run = {"estimator": "heterogeneity", "arms": list(scores.arms), "shared": shared}
    return Estimates(table), checks, {**run, **told}


def _one_outcome(asked: Asked, design: CrossSection) -> CrossSection:
    """The design with the outcome asked for alone: at the horizon, or its sum up to it."""
    spec, month = asked.spec, asked.horizon
    if spec.outcome not in design.outcome_names:
        raise unknown("outcome", spec.outcome, design.outcome_names, where="outcome")
    k = design.outcome_names.index(spec.outcome)
    if month is not None and month not in design.horizons:
        raise InputError(f"the design has no month {month}", where="horizon")
    groups = {name: design.subgroups[name] for name in spec.subgroups or design.subgroups}
    own: dict[str, Any] = {
        "outcome_names": (spec.outcome,),
        "subgroups": groups,
        "placebo": None,
        "placebo_names": (),
        "placebo_horizons": (),
    }
    unit = design.units[k]
    if spec.cumulated:
        if design.censor_weight is not None:
            raise InputError(
                "months are censored one by one, so that they can't be added up for each person",
                where=design.estimand,
                remedy="Use the estimand now_vs_wait, or a single month.",
            )
        at = [t for t, h in enumerate(design.horizons) if h is not None and 0 <= h <= (month or 0)]
        total = design.outcomes[:, at, k].astype(np.float64).sum(axis=1)
        own |= {"horizons": (None,), "units": (CUMULATED_UNIT.get(unit, unit),)}
        return replace(design, outcomes=total[:, None, None].astype(np.float32), **own)
    t = 0 if month is None else design.horizons.index(month)
    censor = design.censor_weight
    return replace(
        design,
        outcomes=design.outcomes[:, t : t + 1, k : k + 1],
        horizons=(design.horizons[t],),
        units=(unit,),
        censor_weight=None if censor is None else censor[:, t : t + 1],
        **own,
    )


def _compared(design: CrossSection, spec: ForWhom) -> tuple[tuple[str, ...], list[str]]:
    """The arms compared, none first, and programmes left out as too few could have entered all.

    Leaving one out makes those who could have entered all the others more, so one goes at a time.
    """
    wanted = [name for name in design.arms[1:] if name in (spec.programmes or design.arms)]
    if not wanted:
        raise InputError(
            f"none of the programmes is an arm in {design.population}", where="programmes"
        )
    seen = np.isfinite(design.outcomes[:, 0, 0]) & (design.weight > 0)
    few: list[str] = []
    while wanted:
        at = [0, *(design.arms.index(name) for name in wanted)]
        inside = seen & design.eligible[:, at].all(axis=1)
        counts = {n: int((inside & (design.arm == a)).sum()) for n, a in zip(wanted, at[1:])}
        least = min(counts, key=counts.__getitem__)
        if counts[least] >= spec.least:
            return (design.arms[0], *wanted), few
        wanted.remove(least)
        few.append(least)
    raise InputError(
        f"no programme has {spec.least} participants among those who could have entered all",
        where=f"{design.population}, least",
    )


def _same(options: AIPW, estimator: Any) -> bool:
    """Whether the analysis's propensities are those that would be fitted here."""
    if not isinstance(estimator, AIPW) or estimator.target == "overlap":
        return False
    if options.target == "overlap" or options.trim is not None or len(options.all_seeds) > 1:
        return False
    return all(getattr(options, name) == getattr(estimator, name) for name in _SHARED - {"level"})


def _effects(asked: Asked, scores: UnitScores, *, threshold: int, draws: int) -> Estimates:
    """Effects, their differences and tests; groups by predicted effect where predictions are good."""
    main, spec = asked.heterogeneity, asked.spec
    parts, tests, _ = main.lines(scores)
    wanted = set(spec.parts) & set(PREDICTED)
    good = [
        test["programme"]
        for test in tests
        if test["term"] == BEATS and test["p_value"] < spec.shown_at and test["programme"] != "all"
    ]
    if wanted and good:
        tau = dr_learner(scores, learner=main.cate, sequential=True, seed=main.seed)
        if "sorted" in wanted:
            parts.append(_of(sorted_effects(scores, tau, groups=main.groups), good))
        if "classification" in wanted:
            names = list(main.moderators) or _readable(scores.names)
            lines = classification(scores, tau, covariates=names, share=main.most)
            parts.append(
                _safe(_of(lines, good), scores, np.isfinite(tau[:, 0]), main.most, threshold)
            )
    return estimates_of(
        scores, parts, tests=tests, level=main.level, draws=draws, source="heterogeneity"
    )


def _of(lines: Lines, programmes: Sequence[str]) -> Lines:
    """The lines of some programmes."""
    return _some(lines, [row["programme"] in programmes for row in lines.labels])


def _some(lines: Lines, keep: Sequence[bool]) -> Lines:
    at = np.flatnonzero(keep)
    labels = tuple(lines.labels[i] for i in at)
    return Lines(labels, lines.theta[at], lines.z[:, at], lines.family)


def _readable(names: Sequence[str]) -> list[str]:
    """Columns that say who somebody is, without bends, bands and seasons."""
    kept = [n for n in names if not _TECHNICAL.search(n) and not _BAND.match(n)]
    return kept or list(names)


def _safe(
    lines: Lines, scores: UnitScores, known: NDArray[np.bool_], share: float, threshold: int
) -> Lines:
    """The lines without indicators that few in a group may have, or may lack.

    With weights w of at most W, a weighted mean m over a part ``share`` of the weight of those ``known``
    (with a prediction) rests on at least m share sum(w) / W units.
    """
    x, w = scores.x, scores.weight
    binary = {name for j, name in enumerate(scores.names) if set(np.unique(x[:, j])) <= {0.0, 1.0}}
    units = share * w[known].sum() / w.max()
    least = max(threshold, LEAST)
    lost = {
        (row["programme"], row["outcome"])
        for row, mean in zip(lines.labels, lines.theta)
        if row["outcome"] in binary
        and row["term"] != "mean_difference"
        and not min(mean, 1.0 - mean) * units >= least
    }
    return _some(lines, [(r["programme"], r["outcome"]) not in lost for r in lines.labels])


def _fitting(policy: policies.Policy, spec: ForWhom, scores: UnitScores) -> policies.Policy:
    """The rule's options for the programmes compared, its covariates as columns of the design."""
    assert spec.policy is not None
    columns: list[str] = []
    for name in spec.policy.covariates:
        found = [n for n in scores.names if n == name] or [
            n for n in scores.names if n.startswith(f"{name}_") and not _BAND.match(n)
        ]
        if not found:
            raise unknown("covariate", name, scores.names, where="policy, covariates")
        columns += found
    capacity = policy.capacity
    if isinstance(capacity, Mapping):
        capacity = {name: n for name, n in capacity.items() if name in scores.arms} or None
    return replace(policy, covariates=tuple(dict.fromkeys(columns)), capacity=capacity)


def _training(
    design: CrossSection, options: AIPW, scores: UnitScores, nuisances: Sequence[Nuisance]
) -> Training:
    """Scores of the units that rules are judged on, computed anew without a fold: what rules are learnt
    on. Their models take covariates as they are, which is quick and enough to learn from."""
    part = replace(design.take(scores.units), weight=scores.weight)
    folds = [replace(one, fold=split.fold) for one, split in zip(nuisances, scores.splits)]
    return scores_without(part, replace(options, basis="linear"), scores, folds)


def fewer(scores: UnitScores, units: int | None, seed: int) -> UnitScores:
    """The scores with about ``units`` of those without a programme, drawn by ``seed`` whoever they are,
    their weights raised so that they stand for all: errors come from the participants."""
    without = np.flatnonzero(scores.arm == 0)
    if units is None or without.size <= units:
        return scores
    drawn = np.random.default_rng(seed).permutation(without.size)[:units]
    keep = scores.arm > 0
    keep[without[drawn]] = True
    total, part = scores.weight[without].sum(), scores.weight[without[drawn]].sum()
    out = scores.take(keep)
    raised = np.where(out.arm == 0, total / part, 1.0)
    splits = tuple(replace(one, weight=one.weight * raised) for one in out.splits)
    return replace(out, weight=out.weight * raised, splits=splits)


def _tree(
    told: Mapping[str, Any],
    scores: UnitScores,
    scope: Mapping[str, str],
    policy: policies.Policy,
) -> Check:
    """The tree as it may be shown: cuts at round numbers, shares that stand for ``min_cell`` or more;
    its statistic is how many of the folds' trees begin with the same covariate."""
    rows: list[dict[str, Any]] = []
    for node in told["tree"]["nodes"]:
        name = node.get("covariate", "")
        common = {
            "node": node["id"],
            "covariate": name,
            "kind": _kind(scores, name) if name else "leaf",
            "threshold": node.get("threshold", np.nan),
            "left": node.get("left", -1),
            "right": node.get("right", -1),
            "share": np.nan if node["share"] is None else node["share"],
        }
        offers = node.get("offers") or [{"arm": "", "part": np.nan}]
        rows += [{**common, "programme": o["arm"], "part": o["part"]} for o in offers]
    first = rows[0]["covariate"] or "none"
    uses = policy.fairness_by if told["main"].startswith(policies.INDIVIDUAL) else None
    return Check(
        key=TREE,
        status="informative",
        scope=scope,
        statistic=float(told["tree"]["first_cut_in_folds"].get(first, 0.0)),
        message={
            "rule": told["tree"]["rule"],
            "main": told["main"],
            "uses": [uses] if uses else [],
        },
        detail=pd.DataFrame(rows),
    )


def _apart(found: Estimates) -> Estimates:
    """Rows on rules with keys of their own, and each kind of move too: who would move isn't who took
    part, and one kind's small count says nothing of another's, so none hides the other's rows."""
    kind = found.table["term"].str.removeprefix("effect_of_")
    moves = kind.where(kind.isin([*KINDS, "policy_share"]), "")
    return Estimates(found.table.assign(estimand=RULES, period=moves))


def _kind(scores: UnitScores, name: str) -> str:
    """Whether a column is an indicator (zeros and ones), whole numbers, or any number."""
    values: NDArray = scores.x[:, scores.names.index(name)]
    if set(np.unique(values)) <= {0.0, 1.0}:
        return "indicator"
    return "whole" if (values == np.round(values)).all() else "number"
