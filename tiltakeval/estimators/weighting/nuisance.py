"""Who could be compared with whom: propensities, folds and groups, made before outcomes are seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tiltakeval.design.cross_section import CrossSection
from tiltakeval.errors import InputError, unknown
from tiltakeval.estimators.numerics import propensity as numeric
from tiltakeval.estimators.numerics.basis import Basis, expand_named, products_added
from tiltakeval.estimators.numerics.groups import Groups, cross_groups, deal_folds, deal_groups
from tiltakeval.estimators.numerics.hajek import logit_pieces
from tiltakeval.estimators.numerics.learners import Trees
from tiltakeval.estimators.numerics.odds import products_of_odds
from tiltakeval.estimators.numerics.threads import one_thread

Floats = NDArray[np.floating]
Cluster = Literal["person", "office", "person_office"]
CLUSTERS = ("person", "office", "person_office")
#: The overlap target needs no propensity kept from zero: its weights are at most one.
OVERLAP_FLOOR = 1e-6
#: Ridge of the joint logit fitted to all units, on standardised columns.
DEFAULT_RIDGE = 0.1
Trim = float | Sequence[float] | None


@dataclass(frozen=True)
class Nuisance:
    """Propensities of a design's n units, reused by the estimator and by the diagnostics.

    ``propensity`` [n, A] as used (clipped, 0 for arms not open to the unit), ``raw`` [n, A] before
    clipping, ``clipped`` [n, A] which were raised, ``kept`` [n] units not trimmed and in an arm large
    enough, ``fold`` [n], ``groups`` the clusters. ``present`` are the arms that are estimated;
    ``basis`` [n, q] the covariates as the models see them, column by column made of the covariates
    numbered in ``sources`` (empty: not known); ``learners`` tells what those of an ensemble weigh.
    With one logit fitted to all units (folds = 1),
    ``score_sums`` [G, (A-1)(q+1)] and ``inverse`` information are its error.
    """

    propensity: NDArray[np.float64]
    raw: NDArray[np.float64]
    clipped: NDArray[np.bool_]
    kept: NDArray[np.bool_]
    trimmed: NDArray[np.bool_]
    fold: NDArray[np.int16]
    groups: Groups
    present: tuple[int, ...]
    basis: NDArray[np.float64]
    score_sums: NDArray[np.float64] | None = None
    inverse: NDArray[np.float64] | None = None
    sources: tuple[tuple[int, ...], ...] = ()
    learners: Mapping[str, float] = field(default_factory=dict)

    def weights(self, design: CrossSection, programme: int, *, target: str = "att") -> Floats:
        """[n] weights that make each arm look like the target of ``programme`` against arm 0.

        att: participants 1, comparison e_a / e_0. ate and programmes: e_T / e_own. overlap: h / e_own
        (``numerics.scores``). Zero for units of other arms, trimmed units and units not open to both
        (programmes and overlap: to all). Sampling weights included.
        """
        arm = design.arm
        open_to = design.eligible[:, programme] & design.eligible[:, 0] & self.kept
        e = self.propensity
        if target == "att":
            total = e[:, programme]
        elif target == "overlap":
            open_to = open_to & design.eligible[:, list(self.present)].all(axis=1)
            total = overlap_weight(e[:, list(self.present)])
        elif target == "programmes":
            open_to = open_to & design.eligible[:, list(self.present)].all(axis=1)
            total = e[:, [a for a in self.present if a]].sum(axis=1)
        else:
            total = np.ones(design.n)
        out = np.zeros(design.n)
        for a in (0, programme):
            rows = open_to & (arm == a) & (e[:, a] > 0)
            out[rows] = design.weight[rows] * total[rows] / e[rows, a]
        return out


def overlap_weight(e: Floats) -> NDArray[np.float64]:
    """[n] h = 1 / sum_a (1 / e_a) of propensities [n, A]; 0 where one of them is."""
    with np.errstate(divide="ignore"):
        return np.asarray(1.0 / (1.0 / e).sum(axis=1), dtype=np.float64)


def check_design(design: CrossSection) -> None:
    """Raise InputError for a design that can't be estimated: no comparison, arms not eligible."""
    counts = design.counts()
    if counts[design.arms[0]] == 0:
        raise InputError(
            "no unit is in the comparison arm",
            where=design.arms[0],
            remedy="Widen the entry window, or check the coding of the treatment.",
        )
    if sum(counts.values()) == counts[design.arms[0]]:
        raise InputError(
            "no unit is in any programme",
            where=", ".join(design.arms[1:]),
            remedy="Widen the entry window, or check the codes of the programmes.",
        )
    if not design.eligible[np.arange(design.n), design.arm].all():
        raise InputError(
            "some units are in an arm they are declared not to be able to enter",
            where="eligible",
            remedy="Exclude them, or correct the eligibility rules.",
        )
    if not np.isfinite(design.outcomes).any():
        raise InputError("no outcome is observed for any unit", where="outcomes")


