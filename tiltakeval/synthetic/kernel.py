"""One compiled function moves one person one month.

Order of events in a month: (1) a due programme starts, or the person does not show up; (2) exits,
exact competing risks with daily dates; (3) if no exit: decisions, combinations, programme ends;
(4) the month is recorded. Time zero of a decision is the end of its month.
"""

# mypy: disable-error-code="untyped-decorator,no-any-return,type-arg"
from __future__ import annotations

import math

import numpy as np
from numba import njit

from tiltakeval.synthetic.assignment import choose
from tiltakeval.synthetic.hashing import bits, normal, uniform
from tiltakeval.synthetic.layout import *  # noqa: F403
from tiltakeval.synthetic.numbers import *  # noqa: F403
from tiltakeval.synthetic.record import record_month


@njit(cache=True, nogil=True)
def job_factor(s, t, w, g, ai, pending_slot):  # type: ignore[no-untyped-def]
    """Programme factor on job finding; ``pending_slot`` counts as not yet started (-1 none)."""
    factor = 1.0
    running = False
    for j in range(2):
        if s[RUN + j] > 0 and j != pending_slot:
            p = s[RUN + j] - 1
            running = True
            if t - s[RUN_T + j] < prog(w, p, Q_EARLY_MONTHS):
                factor *= prog(w, p, Q_EARLY)
            else:
                factor *= prog(w, p, Q_LATE_0 + g)
    if not running:
        for j in range(2):
            if s[PEND + j] > 0:
                factor *= prog(w, s[PEND + j] - 1, Q_WAITING)
            elif j == pending_slot and s[RUN + j] > 0:
                factor *= prog(w, s[RUN + j] - 1, Q_WAITING)
    if s[NPAST] > 0:
        total = 0.0
        for p in range(N_PROGRAMMES):
            if s[P_END + p] >= 0:
                tau = t - s[P_END + p] - 1
                share = 1.0 if s[P_DONE + p] == 1 else prog(w, p, Q_DROPPED_B)
                m = 1.0
                if ai[LG3] == 1:
                    m *= prog(w, p, Q_MULTIPLIER_LANDGRUPPE3)
                if ai[EDU0] == 0:
                    m *= prog(w, p, Q_MULTIPLIER_GRUNNSKOLE)
                fade = math.exp(-tau / prog(w, p, Q_KAPPA))
                rise = 1.0 - math.exp(-(tau + 1.0) / prog(w, p, Q_RISE))
                total += prog(w, p, Q_B_0 + g) * share * m * fade * rise
        factor *= math.exp(total)
    return factor


@njit(cache=True, nogil=True)
def uforetrygd_factor(s, w, pending_slot):  # type: ignore[no-untyped-def]
    """Factor of a running programme on entry to uforetrygd (the smallest of those running)."""
    factor = 1.0
    for j in range(2):
        if s[RUN + j] > 0 and j != pending_slot:
            factor = min(factor, prog(w, s[RUN + j] - 1, Q_UFORETRYGD))
    return factor


@njit(cache=True, nogil=True, inline="always")
def latent(key, t, purpose, before, after, frac):  # type: ignore[no-untyped-def]
    """Latent time in [0, 1) of a cause with hazard ``before`` up to ``frac``, then ``after``; 2 if none."""
    total = before * frac + after * (1.0 - frac)
    if total <= 0.0:
        return 2.0
    u = uniform(key, t + 2, purpose)
    if u < 1.0 - total:  # then u < exp(-total) too
        return 2.0
    e = -math.log(u)
    if e >= total:
        return 2.0
    if frac > 0.0 and e < before * frac:
        return e / before
    return frac + (e - before * frac) / after


@njit(cache=True, nogil=True)
def worked(s, months):  # type: ignore[no-untyped-def]
    """Months with an ordinary job among the last ``months`` (at most 60)."""
    h = s[HIST] & ((1 << months) - 1)
    n = 0
    while h != 0:
        h &= h - 1
        n += 1
    return n


@njit(cache=True, nogil=True)
def person_f(s, age, ai, af, w):  # type: ignore[no-untyped-def]
    """ln f: the person's own part of job finding, without cycle, duration and history."""
    x = af[LNF] + w[AT_AGE + age] + w[AT_EDU + 3 * 0 + s[EDUL]]
    return x + s[FRESH] * 1e-6


