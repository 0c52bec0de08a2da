"""World -> the arrays the compiled kernel reads."""

# mypy: disable-error-code="type-arg"
from __future__ import annotations

from datetime import date
from typing import NamedTuple

import numpy as np

from tiltakeval.errors import InputError
from tiltakeval.months import first_day, parse_month
from tiltakeval.registers import prices
from tiltakeval.synthetic.layout import N_PROGRAMMES, PROGRAMMES
from tiltakeval.synthetic.numbers import OF_IPS, OF_KVP, PAR, PROG
from tiltakeval.synthetic.parameters import ProgrammeNumbers
from tiltakeval.synthetic.world import World

_EPOCH = date(1970, 1, 1)


class Arrays(NamedTuple):
    """Numbers of a world. T months, O offices, A programmes; month 0 is the first of the burn-in."""

    flat: np.ndarray  # f8[...], what the kernel reads (`numbers.py`)
    first_day: np.ndarray  # i8[T+1], days since 1970-01-01
    nominal: np.ndarray  # f8[T], price level over that of the price year
    cond: np.ndarray  # f8[O,T], log office condition with cycle
    ips_from: np.ndarray  # i8[O]
    kvp_from: np.ndarray  # i8[O]


_HAZARD = (
    "job_constant", "job_landgruppe3", "job_diagnosis", "job_history", "job_history_centre",
    "to_other_v2", "to_other_diagnosis", "uforetrygd", "uforetrygd_v2", "uforetrygd_age50",
    "uforetrygd_age30", "uforetrygd_grade50", "job_loss_v1", "loss_to_out", "loss_to_education",
    "loss_to_rwc", "loss_to_rwc_v2", "loss_to_rwc_diagnosis", "out_job", "out_jobseeker",
    "out_rwc", "out_education", "education_end", "education_to_job", "before_entry_job",
    "before_entry_loss", "fresh_sd",
)  # fmt: skip
_PAIRS = {
    "job": 2, "job_duration": 3, "job_duration_rwc": 3, "out": 2, "education": 2, "to_other": 2,
    "uforetrygd_duration": 4, "job_loss": 3,
}  # fmt: skip
_PERSON = (
    "share_registered", "sd_v1", "sd_v2", "correlation_v", "outset_rwc", "entry_rwc", "rwc_on_v2",
    "share_norway", "share_landgruppe3", "grunnskole_landgruppe3", "age_power", "death",
)  # fmt: skip
_PAY = (
    "full_time_nok", "wage_v1", "wage_landgruppe3", "wage_young", "wage_male", "wage_noise",
    "hours_full_time", "subsidised_pct_permanent",
)  # fmt: skip
_BENEFIT = (
    "dagpenger_share", "dagpenger_min_worked", "share_max_g", "aap_share", "aap_min_g",
    "aap_right", "aap_months", "aap_extended", "aap_extension", "uforetrygd_share",
    "uforetrygd_min_g", "tiltakspenger_day", "tiltakspenger_days", "sosialhjelp_nok",
    "sosialhjelp_share", "kvalifiseringsstonad_g", "under25",
)  # fmt: skip
_DECISION = ("no_show", "convert_after_training", "combination", "chain_months")


def start_month(world: World) -> int:
    """Month index of simulation month 0 (first of the burn-in)."""
    return parse_month(world.calendar.first_month) - world.calendar.burn_in


