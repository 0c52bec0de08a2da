"""Sums of potential outcomes: re-run each unit's future with its decision suppressed or replaced.

Everything is added up as 64-bit integers, so the order of persons, chunks and threads is irrelevant.
"""

# ruff: noqa: F403, F405, SIM109
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

OUTCOMES = (
    "work_unsubsidised", "work_any", "full_time", "earnings_nok", "earnings_unsubsidised_nok",
    "benefits_total_nok", *(f"benefit_{name}_nok" for name in BENEFITS),
    "uforetrygd_grade", "education_entry", "registered",
)  # fmt: skip
Y_GRADE = 6 + len(BENEFITS)
FULL_TIME = 81  # per cent of full time, summed over jobs
(PATH_OWN, PATH_WAIT, PATH_NONE, PATH_NEVER) = range(4)
(T_ATT, T_ATE, T_OFFER) = range(3)  # questions of one programme


@compiled
def outcome(io, s, since, c):  # type: ignore[no-untyped-def]
    """Outcome c of the month recorded in ``io``; ``since`` is the unit's month zero."""
    if c == 0:
        return 1 if io[O_EARN] > 0 else 0
    if c == 1:
        return 1 if io[O_EARN] + io[S_EARN] > 0 else 0
    if c == 2:
        pct = 0
        if io[O_EARN] > 0:
            pct += io[O_PCT]
        if io[S_EARN] > 0:
            pct += io[S_PCT]
        return 1 if pct >= FULL_TIME else 0
    if c == 3:
        return io[O_EARN] + io[S_EARN]
    if c == 4:
        return io[O_EARN]
    if c == 5:
        total = 0
        for b in range(6):
            total += io[B_DAGP + b]
        return total
    if c < Y_GRADE:
        return io[B_DAGP + c - 6]
    if c == Y_GRADE:
        return io[R_GRADE]
    if c == Y_GRADE + 1:
        return 1 if s[EDU_START] > since else 0
    return io[REG_END]


@compiled
def run_path(saved, s, k, horizon, key, ai, af, w, io, ev, chosen, y):  # type: ignore[no-untyped-def]
    """Months k .. k + horizon from the state saved at the start of month k, into y[h, outcome]."""
    for i in range(N_STATE):
        s[i] = saved[i]
    for h in range(horizon + 1):
        step(s, k + h, key, ai, af, w, io, ev)
        for j in range(len(chosen)):
            y[h, j] = outcome(io, s, k, chosen[j])


@compiled
def clear(io):  # type: ignore[no-untyped-def]
    """No intervention."""
    for i in range(IV_SUPPRESS_T, N_IO):
        io[i] = -1
    io[IV_BAR_P] = BAR_NONE


@compiled
def suppress(io, k, bar):  # type: ignore[no-untyped-def]
    """No decision in month k; from k on ``bar`` (BAR_NONE, BAR_ALL or a programme) is barred."""
    clear(io)
    io[IV_SUPPRESS_T] = k
    io[IV_BAR_P] = bar
    io[IV_BAR_FROM] = k


@compiled
def add(y, n_paths, all_pairs, mean, square, gap):  # type: ignore[no-untyped-def]
    """Add paths y[path, h, outcome] to the sums, squares and squared differences."""
    for a in range(n_paths):
        for h in range(y.shape[1]):
            for j in range(y.shape[2]):
                v = y[a, h, j]
                mean[a, h, j] += v
                square[a, h, j] += v * v
    i = 0
    for a in range(n_paths if all_pairs else 1):
        for b in range(a + 1, n_paths):
            for h in range(y.shape[1]):
                for j in range(y.shape[2]):
                    d = y[a, h, j] - y[b, h, j]
                    gap[i, h, j] += d * d
            i += 1


@compiled
def cell_of(s, ai, k, edges):  # type: ignore[no-untyped-def]
    """Cell of (sex 2, age band 3, landgruppe 4, education 3) at month k."""
    age = (k - ai[BIRTH_T]) // 12
    band = 0
    if age >= edges[1]:
        band = 2
    elif age >= edges[0]:
        band = 1
    c = ai[COUNTRY]
    group = 0 if c == 0 else (1 if c < LANDGRUPPE2_FROM else (2 if c < LANDGRUPPE3_FROM else 3))
    return ((ai[SEX] * 3 + band) * 4 + group) * 3 + s[EDUL]


