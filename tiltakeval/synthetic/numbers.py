"""The world's numbers as one flat array, and how the kernel reads them.

A compiled function that takes one array is called much faster than one that takes thirty, so all
numbers lie in one float vector: scalars (``K_...``), a row per programme (``Q_...``), tables,
calendar, offices. Only `prepare.py` writes it.
"""

# mypy: disable-error-code="untyped-decorator,no-any-return,type-arg"
from __future__ import annotations

from tiltakeval.synthetic.compiled import compiled
from tiltakeval.synthetic.layout import N_PROGRAMMES

PAR = (
    "offices", "months", "at_cond", "unemployment_elasticity", "selection_observed",
    "selection_unobserved", "fresh", "selection_history", "rule", "entry_months", "trial_bar",
    "job_constant", "job_landgruppe3", "job_diagnosis", "job_history", "job_history_centre",
    "to_other_v2", "to_other_diagnosis", "uforetrygd", "uforetrygd_v2", "uforetrygd_age50",
    "uforetrygd_age30", "uforetrygd_grade50", "job_loss_v1", "loss_to_out", "loss_to_education",
    "loss_to_rwc", "loss_to_rwc_v2", "loss_to_rwc_diagnosis", "out_job", "out_jobseeker",
    "out_rwc", "out_education", "education_end", "education_to_job", "before_entry_job",
    "before_entry_loss", "fresh_sd", "job_0", "job_1", "job_duration_0", "job_duration_1",
    "job_duration_2", "job_duration_rwc_0", "job_duration_rwc_1", "job_duration_rwc_2", "out_0",
    "out_1", "education_0", "education_1", "to_other_0", "to_other_1", "uforetrygd_duration_0",
    "uforetrygd_duration_1", "uforetrygd_duration_2", "uforetrygd_duration_3", "job_loss_0",
    "job_loss_1", "job_loss_2", "share_registered", "sd_v1", "sd_v2", "correlation_v",
    "outset_rwc", "entry_rwc", "rwc_on_v2", "share_norway", "share_landgruppe3",
    "grunnskole_landgruppe3", "age_power", "death", "emigration_0", "emigration_1",
    "outset_months_0", "outset_months_1", "full_time_nok", "wage_v1", "wage_landgruppe3",
    "wage_young", "wage_male", "wage_noise", "hours_full_time", "subsidised_pct_permanent",
    "subsidised_pct_0", "subsidised_pct_1", "dagpenger_share", "dagpenger_min_worked",
    "share_max_g", "aap_share", "aap_min_g", "aap_right", "aap_months", "aap_extended",
    "aap_extension", "uforetrygd_share", "uforetrygd_min_g", "tiltakspenger_day",
    "tiltakspenger_days", "sosialhjelp_nok", "sosialhjelp_share", "kvalifiseringsstonad_g",
    "under25", "dagpenger_months_0", "dagpenger_months_1", "no_show", "convert_after_training",
    "combination",
    "chain_months",
)  # fmt: skip
(
    K_OFFICES, K_MONTHS, K_AT_COND, K_UNEMPLOYMENT_ELASTICITY, K_SELECTION_OBSERVED,
    K_SELECTION_UNOBSERVED, K_FRESH, K_SELECTION_HISTORY, K_RULE, K_ENTRY_MONTHS, K_TRIAL_BAR,
    K_JOB_CONSTANT, K_JOB_LANDGRUPPE3, K_JOB_DIAGNOSIS, K_JOB_HISTORY, K_JOB_HISTORY_CENTRE,
    K_TO_OTHER_V2, K_TO_OTHER_DIAGNOSIS, K_UFORETRYGD, K_UFORETRYGD_V2, K_UFORETRYGD_AGE50,
    K_UFORETRYGD_AGE30, K_UFORETRYGD_GRADE50, K_JOB_LOSS_V1, K_LOSS_TO_OUT, K_LOSS_TO_EDUCATION,
    K_LOSS_TO_RWC, K_LOSS_TO_RWC_V2, K_LOSS_TO_RWC_DIAGNOSIS, K_OUT_JOB, K_OUT_JOBSEEKER,
    K_OUT_RWC, K_OUT_EDUCATION, K_EDUCATION_END, K_EDUCATION_TO_JOB, K_BEFORE_ENTRY_JOB,
    K_BEFORE_ENTRY_LOSS, K_FRESH_SD, K_JOB_0, K_JOB_1, K_JOB_DURATION_0, K_JOB_DURATION_1,
    K_JOB_DURATION_2, K_JOB_DURATION_RWC_0, K_JOB_DURATION_RWC_1, K_JOB_DURATION_RWC_2, K_OUT_0,
    K_OUT_1, K_EDUCATION_0, K_EDUCATION_1, K_TO_OTHER_0, K_TO_OTHER_1, K_UFORETRYGD_DURATION_0,
    K_UFORETRYGD_DURATION_1, K_UFORETRYGD_DURATION_2, K_UFORETRYGD_DURATION_3, K_JOB_LOSS_0,
    K_JOB_LOSS_1, K_JOB_LOSS_2, K_SHARE_REGISTERED, K_SD_V1, K_SD_V2, K_CORRELATION_V,
    K_OUTSET_RWC, K_ENTRY_RWC, K_RWC_ON_V2, K_SHARE_NORWAY, K_SHARE_LANDGRUPPE3,
    K_GRUNNSKOLE_LANDGRUPPE3, K_AGE_POWER, K_DEATH, K_EMIGRATION_0, K_EMIGRATION_1,
    K_OUTSET_MONTHS_0, K_OUTSET_MONTHS_1, K_FULL_TIME_NOK, K_WAGE_V1, K_WAGE_LANDGRUPPE3,
    K_WAGE_YOUNG, K_WAGE_MALE, K_WAGE_NOISE, K_HOURS_FULL_TIME, K_SUBSIDISED_PCT_PERMANENT,
    K_SUBSIDISED_PCT_0, K_SUBSIDISED_PCT_1, K_DAGPENGER_SHARE, K_DAGPENGER_MIN_WORKED,
    K_SHARE_MAX_G, K_AAP_SHARE, K_AAP_MIN_G, K_AAP_RIGHT, K_AAP_MONTHS, K_AAP_EXTENDED,
    K_AAP_EXTENSION, K_UFORETRYGD_SHARE, K_UFORETRYGD_MIN_G, K_TILTAKSPENGER_DAY,
    K_TILTAKSPENGER_DAYS, K_SOSIALHJELP_NOK, K_SOSIALHJELP_SHARE, K_KVALIFISERINGSSTONAD_G,
    K_UNDER25, K_DAGPENGER_MONTHS_0, K_DAGPENGER_MONTHS_1, K_NO_SHOW, K_CONVERT_AFTER_TRAINING,
    K_COMBINATION,
    K_CHAIN_MONTHS,
) = range(len(PAR))  # fmt: skip
PROG = (
    "wait", "waiting", "early", "early_months", "kappa", "rise", "dropped_b",
    "multiplier_landgruppe3", "multiplier_grunnskole", "history", "age_from", "age_to",
    "drop_out", "fail", "job_loss", "uforetrygd", "subsidised", "tiltakspenger", "school",
    "job_completes", "needs_mental", "neutral", "base_0", "base_1", "combo", "planned_0",
    "planned_1", "cap_0", "cap_1", "b_0", "b_1", "late_0", "late_1", "convert_0", "convert_1",
    "z_0", "z_1", "z_2", "z_3", "z_4", "w_0", "w_1",
)  # fmt: skip
(
    Q_WAIT, Q_WAITING, Q_EARLY, Q_EARLY_MONTHS, Q_KAPPA, Q_RISE, Q_DROPPED_B,
    Q_MULTIPLIER_LANDGRUPPE3, Q_MULTIPLIER_GRUNNSKOLE, Q_HISTORY, Q_AGE_FROM, Q_AGE_TO,
    Q_DROP_OUT, Q_FAIL, Q_JOB_LOSS, Q_UFORETRYGD, Q_SUBSIDISED, Q_TILTAKSPENGER, Q_SCHOOL,
    Q_JOB_COMPLETES, Q_NEEDS_MENTAL, Q_NEUTRAL, Q_BASE_0, Q_BASE_1, Q_COMBO, Q_PLANNED_0,
    Q_PLANNED_1, Q_CAP_0, Q_CAP_1, Q_B_0, Q_B_1, Q_LATE_0, Q_LATE_1, Q_CONVERT_0, Q_CONVERT_1,
    Q_Z_0, Q_Z_1, Q_Z_2, Q_Z_3, Q_Z_4, Q_W_0, Q_W_1,
) = range(len(PROG))  # fmt: skip
N_Q = len(PROG)
AT_PROG = len(PAR)
AT_CHAIN = AT_PROG + N_PROGRAMMES * N_Q  # [from, to], log
AT_SEASON = AT_CHAIN + N_PROGRAMMES * N_PROGRAMMES  # [programme, calendar month], log
AT_DURATION = AT_SEASON + N_PROGRAMMES * 12  # 400 months registered, log
AT_AGE = AT_DURATION + 400  # 110 ages, log job finding
AT_JOB_SEASON = AT_AGE + 110  # calendar month
AT_EDU = AT_JOB_SEASON + 12  # [job finding, job loss, wage; level]
AT_DIST = AT_EDU + 9  # [entry state; women, grunnskole, hoyere, diagnoses]
AT_POS = AT_DIST + 12  # [positions, cumulative shares of men, women, RWC; 7]
AT_CAL = AT_POS + 28  # [month; first day, calendar month, price level, monthly real G]
N_OFFICE = 5 + N_PROGRAMMES  # ips from, trial from, trial to, kvp from, cumulative size, practice
(OF_IPS, OF_TRIAL, OF_TRIAL_END, OF_KVP, OF_SIZE, OF_PRACTICE) = range(6)


