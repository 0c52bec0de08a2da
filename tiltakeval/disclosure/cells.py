"""Array arithmetic of cell suppression: totals minus parts, and series of counts."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
Bools = NDArray[np.bool_]
Ints = NDArray[np.integer]


def complementary(
    hidden: Bools,
    *,
    total_row: Ints,
    group: Ints,
    counts: Floats,
    order: Ints,
    threshold: int,
    zeros: bool = False,
) -> Bools:
    """Extra cells to hide so that a total minus the cells shown is never a small number.

    ``hidden`` [n] are the cells already hidden. ``group`` [n] numbers the sets of levels that add up
    (-1: not a level); ``total_row`` [n] is the row holding the total of the cell's group (-1: none).
    ``counts`` [n, c] are additive columns. In each offending group the cell first in ``order`` [n] is
    hidden, until nothing small is left over. A small remainder that no level names (a level "not
    stated") counts as well. With ``zeros`` a remainder of nothing gives hidden cells away too.
    """
    hidden = hidden.copy()
    level = (group >= 0) & (total_row >= 0)
    if not level.any():
        return hidden
    rows = np.flatnonzero(level)
    names, code = np.unique(group[rows], return_inverse=True)
    totals = np.full(names.size, -1, dtype=np.int64)
    totals[code] = total_row[rows]
    by_order = rows[np.argsort(order[rows], kind="stable")]
    code_of = np.full(hidden.size, -1, dtype=np.int64)
    code_of[rows] = code
    while True:
        bad = np.zeros(names.size, dtype=bool)
        for column in range(counts.shape[1]):
            values = counts[:, column]
            shown = np.where(hidden[rows], 0.0, np.nan_to_num(values[rows]))
            rest = values[totals] - np.bincount(code, weights=shown, minlength=names.size)
            with np.errstate(invalid="ignore"):
                bad |= (rest > 0.5) & (rest < threshold - 0.5)
                if zeros:
                    some = np.bincount(code, weights=hidden[rows], minlength=names.size) > 0
                    bad |= some & (np.abs(rest) <= 0.5)
        bad &= ~hidden[totals]
        free = by_order[~hidden[by_order]]
        free = free[bad[code_of[free]]]
        if free.size == 0:
            return hidden
        _, first = np.unique(code_of[free], return_index=True)
        hidden[free[first]] = True


def thin_series(counts: Floats, *, dims: Sequence[str | None], threshold: int) -> Bools:
    """Which counts of a set of monthly series must be left out so that no step is small.

    ``counts`` [s, h]: series (the total and the levels of subgroups) by month; ``dims`` [s] names the
    subgroup variable of each series, None for the total. A count is left out when it differs from
    the last one printed by 1 to ``threshold`` - 1; then all levels of that variable are left out in
    the month, and everything when it is the total.
    """
    out = np.zeros(counts.shape, dtype=bool)
    last = np.full(counts.shape[0], np.nan)
    names = [name for name in dict.fromkeys(dims) if name is not None]
    member = {name: np.array([dim == name for dim in dims]) for name in names}
    is_total = np.array([dim is None for dim in dims])
    for month in range(counts.shape[1]):
        value = counts[:, month]
        step = np.abs(value - last)
        with np.errstate(invalid="ignore"):
            blank = (step > 0) & (step < threshold)
        if blank[is_total].any():
            blank[:] = True
        for name in names:
            if blank[member[name]].any():
                blank |= member[name]
        out[:, month] = blank & np.isfinite(value)
        last = np.where(~blank & np.isfinite(value), value, last)
    return out


def keep_steps(counts: Floats, small: Callable[[Floats], Bools]) -> Bools:
    """Which counts [k] of a falling series may be printed: no two of them differ by little.

    The last count is kept first (it is printed elsewhere as the number analysed), then the first (it
    is often known from published statistics), then the others from the end backwards: each when it
    isn't small itself and differs from every count kept by nothing or by enough. Missing counts are
    not kept. ``small`` tells which numbers from 1 up are small.
    """
    keep = np.zeros(counts.size, dtype=bool)
    for i in dict.fromkeys((counts.size - 1, 0, *range(counts.size - 2, 0, -1))):
        value = counts[i]
        if not np.isfinite(value) or bool(small(np.array([value]))[0]):
            continue
        gaps = np.abs(counts[keep] - value)
        if not small(gaps[gaps > 0]).any():
            keep[i] = True
    return keep