def prepare(world: World, months: int) -> Arrays:
    """Arrays for ``months`` months from the first of the burn-in. Raises InputError."""
    if months < 1:
        raise InputError("a simulation needs at least one month")
    t0 = start_month(world)
    index = np.arange(t0, t0 + months + 1)
    days = np.array([(first_day(int(m)) - _EPOCH).days for m in index], dtype=np.int64)
    level = price_level(world, index[:-1] // 12)
    market = _market(world, months)
    seasons = np.log(np.asarray(world.decisions.season))
    school = np.log(np.asarray(world.decisions.season_school))
    numbers = [world.programmes[key] for key in PROGRAMMES]
    pers, hz, dec, pay = world.persons, world.hazards, world.decisions, world.pay
    constant = world.assignment == "constant"
    with np.errstate(divide="ignore"):
        base = np.log(np.array([n.base for n in numbers]) / 1000.0)
        combo = np.log(np.asarray(dec.combination_shares) / sum(dec.combination_shares))
    ages = np.arange(110)
    slot = np.clip(np.searchsorted(hz.job_age_from, ages, side="right") - 1, 0, None)
    begin = np.asarray(dec.duration_from)
    duration = np.log(np.asarray(dec.duration_factor))[
        np.searchsorted(begin, np.arange(1, 401), side="right")
    ]
    table = np.array([[_cell(n, k, a) for k in PROG] for a, n in enumerate(numbers)])
    table[:, [PROG.index("base_0"), PROG.index("base_1")]] = base
    table[:, PROG.index("combo")] = combo
    chain, by_month = _chains(world), np.array([school if n.school else seasons for n in numbers])
    if constant:
        chain[:], by_month[:], duration = 0.0, 0.0, np.zeros(400)
    dist = [
        [
            getattr(pers, k)[g]
            for k in (
                "share_women", "share_grunnskole", "share_hoyere", "mental", "musculoskeletal",
                "other_diagnosis",
            )
        ]
        for g in (0, 1)
    ]  # fmt: skip
    calendar = np.zeros((months + 1, 4))
    calendar[:, 0] = days
    calendar[:, 1] = index % 12
    calendar[:-1, 2] = level
    calendar[:-1, 3] = _g(index[:-1]) / level / 12.0
    scalars = _scalars(world) | {"offices": float(len(market.cond)), "months": float(months)}
    parts = [
        table,
        chain,
        by_month,
        duration,
        np.asarray(hz.job_age)[slot],
        np.asarray(hz.job_season),
        np.array([hz.job_education, hz.job_loss_education, pay.wage_education]),
        np.array(dist),
        np.array(
            [pay.position_pct]
            + [np.cumsum(p) for p in (pay.position_men, pay.position_women, pay.position_rwc)]
        ),
        calendar,
        market.offices,
    ]
    scalars["at_cond"] = float(len(PAR) + sum(part.size for part in parts))
    head = np.array([float(scalars[k]) for k in PAR])
    flat = np.concatenate(
        [head, *(np.asarray(p, float).ravel() for p in parts), market.cond.ravel()]
    )
    return Arrays(
        flat=flat,
        first_day=days,
        nominal=level,
        cond=market.cond,
        ips_from=market.offices[:, OF_IPS].astype(np.int64),
        kvp_from=market.offices[:, OF_KVP].astype(np.int64),
    )


def _cell(numbers: ProgrammeNumbers, key: str, row: int) -> float:
    """One number of a programme's row; ``name_0``, ``name_1`` are the entries of a tuple."""
    if key in ("base_0", "base_1", "combo"):
        return 0.0
    if hasattr(numbers, key):
        return float(getattr(numbers, key))
    name, i = key.rsplit("_", 1)
    return float(getattr(numbers, name)[int(i)])


def _scalars(world: World) -> dict[str, float]:
    hz, p, dec = world.hazards, world.persons, world.decisions
    found: dict[str, float] = {
        "selection_observed": world.selection_observed,
        "selection_unobserved": world.selection_unobserved,
        "fresh": float(world.selection_unobserved_kind == "fresh"),
        "selection_history": world.selection_history,
        "rule": float(("standard", "constant", "nonlinear").index(world.assignment)),
        "entry_months": world.calendar.entry_months,
        "trial_bar": world.market.ips_trial_bar,
        "unemployment_elasticity": world.market.unemployment_elasticity,
    }
    found |= {k: getattr(hz, k) for k in _HAZARD}
    found |= {f"{k}_{i}": getattr(hz, k)[i] for k, n in _PAIRS.items() for i in range(n)}
    found |= {k: getattr(p, k) for k in _PERSON}
    found |= {f"{k}_{i}": getattr(p, k)[i] for k in ("emigration", "outset_months") for i in (0, 1)}
    found |= {k: getattr(world.pay, k) for k in _PAY}
    found |= {f"subsidised_pct_{i}": world.pay.subsidised_pct[i] for i in (0, 1)}
    found |= {k: getattr(world.benefits, k) for k in _BENEFIT}
    found |= {f"dagpenger_months_{i}": world.benefits.dagpenger_months[i] for i in (0, 1)}
    found |= {k: getattr(dec, k) for k in _DECISION}
    return found


class Market(NamedTuple):
    """``offices`` f8[O, N_OFFICE], ``cond`` f8[O, T]."""

    offices: np.ndarray
    cond: np.ndarray


def _market(world: World, months: int) -> Market:
    """Offices, cycle, practice and roll-out, drawn from the world seed."""
    m = world.market
    offices = int(m.offices)
    rng = np.random.default_rng([world.seed, 7])
    size = np.exp(rng.normal(0.0, 0.5, offices))
    level = rng.normal(0.0, m.office_sd, offices)
    level -= level.mean()
    phase = rng.uniform()
    practice = rng.normal(0.0, m.practice_sd, (offices, N_PROGRAMMES)) - m.practice_sd**2 / 2
    order_ips = rng.permutation(offices)
    order_trial = rng.permutation(offices)
    order_kvp = rng.permutation(offices)
    t = np.arange(months)
    cycle = m.cycle_amplitude * np.sin(2 * np.pi * (t / m.cycle_months + phase))
    cond = level[:, None] + cycle[None, :]
    far = np.int64(10**6)
    burn = world.calendar.burn_in
    ips = np.full(offices, far, dtype=np.int64)
    covered = offices - round(offices * m.ips_never)
    for rank, office in enumerate(order_ips[:covered]):
        ips[office] = burn + int(m.ips_waves[rank * len(m.ips_waves) // covered])
    first = np.full(offices, far, dtype=np.int64)
    last = np.full(offices, -1, dtype=np.int64)
    for office in order_trial[: round(offices * m.ips_trial_share)]:
        first[office], last[office] = burn + int(m.ips_trial[0]), burn + int(m.ips_trial[1]) - 1
        ips[office] = min(ips[office], first[office])
    kvp = np.zeros(offices, dtype=np.int64)
    span = max(1, m.kvp_last - m.kvp_first)
    for rank, office in enumerate(order_kvp):
        kvp[office] = burn + m.kvp_first + rank * span // max(1, offices - 1)
    if world.assignment == "constant":
        practice, ips, kvp = np.zeros_like(practice), np.zeros_like(ips), np.zeros_like(kvp)
        first[:], last[:] = far, -1
    columns = (ips, first, last, kvp, np.cumsum(size) / size.sum())
    return Market(np.column_stack([*columns, practice]).astype(float), cond)


def _chains(world: World) -> np.ndarray:
    dec = world.decisions
    chain = np.full((N_PROGRAMMES, N_PROGRAMMES), dec.chain_usual)
    np.fill_diagonal(chain, dec.chain_same)
    for after, to in dec.chains:
        for key, factor in to:
            chain[PROGRAMMES.index(after), PROGRAMMES.index(key)] = factor
    return np.log(chain)


def price_level(world: World, years: np.ndarray) -> np.ndarray:
    """CPI(year) / CPI(price year); years outside the table take its nearest year. Shape [n]."""
    table = prices.load().cpi
    known = np.array(list(table))
    values = np.array([table[int(y)] for y in known])
    year = np.clip(years, known[0], known[-1])
    return values[np.searchsorted(known, year)] / table[world.calendar.price_year]


def _g(index: np.ndarray) -> np.ndarray:
    """G in force at the first of each month, NOK a year; the first known amount before that."""
    table = prices.load().grunnbelop
    starts = np.array([day.year * 12 + day.month - 1 for day in table])
    amounts = np.array(list(table.values()), dtype=float)
    return amounts[np.clip(np.searchsorted(starts, index, side="right") - 1, 0, None)]