@njit(cache=True, nogil=True)
def new_row(ev, kind):  # type: ignore[no-untyped-def]
    """Next row of the event log, with kind and person filled in."""
    row = ev[0, 0]
    ev[0, 0] = row + 1
    ev[row, 0] = kind
    ev[row, 1] = ev[0, 1]
    return row


@njit(cache=True, nogil=True)
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


@njit(cache=True, nogil=True)
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


@njit(cache=True, nogil=True)
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


@njit(cache=True, nogil=True)
def lapse(s, ev):  # type: ignore[no-untyped-def]
    """A decision not yet started lapses."""
    for j in range(2):
        if s[PEND + j] > 0:
            if len(ev) > 1:
                ev[s[PEND_ROW + j], L_STATUS] = IKKAKTUELL
            s[PEND + j] = 0


@njit(cache=True, nogil=True)
def move(s, t, key, ns, off, ai, af, w, ev):  # type: ignore[no-untyped-def]
    """Move to state ``ns`` on day offset ``off`` of month t (the length of the month: the next first)."""
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


@njit(cache=True, nogil=True)
def school_start(t, w):  # type: ignore[no-untyped-def]
    """Next August or January after month t."""
    d = t + 1
    while True:
        m = (moy(w, 0) + d) % 12
        if m == 7 or m == 0:
            return d
        d += 1


@njit(cache=True, nogil=True)
def decide(s, t, key, p, j, g, w, ev):  # type: ignore[no-untyped-def]
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


@njit(cache=True, nogil=True)
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


