"""What a month looks like in the register: job rows, benefits, registration.

Work in a month means a job row with pay in it, that is, at least one day employed.
"""

# ruff: noqa: F403, F405, SIM109
# mypy: disable-error-code="untyped-decorator,no-any-return,type-arg"
from __future__ import annotations

from tiltakeval.synthetic.compiled import compiled
from tiltakeval.synthetic.layout import *
from tiltakeval.synthetic.numbers import *


@compiled
def _pay(s, t, state, share, wage_share, tp_p, tp_share, age, w, io):  # type: ignore[no-untyped-def]
    """Benefits of a part of the month spent in ``state``; ``wage_share`` in subsidised work."""
    if share <= 0.0:
        return
    k = w
    gm = g_month(w, t)
    young = k[K_UNDER25] if age < 25 else 1.0
    if state == UFORE:
        full = min(max(k[K_UFORETRYGD_SHARE] * s[BASE_PAY], k[K_UFORETRYGD_MIN_G] * gm),
                   k[K_UFORETRYGD_SHARE] * k[K_SHARE_MAX_G] * gm)  # fmt: skip
        io[B_UFORE] += int(full * s[UGRADE] / 100.0 * share + 0.5)
        io[R_GRADE] = s[UGRADE]
        return
    if state != JS and state != RWC:
        return
    free = share - wage_share
    if free <= 0.0:
        return
    if tp_p == KVP and tp_share > 0.0:
        part = min(free, tp_share)
        io[B_KVP] += int(k[K_KVALIFISERINGSSTONAD_G] * gm * young * part + 0.5)
        free -= part
        if free <= 0.0:
            return
    if state == JS and s[DAGP_LEFT] > 0:
        full = k[K_DAGPENGER_SHARE] * min(s[BASE_PAY], k[K_SHARE_MAX_G] * gm)
        io[B_DAGP] += int(full * free + 0.5)
    elif state == RWC and s[AAP_UNTIL] > t:
        full = min(
            max(k[K_AAP_SHARE] * s[BASE_PAY], k[K_AAP_MIN_G] * gm * young),
            k[K_AAP_SHARE] * k[K_SHARE_MAX_G] * gm,
        )
        io[B_AAP] += int(full * free + 0.5)
    else:
        if tp_p >= 0 and tp_p != KVP and tp_share > 0.0:
            part = min(free, tp_share)
            io[B_TP] += int(k[K_TILTAKSPENGER_DAY] * k[K_TILTAKSPENGER_DAYS] * part + 0.5)
        if s[SOSIAL] == 1:
            io[B_SOS] += int(k[K_SOSIALHJELP_NOK] * free + 0.5)


@compiled
def _hours10(days, pct, month_days, w):  # type: ignore[no-untyped-def]
    """Tenths of hours paid for ``days`` of a month, at least one tenth."""
    return max(1, int(10.0 * w[K_HOURS_FULL_TIME] * pct / 100.0 * days / month_days + 0.5))


@compiled
def record_month(  # type: ignore[no-untyped-def]
    s, t, st, ns, off, days, age, w, io,
    old_emp, old_pct, old_ft, sub_emp, sub_pct, sub_from, sub_to, tp_p, tp_from, tp_to,
):  # fmt: skip
    """Fill the record of month t: state ``st`` at its start, ``ns`` (or -1) from day ``off`` on."""
    worked_days, ft, pct = 0, 0, 0
    if st == JOB:
        worked_days = days if ns < 0 else off
        io[O_EMP], io[O_PCT] = old_emp, old_pct
        ft, pct = old_ft, old_pct
    elif ns == JOB:
        worked_days = days - off
        io[O_EMP], io[O_PCT] = s[JOB_EMP], s[JOB_PCT]
        ft, pct = s[JOB_FT], s[JOB_PCT]
    if worked_days > 0:
        io[O_HOURS10] = _hours10(worked_days, pct, days, w)
        io[O_EARN] = max(1, int(ft * pct / 100.0 * worked_days / days + 0.5))
        if st == JOB:
            s[BASE_PAY] = int(ft * pct / 100.0)
    else:
        io[O_EMP], io[O_PCT] = 0, 0
    wage = 0.0
    if sub_emp > 0 and sub_to > sub_from:
        n = sub_to - sub_from
        io[S_EMP], io[S_PCT] = sub_emp, sub_pct
        io[S_HOURS10] = _hours10(n, sub_pct, days, w)
        full = w[K_FULL_TIME_NOK] * 0.92
        io[S_EARN] = max(1, int(full * sub_pct / 100.0 * n / days + 0.5))
        wage = n / days
    # benefits of the part before and the part after a transition
    tp_share = max(0, tp_to - tp_from) / days if tp_p >= 0 else 0.0
    if ns < 0:
        _pay(s, t, st, 1.0, wage, tp_p, tp_share, age, w, io)
        end = st
    else:
        first = off / days
        dagp, aap = s[DAGP_LEFT], s[AAP_UNTIL]
        _pay(s, t, st, first, min(wage, first), tp_p, min(tp_share, first), age, w, io)
        s[DAGP_LEFT], s[AAP_UNTIL] = dagp, aap
        _pay(s, t, ns, 1.0 - first, max(0.0, wage - first), tp_p, max(0.0, tp_share - first),
             age, w, io)  # fmt: skip
        end = ns
    if s[DAGP_LEFT] > 0 and (st == JS or ns == JS):
        s[DAGP_LEFT] -= 1
    io[REG_END] = 1 if end == JS or end == RWC else 0
    s[HIST] = ((s[HIST] << 1) | (1 if worked_days > 0 else 0)) & ((1 << 60) - 1)
