"""Sums of one outcome of the jointly eligible: as it went, with no decision now, and with each of a set
of programmes decided now.

Everything is added up as 64-bit integers, so the order of persons, chunks and threads is irrelevant.
"""

# ruff: noqa: F403, F405
# mypy: disable-error-code="untyped-decorator,no-any-return,type-arg"
from __future__ import annotations

import numpy as np

from tiltakeval.synthetic.assignment import is_open
from tiltakeval.synthetic.compiled import compiled
from tiltakeval.synthetic.events import new_io
from tiltakeval.synthetic.hashing import person_key, uniform
from tiltakeval.synthetic.kernel import step
from tiltakeval.synthetic.layout import *
from tiltakeval.synthetic.persons import draw_person, initial_state
from tiltakeval.synthetic.truth_kernel import cell_of, clear, outcome, suppress

#: Characteristics at month zero that a rule may ask for, named as the columns of a design.
FEATURES = (
    "age", "female", "landgruppe_1", "landgruppe_2", "landgruppe_3", "education_videregaende",
    "education_hoyere", "diagnosis_mental", "diagnosis_musculoskeletal", "diagnosis_other",
    "registered_years", "worked_3", "worked_6", "worked_12", "worked_24", "earnings_12",
    "earnings_24",
)  # fmt: skip
#: Positions in the description of the units.
(
    C_FIRST,
    C_LAST,
    C_BASE,
    C_AGE_FROM,
    C_AGE_TO,
    C_REG_FROM,
    C_REG_TO,
    C_HORIZON,
    C_SUM,
    C_OUTCOME,
) = range(10)
N_CHOICE = 10
WINDOW = 24


@compiled
def worked(s, months):  # type: ignore[no-untyped-def]
    """Months with unsubsidised work among the last ``months`` before the state."""
    n = 0
    for i in range(months):
        n += (s[HIST] >> i) & 1
    return n


@compiled
def features(s, ai, t, pay, x):  # type: ignore[no-untyped-def]
    """``FEATURES`` at the start of month t, into x; pay i8[WINDOW]: earnings by month modulo it."""
    x[0] = (t - ai[BIRTH_T]) / 12.0
    x[1] = 1.0 if ai[SEX] == 0 else 0.0
    c = ai[COUNTRY]
    group = 0 if c == 0 else (1 if c < LANDGRUPPE2_FROM else (2 if c < LANDGRUPPE3_FROM else 3))
    for g in range(3):
        x[2 + g] = 1.0 if group == g + 1 else 0.0
    for e in range(2):
        x[5 + e] = 1.0 if s[EDUL] == e + 1 else 0.0
    for d in range(3):
        x[7 + d] = 1.0 if ai[DIAG] == d + 1 else 0.0
    x[10] = (t - s[SINCE]) / 12.0
    x[11] = worked(s, 3) / 3.0
    x[12] = worked(s, 6) / 6.0
    x[13] = worked(s, 12) / 12.0
    x[14] = worked(s, 24) / 24.0
    year, both = 0, 0
    for back in range(1, WINDOW + 1):
        if t - back >= 0:
            both += pay[(t - back) % WINDOW]
            if back <= 12:
                year += pay[(t - back) % WINDOW]
    x[15] = year / 100_000.0
    x[16] = both / 100_000.0


@compiled
def leaf_of(x, feature, cut, left, right):  # type: ignore[no-untyped-def]
    """The node of a tree that a unit ends in: x <= cut goes left; a leaf has feature -1."""
    node = 0
    while feature[node] >= 0:
        node = left[node] if x[feature[node]] <= cut[node] else right[node]
    return node


@compiled
def follow(saved, s, t, key, ai, af, w, io, ev, choice):  # type: ignore[no-untyped-def]
    """The outcome at the horizon, or its sum up to it, from the state at the start of month t."""
    for i in range(N_STATE):
        s[i] = saved[i]
    total = 0
    for h in range(choice[C_HORIZON] + 1):
        step(s, t + h, key, ai, af, w, io, ev)
        if choice[C_SUM] == 1 or h == choice[C_HORIZON]:
            total += outcome(io, s, t, choice[C_OUTCOME])
    return total


