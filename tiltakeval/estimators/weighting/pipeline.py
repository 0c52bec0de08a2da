"""What the weighting estimators share: targets, one pass per set of outcomes, labelled results."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tiltakeval import __version__
from tiltakeval.design.cross_section import CrossSection
from tiltakeval.errors import InputError
from tiltakeval.estimates.attrition import Attrition
from tiltakeval.estimates.inference import Influence
from tiltakeval.estimates.table import Estimates
from tiltakeval.estimators.numerics.layout import Layout, OutcomeBlock, make_layout, outcome_block
from tiltakeval.estimators.numerics.ridge import Regression
from tiltakeval.estimators.numerics.scores import Mean, TargetSums, ratio_to_arm
from tiltakeval.estimators.numerics.threads import one_thread
from tiltakeval.estimators.weighting.described import described
from tiltakeval.estimators.weighting.nuisance import Nuisance
from tiltakeval.estimators.weighting.rows import (
    Piece,
    assemble,
    combine_means,
    finish,
    median_piece,
)
from tiltakeval.estimators.weighting.support import Support, count_support, level_matrix
from tiltakeval.estimators.weighting.targets import Target, make_targets

Floats = NDArray[np.floating]
Place = dict[tuple[int, int], tuple[int, int]]


@dataclass(frozen=True)
class Work:
    """The arrays of one set of outcomes, sorted by fold, arm, group; ``units`` [m] into the design.

    ``groups`` rows of sums, the first ``main`` of which hold every unit once; what the learners report
    goes into ``notes``."""

    units: NDArray[np.int64]
    arm: NDArray[np.int64]
    w: NDArray[np.float64]
    x: NDArray[np.float64]
    propensity: NDArray[np.float64]
    allowed: NDArray[np.bool_]
    levels: NDArray[np.float64]
    cluster: NDArray[np.int64]
    block: OutcomeBlock
    layout: Layout
    names: int
    groups: int
    main: int
    sums: tuple[TargetSums, ...]
    regressions: tuple[Regression, ...]
    notes: dict[str, Any] = field(default_factory=dict)


#: (theta [J, L, C], z [G, J, L, C]) per target, from the arrays and a seed
ScoreFunction = Callable[[Work, Nuisance, int], tuple[Sequence[Floats], Sequence[Floats]]]


def estimate_weighting(
    estimator: Any,
    design: CrossSection,
    *,
    first: Nuisance,
    seeds: Sequence[int],
    folds: int,
    scores: ScoreFunction,
    key: str,
) -> Estimates:
    """Run ``scores`` for outcomes and placebo outcomes and every seed; label, combine, add errors.

    Estimator options used: target, contrasts, cluster, level, bands, draws, placebo.
    """
    targets = make_targets(estimator.target, design, estimator.contrasts, present=first.present)
    _check_targets(targets, design, first)
    levels, members = level_matrix(design)
    jobs = [("outcomes", design.outcomes, design.outcome_names, design.horizons)]
    if estimator.placebo and design.placebo is not None and design.placebo_horizons:
        jobs.append(("placebo", design.placebo, design.placebo_names, design.placebo_horizons))
    missing = [a for i, a in enumerate(design.arms) if i not in first.present]
    noted: dict[str, Any] = {}
    found: dict[str, list[list[Piece]]] = {kind: [] for kind, *_ in jobs}
    for i, seed in enumerate(seeds):
        nuisance = first if i == 0 else estimator.nuisance(design, seed=seed)
        for kind, outcomes, names, _ in jobs:
            censor = None if kind == "placebo" else design.censor_weight
            work, places = prepare(
                design, nuisance, targets, outcomes, len(names), members, censor, folds
            )
            with one_thread():
                theta, z = scores(work, nuisance, seed)
            counted = [
                {p: _support(work, target, p, censor) for p in target.pairs} if i == 0 else {}
                for target in targets
            ]
            if i == 0 and kind == "outcomes":
                noted = dict(work.notes)
            placebo = kind == "placebo"
            found[kind].append(
                [
                    combine_means(t, places[j], theta[j], z[j], counted[j], placebo=placebo)
                    for j, t in enumerate(targets)
                ]
            )
    tables: list[tuple[pd.DataFrame, Influence]] = []
    for kind, _, names, horizons in jobs:
        merged = [median_piece(pieces, first.groups.form) for pieces in zip(*found.pop(kind))]
        tables.append(
            assemble(
                merged,
                design=design,
                levels=levels,
                outcomes=names,
                horizons=horizons,
                groups=first.groups,
                cluster=estimator.cluster,
                level=estimator.level,
                source=f"tiltakeval {__version__} {key}",
                missing=missing if kind == "outcomes" else (),
            )
        )
    return finish(
        tables,
        level=estimator.level,
        bands=estimator.bands,
        draws=estimator.draws,
        attrition=attrition_after(design, first),
        run={**run_record(estimator, design, first), **noted},
    )


def prepare(
    design: CrossSection,
    nuisance: Nuisance,
    targets: Sequence[Target],
    outcomes: Floats,
    names: int,
    members: Floats,
    censor: Floats | None,
    folds: int,
) -> tuple[Work, list[Place]]:
    """The sorted arrays for ``outcomes`` [n, T, ``names``] and, per target, where a pair finds its
    means. ``members`` [n, L] are subgroups, ``censor`` [n, T, A] the comparison's weights."""
    kept = np.flatnonzero(nuisance.kept)
    layout = make_layout(
        fold=nuisance.fold[kept],
        arm=design.arm[kept],
        group=nuisance.groups.label[kept],
        folds=folds,
        arms=len(design.arms),
        tie=nuisance.groups.cluster[kept],
        into=nuisance.groups.into,
    )
    units = kept[layout.order]
    regressions, means = _plan(targets, censor, units)
    work = Work(
        units=units,
        arm=design.arm[units].astype(np.int64),
        w=design.weight[units].astype(np.float64),
        x=nuisance.basis[units],
        propensity=nuisance.propensity[units],
        allowed=design.eligible[units],
        levels=members[units].astype(np.float64),
        cluster=nuisance.groups.cluster[units],
        block=outcome_block(outcomes, weight=design.weight, order=units),
        layout=layout,
        names=names,
        groups=nuisance.groups.size,
        main=nuisance.groups.count,
        sums=tuple(TargetSums(t.arms, t.required, m[0], t.overlap) for t, m in zip(targets, means)),
        regressions=tuple(regressions),
    )
    return work, [m[1] for m in means]


