"""Sums of the eligible's outcomes by office and month, with a roll-out and without it.

Both futures of a person have the same keyed draws; they part in the month the programme comes to the
office. Everything is added up as 64-bit integers.
"""

# ruff: noqa: F403, F405
# mypy: disable-error-code="untyped-decorator,no-any-return,type-arg"
from __future__ import annotations

import numpy as np

from tiltakeval.synthetic.compiled import compiled
from tiltakeval.synthetic.events import new_io
from tiltakeval.synthetic.hashing import person_key
from tiltakeval.synthetic.kernel import step
from tiltakeval.synthetic.layout import *
from tiltakeval.synthetic.persons import draw_person, initial_state
from tiltakeval.synthetic.truth_kernel import outcome

(FIXED, CURRENT, ENTERING) = range(3)
#: Positions in the rule: state, who, months from base month to outcome, ages, first base month.
(R_STATE, R_WHO, R_AFTER, R_AGE_FROM, R_AGE_TO, R_FIRST, R_LAST) = range(7)
N_RULE = 7


@compiled
def eligible(s, before, since, t, rule, barred, helped, ai, io):  # type: ignore[no-untyped-def]
    """Whether month t, just recorded, makes the person eligible; ``before``, ``since``: state at its
    start, and the month that was entered. Who keeps a subsidised job at the month's end is in it then,
    and was registered through the month."""
    if before != rule[R_STATE] or io[REG_END] == 0:
        return False
    if s[STATE] != JOB and (s[STATE] != before or s[SINCE] != since):
        return False
    if rule[R_WHO] == ENTERING and since != t - 1:
        return False
    age = (t - ai[BIRTH_T]) // 12
    if age < rule[R_AGE_FROM] or age > rule[R_AGE_TO]:
        return False
    some = False
    any_helps = False
    for b in range(len(barred)):
        if io[B_DAGP + b] > 0:
            if barred[b] == 1:
                return False
            if helped[b] == 1:
                some = True
        if helped[b] == 1:
            any_helps = True
    return some or not any_helps


@compiled
def rollout_block(  # type: ignore[no-untyped-def]
    seed, first, n, w, starts, programme, k0, k1, rule, barred, helped, chosen, count, total
):
    """Add persons ``first`` .. ``first + n - 1``: outcomes of months k0 .. k1.

    starts i8[O]: month from which the programme is open at the office; rule i8[N_RULE]; barred, helped
    i8[6] of ``BENEFITS``. count i8[2, O, T], total i8[2, O, T, K], path 0 with the roll-out, 1 without.
    """
    months = k1 - k0 + 1
    s = np.zeros((2, N_STATE), dtype=np.int64)
    ai = np.zeros(N_AI, dtype=np.int64)
    af = np.zeros(N_AF, dtype=np.float64)
    io, alt = new_io(), new_io()
    alt[IV_BAR_P] = programme
    alt[IV_BAR_FROM] = 0
    ev = np.zeros((1, 4), dtype=np.int64)
    begin = min(k0, rule[R_FIRST])
    width = k1 - begin + 1
    y = np.zeros((2, width, len(chosen)), dtype=np.int64)
    inside = np.zeros((2, width), dtype=np.int64)
    for i in range(n):
        key = person_key(seed, first + i)
        draw_person(key, ai, af, w)
        initial_state(s[0], key, ai, af, w, ev)
        o = ai[OFFICE]
        parted = False
        for t in range(k1 + 1):
            if not parted and t >= starts[o]:
                s[1] = s[0]
                parted = True
            for path in range(2 if parted else 1):
                now, seen = s[path], io if path == 0 else alt
                before, since = now[STATE], now[SINCE]
                step(now, t, key, ai, af, w, seen, ev)
                if t >= begin:
                    at = t - begin
                    inside[path, at] = 0
                    if (
                        t >= rule[R_FIRST]
                        and t <= rule[R_LAST]
                        and eligible(now, before, since, t, rule, barred, helped, ai, seen)
                    ):
                        inside[path, at] = 1
                    for c in range(len(chosen)):
                        y[path, at, c] = outcome(seen, now, t, chosen[c])
            if not parted and t >= begin:
                inside[1, t - begin] = inside[0, t - begin]
                for c in range(len(chosen)):
                    y[1, t - begin, c] = y[0, t - begin, c]
        for path in range(2):
            for m in range(months):
                base = k0 + m - rule[R_AFTER] - begin
                if rule[R_WHO] == FIXED:
                    base = rule[R_FIRST] - begin
                if inside[path, base] == 1:
                    count[path, o, m] += 1
                    for c in range(len(chosen)):
                        total[path, o, m, c] += y[path, k0 + m - begin, c]
