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
    "sex": "women, men",
    "age_band": "under 30, 30-49, 50 and over",
    "landgruppe": "country group of birth",
    "education": "highest completed education",
    "diagnosis_group": "main diagnosis group, where the extract has one",
}

RULE_SETS = ("nav", "ssb", "strict10")
