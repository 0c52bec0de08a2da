"""Positions in the kernel's integer vectors: person attributes, state, month record.

The compiled kernel (`kernel.py`) keeps a person in plain integer vectors, so that a state
is saved and restored by copying. These constants name the positions.
"""

from __future__ import annotations

PROGRAMMES = (
    "aft",
    "lonnstilskudd_midlertidig",
    "lonnstilskudd_varig",
    "amo",
    "fag_og_yrkesopplaering",
    "hoyere_utdanning",
    "arbeidstrening",
    "oppfolging",
    "arbeid_med_stotte",
    "ips",
    "kvp",
)
N_PROGRAMMES = 11
AFT, LTS, VLTS, AMO, FAG, HU, ARB, OPP, AMS, IPS, KVP = range(11)

# States of a person. JS = jobseeker, RWC = nedsatt arbeidsevne.
OUT, JOB, EDU, JS, RWC, UFORE, GONE = range(7)
BASE_STATES = ("jobseeker", "nedsatt_arbeidsevne")  # index = state - JS

EDUCATION = ("grunnskole", "videregaende", "hoyere")
DIAGNOSES = ("none", "mental", "musculoskeletal", "other")
COUNTRIES = (
    "NOR", "SWE", "DEU", "GBR", "POL", "LTU", "ROU",
    "SOM", "SYR", "ERI", "IRQ", "AFG", "PAK", "THA", "PHL",
)  # fmt: skip
LANDGRUPPE2_FROM = 4
LANDGRUPPE3_FROM = 7  # COUNTRIES from here on are landgruppe 3 by either wording of the source

# Integer attributes of a person.
(BIRTH_DAY, BIRTH_T, SEX, COUNTRY, LG3, EDU0, DIAG, OFFICE, ENTRY, ENTRY_STATE) = range(10)
N_AI = 10
# Float attributes.
(V1, V2, LNF, LNWAGE) = range(4)
N_AF = 4

# State vector. Pairs (…, +1) are the two programme slots.
(
    STATE, SINCE, SPELL_ROW, DECIDED, HIST, EDUL, FRESH, NPAST,
    JOB_EMP, JOB_PCT, JOB_FT, BASE_PAY, DAGP_LEFT, AAP_UNTIL, UGRADE, SOSIAL,
    TRIAL, BARRED_UNTIL, LAST_P, LAST_END, EDU_START, SPELL_NO,
) = range(22)  # fmt: skip
PEND = 24
PEND_T = 26
PEND_ROW = 28
RUN = 30
RUN_T = 32
RUN_END = 34
RUN_ROW = 36
RUN_EMP = 38
RUN_PCT = 40
P_END = 42  # month the programme last ended, by programme; -1 never
P_DONE = P_END + N_PROGRAMMES  # 1 completed, 2 left before the end
N_STATE = P_DONE + N_PROGRAMMES

# Record of one month, filled by the kernel; amounts in kroner of the price year.
(
    O_EMP, O_PCT, O_HOURS10, O_EARN, S_EMP, S_PCT, S_HOURS10, S_EARN,
    B_DAGP, B_AAP, B_UFORE, B_TP, B_SOS, B_KVP, R_GRADE, REG_END,
) = range(16)  # fmt: skip
N_REC = 16
BENEFITS = (
    "dagpenger", "aap", "uforetrygd", "tiltakspenger", "sosialhjelp", "kvalifiseringsstonad",
)  # fmt: skip

# The kernel's in- and output vector: the record above, then what happened in the month, then the
# intervention (months are simulation months, -1 = none).
(
    AT_RISK, DECISION, RANDOMISED,
    IV_SUPPRESS_T, IV_FORCE_T, IV_FORCE_P, IV_BAR_FROM, IV_BAR_P, IV_ARM_T, IV_ARM,
) = range(N_REC, N_REC + 10)  # fmt: skip
N_IO = N_REC + 10
BAR_NONE, BAR_ALL = -2, -1

# Event log: rows of N_EVENT integers. Row 0 is its head: next free row, person, day gone, emigrated.
(EV_PART, EV_SPELL, EV_EDU, EV_RAND) = range(4)
N_EVENT = 9  # column 0 is the kind
(L_PERSON, L_PROG, L_DECIDED, L_START, L_STOP, L_STATUS, L_SPELL, L_EMP) = range(1, 9)
(G_PERSON, G_STATE, G_START, G_STOP, G_DECISION, G_GROUP) = range(1, 7)
FULLF, DELAVB, GJENN, IKKEM, IKKAKTUELL, TILBUD = range(6)
STATUSES = ("FULLF", "DELAVB", "GJENN", "IKKEM", "IKKAKTUELL", "TILBUD")
INNSATS = ("IKVAL", "BFORM", "BATT", "VARIG")

# Purposes of random numbers (one per cause; month 0 and 1 of the key hold person attributes).
(
    U_JOB, U_OUT, U_HEALTH, U_UFORE, U_DEATH, U_EMIG, U_EDU, U_ANY, U_WHICH, U_WAIT, U_PLAN,
    U_NOSHOW, U_DAY, U_STARTDAY, U_DROP, U_FAIL, U_COMBO, U_COMBO_WHICH, U_CONVERT, U_DEST,
    U_TRIAL, U_STOPDAY, U_PCT, U_WAGE, U_RIGHT, U_SOSIAL, U_GRADE, U_GROUP, U_DAY14, U_EMP,
    U_SPCT, U_FRESH, U_REG, U_SAMPLE,
) = range(34)  # fmt: skip
