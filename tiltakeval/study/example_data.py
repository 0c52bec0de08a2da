"""Invented rows in the layout of each level, so that a new study on a file runs before there is one."""

from __future__ import annotations

import numpy as np
import pandas as pd

from tiltakeval.months import month_label, parse_month

PERSONS = 800
OFFICES = 60
SEED = 1


def example(level: str) -> pd.DataFrame:
    """The rows for a level: cross_section, panel, staggered, durations or event_history."""
    return {
        "cross_section": _cross_section,
        "panel": _panel,
        "staggered": _staggered,
        "durations": _durations,
        "event_history": _event_history,
    }[level]()


def _people(rng: np.random.Generator) -> pd.DataFrame:
    age = rng.integers(20, 60, PERSONS)
    sex = np.where(rng.random(PERSONS) < 0.5, "female", "male")
    skill = rng.normal(size=PERSONS)
    joins = rng.random(PERSONS) < 1 / (1 + np.exp(0.5 + 0.02 * (age - 40) - 0.4 * skill))
    return pd.DataFrame({"age": age, "sex": sex, "skill": skill, "joins": joins.astype(int)})


def _cross_section() -> pd.DataFrame:
    rng = np.random.default_rng(SEED)
    people = _people(rng)
    before = 20_000 + 4_000 * people["skill"] + rng.normal(0, 3_000, PERSONS)
    after = before + 1_500 * people["joins"] + rng.normal(0, 3_000, PERSONS)
    return pd.DataFrame(
        {
            "treated": people["joins"],
            "earnings": after.round(),
            "earnings_before": before.round(),
            "age": people["age"],
            "sex": people["sex"],
        }
    )


def _panel() -> pd.DataFrame:
    rng = np.random.default_rng(SEED)
    people = _people(rng)
    first, zero = parse_month("2020-01"), parse_month("2021-01")
    began = np.where(people["joins"], zero + rng.integers(-2, 3, PERSONS), zero)
    months = np.arange(first, first + 28)
    offset = months[None, :] - began[:, None]
    effect = (
        np.select([offset < 0, offset < 4], [0.0, -0.1], 0.12) * people["joins"].to_numpy()[:, None]
    )
    chance = 0.45 + 0.12 * people["skill"].to_numpy()[:, None] + effect
    work = rng.random(offset.shape) < np.clip(chance, 0.03, 0.97)
    person = np.repeat(np.arange(PERSONS), months.size)
    label = np.array([month_label(int(m)) for m in months])
    start = np.array([month_label(int(m)) for m in began], dtype=object)
    start[people["joins"] == 0] = None
    return pd.DataFrame(
        {
            "person": person + 1,
            "month": np.tile(label, PERSONS),
            "arm": people["joins"].to_numpy()[person],
            "began": start[person],
            "work": work.ravel().astype(int),
            "age": people["age"].to_numpy()[person],
            "sex": people["sex"].to_numpy()[person],
        }
    )


def _staggered() -> pd.DataFrame:
    """Offices that take a programme up in three waves; its effect grows for half a year."""
    rng = np.random.default_rng(SEED)
    first = parse_month("2020-01")
    months = np.arange(first, first + 24)
    begins = np.repeat([first + 9, first + 12, first + 15, -1], OFFICES // 4)
    size = rng.integers(80, 400, OFFICES)
    urban = (size > 200).astype(int)
    since = months[None, :] - begins[:, None]
    effect = np.where((begins[:, None] > 0) & (since >= 0), 0.01 * np.clip(since + 1, 0, 6), 0.0)
    level = 0.4 + 0.05 * rng.normal(size=(OFFICES, 1)) + 0.002 * np.arange(months.size)
    work = level + effect + rng.normal(size=since.shape) * 0.4 / np.sqrt(size)[:, None]
    label = [month_label(int(m)) for m in months]
    start = np.array([month_label(int(m)) if m > 0 else None for m in begins], dtype=object)
    office = np.repeat(np.arange(OFFICES), months.size)
    return pd.DataFrame(
        {
            "office": office + 1,
            "month": np.tile(label, OFFICES),
            "start": start[office],
            "work": work.ravel().round(4),
            "persons": size[office],
            "place": np.where(urban, "urban", "rural")[office],
        }
    )


def _durations() -> pd.DataFrame:
    rng = np.random.default_rng(SEED)
    people = _people(rng)
    rate = 0.03 * np.exp(0.4 * people["joins"] + 0.2 * people["skill"])
    job, school = rng.exponential(1 / rate), rng.exponential(1 / 0.008, PERSONS)
    end = rng.uniform(20, 80, PERSONS)
    weeks = np.minimum(np.minimum(job, school), end)
    how = np.select([weeks == job, weeks == school], ["job", "education"], "none")
    return pd.DataFrame(
        {
            "weeks": np.ceil(weeks).astype(int),
            "how": how,
            "offer": people["joins"],
            "age": people["age"],
            "sex": people["sex"],
        }
    )


def _event_history() -> pd.DataFrame:
    rng = np.random.default_rng(SEED)
    people = _people(rng)
    entry = np.ceil(rng.exponential(12, PERSONS))
    before = np.ceil(rng.exponential(1 / (0.06 * np.exp(0.2 * people["skill"]))))
    after = np.ceil(rng.exponential(1 / (0.09 * np.exp(0.2 * people["skill"]))))
    rows = []
    for i in range(PERSONS):
        enters = entry[i] < min(before[i], 24)
        first = min(entry[i], before[i], 24.0)
        rows.append((i + 1, first, 2 if enters else int(before[i] <= 24), 0))
        if enters:
            left = 24 - entry[i]
            rows.append((i + 1, min(after[i], left), int(after[i] <= left), 1))
    frame = pd.DataFrame(rows, columns=["person", "months", "end", "taken_part"])
    frame["age"] = people["age"].to_numpy()[frame["person"] - 1]
    return frame
