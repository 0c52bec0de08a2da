"""The sections of a world file as frozen dataclasses."""

from __future__ import annotations

from dataclasses import dataclass

Numbers = tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Calendar:
    """Months of the simulation. Fields are explained in `worlds/standard.toml`."""

    first_month: str
    burn_in: int
    entry_months: int
    price_year: int


@dataclass(frozen=True, kw_only=True)
class Persons:
    """Who the persons are. Fields are explained in `worlds/standard.toml`."""

    share_registered: float
    sd_v1: float
    sd_v2: float
    correlation_v: float
    outset_rwc: float
    entry_rwc: float
    rwc_on_v2: float
    share_women: Numbers
    share_norway: float
    share_landgruppe3: float
    share_grunnskole: Numbers
    share_hoyere: Numbers
    grunnskole_landgruppe3: float
    mental: Numbers
    musculoskeletal: Numbers
    other_diagnosis: Numbers
    age_power: float
    outset_months: Numbers
    death: float
    emigration: Numbers


@dataclass(frozen=True, kw_only=True)
class Hazards:
    """Monthly hazards of leaving each state. Fields are explained in `worlds/standard.toml`."""

    job: Numbers
    job_duration: Numbers
    job_duration_rwc: Numbers
    job_constant: float
    job_landgruppe3: float
    job_education: Numbers
    job_diagnosis: float
    job_age_from: Numbers
    job_age: Numbers
    job_history: float
    job_history_centre: float
    job_season: Numbers
    out: Numbers
    education: Numbers
    to_other: Numbers
    to_other_v2: float
    to_other_diagnosis: float
    uforetrygd: float
    uforetrygd_duration: Numbers
    uforetrygd_v2: float
    uforetrygd_age50: float
    uforetrygd_age30: float
    uforetrygd_grade50: float
    job_loss: Numbers
    job_loss_v1: float
    job_loss_education: Numbers
    loss_to_out: float
    loss_to_education: float
    loss_to_rwc: float
    loss_to_rwc_v2: float
    loss_to_rwc_diagnosis: float
    out_job: float
    out_jobseeker: float
    out_rwc: float
    out_education: float
    education_end: float
    education_to_job: float
    before_entry_job: float
    before_entry_loss: float
    fresh_sd: float


@dataclass(frozen=True, kw_only=True)
class Market:
    """Offices, cycle, roll-out, trial. Fields are explained in `worlds/standard.toml`."""

    offices: int
    office_sd: float
    cycle_months: int
    cycle_amplitude: float
    unemployment_mean: float
    unemployment_elasticity: float
    practice_sd: float
    ips_waves: Numbers
    ips_never: float
    ips_trial_share: float
    ips_trial: Numbers
    ips_trial_bar: int
    kvp_first: int
    kvp_last: int


@dataclass(frozen=True, kw_only=True)
class Decisions:
    """What all decisions share. Fields are explained in `worlds/standard.toml`."""

    no_show: float
    convert_after_training: float
    combination: float
    combination_shares: Numbers
    duration_from: Numbers
    duration_factor: Numbers
    chain_months: int
    chain_usual: float
    chain_same: float
    season: Numbers
    season_school: Numbers
    chains: tuple[tuple[str, tuple[tuple[str, float], ...]], ...]


@dataclass(frozen=True, kw_only=True)
class Pay:
    """Wages and positions, kroner of the price year. Fields are explained in `worlds/standard.toml`."""

    full_time_nok: float
    wage_v1: float
    wage_education: Numbers
    wage_landgruppe3: float
    wage_young: float
    wage_male: float
    wage_noise: float
    position_pct: Numbers
    position_men: Numbers
    position_women: Numbers
    position_rwc: Numbers
    hours_full_time: float
    subsidised_pct: Numbers
    subsidised_pct_permanent: float


@dataclass(frozen=True, kw_only=True)
class Benefits:
    """Benefit rates; G by date. Fields are explained in `worlds/standard.toml`."""

    dagpenger_share: float
    dagpenger_months: Numbers
    dagpenger_min_worked: float
    share_max_g: float
    aap_share: float
    aap_min_g: float
    aap_right: float
    aap_months: float
    aap_extended: float
    aap_extension: float
    uforetrygd_share: float
    uforetrygd_min_g: float
    tiltakspenger_day: float
    tiltakspenger_days: float
    sosialhjelp_nok: float
    sosialhjelp_share: float
    kvalifiseringsstonad_g: float
    under25: float


@dataclass(frozen=True, kw_only=True)
class ProgrammeNumbers:
    """One programme: entry, length, lock-in, effect; pairs are (jobseeker, RWC)."""

    base: Numbers
    planned: Numbers
    cap: Numbers
    wait: float
    waiting: float
    early: float
    early_months: float
    late: Numbers
    b: Numbers
    kappa: float
    rise: float
    dropped_b: float
    multiplier_landgruppe3: float
    multiplier_grunnskole: float
    z: Numbers
    w: Numbers
    history: float
    age_from: float
    age_to: float
    drop_out: float
    fail: float
    convert: Numbers
    job_loss: float
    uforetrygd: float
    subsidised: bool
    tiltakspenger: bool
    school: bool
    job_completes: bool
    needs_mental: bool
    source: str
    neutral: bool = False  # changes nothing but participation (`World.without_effects`)
