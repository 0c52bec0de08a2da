"""Which counts of moves and places are too small to show, and what else would give them away."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
Bools = NDArray[np.bool_]
#: What a move is, in the order of the rows.
KINDS = ("unchanged", "place_gained", "place_lost", "programme_changed")
#: Unchanged and changed programmes together, where the latter are too few to be told apart.
UNAFFECTED = "place_unaffected"


def kind_of(arms: int) -> NDArray[np.int64]:
    """[A, A] position in ``KINDS`` of a move from arm a (row) to arm b (column); arm 0 is no place."""
    start, stop = np.indices((arms, arms))
    out = np.full((arms, arms), 3)
    out[(start == 0) & (stop > 0)] = 1
    out[(start > 0) & (stop == 0)] = 2
    out[start == stop] = 0
    return out


def hidden_cells(counts: Floats, families: Sequence[int], least: int) -> Bools:
    """[T, A, A] cells of transition tables that can't be shown.

    ``counts`` [T, A, A], table 0 everybody, ``families`` [T] the variable each other table is a level
    of (-1 for table 0). Hidden are counts from 1 to ``least`` - 1, and, until nothing hidden is the
    difference of something shown, the smallest further cells: within rows and columns (whose sums are
    today's and the rule's shares), within the moves of a kind, and between the levels of a variable.
    """
    tables, arms = counts.shape[0], counts.shape[1]
    number = np.round(counts)
    hidden = (number > 0) & (number < least)
    kind = kind_of(arms)
    inside: list[Bools] = []
    for k in range(arms):
        for axis in (0, 1):
            one = np.zeros((arms, arms), dtype=bool)
            one[(k, slice(None)) if axis == 0 else (slice(None), k)] = True
            inside.append(one)
    inside += [kind == k for k in range(len(KINDS))]
    # what is left of a row or column beside the kinds whose sums are shown
    inside += [a & (kind == k) for a in inside[: 2 * arms] for k in range(len(KINDS))]
    sums = [(t, cells) for t in range(tables) for cells in inside if cells.sum() > 1]
    variables = sorted(set(families) - {-1})
    while True:
        before = hidden.copy()
        for t, cells in sums:
            _cover(hidden[t], number[t], cells, least)
        for variable in variables:
            rows = np.flatnonzero(np.asarray(families) == variable)
            for a, b in np.ndindex(arms, arms):
                part = hidden[rows, a, b]
                whole = not hidden[0, a, b]
                if whole and part.any():
                    _cover(part, number[rows, a, b], np.ones(rows.size, dtype=bool), least)
                    hidden[rows, a, b] = part
        if (hidden == before).all():
            return hidden


def _cover(hidden: NDArray, number: Floats, cells: Bools, least: int) -> None:
    """Hide more of ``cells``, in place, until the hidden add up to at least ``least`` and are two."""
    while True:
        mine = hidden & cells
        if not mine.any() or (mine.sum() > 1 and number[mine].sum() >= least):
            return
        left = cells & ~hidden
        positive = left & (number > 0)
        if not left.any():
            return
        pool = positive if positive.any() else left
        place = np.argmin(np.where(pool, number, np.inf))
        hidden.flat[place] = True


def told_kinds(
    counts: Floats, families: Sequence[int], least: int
) -> tuple[dict[str, tuple[int, ...]], Bools]:
    """Which kinds are told, as positions in ``KINDS`` by name, and [T, kinds told] which counts of them
    can't be shown. ``counts`` [T, 4].

    Declared rule: where fewer than ``least`` of everybody would change programmes, they are told
    together with those whom nothing changes for, in every table. Places gained less places lost is
    known from the shares of places, so one of them is not shown without the other.
    """
    coarse = 0 < np.round(counts[0, 3]) < least
    told: dict[str, tuple[int, ...]] = {name: (k,) for k, name in enumerate(KINDS)}
    if coarse:
        told = {UNAFFECTED: (0, 3), **{name: told[name] for name in KINDS[1:3]}}
    sums = np.stack([counts[:, list(kinds)].sum(axis=1) for kinds in told.values()], axis=1)
    hidden = hidden_columns(sums, families, least)
    while True:
        more = hidden.copy()
        either = hidden[:, 1] | hidden[:, 2]
        more[either, slice(None) if coarse else slice(1, 3)] = True
        if (more == hidden).all():
            return told, hidden
        hidden = hidden_columns(sums, families, least, more)


def hidden_columns(
    counts: Floats, families: Sequence[int], least: int, also: Bools | None = None
) -> Bools:
    """[T, C] counts that can't be shown by the same rule, where the columns of a table add up to a
    number that is known (units of the level) and the levels of a variable to table 0. ``also`` [T, C]
    are hidden to begin with."""
    number = np.round(counts)
    hidden = (number > 0) & (number < least)
    hidden = hidden if also is None else hidden | also
    every = np.ones(counts.shape[1], dtype=bool)
    while True:
        before = hidden.copy()
        for t in range(len(counts)):
            _cover(hidden[t], number[t], every, least)
        for variable in set(families) - {-1}:
            rows = np.flatnonzero(np.asarray(families) == variable)
            for k in range(counts.shape[1]):
                part = hidden[rows, k]
                if part.any() and not hidden[0, k]:
                    _cover(part, number[rows, k], np.ones(rows.size, dtype=bool), least)
                    hidden[rows, k] = part
        if (hidden == before).all():
            return hidden