@compiled
def common_block(  # type: ignore[no-untyped-def]
    seed, first, n, w, choice, members, rate, edges, feature, cut, left, right, count, cross,
    leaf_count, leaf_cross,
):  # fmt: skip
    """Add persons ``first`` .. ``first + n - 1`` to the sums.

    Units are ``rate`` of the at-risk months of those who may enter every programme in ``members`` i8[P]
    (numbers of programmes), in which none or one of these is decided. Futures f: 0 as it went, 1 no
    decision now, 2 and on the members decided. count i8[C, P + 1] by what was decided (none first),
    cross i8[C, F, F] sums of products of the outcomes, the first row and column being of 1 (so F is
    P + 3); leaf_count and leaf_cross the same by node of the tree.
    """
    s = np.zeros(N_STATE, dtype=np.int64)
    saved = np.zeros(N_STATE, dtype=np.int64)
    other = np.zeros(N_STATE, dtype=np.int64)
    ai = np.zeros(N_AI, dtype=np.int64)
    af = np.zeros(N_AF, dtype=np.float64)
    io, alt = new_io(), new_io()
    ev = np.zeros((1, 4), dtype=np.int64)
    y = np.ones(len(members) + 3, dtype=np.int64)
    x = np.zeros(len(FEATURES), dtype=np.float64)
    pay = np.zeros(WINDOW, dtype=np.int64)
    for i in range(n):
        key = person_key(seed, first + i)
        draw_person(key, ai, af, w)
        if ai[ENTRY] > choice[C_LAST]:
            continue
        initial_state(s, key, ai, af, w, ev)
        pay[:] = 0
        for t in range(choice[C_LAST] + 1):
            registered = t - s[SINCE]
            age = (t - ai[BIRTH_T]) // 12
            unit = (
                t >= choice[C_FIRST]
                and s[STATE] == JS + choice[C_BASE]
                and choice[C_AGE_FROM] <= age <= choice[C_AGE_TO]
                and choice[C_REG_FROM] <= registered <= choice[C_REG_TO]
                and uniform(key, t + 2, U_SAMPLE) < rate
            )
            if unit:
                for c in range(N_STATE):
                    saved[c] = s[c]
                features(saved, ai, t, pay, x)
            step(s, t, key, ai, af, w, io, ev)
            pay[t % WINDOW] = io[O_EARN] + io[S_EARN]
            if not unit or io[AT_RISK] == 0:
                continue
            decided = 0
            if io[DECISION] >= 0:
                decided = -1
            fits = True
            for a in range(len(members)):
                if members[a] == io[DECISION]:
                    decided = a + 1
                if not is_open(saved, t, members[a], choice[C_BASE], age, ai, w):
                    fits = False
            if decided < 0 or not fits:
                continue
            clear(alt)
            y[1] = follow(saved, other, t, key, ai, af, w, alt, ev, choice)
            y[2] = y[1]
            if decided > 0:
                suppress(alt, t, BAR_NONE)
                y[2] = follow(saved, other, t, key, ai, af, w, alt, ev, choice)
            for a in range(len(members)):
                clear(alt)
                alt[IV_FORCE_T] = t
                alt[IV_FORCE_P] = members[a]
                y[3 + a] = follow(saved, other, t, key, ai, af, w, alt, ev, choice)
            cell = cell_of(saved, ai, t, edges)
            leaf = leaf_of(x, feature, cut, left, right)
            count[cell, decided] += 1
            leaf_count[leaf, decided] += 1
            for a in range(len(y)):
                for b in range(len(y)):
                    cross[cell, a, b] += y[a] * y[b]
                    leaf_cross[leaf, a, b] += y[a] * y[b]
