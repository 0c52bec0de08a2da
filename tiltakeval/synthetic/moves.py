"""Entering and leaving states, with the rows of the event log they leave."""

# ruff: noqa: F403, F405, SIM109
# mypy: disable-error-code="untyped-decorator,no-any-return,type-arg"
from __future__ import annotations

import math

import numpy as np

from tiltakeval.synthetic.compiled import compiled
from tiltakeval.synthetic.exits import worked
from tiltakeval.synthetic.hashing import bits, normal, uniform
from tiltakeval.synthetic.layout import *
from tiltakeval.synthetic.numbers import *


@compiled
def new_row(ev, kind):  # type: ignore[no-untyped-def]
    """Next row of the event log, with kind and person filled in."""
    row = ev[0, 0]
    ev[0, 0] = row + 1
    ev[row, 0] = kind
    ev[row, 1] = ev[0, 1]
    return row


@compiled
def enter_spell(s, t, key, ns, day, ai, w, ev):  # type: ignore[no-untyped-def]
    """Open a registration spell in state ``ns`` on ``day``: rights, fresh component, log row."""
    s[DECIDED] = 0
    s[LAST_P] = -1
    s[SPELL_NO] += 1
    s[SOSIAL] = 1 if uniform(key, t + 2, U_SOSIAL) < w[K_SOSIALHJELP_SHARE] else 0
    if w[K_FRESH] > 0.5:
        s[FRESH] = int(1e6 * w[K_FRESH_SD] * normal(uniform(key, t + 2, U_FRESH)))
    if ns == JS:
        n = worked(s, 24)
        s[DAGP_LEFT] = 0
        if n >= w[K_DAGPENGER_MIN_WORKED] and s[BASE_PAY] > 0:
            base_g = s[BASE_PAY] * n / 24.0 / (g_month(w, t))
            s[DAGP_LEFT] = int(w[K_DAGPENGER_MONTHS_0 if base_g >= 2.0 else K_DAGPENGER_MONTHS_1])
    else:
        s[DAGP_LEFT] = 0
        if s[AAP_UNTIL] <= t:
            u = uniform(key, t + 2, U_RIGHT)
            right = w[K_AAP_RIGHT]
            if u < right:
                s[AAP_UNTIL] = t + 1 + int(w[K_AAP_MONTHS])
                if u < right * w[K_AAP_EXTENDED]:
                    s[AAP_UNTIL] += int(w[K_AAP_EXTENSION])
    if len(ev) > 1:
        row = new_row(ev, EV_SPELL)
        s[SPELL_ROW] = row
        ev[row, G_STATE] = ns - JS
        ev[row, G_START] = day
        ev[row, G_STOP] = -1
        ev[row, G_DECISION] = day + 5 + int(40 * uniform(key, t + 2, U_DAY14))
        u = uniform(key, t + 2, U_GROUP)
        if ns == JS:
            share = 0.35 + 0.25 * (ai[LG3] == 1) + 0.15 * (s[EDUL] == 0)
            ev[row, G_GROUP] = 1 if u < share else 0
        else:
            ev[row, G_GROUP] = 3 if u < 0.15 else 2


@compiled
def enter_job(s, t, key, origin, ai, af, w):  # type: ignore[no-untyped-def]
    """Draw employer, position and full-time pay of a new ordinary job."""
    s[JOB_EMP] = 2 * np.int64(bits(key, t + 2, U_EMP) % np.uint64(20000)) + 1
    kind = 3 if origin == RWC else (1 if ai[SEX] == 1 else 2)
    u = uniform(key, t + 2, U_PCT)
    i = 0
    while i < 6 and u >= w[AT_POS + 7 * kind + i]:
        i += 1
    s[JOB_PCT] = int(w[AT_POS + i])
    age = (t - ai[BIRTH_T]) // 12
    x = af[LNWAGE] + w[AT_EDU + 3 * 2 + s[EDUL]]
    if age < 25:
        x += w[K_WAGE_YOUNG]
    x += w[K_WAGE_NOISE] * normal(uniform(key, t + 2, U_WAGE))
    s[JOB_FT] = int(w[K_FULL_TIME_NOK] * math.exp(x))


@compiled
def end_slot(s, j, t, day, completed, status, ev):  # type: ignore[no-untyped-def]
    """End the programme running in slot j on ``day``; remember it for the after-effect."""
    p = s[RUN + j] - 1
    s[P_END + p] = t
    s[P_DONE + p] = 1 if completed else 2
    s[NPAST] = 1
    s[LAST_P] = p
    s[LAST_END] = t
    s[RUN + j] = 0
    if len(ev) > 1:
        ev[s[RUN_ROW + j], L_STOP] = day
        ev[s[RUN_ROW + j], L_STATUS] = status


@compiled
def lapse(s, ev):  # type: ignore[no-untyped-def]
    """A decision not yet started lapses."""
    for j in range(2):
        if s[PEND + j] > 0:
            if len(ev) > 1:
                ev[s[PEND_ROW + j], L_STATUS] = IKKAKTUELL
            s[PEND + j] = 0


@compiled
def move(s, t, key, ns, off, ai, af, w, ev):  # type: ignore[no-untyped-def]
    """Move to state ``ns`` on day offset ``off`` of month t (its length: the first of the next)."""
    st = s[STATE]
    day = day_of(w, t) + off
    registered = st == JS or st == RWC
    if registered:
        if len(ev) > 1:
            ev[s[SPELL_ROW], G_STOP] = day
        lapse(s, ev)
        if ns != JS and ns != RWC:
            for j in range(2):
                if s[RUN + j] > 0:
                    p = s[RUN + j] - 1
                    done = ns == JOB and prog(w, p, Q_JOB_COMPLETES) > 0.5
                    end_slot(s, j, t, day, done, FULLF if done else DELAVB, ev)
            s[LAST_P] = -1
    s[STATE] = ns
    s[SINCE] = t
    if ns == JOB:
        enter_job(s, t, key, st, ai, af, w)
    elif ns == JS or ns == RWC:
        enter_spell(s, t, key, ns, day, ai, w, ev)
    elif ns == UFORE:
        u = uniform(key, t + 2, U_GRADE)
        s[UGRADE] = 50 if u < w[K_UFORETRYGD_GRADE50] else 100
        s[AAP_UNTIL] = -1
    elif ns == GONE and len(ev) > 1:
        ev[0, 2] = day
