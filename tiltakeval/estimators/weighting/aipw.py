"""Doubly robust effects of several programmes, for all outcomes, months and subgroups in one pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tiltakeval import __version__
from tiltakeval.design.cross_section import CrossSection
from tiltakeval.errors import InputError, unknown
from tiltakeval.estimates.attrition import Attrition
from tiltakeval.estimates.inference import Influence
from tiltakeval.estimates.table import Estimates
from tiltakeval.estimators.numerics import basis as basis_module
from tiltakeval.estimators.numerics.layout import Layout, OutcomeBlock, make_layout, outcome_block
from tiltakeval.estimators.numerics.learners import Trees, fit_trees
from tiltakeval.estimators.numerics.propensity import LearnerPropensity
from tiltakeval.estimators.numerics.ridge import Predictions, Regression, fit_ridge
from tiltakeval.estimators.numerics.scores import Mean, TargetSums, score
from tiltakeval.estimators.numerics.threads import one_thread
from tiltakeval.estimators.weighting.nuisance import Cluster, Nuisance, Trim, fit_nuisance
from tiltakeval.estimators.weighting.rows import (
    Piece,
    assemble,
    combine_means,
    finish,
    median_piece,
)
from tiltakeval.estimators.weighting.support import count_support, level_matrix
from tiltakeval.estimators.weighting.targets import (
    Contrasts,
    Target,
    TargetName,
    make_targets,
)

Floats = NDArray[np.floating]


@dataclass(frozen=True, kw_only=True)
class AIPW:
    """Augmented inverse-probability weighting, cross-fitted (Robins, Rotnitzky & Zhao 1994).

    Cross-fitting after Chernozhukov et al. (2018); several arms and targets after Cattaneo (2010).
    ``target`` says whose effect: att (each programme's own participants), ate (all units),
    programmes (all programmes on the same people: participants of any, eligible for all).
    ``contrasts`` adds programme against programme. ``seeds`` > 1 gives the median over that many
    ways of dealing folds (a tuple names them). ``floor`` and a single ``trim`` are relative to the
    arm's share of all units; ``trim`` = (low, high) drops units outside that range of the propensity
    of a single programme. ``basis`` "quadratic" adds squares and products of the covariates.
    """

    target: TargetName = "att"
    learner_outcome: Literal["ridge", "forest", "boosting"] = "ridge"
    learner_propensity: LearnerPropensity = "logit"
    basis: basis_module.Basis = "linear"
    folds: int = 5
    seed: int = 0
    seeds: int | Sequence[int] = 1
    trim: Trim = None
    floor: float = 0.01
    ridge_propensity: float = 1.0
    trees: int = 300
    min_leaf: int = 10
    contrasts: Contrasts = "none"
    cluster: Cluster = "person"
    min_arm: int = 20
    level: float = 0.95
    bands: bool = True
    draws: int = 999
    placebo: bool = True

    def __post_init__(self) -> None:
        if self.learner_outcome not in ("ridge", "forest", "boosting"):
            raise unknown("learner", self.learner_outcome, ("ridge", "forest", "boosting"),
                          where="learner_outcome")
        if self.learner_propensity not in ("logit", "forest", "boosting"):
            raise unknown("learner", self.learner_propensity, ("logit", "forest", "boosting"),
                          where="learner_propensity")
        if self.folds < 2:
            raise InputError("cross-fitting needs at least 2 folds", where="folds")
        if not 0 <= self.floor < 1:
            raise InputError("the floor must be at least 0 and below 1", where="floor")
        if not 0.5 < self.level < 1:
            raise InputError("the level must lie between 0.5 and 1", where="level")
        if not self.all_seeds:
            raise InputError("at least one seed is needed", where="seeds")

    @property
    def all_seeds(self) -> tuple[int, ...]:
        """The seeds whose median is reported."""
        if isinstance(self.seeds, int):
            return tuple(self.seed + i for i in range(self.seeds))
        return tuple(int(seed) for seed in self.seeds)

    def nuisance(self, design: CrossSection, *, seed: int | None = None) -> Nuisance:
        """Propensities, folds and groups (of the first seed): what the diagnostics look at."""
        chosen = self.all_seeds[0] if seed is None else seed
        return fit_nuisance(
            design,
            target=self.target,
            basis=basis_module.expand(design.covariates, weight=design.weight, basis=self.basis),
            learner=self.learner_propensity,
            ridge=self.ridge_propensity,
            folds=self.folds,
            seed=chosen,
            trim=self.trim,
            floor=self.floor,
            cluster=self.cluster,
            trees=Trees(self.trees, self.min_leaf, chosen),
            min_arm=self.min_arm,
        )

    def estimate(self, design: CrossSection, nuisance: Nuisance | None = None) -> Estimates:
        """Effects and means of every pair x outcome x horizon x subgroup, and placebo effects.

        ``nuisance`` (of the first seed) saves fitting it again. Raises InputError.
        """
        first = self.nuisance(design) if nuisance is None else nuisance
        targets = make_targets(self.target, design, self.contrasts, present=first.present)
        _check_targets(targets, design, first)
        levels, _ = level_matrix(design)
        jobs = [("outcomes", design.outcomes, design.outcome_names, design.horizons)]
        if self.placebo and design.placebo is not None and design.placebo_horizons:
            jobs.append(
                ("placebo", design.placebo, design.placebo_names, design.placebo_horizons)
            )
        found: dict[str, list[list[Piece]]] = {kind: [] for kind, *_ in jobs}
        for i, seed in enumerate(self.all_seeds):
            current = first if i == 0 else self.nuisance(design, seed=seed)
            for kind, outcomes, names, _ in jobs:
                found[kind].append(
                    self._pieces(design, current, targets, outcomes, len(names), seed,
                                 placebo=kind == "placebo", support=i == 0)
                )
        tables: list[tuple[pd.DataFrame, Influence]] = []
        missing = [a for i, a in enumerate(design.arms) if i not in first.present]
        for kind, _, names, horizons in jobs:
            by_seed = found.pop(kind)
            merged = [median_piece(pieces) for pieces in zip(*by_seed)]
            tables.append(
                assemble(
                    merged, design=design, levels=levels, outcomes=names, horizons=horizons,
                    groups=first.groups, cluster=self.cluster, level=self.level,
                    source=f"tiltakeval {__version__} aipw_{self.target}",
                    missing=missing if kind == "outcomes" else (),
                )
            )
        return finish(
            tables, level=self.level, bands=self.bands, draws=self.draws,
            attrition=attrition_after(design, first), run=run_record(self, design, first),
        )

    def _pieces(
        self, design: CrossSection, nuisance: Nuisance, targets: Sequence[Target],
        outcomes: Floats, names: int, seed: int, *, placebo: bool, support: bool,
    ) -> list[Piece]:
        """Scores of one set of outcomes with one seed's folds."""
        kept = np.flatnonzero(nuisance.kept)
        arm, fold = design.arm[kept].astype(np.int64), nuisance.fold[kept]
        layout = make_layout(
            fold=fold, arm=arm, group=nuisance.groups.group[kept], folds=self.folds,
            arms=len(design.arms), tie=nuisance.groups.cluster[kept],
        )
        units = kept[layout.order]
        w = design.weight[units].astype(np.float64)
        block = outcome_block(outcomes, weight=design.weight, order=units)
        censor = None if placebo else design.censor_weight
        regressions, means = plan_regressions(targets, censor, units)
        with one_thread():
            predictions = self._predict(
                regressions, nuisance.basis[units], w, block, layout, names, seed
            )
            _, members = level_matrix(design)
            sums = [TargetSums(t.arms, t.required, means[i][0]) for i, t in enumerate(targets)]
            scores = score(
                sums, propensity=nuisance.propensity[units],
                allowed=design.eligible[units], w=w, levels=members[units], block=block,
                predictions=predictions, layout=layout, groups=nuisance.groups.count,
            )
        pieces = []
        for i, target in enumerate(targets):
            place = means[i][1]
            counted = {
                pair: self._support(design, nuisance, target, pair, units, members, block,
                                    censor)
                for pair in target.pairs
            } if support else {}
            pieces.append(
                combine_means(target, place, scores.theta[i], scores.z[i], counted,
                              placebo=placebo)
            )
        return pieces

    def _predict(
        self, regressions: Sequence[Regression], x: Floats, w: Floats, block: OutcomeBlock,
        layout: Layout, names: int, seed: int,
    ) -> Predictions:
        if self.learner_outcome == "ridge":
            return fit_ridge(regressions, x=x, w=w, block=block, layout=layout, names=names)
        return fit_trees(
            regressions, x=x, w=w, block=block, layout=layout, learner=self.learner_outcome,
            trees=Trees(self.trees, self.min_leaf, seed),
        )

    def _support(
        self, design: CrossSection, nuisance: Nuisance, target: Target, pair: tuple[int, int],
        units: NDArray, members: Floats, block: OutcomeBlock, censor: Floats | None,
    ) -> Any:
        e = nuisance.propensity[units]
        own = e[:, pair[1]]
        ratio = e[:, list(target.arms)].sum(axis=1) / np.where(own > 0, own, 1.0)
        return count_support(
            arm=design.arm[units], pair=pair,
            open_to=design.eligible[units][:, list(target.required)].all(axis=1),
            weight=design.weight[units] * ratio, cluster=nuisance.groups.cluster[units],
            levels=members[units], observed=block.observed, pattern=block.pattern,
            horizon=block.horizon,
            censor=None if censor is None or pair[1] != 0 else censor[units, :, pair[0]],
        )


def plan_regressions(
    targets: Sequence[Target], censor: Floats | None, units: NDArray
) -> tuple[
    list[Regression],
    list[tuple[tuple[Mean, ...], dict[tuple[int, int], tuple[int, int]]]],
]:
    """The outcome regressions needed and, per target, its means and where each pair finds them.

    With censoring weights the comparison's regression depends on the programme it is compared with,
    unless the weights are the same for all.
    """
    programmes = sorted({pair[0] for t in targets for pair in t.pairs if pair[1] == 0})
    regressions: list[Regression] = []
    index: dict[tuple[int, int], int] = {}
    if censor is None or not programmes:
        regressions.append(Regression(0))
        index.update({(0, a): 0 for a in programmes})
    else:
        first = programmes[0]
        for a in programmes:
            if a != first and np.array_equal(censor[units, :, a], censor[units, :, first]):
                index[(0, a)] = index[(0, first)]
                continue
            index[(0, a)] = len(regressions)
            regressions.append(Regression(0, np.ascontiguousarray(censor[units, :, a])))
    out = []
    for target in targets:
        means: list[Mean] = []
        place: dict[tuple[int, int], tuple[int, int]] = {}
        for pair in target.pairs:
            at = []
            for arm in pair:
                key = (0, pair[0]) if arm == 0 else (arm, -1)
                if key not in index:
                    index[key] = len(regressions)
                    regressions.append(Regression(arm))
                mean = Mean(arm, index[key], regressions[index[key]].censor)
                known = [i for i, m in enumerate(means) if m.model == mean.model]
                if not known:
                    means.append(mean)
                at.append(known[0] if known else len(means) - 1)
            place[pair] = (at[0], at[1])
        out.append((tuple(means), place))
    return regressions, out


def _check_targets(targets: Sequence[Target], design: CrossSection, nuisance: Nuisance) -> None:
    for target in targets:
        open_to = design.eligible[:, list(target.required)].all(axis=1) & nuisance.kept
        if not (open_to & np.isin(design.arm, target.arms)).any():
            names = ", ".join(design.arms[a] for a in target.required if a)
            raise InputError(
                f"no unit could have entered all of: {names}", where="target population",
                remedy="Compare programmes that the same people can enter, or use target = 'att'.",
            )


def attrition_after(design: CrossSection, nuisance: Nuisance) -> Attrition:
    """The design's attrition with the steps taken here: arms too small, units trimmed."""
    rows = []
    inside = np.isin(design.arm, nuisance.present)
    for step, mask in (("arm_large_enough", inside), ("within_trimming_range", nuisance.kept)):
        rows.append((step, int(np.unique(design.person[mask]).size), int(mask.sum())))
    return Attrition.concat([design.attrition, Attrition.of(design.population, rows)])


def run_record(estimator: Any, design: CrossSection, nuisance: Nuisance) -> dict[str, Any]:
    """Options, fingerprint and what the nuisance models did, for the manifest."""
    used = nuisance.kept
    return {
        "estimator": type(estimator).__name__,
        "options": asdict(estimator),
        "design": design.fingerprint,
        "version": __version__,
        "groups": nuisance.groups.count,
        "clusters": nuisance.groups.n_clusters,
        "units": int(used.sum()),
        "trimmed": int(nuisance.trimmed.sum()),
        "clipped": {
            design.arms[a]: float(nuisance.clipped[used, a].mean()) for a in nuisance.present
        },
    }