@compiled
def prog(w, p, q):  # type: ignore[no-untyped-def]
    """Number q of programme p."""
    return w[AT_PROG + p * N_Q + q]


@compiled
def day_of(w, t):  # type: ignore[no-untyped-def]
    """First day of month t, days since 1970."""
    return int(w[AT_CAL + 4 * t])


@compiled
def moy(w, t):  # type: ignore[no-untyped-def]
    """Calendar month of month t, 0..11."""
    return int(w[AT_CAL + 4 * t + 1])


@compiled
def price(w, t):  # type: ignore[no-untyped-def]
    """Price level of month t over that of the price year."""
    return w[AT_CAL + 4 * t + 2]


@compiled
def g_month(w, t):  # type: ignore[no-untyped-def]
    """A twelfth of G in month t, kroner of the price year."""
    return w[AT_CAL + 4 * t + 3]


@compiled
def office(w, o, q):  # type: ignore[no-untyped-def]
    """Number q of office o."""
    return w[AT_CAL + 4 * (int(w[K_MONTHS]) + 1) + o * N_OFFICE + q]


@compiled
def cond(w, o, t):  # type: ignore[no-untyped-def]
    """Log condition of office o in month t, cycle included."""
    return w[int(w[K_AT_COND]) + o * int(w[K_MONTHS]) + t]
