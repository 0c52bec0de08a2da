"""What makes a mixture of hazards impossible to estimate, said before anything is computed."""

from __future__ import annotations

import numpy as np

from tiltakeval.design.event_history import EventHistory
from tiltakeval.errors import InputError
from tiltakeval.estimators.duration.mixture.panel import Panel


def check_delayed_entry(design: EventHistory, *, condition: bool) -> None:
    """Everybody observed from the spell's origin, or with rows from there; no gaps.

    Raises InputError with the count of spells it doesn't hold for. With ``condition`` False the
    missing past is accepted.
    """
    spell = design.person if design.spell is None else design.spell
    opens = np.r_[True, np.diff(spell) != 0]
    gaps = int((design.start[1:] > design.stop[:-1] + 1e-9)[~opens[1:]].sum())
    if gaps:
        raise InputError(
            f"{gaps} rows start after the row above has ended: time in between is missing",
            where="start, stop",
            remedy="With unobserved heterogeneity the whole spell is needed. Fill the gaps, or make "
            "separate spells of them.",
        )
    if not condition:
        return
    entry = design.start[opens]
    known = np.zeros(entry.size)
    if design.before is not None:
        early = design.before
        of_spell = early.person if early.spell is None else early.spell
        numbers = spell[opens]
        length = np.bincount(
            np.searchsorted(numbers, of_spell), weights=early.duration, minlength=entry.size
        )
        known = np.asarray(length[: entry.size], dtype=np.float64)
    lost = int((entry > known + 1e-6 * np.maximum(entry, 1.0)).sum())
    if lost:
        raise InputError(
            f"{lost} spells are observed only from some time after their start, without rows for "
            "the time before",
            where="start",
            remedy="Give the rows since the spell's start (statuses and covariates known) and say "
            "observed_from = the time of coming under observation. Or accept that the heterogeneity "
            "is that of those still there: delayed_entry=ignore.",
        )


def check_coefficients(panel: Panel) -> None:
    """Events enough, no column that separates, no column that others determine.

    Raises InputError naming transition, column and count.
    """
    counts = np.zeros(len(panel.transitions))
    np.add.at(counts, panel.transition, panel.events[panel.weight > 0].sum(axis=0))
    for t, name in enumerate(panel.transitions):
        wanted = int(panel.active[t].sum())
        if counts[t] <= wanted:
            raise InputError(
                f"{int(counts[t])} events can't carry {wanted} coefficients",
                where=f"transition {name}",
                remedy="Use fewer covariates, or merge transitions.",
            )
    _refuse_separation(panel)
    _refuse_collinear(panel)


def _refuse_separation(panel: Panel) -> None:
    """A 0/1 column with no event on one side has no finite coefficient."""
    p1 = panel.x_unit.shape[1]
    rows = np.diff(panel.first)
    for t, name in enumerate(panel.transitions):
        happened = panel.event == t + 1
        possible = panel.channel[:, t] >= 0
        for k in np.flatnonzero(panel.active[t]):
            column = np.repeat(panel.x_unit[:, k], rows) if k < p1 else panel.x_row[:, k - p1]
            if not np.isin(column, (0.0, 1.0)).all():
                continue
            for value in (1.0, 0.0):
                inside = (column == value) & possible
                if inside.any() and not (happened & inside).any():
                    raise InputError(
                        f"no {name} among the {int(inside.sum())} rows where it is {value:g}: "
                        "the coefficient has no finite value",
                        where=f"column '{panel.names[k]}', transition {name}",
                        remedy="Leave the column out, merge it with another, or set rare = leave_out.",
                    )


def _refuse_collinear(panel: Panel) -> None:
    """Columns (with the level) that are linear in one another among rows at risk."""
    p1 = panel.x_unit.shape[1]
    rows = np.diff(panel.first)
    for t, name in enumerate(panel.transitions):
        weight = np.where(panel.channel[:, t] >= 0, panel.length, 0.0)
        cross = _cross_product(panel, weight, rows)
        used = np.r_[0, 1 + np.flatnonzero(panel.active[t])]
        matrix = cross[np.ix_(used, used)]
        scale = 1 / np.sqrt(np.diag(matrix))
        values, vectors = np.linalg.eigh(matrix * scale * scale[:, None])
        if values[0] < 1e-10 * used.size:
            loading = np.abs(vectors[:, 0])
            names = ["the level", *(panel.names[k] for k in used[1:] - 1)]
            told = [names[i] for i in np.flatnonzero(loading > 1e-3)]
            raise InputError(
                f"{len(told)} columns determine one another: {', '.join(told[:8])}",
                where=f"transition {name}",
                remedy="Leave one of them out.",
            )
    assert p1 + panel.x_row.shape[1] == len(panel.names)


def _cross_product(panel: Panel, weight: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """[1 + p, 1 + p] weighted cross product of the level and all columns, over rows."""
    size = 1 + len(panel.names)
    out = np.zeros((size, size))
    block = 4096
    for lo in range(0, panel.units, block):
        hi = min(lo + block, panel.units)
        a, b = panel.first[lo], panel.first[hi]
        x = np.concatenate(
            [
                np.ones((b - a, 1)),
                np.repeat(panel.x_unit[lo:hi], rows[lo:hi], axis=0),
                panel.x_row[a:b],
            ],
            axis=1,
        )
        out += x.T @ (x * weight[a:b, None])
    return out