def arms_present(design: CrossSection, groups: Groups, *, min_arm: int) -> tuple[int, ...]:
    """Arms with at least ``min_arm`` units in at least two clusters; always with the comparison."""
    found = [0]
    for a in range(1, len(design.arms)):
        rows = (design.arm == a) & (design.weight > 0)
        if rows.sum() >= min_arm and np.unique(groups.group[rows]).size >= 2:
            found.append(a)
    if len(found) == 1:
        raise InputError(
            f"no programme has {min_arm} units",
            where=", ".join(design.arms[1:]),
            remedy="Pool programmes, or use more data.",
        )
    return tuple(found)


def clusters(design: CrossSection, kind: Cluster) -> Groups:
    """The groups of a design clustered by person, by office, or by both (``inference.Form``)."""
    if kind not in CLUSTERS:
        raise unknown("cluster", kind, CLUSTERS, where="cluster")
    if kind == "person":
        return deal_groups(design.person, kind="person")
    if design.office is None:
        raise InputError(
            "clustering by office needs the units' office",
            where="cluster",
            remedy="Use cluster = 'person', or supply the office.",
        )
    if kind == "office":
        return deal_groups(design.office, kind="office")
    return cross_groups(design.person, design.office, kinds=("person", "office"))


def covariate_basis(design: CrossSection, basis: Basis) -> NDArray[np.float64]:
    """[n, q] the covariates as the models see them: the columns of ``covariate_columns``."""
    return covariate_columns(design, basis)[0]


def covariate_columns(
    design: CrossSection, basis: Basis
) -> tuple[NDArray[np.float64], tuple[tuple[int, ...], ...]]:
    """[n, q] the covariates as the models see them, and the covariates each column is made of.

    "products" adds thresholds and products that the odds of some programme lack (never looking at
    outcomes): the same columns for propensities and outcomes. Raises InputError.
    """
    z, sources = expand_named(design.covariates, weight=design.weight, basis=basis)
    if basis != "products":
        return z, sources
    with one_thread():
        products = products_of_odds(
            z,
            arm=design.arm,
            allowed=design.eligible,
            weight=design.weight,
            cluster=np.unique(design.person, return_inverse=True)[1].reshape(-1),
        )
    whole, used = products_added(z, products, weight=design.weight)
    of = [{j for side in product for j in sources[side.column]} for product in used]
    return whole, sources + tuple(tuple(sorted(found)) for found in of)


