"""Programmes: decision, waiting, start, trial, combination, end."""

# ruff: noqa: F403, F405, SIM109
# mypy: disable-error-code="untyped-decorator,no-any-return,type-arg"
from __future__ import annotations

import math

import numpy as np

from tiltakeval.synthetic.assignment import choose
from tiltakeval.synthetic.compiled import compiled
from tiltakeval.synthetic.exits import person_f, worked
from tiltakeval.synthetic.hashing import bits, uniform
from tiltakeval.synthetic.layout import *
from tiltakeval.synthetic.moves import end_slot, move, new_row
from tiltakeval.synthetic.numbers import *


@compiled
def school_start(t, w):  # type: ignore[no-untyped-def]
    """Next August or January after month t."""
    d = t + 1
    while True:
        m = (moy(w, 0) + d) % 12
        if m == 7 or m == 0:
            return d
        d += 1


@compiled
def decide(s, t, key, p, j, w, ev):  # type: ignore[no-untyped-def]
    """A decision for programme p in slot j: waiting time, log row."""
    s[PEND + j] = p + 1
    s[DECIDED] = 1
    if prog(w, p, Q_SCHOOL) > 0.5:
        s[PEND_T + j] = school_start(t, w)
    else:
        q = (prog(w, p, Q_WAIT) - 1.0) / prog(w, p, Q_WAIT)
        extra = 0
        if q > 0.0:
            extra = min(11, int(math.log(uniform(key, t + 2, U_WAIT)) / math.log(q)))
        s[PEND_T + j] = t + 1 + extra
    if len(ev) > 1:
        row = new_row(ev, EV_PART)
        s[PEND_ROW + j] = row
        ev[row, L_PROG] = p
        days = day_of(w, t + 1) - day_of(w, t)
        ev[row, L_DECIDED] = day_of(w, t) + int(days * uniform(key, t + 2, U_DAY))
        ev[row, L_START] = -1
        ev[row, L_STOP] = -1
        ev[row, L_STATUS] = TILBUD
        ev[row, L_SPELL] = s[SPELL_ROW]
        ev[row, L_EMP] = -1


@compiled
def start_due(s, t, key, g, w, ev):  # type: ignore[no-untyped-def]
    """Start the programme due in month t. Returns (slot, day offset), slot -1 when none starts."""
    for j in range(2):
        if s[PEND + j] > 0 and s[PEND_T + j] == t:
            p = s[PEND + j] - 1
            if uniform(key, t + 2, U_NOSHOW) < w[K_NO_SHOW]:
                s[PEND + j] = 0
                if len(ev) > 1:
                    ev[s[PEND_ROW + j], L_STATUS] = IKKEM
                continue
            u = uniform(key, t + 2, U_STARTDAY)
            if prog(w, p, Q_SCHOOL) > 0.5:
                off = 13 + int(8 * u) if moy(w, t) == 7 else 2 + int(8 * u)
            else:
                off = 0 if u < 0.3 else int(24 * (u - 0.3) / 0.7)
            s[PEND + j] = 0
            s[RUN + j] = p + 1
            s[RUN_T + j] = t
            length = prog(w, p, Q_PLANNED_0 + g) * (0.4 + 1.2 * uniform(key, t + 2, U_PLAN))
            if prog(w, p, Q_SCHOOL) > 0.5:
                length = max(10.0, length)
            s[RUN_END + j] = t + int(min(max(1.0, length + 0.5), prog(w, p, Q_CAP_0 + g))) - 1
            s[RUN_ROW + j] = s[PEND_ROW + j]
            s[RUN_EMP + j] = 2 * np.int64(bits(key, t + 2, U_EMP) % np.uint64(20000)) + 2
            s[RUN_PCT + j] = 100
            if prog(w, p, Q_SUBSIDISED) > 0.5:
                share = w[K_SUBSIDISED_PCT_0 + g]
                if p == VLTS:
                    share = w[K_SUBSIDISED_PCT_PERMANENT]
                if uniform(key, t + 2, U_SPCT) < share:
                    s[RUN_PCT + j] = 50
            return j, off
    return -1, -1


@compiled
def in_trial(t, ai, w):  # type: ignore[no-untyped-def]
    """Whether the person's office randomises referrals to IPS in month t."""
    o = ai[OFFICE]
    return office(w, o, OF_TRIAL) <= t <= office(w, o, OF_TRIAL_END)