@njit(cache=True, nogil=True)
def step(s, t, key, ai, af, w, io, ev):  # type: ignore[no-untyped-def]
    """Move one person through month t; fills ``rec`` (N_REC) and ``info`` (N_INFO)."""
    for i in range(N_REC):
        io[i] = 0
    io[AT_RISK] = 0
    io[DECISION] = -1
    io[RANDOMISED] = -1
    st = s[STATE]
    if st == GONE:
        return
    days = day_of(w, t + 1) - day_of(w, t)
    age = (t - ai[BIRTH_T]) // 12
    g = 1 if st == RWC else 0
    registered = st == JS or st == RWC
    # 1 starts
    slot, start = -1, -1
    if registered and (s[PEND] > 0 or s[PEND + 1] > 0):
        slot, start = start_due(s, t, key, g, w, ev)
        if slot >= 0 and len(ev) > 1:
            ev[s[RUN_ROW + slot], L_START] = day_of(w, t) + start
            if s[RUN + slot] - 1 in (LTS, VLTS, ARB):
                ev[s[RUN_ROW + slot], L_EMP] = s[RUN_EMP + slot]
    frac = (start - 1.0) / (days - 1.0) if start >= 1 else 0.0
    busy = s[RUN] > 0 or s[RUN + 1] > 0 or s[PEND] > 0 or s[PEND + 1] > 0
    # 2 exits
    ns, when = _exit(s, t, key, st, g, age, ai, af, w, slot, frac)
    if ns == GONE + 1:  # emigrated
        ns = GONE
        if len(ev) > 1:
            ev[0, 3] = 1
    off = -1
    sub_emp, sub_pct, sub_from, sub_to, sub_slot = 0, 0, 0, 0, -1
    for j in range(2):
        if s[RUN + j] > 0 and prog(w, s[RUN + j] - 1, Q_SUBSIDISED) > 0.5:
            sub_emp, sub_pct = s[RUN_EMP + j], s[RUN_PCT + j]
            sub_from = start if j == slot else 0
            sub_to = days
            sub_slot = j
    tp_p = -1  # programme that may give an allowance this month
    tp_from, tp_to = 0, days
    for j in range(2):
        if s[RUN + j] > 0 and tp_p != KVP:
            p = s[RUN + j] - 1
            if prog(w, p, Q_TILTAKSPENGER) > 0.5 or (p == KVP and prog(w, p, Q_NEUTRAL) < 0.5):
                tp_p = p
                tp_from = start if j == slot else 0
    old_emp, old_pct, old_ft = s[JOB_EMP], s[JOB_PCT], s[JOB_FT]
    converted = False
    if ns >= 0:
        off = 1 + int(when * (days - 1))
        off = min(off, days - 1)
        if slot >= 0:
            if when < frac:  # left before the programme began: the decision lapses
                if sub_emp > 0 and sub_slot == slot:
                    sub_emp = 0
                if tp_p == s[RUN + slot] - 1:
                    tp_p = -1
                if len(ev) > 1:
                    row = s[RUN_ROW + slot]
                    ev[row, L_START] = -1
                    ev[row, L_EMP] = -1
                    ev[row, L_STATUS] = IKKAKTUELL
                s[RUN + slot] = 0
                slot = -1
            else:
                off = max(off, start + 1)
        if ns != JS and ns != RWC:
            sub_to = min(sub_to, off)
            tp_to = min(tp_to, off)
    if slot >= 0:
        p = s[RUN + slot] - 1
        if p == FAG or p == HU:
            s[EDU_START] = t
        if len(ev) > 1:
            ev[s[RUN_ROW + slot], L_STATUS] = GJENN
    if ns >= 0:
        move(s, t, key, ns, off, ai, af, w, ev)
    elif registered:
        # 3 decisions, combinations, ends
        if s[SINCE] < t and 18 <= age <= 66:
            if not busy:
                first = s[DECIDED] == 0
                if first:
                    io[AT_RISK] = 1
                p = -1
                if io[IV_FORCE_T] == t:
                    p = io[IV_FORCE_P]
                    if p == IPS and office(w, ai[OFFICE], OF_TRIAL) <= t <= office(w, ai[OFFICE], OF_TRIAL_END):
                        s[TRIAL] = 1
                elif io[IV_SUPPRESS_T] != t:
                    p = choose(s, t, key, g, age, ai, af, w, io, worked(s, 24), False)
                if (
                    p == IPS
                    and s[TRIAL] < 0
                    and office(w, ai[OFFICE], OF_TRIAL) <= t <= office(w, ai[OFFICE], OF_TRIAL_END)
                    and io[IV_FORCE_T] != t
                ):
                    arm = 1 if uniform(key, t + 2, U_TRIAL) < 0.5 else 0
                    if io[IV_ARM_T] == t:
                        arm = io[IV_ARM]
                    s[TRIAL] = arm
                    s[RANDOMISED_T] = t
                    io[RANDOMISED] = arm
                    if len(ev) > 1:
                        row = new_row(ev, EV_RAND)
                        ev[row, 2] = day_of(w, t) + int(
                            days * uniform(key, t + 2, U_DAY)
                        )
                        ev[row, 3] = arm
                    if arm == 0:
                        s[BARRED_UNTIL] = t + int(w[K_TRIAL_BAR])
                        p = -1
                if p >= 0:
                    decide(s, t, key, p, 0, g, w, ev)
                    if first:
                        io[DECISION] = p
            elif (s[RUN] > 0) != (s[RUN + 1] > 0) and s[PEND] == 0 and s[PEND + 1] == 0:
                p = choose(s, t, key, g, age, ai, af, w, io, 0, True)
                if p >= 0:
                    decide(s, t, key, p, 1 if s[RUN] > 0 else 0, g, w, ev)
        for j in range(2):
            if s[RUN + j] > 0 and (j != slot or s[RUN_END + j] <= t):
                p = s[RUN + j] - 1
                if s[RUN_END + j] <= t:
                    failed = uniform(key, t + 2, U_FAIL) < prog(w, p, Q_FAIL)
                    subsidised = prog(w, p, Q_SUBSIDISED) > 0.5
                    emp, pct = s[RUN_EMP + j], s[RUN_PCT + j]
                    end_slot(
                        s, j, t, day_of(w, t + 1), not failed, DELAVB if failed else FULLF, ev
                    )
                    if (p == FAG or p == HU) and not failed and prog(w, p, Q_NEUTRAL) < 0.5:
                        level = 1 if p == FAG else 2
                        if level > s[EDUL]:
                            s[EDUL] = level
                            if len(ev) > 1:
                                row = new_row(ev, EV_EDU)
                                ev[row, 2] = day_of(w, t + 1) - 1
                                ev[row, 3] = level
                    if subsidised and prog(w, p, Q_CONVERT_0 + g) > 0.0 and not converted:
                        c = prog(w, p, Q_CONVERT_0 + g)
                        if s[P_DONE + ARB] == 1 or s[P_DONE + AMO] == 1 or s[P_DONE + FAG] == 1 or s[P_DONE + HU] == 1:
                            c *= 1.25
                        x = person_f(s, age, ai, af, w) + cond(w, ai[OFFICE], t)
                        if uniform(key, t + 2, U_CONVERT) < 1.0 - math.exp(
                            -c * math.exp(0.5 * x)
                        ):
                            converted = True
                            move(s, t, key, JOB, days, ai, af, w, ev)
                            s[JOB_EMP] = emp
                            s[JOB_PCT] = pct
                            break
                elif uniform(key, t + 2, U_DROP) < prog(w, p, Q_DROP_OUT):
                    stop = 1 + int((days - 1) * uniform(key, t + 2, U_STOPDAY))
                    if sub_emp > 0 and s[RUN_EMP + j] == sub_emp:
                        sub_to = stop
                    if tp_p == p:
                        tp_to = stop
                    end_slot(s, j, t, day_of(w, t) + stop, False, DELAVB, ev)
    # 4 record
    record_month(
        s, t, st, ns, off, days, age, ai, w, io,
        old_emp, old_pct, old_ft, sub_emp, sub_pct, sub_from, sub_to, tp_p, tp_from, tp_to,
        converted,
    )  # fmt: skip