def fit_nuisance(
    design: CrossSection,
    *,
    target: str,
    basis: NDArray[np.float64],
    learner: numeric.LearnerPropensity,
    ridge: float | None,
    folds: int,
    seed: int,
    trim: Trim,
    floor: float,
    cluster: Cluster,
    trees: Trees,
    min_arm: int,
    sources: tuple[tuple[int, ...], ...] = (),
) -> Nuisance:
    """Cross-fitted propensities (``folds`` = 1: one fit to all units). Never looks at outcomes."""
    check_design(design)
    groups = clusters(design, cluster)
    present = arms_present(design, groups, min_arm=min_arm)
    inside = np.isin(design.arm, present)
    position = np.full(len(design.arms), -1)
    position[list(present)] = np.arange(len(present))
    arm = position[design.arm[inside]]
    allowed = design.eligible[inside][:, list(present)]
    weight = design.weight[inside].astype(np.float64)
    fold = np.zeros(design.n, dtype=np.int16)
    if folds > 1:
        fold = deal_folds(
            groups, arm=design.arm, arms=design.arms, weight=design.weight, folds=folds, seed=seed
        )
    chosen: dict[str, float] = {}
    settings: dict[str, Any] = {"arm": arm, "allowed": allowed, "weight": weight}
    persons = np.unique(design.person, return_inverse=True)[1].reshape(
        -1
    )  # offices: too few to sample
    with one_thread():
        if folds == 1:
            found = numeric.in_sample(
                basis[inside], ridge=DEFAULT_RIDGE if ridge is None else ridge, **settings
            )
        else:
            found = numeric.cross_fit(
                basis[inside],
                fold=fold[inside],
                folds=folds,
                learner=learner,
                trees=trees,
                ridge=ridge,
                cluster=persons[inside],
                chosen=chosen,
                **settings,
            )
    names = [design.arms[a] for a in present]
    if learner == "logit":
        numeric.refuse_separation(found, arm=arm, allowed=allowed, arms=names)
    least = min(floor, OVERLAP_FLOOR) if target == "overlap" else floor
    used, low = numeric.clip(found, arm=arm, allowed=allowed, weight=weight, floor=least)
    full = (design.n, len(design.arms))
    out = {"propensity": np.zeros(full), "raw": np.zeros(full), "clipped": np.zeros(full, bool)}
    for key, values in (("propensity", used), ("raw", found), ("clipped", low)):
        out[key][np.ix_(np.flatnonzero(inside), np.array(present))] = values
    trimmed = np.zeros(design.n, dtype=bool)
    trimmed[inside] = _trimmed(found, arm, allowed, weight, target=target, trim=trim)
    score_sums, inverse = None, None
    if folds == 1:
        x = np.column_stack([np.ones(int(inside.sum())), basis[inside]])
        sums, part = logit_pieces(
            x,
            e=found,
            arm=arm,
            w=weight,
            group=groups.label[inside],
            groups=groups.labels,
            ridge=DEFAULT_RIDGE if ridge is None else ridge,
        )
        q = x.shape[1]
        at = np.concatenate([np.arange((a - 1) * q, a * q) for a in present if a])
        size = (len(design.arms) - 1) * q
        score_sums, inverse = np.zeros((groups.size, size)), np.zeros((size, size))
        score_sums[:, at] = groups.gather(sums)
        inverse[np.ix_(at, at)] = part
    return Nuisance(
        score_sums=score_sums,
        inverse=inverse,
        propensity=out["propensity"],
        raw=out["raw"],
        clipped=out["clipped"].astype(bool),
        kept=inside & ~trimmed,
        trimmed=trimmed,
        fold=fold,
        groups=groups,
        present=present,
        basis=basis,
        sources=sources,
        learners=chosen,
    )


def _trimmed(
    e: Floats, arm: NDArray, allowed: NDArray[np.bool_], weight: Floats, *, target: str, trim: Trim
) -> NDArray[np.bool_]:
    """Units outside the declared range of propensities."""
    if trim is None:
        return np.zeros(arm.size, dtype=bool)
    if isinstance(trim, int | float):
        if not 0 <= trim < 1:
            raise InputError("trim must be at least 0 and below 1", where="trim")
        share = np.array([weight[arm == a].sum() for a in range(e.shape[1])]) / (weight @ allowed)
        low = allowed & (e < trim * share)
        return np.asarray(low[:, 0] if target == "att" else low.any(axis=1), dtype=bool)
    if len(trim) != 2 or e.shape[1] != 2:
        raise InputError(
            "a trimming range needs two numbers and a single programme",
            where="trim",
            remedy="Give one number (relative to the arm's share) with several programmes.",
        )
    return (e[:, 1] < trim[0]) | (e[:, 1] > trim[1])
