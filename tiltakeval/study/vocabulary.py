"""The closed lists of names a study file may use, each with its meaning. Light: nothing is imported.

They mirror what the layers below offer; a test holds the two together.
"""

from __future__ import annotations

from collections.abc import Mapping

STATES: Mapping[str, str] = {
    "jobseeker": "registered jobseeker",
    "nedsatt_arbeidsevne": "registered with reduced work capacity",
}

ESTIMANDS: Mapping[str, str] = {
    "now_vs_wait": "the programme now against not yet, later entry allowed",
    "vs_no_programme": "the programme now against no programme within the horizon",
    "vs_without_this_programme": "the programme now against everything but this programme",
    "vs_programme_b": "one programme against another, for persons who could enter both",
    "itt_offer": "the offer, as randomised",
    "late": "the programme, for those whom the offer moved",
    "vs_comparison": "treated against the declared comparison group of a prepared file",
}

OUTCOMES: Mapping[str, str] = {
    "work_unsubsidised": "share in a job without wage subsidy",
    "work_any": "share in any job",
    "full_time": "share whose positions sum to at least 81 per cent",
    "earnings_nok": "pay in the month, kroner of the price year",
    "earnings_unsubsidised_nok": "pay from jobs without wage subsidy, kroner of the price year",
    "benefits_total_nok": "all benefits in the month, kroner of the price year",
    "benefit_dagpenger_nok": "dagpenger, kroner of the price year",
    "benefit_aap_nok": "arbeidsavklaringspenger, kroner of the price year",
    "benefit_uforetrygd_nok": "uføretrygd, kroner of the price year",
    "benefit_tiltakspenger_nok": "tiltakspenger, kroner of the price year",
    "benefit_sykepenger_nok": "sykepenger, kroner of the price year",
    "benefit_sosialhjelp_nok": "sosialhjelp, kroner of the price year",
    "benefit_kvalifiseringsstonad_nok": "kvalifiseringsstønad, kroner of the price year",
    "benefit_overgangsstonad_nok": "overgangsstønad, kroner of the price year",
    "uforetrygd_grade": "degree of uføretrygd, per cent",
    "education_entry": "share who have started fag- og yrkesopplæring or høyere utdanning",
    "registered": "share still registered",
}

SUBGROUPS: Mapping[str, str] = {
    "age_band": "18-29, 30-59, 60-66 at month 0",
    "sex": "women, men",
    "landgruppe": "country group of birth: 0 Norway, 1, 2, 3",
    "education": "highest completed education",
    "diagnosis": "main diagnosis group, where the extract has one",
    "innsatsgruppe": "outcome of the § 14 a assessment in force",
    "registered_band": "months registered: 0-5, 6-11, 12 and more",
    "work_history": "months with work in the 24 before: 0, 1-12, 13-24",
    "entry_year": "calendar year of month 0",
}

COVARIATES: Mapping[str, str] = {
    "demographic": "set: age, sex, landgruppe, education",
    "standard": "set: all but calendar-year dummies, office and municipality",
    "lean": "set: a short list for small registers",
    "extended": "set: standard with calendar-year and office dummies",
    "age": "age with bends",
    "sex": "sex",
    "landgruppe": "country group of birth",
    "education": "highest completed education",
    "diagnosis": "main diagnosis group",
    "innsatsgruppe": "outcome of the § 14 a assessment",
    "registered": "months registered",
    "earlier_registration": "registered before, in this or the other base state",
    "work_3": "months with work in the 3 before",
    "work_6": "months with work in the 6 before",
    "work_12": "months with work in the 12 before",
    "work_24": "months with work in the 24 before",
    "subsidised_work": "months with subsidised work in the 24 before",
    "earnings_12": "earnings in the 12 months before",
    "earnings_24": "earnings in the 24 months before",
    "benefits_3": "months with each benefit in the 3 before",
    "benefits_12": "months with each benefit in the 12 before",
    "programmes": "programmes in the 24 months before",
    "last_programme": "the programme ended last",
    "season": "calendar month",
    "trend": "trend in calendar time",
    "year": "calendar year",
    "labour_market": "unemployment and vacancies at the office",
    "state": "base state",
    "in_programme": "in a programme, or waiting for one",
    "office": "NAV office",
    "municipality": "municipality",
}

RULE_SETS = ("nav", "ssb", "strict10")

EXITS: Mapping[str, str] = {
    "job": "a job without wage subsidy",
    "subsidised_job": "a job with wage subsidy",
    "education": "fag- og yrkesopplæring or høyere utdanning",
    "uforetrygd": "uføretrygd",
    "other_state": "the other base state",
    "gone": "death or emigration",
    "out": "out of the register for nothing known",
}

CATEGORIES: Mapping[str, str] = {
    "sex": "sex",
    "age": "age in nine bands",
    "landgruppe": "country group of birth",
    "education": "highest completed education",
    "diagnosis": "main diagnosis group",
    "innsatsgruppe": "outcome of the § 14 a assessment",
    "season": "calendar month",
    "worked_24": "months with work in the 24 before registration",
    "worked_24_now": "months with work in the 24 before the month",
    "year": "calendar year",
    "office": "NAV office",
}
