"""Which programme is decided in a month: a multinomial logit among those at risk.

P(p) = exp(eta_p) / (1 + sum_q exp(eta_q)) over the programmes open to the person; barring a
programme leaves the others' relative chances as they are.
"""

# ruff: noqa: F403, F405, SIM109
# mypy: disable-error-code="untyped-decorator,no-any-return,type-arg"
from __future__ import annotations

import math

import numpy as np

from tiltakeval.synthetic.compiled import compiled
from tiltakeval.synthetic.hashing import uniform
from tiltakeval.synthetic.layout import *
from tiltakeval.synthetic.numbers import *


@compiled
def is_open(s, t, p, g, age, ai, w):  # type: ignore[no-untyped-def]
    """Whether programme p can be decided for the person in month t (rules, roll-out, trial)."""
    if prog(w, p, Q_BASE_0 + g) == -np.inf:
        return False
    if age < prog(w, p, Q_AGE_FROM) or age > prog(w, p, Q_AGE_TO):
        return False
    if p == IPS or p == KVP:
        if p == IPS and t < s[BARRED_UNTIL]:
            return False
        if w[K_RULE] == 1.0:
            return True
        o = ai[OFFICE]
        if p == IPS:
            return t >= office(w, o, OF_IPS) and ai[DIAG] == 1
        return t >= office(w, o, OF_KVP) and s[AAP_UNTIL] <= t
    return True


@compiled
def eta(s, t, p, g, age, ai, af, w, months):  # type: ignore[no-untyped-def]
    """Log intensity of deciding p, in the world's assignment rule."""
    k = w
    x = prog(w, p, Q_BASE_0 + g)
    rule = k[K_RULE]
    if rule == 1.0:
        return x
    o = ai[OFFICE]
    so = k[K_SELECTION_OBSERVED]
    young = age < 30
    old = age >= 50
    lg3 = ai[LG3] == 1
    low = s[EDUL] == 0
    z = 0.0
    if young:
        z += prog(w, p, Q_Z_0)
    if old:
        z += prog(w, p, Q_Z_1)
    if lg3:
        z += prog(w, p, Q_Z_2)
    if low:
        z += prog(w, p, Q_Z_3)
    if ai[DIAG] == 1:
        z += prog(w, p, Q_Z_4)
    ratio = math.log(prog(w, p, Q_HISTORY))
    if rule == 2.0:  # outside a main-effects class: interactions, thresholds, a hump
        sign = 1.0 if p % 2 == 0 else -1.0
        z += sign * 0.9 * (1.0 if young and low else 0.0)
        z -= sign * 0.8 * (1.0 if lg3 and ai[SEX] == 0 else 0.0)
        z += 0.7 * (1.0 if months < 6 and not old else 0.0)
        z -= sign * 0.8 * (1.0 if months > 15 and low else 0.0)
        z += 0.6 * (1.0 if 38 <= age < 46 else 0.0)
    z += k[K_SELECTION_HISTORY] * ratio * months / 12.0
    x += so * z
    su = k[K_SELECTION_UNOBSERVED]
    if su != 0.0:
        if k[K_FRESH] > 0.5:
            x += su * prog(w, p, Q_W_0) * s[FRESH] * 1e-6
        else:
            x += su * (prog(w, p, Q_W_0) * af[V1] + prog(w, p, Q_W_1) * af[V2])
    x += office(w, o, OF_PRACTICE + p) + w[AT_SEASON + 12 * p + moy(w, t)]
    x += w[AT_DURATION + min(399, t - s[SINCE] - 1)]
    if t > 0:
        x -= 0.3 * k[K_UNEMPLOYMENT_ELASTICITY] * cond(w, o, t - 1)  # budgets run against the cycle
    if s[LAST_P] >= 0 and t - s[LAST_END] <= k[K_CHAIN_MONTHS]:
        x += w[AT_CHAIN + N_PROGRAMMES * s[LAST_P] + p]
    return x


@compiled
def choose(s, t, key, g, age, ai, af, w, io, months, combination):  # type: ignore[no-untyped-def]
    """The programme decided in month t, or -1. ``combination``: beside a running programme."""
    if io[IV_BAR_P] == BAR_ALL and t >= io[IV_BAR_FROM]:
        return -1
    weights = np.zeros(N_PROGRAMMES)
    total = 0.0
    for p in range(N_PROGRAMMES):
        if io[IV_BAR_P] == p and t >= io[IV_BAR_FROM]:
            continue
        if not is_open(s, t, p, g, age, ai, w):
            continue
        if combination:
            if s[RUN] == p + 1 or s[RUN + 1] == p + 1:
                continue
            other = (s[RUN] if s[RUN] > 0 else s[RUN + 1]) - 1
            if prog(w, p, Q_SUBSIDISED) > 0.5 and prog(w, other, Q_SUBSIDISED) > 0.5:
                continue
            if other == AFT and (p == FAG or p == HU):
                continue
            weights[p] = w[K_COMBINATION] * math.exp(prog(w, p, Q_COMBO))
        else:
            weights[p] = math.exp(eta(s, t, p, g, age, ai, af, w, months))
        total += weights[p]
    u = uniform(key, t + 2, U_COMBO if combination else U_ANY)
    if u >= total / (1.0 + total):
        return -1
    u = uniform(key, t + 2, U_COMBO_WHICH if combination else U_WHICH) * total
    last = -1
    for p in range(N_PROGRAMMES):
        if weights[p] > 0.0:
            last = p
            u -= weights[p]
            if u < 0.0:
                return p
    return last
