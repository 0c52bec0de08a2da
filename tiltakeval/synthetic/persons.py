"""Draw a person: fixed facts, frailties, where they stand at the first month."""

# ruff: noqa: F403, F405
# mypy: disable-error-code="untyped-decorator,no-any-return,type-arg"
from __future__ import annotations

import math

from tiltakeval.synthetic.compiled import compiled
from tiltakeval.synthetic.hashing import normal, uniform
from tiltakeval.synthetic.layout import *
from tiltakeval.synthetic.moves import enter_job, enter_spell
from tiltakeval.synthetic.numbers import *


@compiled
def draw_person(key, ai, af, w):  # type: ignore[no-untyped-def]
    """Fill the attributes ``ai`` (N_AI) and ``af`` (N_AF) of the person with this key."""
    k = w
    u = uniform(key, 0, 0)
    outset = u < k[K_SHARE_REGISTERED]
    ai[ENTRY] = 0 if outset else 1 + int(k[K_ENTRY_MONTHS] * uniform(key, 0, 1))
    e1, e2 = normal(uniform(key, 0, 2)), normal(uniform(key, 0, 3))
    r = k[K_CORRELATION_V]
    af[V1] = k[K_SD_V1] * e1
    af[V2] = k[K_SD_V2] * (r * e1 + math.sqrt(1.0 - r * r) * e2)
    x = (k[K_OUTSET_RWC] if outset else k[K_ENTRY_RWC]) + k[K_RWC_ON_V2] * af[V2]
    x += 0.35 * (uniform(key, 0, 4) * 2.0 - 1.0)
    g = 1 if uniform(key, 0, 5) < 1.0 / (1.0 + math.exp(-x)) else 0
    ai[ENTRY_STATE] = JS + g
    ai[SEX] = 0 if uniform(key, 0, 6) < w[AT_DIST + 6 * g + 0] else 1
    u = uniform(key, 0, 7)
    norway, third = k[K_SHARE_NORWAY], k[K_SHARE_LANDGRUPPE3]
    n = len(COUNTRIES)
    if u < norway:
        ai[COUNTRY] = 0
    elif u < 1.0 - third:
        part = (u - norway) / (1.0 - third - norway)
        ai[COUNTRY] = (
            1 + int(part * part * 0.999 * (LANDGRUPPE3_FROM - 1))
            if part < 0.5
            else (4 + int((part - 0.5) * 2 * 0.999 * 3))
        )
    else:
        part = (u - (1.0 - third)) / third
        ai[COUNTRY] = LANDGRUPPE3_FROM + int(part * 0.999 * (n - LANDGRUPPE3_FROM))
    ai[LG3] = 1 if ai[COUNTRY] >= LANDGRUPPE3_FROM else 0
    u = uniform(key, 0, 8)
    low = w[AT_DIST + 6 * g + 1] + (k[K_GRUNNSKOLE_LANDGRUPPE3] if ai[LG3] == 1 else 0.0)
    ai[EDU0] = 0 if u < low else (2 if u > 1.0 - w[AT_DIST + 6 * g + 2] else 1)
    u = uniform(key, 0, 9)
    a, b, c = w[AT_DIST + 6 * g + 3], w[AT_DIST + 6 * g + 4], w[AT_DIST + 6 * g + 5]
    ai[DIAG] = 1 if u < a else (2 if u < a + b else (3 if u < a + b + c else 0))
    u = uniform(key, 0, 10)
    o = 0
    while o < int(k[K_OFFICES]) - 1 and u >= office(w, o, OF_SIZE):
        o += 1
    ai[OFFICE] = o
    u = uniform(key, 0, 11)
    power = k[K_AGE_POWER] if g == 0 else k[K_AGE_POWER] * 0.75
    years = 18.0 + 45.0 * u**power
    if ai[DIAG] == 1:
        years = 18.0 + (years - 18.0) * 0.8
    ai[BIRTH_T] = ai[ENTRY] - int(years * 12.0) - 1
    ai[BIRTH_DAY] = int(28 * uniform(key, 0, 12))
    af[LNF] = (
        af[V1]
        - 0.5 * k[K_SD_V1] * k[K_SD_V1]
        + k[K_JOB_CONSTANT]
        + (k[K_JOB_LANDGRUPPE3] if ai[LG3] == 1 else 0.0)
        + (k[K_JOB_DIAGNOSIS] if ai[DIAG] > 0 else 0.0)
    )
    af[LNWAGE] = (
        k[K_WAGE_V1] * af[V1]
        + (k[K_WAGE_LANDGRUPPE3] if ai[LG3] == 1 else 0.0)
        + (k[K_WAGE_MALE] if ai[SEX] == 1 else 0.0)
    )


@compiled
def initial_state(s, key, ai, af, w, ev):  # type: ignore[no-untyped-def]
    """State at the start of month 0; a spell running then has its day back-dated."""
    for i in range(N_STATE):
        s[i] = 0
    for p in range(N_PROGRAMMES):
        s[P_END + p] = -1
    s[AAP_UNTIL], s[TRIAL], s[LAST_P], s[EDU_START] = -1, -1, -1, -1
    s[EDUL] = ai[EDU0]
    s[SINCE] = -1
    age = -ai[BIRTH_T] // 12
    k = w
    attached = 1.0 / (1.0 + math.exp(-(1.2 + 1.6 * af[V1])))
    employed = uniform(key, 1, 0) < attached
    if age < 19:
        employed = False
    enter_job(s, 0, key, OUT, ai, af, w)
    s[BASE_PAY] = int(s[JOB_FT] * s[JOB_PCT] / 100.0)
    if ai[ENTRY] > 0:
        s[STATE] = JOB if employed else OUT
        if age < 18:
            s[STATE] = OUT
        s[SINCE] = -1 - int(60 * uniform(key, 1, 1))
        s[HIST] = ((1 << 60) - 1) if s[STATE] == JOB else 0
        return
    ns = ai[ENTRY_STATE]
    g = ns - JS
    d = 1 + int(-math.log(uniform(key, 1, 2)) * k[K_OUTSET_MONTHS_0 + g])
    d = min(d, 150)
    before = int(60 * uniform(key, 1, 3)) if employed else int(6 * uniform(key, 1, 3))
    mask = 0
    for i in range(d, min(60, d + before)):
        mask |= 1 << i
    s[HIST] = mask
    s[STATE] = ns
    if not employed and before < 3:
        s[BASE_PAY] = 0
    enter_spell(s, 0, key, ns, day_of(w, 0) - int(30.4375 * (d - 0.5)), ai, w, ev)
    s[SINCE] = -d
    if ns == RWC and s[AAP_UNTIL] > 0:
        s[AAP_UNTIL] = max(1, s[AAP_UNTIL] - min(d, 30))
    if ns == JS:
        s[DAGP_LEFT] = max(0, s[DAGP_LEFT] - d)