def _plan(
    targets: Sequence[Target], censor: Floats | None, units: NDArray
) -> tuple[list[Regression], list[tuple[tuple[Mean, ...], Place]]]:
    """The outcome regressions needed and, per target, its means and where each pair finds them.

    With censoring weights the comparison's regression depends on the programme it is compared with,
    unless the weights are the same for all. The comparison's regression comes first.
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
        place: Place = {}
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


def _support(work: Work, target: Target, pair: tuple[int, int], censor: Floats | None) -> Support:
    ratio = ratio_to_arm(work.propensity, target.arms, pair[1], overlap=target.overlap)
    return count_support(
        arm=work.arm,
        pair=pair,
        open_to=np.asarray(work.allowed[:, list(target.required)].all(axis=1), dtype=bool),
        weight=work.w * ratio,
        cluster=work.cluster,
        levels=work.levels,
        observed=work.block.observed,
        pattern=work.block.pattern,
        horizon=work.block.horizon,
        censor=None if censor is None or pair[1] != 0 else censor[work.units, :, pair[0]],
        y=work.block.y,
        zero=(-work.block.centre).astype(np.float32),
    )


def _check_targets(targets: Sequence[Target], design: CrossSection, nuisance: Nuisance) -> None:
    for target in targets:
        open_to = design.eligible[:, list(target.required)].all(axis=1) & nuisance.kept
        if not (open_to & np.isin(design.arm, target.arms)).any():
            names = ", ".join(design.arms[a] for a in target.required if a)
            raise InputError(
                f"no unit could have entered all of: {names}",
                where="target population",
                remedy="Compare programmes that the same people can enter, use target = 'att', or "
                "trim less.",
            )


def attrition_after(design: CrossSection, nuisance: Nuisance) -> Attrition:
    """The design's attrition with the steps taken here: arms too small, units trimmed."""
    rows = []
    inside = np.isin(design.arm, nuisance.present)
    for step, mask in (("arm_large_enough", inside), ("within_trimming_range", nuisance.kept)):
        rows.append((step, int(np.unique(design.person[mask]).size), int(mask.sum())))
    return Attrition.concat([design.attrition, Attrition.of(design.population, rows)])


def run_record(estimator: Any, design: CrossSection, nuisance: Nuisance) -> Mapping[str, Any]:
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
        "covariates": int(design.covariates.shape[1]),
        "columns_in_models": int(nuisance.basis.shape[1]),
        "trimmed": int(nuisance.trimmed.sum()),
        "clipped": {
            design.arms[a]: float(nuisance.clipped[used, a].mean()) for a in nuisance.present
        },
        **({"learners_propensity": dict(nuisance.learners)} if nuisance.learners else {}),
        **({} if getattr(estimator, "target", "") != "overlap" else described(design, nuisance)),
    }
