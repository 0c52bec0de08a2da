"""All cells of one outcome in one subgroup: three pairs for every comparison cohort, then one effect."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tiltakeval.design.sections import StaggeredSections
from tiltakeval.design.staggered import StaggeredPanel
from tiltakeval.estimators.did.cells.batches import Support
from tiltakeval.estimators.did.level import Fitted, Level
from tiltakeval.estimators.did.plan import Cell, compared
from tiltakeval.estimators.did.reasons import Reason, Why, longer
from tiltakeval.estimators.did.triple.pairs import (
    Pair,
    PanelPairs,
    Settings,
    groups_of_units,
    least_variance,
)
from tiltakeval.estimators.did.triple.sections import SectionPairs
from tiltakeval.estimators.numerics.groups import Groups

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Combine = Literal["gmm", "size"]

#: What the sides of a pair are called.
_SIDES = ("the cohort's ineligible", "the comparison's eligible", "the comparison's ineligible")


def estimate_triple(
    design: StaggeredPanel,
    plan: Sequence[Cell],
    inside: Bools,
    eligible: Bools,
    outcome: int,
    groups: Groups,
    settings: Settings,
    combine: Combine,
) -> tuple[Level, list[dict[str, Any]]]:
    """The plan's cells among the units ``inside`` [n], and the comparison cohorts left out of cells."""
    starts, units = groups_of_units(design, inside, eligible)
    pairs: PanelPairs | SectionPairs
    if isinstance(design, StaggeredSections):
        pairs = SectionPairs(design, inside, units, outcome, groups, settings)
    else:
        pairs = PanelPairs(design, inside, units, outcome, groups, settings)
    out: list[Fitted] = []
    left_out: list[dict[str, Any]] = []
    lost: set[str] = set()
    for cell in plan:
        if cell.reason:
            out.append(Fitted(cell, reason=cell.reason))
            continue
        own, others = compared(starts, cell)
        within = pairs.pair((own, True), (own, False), cell.t, cell.b)
        if within.reason:
            out.append(Fitted(cell, reason=longer(within.reason, f"{within.reason}, {_SIDES[0]}")))
            continue
        found: list[tuple[Pair, Pair]] = []
        sizes: list[float] = []
        reasons: list[str] = []
        for c in others:
            both = [pairs.pair((own, True), (c, q), cell.t, cell.b) for q in (True, False)]
            wrong = [
                longer(one.reason, f"{one.reason}, {_SIDES[1 + i]}")
                for i, one in enumerate(both)
                if one.reason
            ]
            if wrong:
                reasons.append(wrong[0])
                left_out.append(
                    {
                        "cohort": design.label(cell.cohort),
                        "period": design.label(design.periods[cell.t]),
                        "compared_with": _start(design, starts[c]),
                        "reason": wrong[0],
                    }
                )
                continue
            found.append((both[0], both[1]))
            sizes.append(sum(float(design.weight[units[c, q]].sum()) for q in (True, False)))
        if not found:
            why = reasons[0] if reasons else Reason(Why.NO_COMPARISON, "no comparison unit is left")
            out.append(Fitted(cell, reason=why))
            continue
        for one in (within, *(pair for both in found for pair in both)):
            lost |= set(one.dropped)
        share = least_variance([within.raw + b.raw - c.raw for b, c in found])
        if combine == "size":
            share = np.array(sizes) / sum(sizes)
        if share is None:
            why = Reason(
                Why.TOO_FEW,
                f"too few clusters to weigh {len(found)} comparison cohorts by their variance",
            )
            out.append(Fitted(cell, reason=why))
            continue
        att = within.att + sum(s * (b.att - c.att) for s, (b, c) in zip(share, found))
        z = within.z + sum(s * (b.z - c.z) for s, (b, c) in zip(share, found))
        summed = np.asarray(groups.gather(z[:, None])[:, 0], dtype=np.float64)
        out.append(Fitted(cell, float(att), summed, _support(design, within, found)))
    dropped = tuple(sorted(lost - set(pairs.dropped)))
    return Level(tuple(out), pairs.dropped, dropped), left_out


def _start(design: StaggeredPanel, start: float) -> str:
    return design.label(start) if np.isfinite(start) else "never"


def _support(design: StaggeredPanel, within: Pair, found: Sequence[tuple[Pair, Pair]]) -> Support:
    every = [within, *(pair for both in found for pair in both)]
    treated, comparison = np.zeros((2, design.n), dtype=bool)
    clusters = np.zeros(int(design.cluster.max()) + 1, dtype=bool)
    for one in every:
        others = one.at[one.treated :][one.odds > 0]
        treated[one.at[: one.treated]] = True
        comparison[others] = True
        clusters[design.cluster[one.at[: one.treated]]] = True
        clusters[design.cluster[others]] = True
    return Support(
        treated=np.packbits(treated),
        comparison=np.packbits(comparison),
        clusters=np.packbits(clusters),
        effective=min(float(one.odds.sum() ** 2 / (one.odds @ one.odds)) for one in every),
        trimmed=sum(one.trimmed for one in every),
    )
