"""Hazards of leaving a state: exact competing risks within a month."""

# ruff: noqa: F403, F405
# mypy: disable-error-code="untyped-decorator,no-any-return,type-arg"
from __future__ import annotations

import math

from tiltakeval.synthetic.compiled import compiled
from tiltakeval.synthetic.hashing import uniform
from tiltakeval.synthetic.layout import *
from tiltakeval.synthetic.numbers import *


@compiled
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


@compiled
def uforetrygd_factor(s, w, pending_slot):  # type: ignore[no-untyped-def]
    """Factor of a running programme on entry to uforetrygd (the smallest of those running)."""
    factor = 1.0
    for j in range(2):
        if s[RUN + j] > 0 and j != pending_slot:
            factor = min(factor, prog(w, s[RUN + j] - 1, Q_UFORETRYGD))
    return factor


@compiled
def latent(key, t, purpose, before, after, frac):  # type: ignore[no-untyped-def]
    """Latent time in [0, 1) of a cause: hazard ``before`` up to ``frac``, then ``after``; 2 if none."""
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


@compiled
def worked(s, months):  # type: ignore[no-untyped-def]
    """Months with an ordinary job among the last ``months`` (at most 60)."""
    h = s[HIST] & ((1 << months) - 1)
    n = 0
    while h != 0:
        h &= h - 1
        n += 1
    return n


@compiled
def person_f(s, age, ai, af, w):  # type: ignore[no-untyped-def]
    """ln f: the person's own part of job finding, without cycle, duration and history."""
    x = af[LNF] + w[AT_AGE + age] + w[AT_EDU + 3 * 0 + s[EDUL]]
    return x + s[FRESH] * 1e-6


@compiled
def first_exit(s, t, key, st, g, age, ai, af, w, slot, frac):  # type: ignore[no-untyped-def]
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
        lam *= math.exp(
            k[K_JOB_LOSS_V1] * af[V1] + w[AT_EDU + 3 * 1 + s[EDUL]] - 0.5 * cond(w, o, t)
        )
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
        lam = (
            k[K_UFORETRYGD]
            * shape
            * math.exp(
                k[K_UFORETRYGD_V2] * v2
                + (k[K_UFORETRYGD_AGE50] if age >= 50 else 0.0)
                + (k[K_UFORETRYGD_AGE30] if age < 30 else 0.0)
            )
        )
        after = lam * uforetrygd_factor(s, w, -1)
        before = lam * uforetrygd_factor(s, w, slot) if frac > 0.0 else after
        x = latent(key, t, U_UFORE, before, after, frac)
        if x < best:
            ns, best = UFORE, x
    return ns, best
