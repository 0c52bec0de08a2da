"""What stands beside the effects: the fit before treatment, who carries it, the weights by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiltakeval.design.staggered import StaggeredPanel
from tiltakeval.estimators.did.beside import Beside
from tiltakeval.estimators.did.cells.batches import Support
from tiltakeval.estimators.did.synthetic.cohort import CohortFit
from tiltakeval.estimators.did.synthetic.problem import Problem, Span, adjusted

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: So many weights of units are told, the largest first.
TOLD = 10


def left_before(
    design: StaggeredPanel,
    grid: Ints,
    spans: Sequence[Span],
    done: dict[float, tuple[CohortFit, Floats | None, Support]],
    size: dict[float, float],
) -> tuple[Beside, ...]:
    """By event time before the start: the cohorts' path less the comparison's that the weights left."""
    parts: dict[int, list[tuple[float, float, Floats, Support]]] = {}
    for span in spans:
        fit, z, support = done[span.cohort]
        if z is None:
            continue
        for place in np.flatnonzero(span.before):
            event = int(design.periods[grid[place]] - span.cohort)
            parts.setdefault(event, []).append(
                (size[span.cohort], float(fit.effects[place]), z[:, place], support)
            )
    out = []
    for event in sorted(parts):
        total = sum(part[0] for part in parts[event])
        support = parts[event][0][3]
        for part in parts[event][1:]:
            support = _both(support, part[3])
        out.append(
            Beside(
                labels={"term": "fit_before", "horizon": event},
                support=support,
                estimate=sum(w * value for w, value, _, _ in parts[event]) / total,
                z=np.asarray(sum(w * own for w, _, own, _ in parts[event]) / total),
            )
        )
    return tuple(out)


def _both(left: Support, right: Support) -> Support:
    return Support(
        treated=left.treated | right.treated,
        comparison=left.comparison | right.comparison,
        clusters=left.clusters | right.clusters,
        effective=min(left.effective, right.effective),
        trimmed=0,
    )


def support_of(
    design: StaggeredPanel, at: Ints, code: Ints, c: int, fit: CohortFit, weight: Floats
) -> Support:
    mine, others = at[code == c], at[code < 0][fit.omega > 1e-12]
    masks = []
    for rows in (mine, others):
        mask = np.zeros(design.n, dtype=bool)
        mask[rows] = True
        masks.append(np.packbits(mask))
    clusters = np.zeros(int(design.cluster.max()) + 1, dtype=bool)
    clusters[design.cluster[np.concatenate([mine, others])]] = True
    return Support(
        treated=masks[0],
        comparison=masks[1],
        clusters=np.packbits(clusters),
        effective=float(1 / (fit.omega @ fit.omega)),
        trimmed=0,
    )


def told_of(
    design: StaggeredPanel,
    problem: Problem,
    at: Ints,
    grid: Ints,
    c: int,
    fit: CohortFit,
    gone: int,
) -> dict[str, Any]:
    """What the run keeps of a cohort: fit before treatment, weights, the problems' gaps."""
    span = problem.spans[c]
    others = at[problem.code < 0]
    pre = adjusted(problem)[problem.code < 0][:, span.before]
    left = fit.effects[span.before]
    spread = pre - pre.mean(axis=0)
    if problem.method != "sc":  # levels don't count
        left, spread = left - left.mean(), spread - spread.mean(axis=1, keepdims=True)
    rmse, usual = float(np.sqrt((left**2).mean())), float(np.sqrt((spread**2).mean()))
    largest = np.argsort(-fit.omega, kind="stable")[:TOLD]
    periods = [design.label(design.periods[t]) for t in grid[span.before]]
    return {
        "cohort": design.label(span.cohort),
        "treated": int((problem.code == c).sum()),
        "comparison": int(others.size),
        "periods_before": int(span.before.sum()),
        "left_out_for_gaps": gone,
        "rmse_before": rmse,
        "spread_before": usual,
        "relative_rmse": rmse / usual if usual > 0 else np.nan,
        "effective_units": float(1 / (fit.omega @ fit.omega)),
        "effective_periods": float(1 / (fit.lam @ fit.lam)) if fit.lam.any() else 0.0,
        "largest_unit": float(fit.omega.max()),
        "largest_period": float(fit.lam.max()),
        "unit_weights": {_name(design, others[i]): round(float(fit.omega[i]), 6)
                         for i in largest if fit.omega[i] > 1e-12},
        "period_weights": {name: round(float(v), 6)
                           for name, v in zip(periods, fit.lam) if v > 1e-12},
        "noise": fit.noise,
        "zeta": fit.zeta,
        "gap_units": fit.gaps[0],
        "gap_periods": fit.gaps[1],
    }  # fmt: skip


def _name(design: StaggeredPanel, unit: int) -> str:
    """The unit's name where the design has names, else its place in the order of the file."""
    names = design.unit_names
    return names[unit] if names else f"unit {int(unit) + 1}"