@compiled
def randomise(s, t, key, days, w, io, ev):  # type: ignore[no-untyped-def]
    """Draw the trial arm of a referral (1 offered, 0 control, barred for a while)."""
    arm = 1 if uniform(key, t + 2, U_TRIAL) < 0.5 else 0
    if io[IV_ARM_T] == t:
        arm = io[IV_ARM]
    s[TRIAL] = arm
    io[RANDOMISED] = arm
    if arm == 0:
        s[BARRED_UNTIL] = t + int(w[K_TRIAL_BAR])
    if len(ev) > 1:
        row = new_row(ev, EV_RAND)
        ev[row, 2] = day_of(w, t) + int(days * uniform(key, t + 2, U_DAY))
        ev[row, 3] = arm
    return arm


@compiled
def decisions(s, t, key, g, age, days, busy, ai, af, w, io, ev):  # type: ignore[no-untyped-def]
    """Decisions of a registered person who did not leave in month t: first, later, beside another."""
    if not busy:
        first = s[DECIDED] == 0
        if first:
            io[AT_RISK] = 1
        p = -1
        if io[IV_FORCE_T] == t:
            p = io[IV_FORCE_P]
            if p == IPS and in_trial(t, ai, w):
                s[TRIAL] = 1
        elif io[IV_SUPPRESS_T] != t:
            p = choose(s, t, key, g, age, ai, af, w, io, worked(s, 24), False)
            if (
                p == IPS
                and s[TRIAL] < 0
                and in_trial(t, ai, w)
                and randomise(s, t, key, days, w, io, ev) == 0
            ):
                p = -1
        if p >= 0:
            decide(s, t, key, p, 0, w, ev)
            if first:
                io[DECISION] = p
    elif (s[RUN] > 0) != (s[RUN + 1] > 0) and s[PEND] == 0 and s[PEND + 1] == 0:
        p = choose(s, t, key, g, age, ai, af, w, io, 0, True)
        if p >= 0:
            decide(s, t, key, p, 1 if s[RUN] > 0 else 0, w, ev)


@compiled
def complete(s, j, t, key, g, age, days, ai, af, w, ev):  # type: ignore[no-untyped-def]
    """The programme in slot j reaches its planned end. True if its subsidised job is kept."""
    p = s[RUN + j] - 1
    failed = uniform(key, t + 2, U_FAIL) < prog(w, p, Q_FAIL)
    emp, pct = s[RUN_EMP + j], s[RUN_PCT + j]
    end_slot(s, j, t, day_of(w, t + 1), not failed, DELAVB if failed else FULLF, ev)
    if (p == FAG or p == HU) and not failed and prog(w, p, Q_NEUTRAL) < 0.5:
        level = 1 if p == FAG else 2
        if level > s[EDUL]:
            s[EDUL] = level
            if len(ev) > 1:
                row = new_row(ev, EV_EDU)
                ev[row, 2] = day_of(w, t + 1) - 1
                ev[row, 3] = level
    c = prog(w, p, Q_CONVERT_0 + g)
    if prog(w, p, Q_SUBSIDISED) < 0.5 or c <= 0.0:
        return False
    if s[P_DONE + ARB] == 1 or s[P_DONE + AMO] == 1 or s[P_DONE + FAG] == 1 or s[P_DONE + HU] == 1:
        c *= w[K_CONVERT_AFTER_TRAINING]
    x = person_f(s, age, ai, af, w) + cond(w, ai[OFFICE], t)
    if uniform(key, t + 2, U_CONVERT) >= 1.0 - math.exp(-c * math.exp(0.5 * x)):
        return False
    move(s, t, key, JOB, days, ai, af, w, ev)
    s[JOB_EMP] = emp
    s[JOB_PCT] = pct
    return True


@compiled
def ends(s, t, key, g, age, days, started, ai, af, w, ev):  # type: ignore[no-untyped-def]
    """Planned ends and drop-outs of month t. Returns the day offsets at which slots 0 and 1 stop."""
    to0, to1 = days, days
    for j in range(2):
        if s[RUN + j] == 0:
            continue
        if s[RUN_END + j] <= t:
            if complete(s, j, t, key, g, age, days, ai, af, w, ev):
                break
        elif j != started and uniform(key, t + 2, U_DROP) < prog(w, s[RUN + j] - 1, Q_DROP_OUT):
            stop = 1 + int((days - 1) * uniform(key, t + 2, U_STOPDAY))
            end_slot(s, j, t, day_of(w, t) + stop, False, DELAVB, ev)
            if j == 0:
                to0 = stop
            else:
                to1 = stop
    return to0, to1
