"""A solution as a table of estimates: coefficients, programme effects, effects by number of points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tiltakeval.design.event_history import EventHistory
from tiltakeval.errors import InputError
from tiltakeval.estimates.combine import with_inference
from tiltakeval.estimates.inference import MAX_GROUPS, Influence
from tiltakeval.estimates.table import Estimates, tidy
from tiltakeval.estimators.duration.mixture.averaging import averaged, weights_by_likelihood
from tiltakeval.estimators.duration.mixture.effects import Target, gradients, targets_of, values
from tiltakeval.estimators.duration.mixture.errors import Errors, Information
from tiltakeval.estimators.duration.mixture.npmle import Solution
from tiltakeval.estimators.duration.mixture.panel import Panel
from tiltakeval.estimators.numerics.groups import Groups, deal_groups

Floats = NDArray[np.float64]
#: Influence is kept by cluster up to this many numbers; above, clusters are dealt into groups.
EXACT_BELOW = 2_000_000
#: Units of log-likelihood that a parameter costs in an average over numbers of points.
PENALTY = 0.5


def parameters(panel: Panel, points: int) -> int:
    """Parameters of a fit with so many points, degenerate ones counted in full."""
    return panel.coefficients + (panel.channels + 1) * points - 1


def criteria(panel: Panel, solution: Solution) -> list[dict[str, Any]]:
    """For every number of points: log-likelihood, AIC, BIC (persons), and the programme's effects."""
    targets = [t for t in targets_of(panel) if t.is_effect]
    rows = []
    for points, fit in solution.path.items():
        q = parameters(panel, points)
        rows.append(
            {
                "points": points,
                "log_likelihood": fit.loglik,
                "aic": 2 * q - 2 * fit.loglik,
                "bic": q * float(np.log(panel.persons)) - 2 * fit.loglik,
                "effects": {
                    f"{t.outcome}: {t.name}": float(v)
                    for t, v in zip(targets, values(panel, fit, targets))
                },
            }
        )
    return rows


def chosen_points(panel: Panel, solution: Solution, rule: str) -> int:
    """The number of points a criterion takes ("full": all)."""
    if rule == "full":
        return solution.full.points
    rows = criteria(panel, solution)
    return int(min(rows, key=lambda row: row[rule])["points"])


def weights_of(
    panel: Panel, solution: Solution, points: str | int, penalty: float
) -> dict[int, float]:
    """Weight of each number of points in what is reported. Raises InputError for one not fitted."""
    if points == "averaged":
        return weights_by_likelihood(
            {j: fit.loglik for j, fit in solution.path.items()},
            {j: parameters(panel, j) for j in solution.path},
            penalty=penalty,
        )
    wanted = chosen_points(panel, solution, points) if isinstance(points, str) else points
    if wanted not in solution.path:
        raise InputError(
            f"no fit with {wanted} points was found",
            where="points",
            remedy=f"There are fits with {', '.join(str(j) for j in solution.path)}.",
        )
    return {wanted: 1.0}


@dataclass(frozen=True, kw_only=True)
class Part:
    """Everybody, or a subgroup: its rows of the design, and the solution (None: not supported).

    ``person`` [n] are its persons' numbers in the whole design.
    """

    label: str
    design: EventHistory
    panel: Panel
    solution: Solution | None
    person: NDArray[np.int64]


def rule_of(part: Part, points: str | int) -> str | int:
    """Which fit is reported of a part: subgroups have a path only for an average, else the full fit."""
    return points if part.label == "all" or points == "averaged" else "full"


def errors_kind(whole: Part, kind: str) -> str:
    """The kind of errors asked for, "auto" being opg, but sandwich with weights or clusters."""
    if kind != "auto":
        return kind
    plain = whole.design.cluster_kind == "person" and not whole.panel.conditional
    return "opg" if plain and (whole.panel.weight == 1.0).all() else "sandwich"


def groups_of(parts: Sequence[Part], *, more: int = 0) -> Groups:
    """Groups of clusters that influence is kept by; ``more`` numbers than the table's own."""
    whole = parts[0]
    assert whole.solution is not None
    columns = len(targets_of(whole.panel)) * (len(parts) + len(whole.solution.path)) + more
    return _groups(whole.design, columns)


def table_of(
    parts: Sequence[Part],
    groups: Groups,
    *,
    points: str | int,
    penalty: float = PENALTY,
    kind: str,
    level: float,
    source: str,
) -> Estimates:
    """Rows of everybody (first) and of subgroups, with influence by cluster.

    ``run`` holds all kinds of errors of everybody's rows, and which fit was reported.
    """
    whole = parts[0]
    assert whole.solution is not None
    targets = targets_of(whole.panel)
    left_out = _left_out(whole.design, targets)
    records: list[dict[str, Any]] = []
    positions: list[int] = []
    blocks: list[Floats] = []
    run: dict[str, Any] = {}
    for part in parts:
        own = [] if part.solution is None else targets_of(part.panel)
        if part.solution is not None:
            within = taken(groups, part.person)
            rule = rule_of(part, points)
            weights = weights_of(part.panel, part.solution, rule, penalty)
            rows, block, told = _rows_of(part, own, within, weights, kind)
            positions += range(len(records), len(records) + len(rows))
            records += rows
            blocks.append(block)
            run = run or told
        had = {(t.name, t.outcome) for t in own}
        for target in (*targets, *left_out):
            if (target.name, target.outcome) not in had:
                clusters = int(np.unique(groups.cluster[part.person]).size)
                lost = {"estimate": np.nan, "status": "not_supported", "n_clusters": clusters}
                records.append({**_row(part, target, ""), **lost})
    table = tidy(pd.DataFrame(records)).assign(
        population=whole.design.population,
        estimand=whole.design.estimand,
        unit="log",
        time_origin=whole.design.time_origin,
        source=source,
    )
    influence = Influence(
        frame=groups.frame,
        kind=whole.design.cluster_kind,
        n_clusters=groups.n_clusters,
        values={"timing_of_events": np.concatenate(blocks, axis=1)},
        rows={"timing_of_events": np.array(positions)},
    )
    out = with_inference(table, influence, level=level)
    return Estimates(
        out.table,
        influence=out.influence,
        run={"errors": kind, "groups": groups.count, **run},
    )


