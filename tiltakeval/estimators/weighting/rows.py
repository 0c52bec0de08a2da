"""From scores to a labelled result table with influence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tiltakeval.design.cross_section import CrossSection
from tiltakeval.estimates.combine import with_bands, with_inference
from tiltakeval.estimates.inference import Form, Influence, standard_errors
from tiltakeval.estimates.table import Estimates, tidy
from tiltakeval.estimators.numerics.groups import Groups
from tiltakeval.estimators.weighting.support import Support
from tiltakeval.estimators.weighting.targets import Target, population_label

Floats = NDArray[np.floating]
MIN_UNITS = 2
#: Terms that are judged over all months at once; the arms' means are there to be read.
BANDED = ("effect", "placebo")


@dataclass(frozen=True)
class Piece:
    """Results of one target: rows R (pair x term), levels L, columns C.

    ``theta`` [R, L, C]; ``z`` [G, R, L, C]; ``labels`` R pairs with their term; ``support`` by pair.
    """

    target: Target
    labels: tuple[tuple[tuple[int, int], str], ...]
    theta: NDArray[np.float64]
    z: Floats
    support: Mapping[tuple[int, int], Support]


def combine_means(
    target: Target,
    place: Mapping[tuple[int, int], tuple[int, int]],
    theta: Floats,
    z: Floats,
    support: Mapping[tuple[int, int], Support],
    *,
    placebo: bool,
) -> Piece:
    """Effects and means of a target from its arm means: theta [J, L, C], z [G, J, L, C].

    ``place[(a, b)]`` are the positions of the two means of a pair.
    """
    labels = [
        (pair, term)
        for pair in target.pairs
        for term in (("placebo",) if placebo else target.terms(pair))
    ]
    out = np.empty((len(labels), *theta.shape[1:]))
    influence = np.empty((z.shape[0], len(labels), *z.shape[2:]), dtype=z.dtype)
    for r, (pair, term) in enumerate(labels):
        i, j = place[pair]
        if term == "mean_treated":
            out[r], influence[:, r] = theta[i], z[:, i]
        elif term == "mean_comparison":
            out[r], influence[:, r] = theta[j], z[:, j]
        else:
            out[r] = theta[i] - theta[j]
            np.subtract(z[:, i], z[:, j], out=influence[:, r])
    return Piece(target, tuple(labels), out, influence, support)


def median_piece(pieces: Sequence[Piece], form: Form | None = None) -> Piece:
    """The median over seeds; its variance is the median of se^2 + (estimate - median)^2.

    (Chernozhukov et al. 2018, definition 3.3.) The influence is the seeds' mean, scaled to that.
    """
    if len(pieces) == 1:
        return pieces[0]
    first = pieces[0]
    thetas = np.stack([piece.theta for piece in pieces])
    theta = np.median(thetas, axis=0)
    shape = first.z.shape
    errors = np.stack(
        [standard_errors(p.z.reshape(shape[0], -1), form).reshape(shape[1:]) for p in pieces]
    )
    wanted = np.sqrt(np.median(errors**2 + (thetas - theta) ** 2, axis=0))
    z = np.mean([piece.z for piece in pieces], axis=0)
    now = standard_errors(z.reshape(shape[0], -1), form).reshape(shape[1:])
    z = z * np.where(now > 0, wanted / np.where(now > 0, now, 1.0), 1.0)
    return Piece(first.target, first.labels, theta, z, first.support)


def widened(piece: Piece, form: Form | None = None) -> Floats:
    """``piece.z`` with the errors of effects and participants' means widened where the participants
    with a non-zero outcome are few (``support.few_events``)."""
    z = piece.z
    for r, ((a, b), term) in enumerate(piece.labels):
        added = piece.support[(a, b)].added
        if term == "mean_comparison" or not (added > 0).any():
            continue
        now = standard_errors(z[:, r].reshape(z.shape[0], -1), form).reshape(added.shape) ** 2
        factor = np.sqrt(1.0 + np.where(now > 0, added / np.where(now > 0, now, 1.0), 0.0))
        z[:, r] *= factor.astype(z.dtype)
    return z


def assemble(
    pieces: Sequence[Piece],
    *,
    design: CrossSection,
    levels: Sequence[str],
    outcomes: Sequence[str],
    horizons: Sequence[int | None],
    groups: Groups,
    cluster: str,
    level: float,
    source: str,
    missing: Sequence[str] = (),
) -> tuple[pd.DataFrame, Influence]:
    """The result table of all targets and its influence (a block per target).

    Rows without two units on either side, or without an estimate, get status ``not_supported`` and
    no influence. ``missing`` are programmes left out for want of units: a row each says so.
    """
    units = dict(zip(design.outcome_names, design.units))
    n_levels, columns = len(levels), len(outcomes) * len(horizons)
    tables: list[pd.DataFrame] = []
    values: dict[str, Floats] = {}
    rows: dict[str, NDArray[np.int64]] = {}
    offset = 0
    horizon = pd.array([h for h in horizons for _ in outcomes], dtype="Int64")
    outcome = np.array(list(outcomes) * len(horizons), dtype=object)
    for number, piece in enumerate(pieces):
        size = n_levels * columns
        for (a, b), term in piece.labels:
            support = piece.support[(a, b)]
            tables.append(
                pd.DataFrame(
                    {
                        "population": population_label(design, piece.target),
                        "programme": design.arms[a],
                        "comparator": design.arms[b],
                        "term": term,
                        "subgroup": np.repeat(np.array(levels, dtype=object), columns),
                        "outcome": np.tile(outcome, n_levels),
                        "unit": np.tile(
                            np.array([units.get(k, "") for k in outcome], dtype=object), n_levels
                        ),
                        "horizon": pd.array(np.tile(horizon, n_levels), dtype="Int64"),
                        "n_treated": support.treated.ravel(),
                        "n_comparison": support.comparison.ravel(),
                        "n_events": support.events.ravel(),
                        "n_clusters": support.clusters.ravel(),
                        "n_effective": support.effective.ravel(),
                    }
                )
            )
        part = pd.concat(tables[-len(piece.labels) :], ignore_index=True)
        theta = piece.theta.ravel()
        good = (
            np.isfinite(theta)
            & (part["n_treated"].to_numpy() >= MIN_UNITS)
            & (part["n_comparison"].to_numpy() >= MIN_UNITS)
            & (part["n_clusters"].to_numpy() >= MIN_UNITS)
        )
        part["estimate"] = np.where(good, theta, np.nan)
        part["status"] = np.where(good, "ok", "not_supported")
        tables[-len(piece.labels) :] = [part]
        z = widened(piece, groups.form).reshape(piece.z.shape[0], len(piece.labels) * size)
        if good.any():
            name = f"{number}/{piece.target.label}"
            values[name] = z if good.all() else z[:, good]
            rows[name] = np.flatnonzero(good) + offset
        offset += len(part)
    for name in missing:
        tables.append(
            pd.DataFrame(
                {
                    "population": design.population,
                    "programme": name,
                    "comparator": design.arms[0],
                    "term": "effect",
                    "outcome": list(outcomes),
                    "status": "not_supported",
                    "n_treated": int(design.counts()[name]),
                    "n_comparison": int(design.counts()[design.arms[0]]),
                }
            )
        )
    table = pd.concat(tables, ignore_index=True).assign(
        estimand=design.estimand, time_origin=design.time_origin, source=source, conf_level=level
    )
    influence = Influence(
        frame=groups.frame,
        kind=cluster,
        n_clusters=groups.n_clusters,
        values=values,
        rows=rows,
        form=groups.form,
    )
    return tidy(table), influence


def finish(
    tables: Sequence[tuple[pd.DataFrame, Influence]],
    *,
    level: float,
    bands: bool,
    draws: int,
    attrition: Any,
    run: Mapping[str, Any],
) -> Estimates:
    """One result from the tables of outcomes and placebo outcomes, with errors and bands."""
    parts = [
        with_inference(table, influence, level=level, attrition=attrition, run=dict(run))
        for table, influence in tables
    ]
    out = Estimates.concat(parts) if len(parts) > 1 else parts[0]
    return with_bands(out, level=level, draws=draws, terms=BANDED) if bands else out
