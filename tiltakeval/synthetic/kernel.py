"""One compiled function moves one person one month.

Order of events in a month: (1) a due programme starts, or the person does not show up; (2) exits,
exact competing risks with daily dates; (3) if no exit: decisions, combinations, programme ends;
(4) the month is recorded. Time zero of a decision is the end of its month.
"""

# ruff: noqa: F403, F405, SIM109
# mypy: disable-error-code="untyped-decorator,no-any-return,type-arg"
from __future__ import annotations

from tiltakeval.synthetic.compiled import compiled
from tiltakeval.synthetic.exits import first_exit
from tiltakeval.synthetic.layout import *
from tiltakeval.synthetic.moves import move
from tiltakeval.synthetic.numbers import *
from tiltakeval.synthetic.participation import decisions, ends, start_due
from tiltakeval.synthetic.record import record_month


@compiled
def allowance(s, w):  # type: ignore[no-untyped-def]
    """(slot of a subsidised job, slot of a programme with an allowance); -1 where there is none.

    Kvalifiseringsprogrammet pays its own benefit and goes before tiltakspenger.
    """
    paid, helped = -1, -1
    for j in range(2):
        if s[RUN + j] == 0:
            continue
        p = s[RUN + j] - 1
        if prog(w, p, Q_SUBSIDISED) > 0.5:
            paid = j
        own = p == KVP and prog(w, p, Q_NEUTRAL) < 0.5
        if own or (
            prog(w, p, Q_TILTAKSPENGER) > 0.5 and (helped < 0 or s[RUN + helped] - 1 != KVP)
        ):
            helped = j
    return paid, helped


@compiled
def step(s, t, key, ai, af, w, io, ev):  # type: ignore[no-untyped-def]
    """Move one person through month t; fills the record and what happened in ``io``.

    s: state (N_STATE). ai, af: attributes. w: `Arrays.flat`. io: N_IO, its last part the
    intervention. ev: event log, or one row for none.
    """
    for i in range(N_REC):
        io[i] = 0
    io[AT_RISK] = 0
    io[DECISION] = -1
    io[RANDOMISED] = -1
    st = s[STATE]
    if st == GONE:
        return
    log = len(ev) > 1
    days = day_of(w, t + 1) - day_of(w, t)
    age = (t - ai[BIRTH_T]) // 12
    g = 1 if st == RWC else 0
    registered = st == JS or st == RWC
    # 1 starts
    slot, start = -1, -1
    if registered and (s[PEND] > 0 or s[PEND + 1] > 0):
        slot, start = start_due(s, t, key, g, w, ev)
    frac = (start - 1.0) / (days - 1.0) if start >= 1 else 0.0
    busy = s[RUN] > 0 or s[RUN + 1] > 0 or s[PEND] > 0 or s[PEND + 1] > 0
    # 2 exits
    ns, when = first_exit(s, t, key, st, g, age, ai, af, w, slot, frac)
    if ns == GONE + 1:  # emigrated
        ns = GONE
        if log:
            ev[0, 3] = 1
    off = -1
    if ns >= 0:
        off = min(1 + int(when * (days - 1)), days - 1)
        if slot >= 0 and off <= start:  # left before the programme began: the decision lapses
            if log:
                ev[s[RUN_ROW + slot], L_STATUS] = IKKAKTUELL
            s[RUN + slot] = 0
            slot = -1
    if slot >= 0:
        p = s[RUN + slot] - 1
        if p == FAG or p == HU:
            s[EDU_START] = t
        if log:
            row = s[RUN_ROW + slot]
            ev[row, L_STATUS] = GJENN
            ev[row, L_START] = day_of(w, t) + start
            if p in (LTS, VLTS, ARB):
                ev[row, L_EMP] = s[RUN_EMP + slot]
    paid, helped = allowance(s, w)
    sub_emp, sub_pct, sub_from, tp_p, tp_from = 0, 0, 0, -1, 0
    if paid >= 0:
        sub_emp, sub_pct = s[RUN_EMP + paid], s[RUN_PCT + paid]
        sub_from = start if paid == slot else 0
    if helped >= 0:
        tp_p = s[RUN + helped] - 1
        tp_from = start if helped == slot else 0
    to0, to1 = days, days
    old_emp, old_pct, old_ft = s[JOB_EMP], s[JOB_PCT], s[JOB_FT]
    if ns >= 0:
        if ns != JS and ns != RWC:
            to0, to1 = off, off
        move(s, t, key, ns, off, ai, af, w, ev)
    elif registered:
        # 3 decisions, combinations, ends
        if s[SINCE] < t and 18 <= age <= 66:
            decisions(s, t, key, g, age, days, busy, ai, af, w, io, ev)
        to0, to1 = ends(s, t, key, g, age, days, slot, ai, af, w, ev)
    # 4 record
    sub_to = to1 if paid == 1 else to0
    tp_to = to1 if helped == 1 else to0
    record_month(
        s, t, st, ns, off, days, age, w, io,
        old_emp, old_pct, old_ft, sub_emp, sub_pct, sub_from, sub_to, tp_p, tp_from, tp_to,
    )  # fmt: skip