def _left_out(design: EventHistory, targets: Sequence[Target]) -> list[Target]:
    """Effects of statuses that the design has and the panel hasn't."""
    had = {(t.name, t.outcome) for t in targets}
    return [
        Target(name=name, outcome=outcome, transition=t, column=-1, is_effect=True)
        for name in design.programme
        for t, outcome in enumerate(design.transitions)
        if design.enters[t, design.covariate_names.index(name)] and (name, outcome) not in had
    ]


def _rows_of(
    part: Part, targets: Sequence[Target], groups: Groups, weights: Mapping[int, float], kind: str
) -> tuple[list[dict[str, Any]], Floats, dict[str, Any]]:
    """A part's rows with estimates, their influence [G, rows], and what the run records of it."""
    panel, solution = part.panel, part.solution
    assert solution is not None
    effects = [i for i, t in enumerate(targets) if t.is_effect]
    whole = part.label == "all"
    found: dict[int, tuple[Floats, Errors]] = {}
    for j, fit in solution.path.items():
        wanted = list(targets) if j in weights else [targets[i] for i in effects]
        if wanted and (whole or j in weights):
            g = gradients(panel, fit, wanted)
            found[j] = (
                values(panel, fit, wanted),
                Information(panel, fit, groups).errors(g, kind=kind),
            )
    estimate, influence = averaged(
        list(weights.values()),
        [found[j][0] for j in weights],
        [found[j][1].influence for j in weights],
    )
    n_clusters = int(np.unique(groups.cluster).size)
    rows = [
        {**_row(part, t, ""), "estimate": v, "n_clusters": n_clusters}
        for t, v in zip(targets, estimate)
    ]
    z = [influence]
    for j, (value, errors) in found.items() if whole else ():
        pick = effects if j in weights else list(range(len(effects)))
        rows += [
            {
                **_row(part, targets[i], f"points={j}"),
                "estimate": value[k],
                "n_clusters": n_clusters,
            }
            for i, k in zip(effects, pick)
        ]
        z.append(errors.influence[:, pick])
    reported = found[max(weights, key=lambda j: weights[j])][1]
    told = {
        "reported_points": {str(j): w for j, w in weights.items()},
        "unknown_directions": reported.unknown,
        "standard_errors": _all_errors(targets, reported),
    }
    return rows, np.concatenate(z, axis=1), told


def _groups(design: EventHistory, columns: int) -> Groups:
    first = np.r_[True, np.diff(design.person) != 0]
    cluster = design.cluster[first]
    most = max(MAX_GROUPS, cluster.size if cluster.size * columns <= EXACT_BELOW else 0)
    return deal_groups(cluster, kind=design.cluster_kind, max_groups=most)


def taken(groups: Groups, person: NDArray[np.int64]) -> Groups:
    """The same groups, for some of the persons."""
    return replace(groups, group=groups.group[person], cluster=groups.cluster[person])


def _row(part: Part, target: Target, period: str) -> dict[str, Any]:
    design = part.design
    at_risk = design.at_risk[:, target.transition]
    inside, binary = at_risk, False
    if target.name in design.covariate_names:
        values = design.covariates[:, design.covariate_names.index(target.name)]
        binary = bool(np.isin(values[at_risk], (0.0, 1.0)).all())
    if binary:  # the row tells of those who have a 1: their counts decide its release
        inside = at_risk & (values > 0)
    others = at_risk & ~inside
    events = inside & (design.event == target.transition + 1)
    term = "log_hazard_ratio" if target.is_effect else "coefficient"
    return {
        "subgroup": part.label,
        "programme": target.name,
        "outcome": target.outcome,
        "period": period,
        "term": f"{term}_by_points" if period else term,
        "n_treated": _persons(design, inside),
        "n_comparison": _persons(design, others) if binary else pd.NA,
        "n_events": int(events.sum()),
        "status": "ok",
    }


def _persons(design: EventHistory, rows: NDArray[np.bool_]) -> int:
    """How many persons have any of the rows; a person's rows are adjacent."""
    who = design.person[rows]
    return int(np.count_nonzero(np.diff(who)) + (who.size > 0))


def _all_errors(targets: Sequence[Target], errors: Errors) -> dict[str, dict[str, float]]:
    return {
        f"{t.outcome}: {t.name}": {kind: float(errors.by_kind[kind][i]) for kind in errors.by_kind}
        for i, t in enumerate(targets)
    }