@njit(cache=True, nogil=True)
def _exit(s, t, key, st, g, age, ai, af, w, slot, frac):  # type: ignore[no-untyped-def]
    """First exit of the month: (new state or -1, time in the month)."""
    k = w
    ns, best = -1, 2.0
    if age >= 67 and st != OUT:
        return OUT, 0.0
    # death, emigration
    lam = k[K_DEATH] * math.exp(0.07 * (age - 40))
    x = latent(key, t, U_DEATH, lam, lam, 0.0)
    if x < best:
        ns, best = GONE, x
    lam = k[K_EMIGRATION_0 if ai[COUNTRY] == 0 else K_EMIGRATION_1]
    x = latent(key, t, U_EMIG, lam, lam, 0.0)
    if x < best:
        ns, best = GONE + 1, x
    if age >= 67 or st == UFORE:
        return ns, best
    before_entry = t < ai[ENTRY]
    if before_entry and age < 17:
        return ns, best
    if t == ai[ENTRY] and st != JS and st != RWC:
        u = uniform(key, t + 2, U_REG)
        if u < best:
            ns, best = ai[ENTRY_STATE], u
        return ns, best
    o = ai[OFFICE]
    v2 = af[V2]
    if st == JOB:
        tenure = t - s[SINCE]
        lam = k[K_JOB_LOSS_0] + k[K_JOB_LOSS_1] * math.exp(-tenure / k[K_JOB_LOSS_2])
        if before_entry:
            lam = k[K_BEFORE_ENTRY_LOSS]
        lam *= math.exp(k[K_JOB_LOSS_V1] * af[V1] + w[AT_EDU + 3 * 1 + s[EDUL]] - 0.5 * cond(w, o, t))
        if s[NPAST] > 0:
            for p in range(N_PROGRAMMES):
                if s[P_DONE + p] == 1:
                    lam *= prog(w, p, Q_JOB_LOSS)
        x = latent(key, t, U_JOB, lam, lam, 0.0)
        if x < best:
            best = x
            u = uniform(key, t + 2, U_DEST)
            ns = JS
            if before_entry:
                ns = OUT
            else:
                sick = k[K_LOSS_TO_RWC] + k[K_LOSS_TO_RWC_V2] * v2
                if ai[DIAG] > 0:
                    sick += k[K_LOSS_TO_RWC_DIAGNOSIS]
                p_out, p_edu = k[K_LOSS_TO_OUT], k[K_LOSS_TO_EDUCATION]
                if u < p_out:
                    ns = OUT
                elif u < p_out + p_edu:
                    ns = EDU
                elif (u - p_out - p_edu) / (1.0 - p_out - p_edu) < 1.0 / (1.0 + math.exp(-sick)):
                    ns = RWC
        return ns, best
    if st == OUT:
        lam = k[K_BEFORE_ENTRY_JOB] if before_entry else k[K_OUT_JOB]
        lam *= math.exp(1.5 * af[V1] if before_entry else af[V1])
        x = latent(key, t, U_JOB, lam, lam, 0.0)
        if x < best:
            ns, best = JOB, x
        if not before_entry:
            x = latent(key, t, U_OUT, k[K_OUT_JOBSEEKER], k[K_OUT_JOBSEEKER], 0.0)
            if x < best:
                ns, best = JS, x
            lam = k[K_OUT_RWC] * math.exp(v2)
            x = latent(key, t, U_HEALTH, lam, lam, 0.0)
            if x < best:
                ns, best = RWC, x
            lam = k[K_OUT_EDUCATION] * (1.0 if age < 30 else 0.2)
            x = latent(key, t, U_EDU, lam, lam, 0.0)
            if x < best:
                ns, best = EDU, x
        return ns, best
    if st == EDU:
        x = latent(key, t, U_JOB, k[K_EDUCATION_END], k[K_EDUCATION_END], 0.0)
        if x < best:
            best = x
            ns = JOB if uniform(key, t + 2, U_DEST) < k[K_EDUCATION_TO_JOB] else OUT
        return ns, best
    # registered
    d = t - s[SINCE]
    if st == JS:
        shape = k[K_JOB_DURATION_0] + k[K_JOB_DURATION_1] * math.exp(-d / k[K_JOB_DURATION_2])
    else:
        shape = k[K_JOB_DURATION_RWC_0] + k[K_JOB_DURATION_RWC_1] * math.exp(
            -d / k[K_JOB_DURATION_RWC_2]
        )
    history = k[K_JOB_HISTORY] * (worked(s, 24) - k[K_JOB_HISTORY_CENTRE])
    lam = k[K_JOB_0 + g] * shape * w[AT_JOB_SEASON + moy(w, t)]
    lam *= math.exp(person_f(s, age, ai, af, w) + cond(w, o, t) + history)
    after = lam * job_factor(s, t, w, g, ai, -1)
    before = lam * job_factor(s, t, w, g, ai, slot) if frac > 0.0 else after
    x = latent(key, t, U_JOB, before, after, frac)
    if x < best:
        ns, best = JOB, x
    x = latent(key, t, U_OUT, k[K_OUT_0 + g], k[K_OUT_0 + g], 0.0)
    if x < best:
        ns, best = OUT, x
    lam = k[K_EDUCATION_0 + g] * (1.0 if age < 30 else 0.15)
    x = latent(key, t, U_EDU, lam, lam, 0.0)
    if x < best:
        ns, best = EDU, x
    sign = 1.0 if st == JS else -1.0
    lam = k[K_TO_OTHER_0 + g] * math.exp(
        sign * (k[K_TO_OTHER_V2] * v2 + k[K_TO_OTHER_DIAGNOSIS] * (ai[DIAG] > 0))
    )
    x = latent(key, t, U_HEALTH, lam, lam, 0.0)
    if x < best:
        ns, best = (RWC if st == JS else JS), x
    if st == RWC:
        low, high = k[K_UFORETRYGD_DURATION_0], k[K_UFORETRYGD_DURATION_1]
        mid, width = k[K_UFORETRYGD_DURATION_2], k[K_UFORETRYGD_DURATION_3]
        shape = low + (high - low) / (1.0 + math.exp(-(d - mid) / width))
        lam = k[K_UFORETRYGD] * shape * math.exp(
            k[K_UFORETRYGD_V2] * v2
            + (k[K_UFORETRYGD_AGE50] if age >= 50 else 0.0)
            + (k[K_UFORETRYGD_AGE30] if age < 30 else 0.0)
        )
        after = lam * uforetrygd_factor(s, w, -1)
        before = lam * uforetrygd_factor(s, w, slot) if frac > 0.0 else after
        x = latent(key, t, U_UFORE, before, after, frac)
        if x < best:
            ns, best = UFORE, x
    return ns, best