@compiled
def truth_block(  # type: ignore[no-untyped-def]
    seed, first, n, k0, k1, horizon, w, chosen, arms, bases, futures, targets, rate, edges, by_cell,
    sets, count, mean, square, gap, set_count, set_mean, set_square, set_gap,
):  # fmt: skip
    """Add persons ``first`` .. ``first + n - 1`` to the sums.

    arms i8[A] wanted 0/1; bases i8[2]; futures i8[3] (not_now, no_programme, never_p); targets i8[3]
    (att, ate, offer); rate the sampled share of at-risk months for ate. count [3,A,2,C], mean and
    square [3,A,2,C,4,H,K], gap [3,A,2,C,3,H,K]; sets i8[S,A] 0/1; set_count [2,S,2,C] (units in the
    set, sampled at-risk months), set_mean and set_square [2,S,2,C,P,H,K], set_gap [2,S,2,C,pairs,H,K],
    path 0 the future without a decision now, then the set's programmes in order.
    """
    s = np.zeros(N_STATE, dtype=np.int64)
    saved = np.zeros(N_STATE, dtype=np.int64)
    other = np.zeros(N_STATE, dtype=np.int64)
    ai = np.zeros(N_AI, dtype=np.int64)
    af = np.zeros(N_AF, dtype=np.float64)
    io, alt = new_io(), new_io()
    ev = np.zeros((1, 4), dtype=np.int64)
    y = np.zeros((4, horizon + 1, len(chosen)), dtype=np.int64)
    z = np.zeros((set_mean.shape[4], horizon + 1, len(chosen)), dtype=np.int64)
    for i in range(n):
        key = person_key(seed, first + i)
        draw_person(key, ai, af, w)
        if ai[ENTRY] > k1:
            continue
        initial_state(s, key, ai, af, w, ev)
        for t in range(k1 + 1):
            st = s[STATE]
            unit = t >= k0 and (st == JS or st == RWC) and bases[st - JS] == 1
            if unit:
                for c in range(N_STATE):
                    saved[c] = s[c]
            step(s, t, key, ai, af, w, io, ev)
            if not unit:
                continue
            g = st - JS
            cell = cell_of(saved, ai, t, edges) if by_cell else 0
            if targets[T_OFFER] == 1 and io[RANDOMISED] >= 0:
                for arm in range(2):
                    clear(alt)
                    alt[IV_ARM_T] = t
                    alt[IV_ARM] = arm
                    run_path(saved, other, t, horizon, key, ai, af, w, alt, ev, chosen, y[1 - arm])
                count[T_OFFER, IPS, g, cell] += 1
                add(y, 2, False, mean[T_OFFER, IPS, g, cell], square[T_OFFER, IPS, g, cell],
                    gap[T_OFFER, IPS, g, cell])  # fmt: skip
            if io[AT_RISK] == 0:
                continue
            decided = io[DECISION]
            sampled = rate > 0.0 and uniform(key, t + 2, U_SAMPLE) < rate
            if decided < 0 and not sampled:
                continue
            age = (t - ai[BIRTH_T]) // 12
            waits, nones = False, False
            for target in range(2):
                if targets[target] == 0 or (target == T_ATT and decided < 0):
                    continue
                if target == T_ATE and not sampled:
                    continue
                for p in range(N_PROGRAMMES):
                    if arms[p] == 0 or (target == T_ATT and p != decided):
                        continue
                    if target == T_ATE and not is_open(saved, t, p, g, age, ai, w):
                        continue
                    clear(alt)
                    if target == T_ATE:
                        alt[IV_FORCE_T] = t
                        alt[IV_FORCE_P] = p
                    run_path(saved, other, t, horizon, key, ai, af, w, alt, ev, chosen, y[PATH_OWN])
                    if futures[0] == 1 and not waits:
                        suppress(alt, t, BAR_NONE)
                        run_path(saved, other, t, horizon, key, ai, af, w, alt, ev, chosen,
                                 y[PATH_WAIT])  # fmt: skip
                        waits = True
                    if futures[1] == 1 and not nones:
                        suppress(alt, t, BAR_ALL)
                        run_path(saved, other, t, horizon, key, ai, af, w, alt, ev, chosen,
                                 y[PATH_NONE])  # fmt: skip
                        nones = True
                    if futures[2] == 1:
                        suppress(alt, t, p)
                        run_path(saved, other, t, horizon, key, ai, af, w, alt, ev, chosen,
                                 y[PATH_NEVER])  # fmt: skip
                    count[target, p, g, cell] += 1
                    add(y, 4, False, mean[target, p, g, cell], square[target, p, g, cell],
                        gap[target, p, g, cell])  # fmt: skip
            for m in range(len(sets)):
                fits = True
                for p in range(N_PROGRAMMES):
                    if sets[m, p] == 1 and not is_open(saved, t, p, g, age, ai, w):
                        fits = False
                inside = decided >= 0 and sets[m, decided] == 1 and targets[T_ATT] == 1
                draw = sampled and targets[T_ATE] == 1
                if not fits or not (inside or draw):
                    continue
                suppress(alt, t, BAR_NONE)
                run_path(saved, other, t, horizon, key, ai, af, w, alt, ev, chosen, z[0])
                a = 1
                for p in range(N_PROGRAMMES):
                    if sets[m, p] == 1:
                        clear(alt)
                        alt[IV_FORCE_T] = t
                        alt[IV_FORCE_P] = p
                        run_path(saved, other, t, horizon, key, ai, af, w, alt, ev, chosen, z[a])
                        a += 1
                for target in range(2):
                    if (target == 0 and inside) or (target == 1 and draw):
                        set_count[target, m, g, cell] += 1
                        add(z, a, True, set_mean[target, m, g, cell],
                            set_square[target, m, g, cell], set_gap[target, m, g, cell])  # fmt: skip
