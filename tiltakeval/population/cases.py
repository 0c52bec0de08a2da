"""Case tests of a population: invented persons and the fate each must meet.

``cases.toml`` holds ``[[person]]`` tables as ``invented`` reads them, each with ``expect``:

    expect = { in = true, arm = "aft", time_zero = "2016-05", comparison = 11 }
    expect = { in = false, lost_at = "age" }

arm and time_zero: the treated trial (leave out for a person who is comparison only). comparison: in
how many trials the person is a comparison. lost_at: the attrition step that removes the person's
last trial month.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from tiltakeval.engine import connect
from tiltakeval.errors import InputError, unknown
from tiltakeval.estimates.check import Check
from tiltakeval.months import month_label, parse_month
from tiltakeval.population.criteria import CRITERIA, EVERY_STEP
from tiltakeval.population.invented import invented_registers
from tiltakeval.population.spec import PopulationSpec
from tiltakeval.population.tables import prepare
from tiltakeval.population.trials import candidates_of, risk_of
from tiltakeval.programmes.catalogue import Catalogue

_EXPECT = ("in", "arm", "time_zero", "comparison", "lost_at", "base")


@dataclass(frozen=True)
class Fate:
    """What became of a person: months by arm, or the step at which the last month was lost."""

    treated: Mapping[int, str]
    comparison: tuple[int, ...]
    lost_at: str | None


def run_cases(
    path: Path, spec: PopulationSpec, catalogue: Catalogue, *, memory_limit: str = "500MB"
) -> list[Check]:
    """One check a person of the file: passed when the fate under ``spec`` is as expected.

    Persons whose ``expect.base`` names another base state are left out. Sampling is off. Raises
    InputError when the file can't be read.
    """
    persons = _read(path)
    mine = [p for p in persons if p["expect"].get("base", spec.base) == spec.base]
    found = fates(mine, spec, catalogue, memory_limit=memory_limit)
    return [_judge(person, fate, spec) for person, fate in zip(mine, found)]


def fates(
    persons: list[dict[str, Any]],
    spec: PopulationSpec,
    catalogue: Catalogue,
    *,
    memory_limit: str = "500MB",
) -> list[Fate]:
    """The fate of each invented person, in order. Registers cover 24 months before the entry window
    to ``spec.horizon`` months after it."""
    whole = replace(spec, max_comparison=None, max_comparison_per_trial=None)
    with connect(memory_limit=memory_limit, threads=1) as engine:
        registers = invented_registers(
            engine, persons, catalogue,
            first=spec.entry[0] - 24, last=spec.entry[1] + spec.horizon,
        )  # fmt: skip
        work = prepare(registers, catalogue, seed=spec.seed)
        risk, steps = risk_of(work, whole)
        segments = engine.frame(risk)
        months = engine.frame(
            candidates_of(work, risk, whole).select("person_id", "k", "arm", "own_eligible")
        )
    return [_fate(number, segments, months, steps, whole) for number in range(1, len(persons) + 1)]


def _fate(
    number: int,
    segments: pd.DataFrame,
    months: pd.DataFrame,
    steps: tuple[str, ...],
    spec: PopulationSpec,
) -> Fate:
    mine = months[months.person_id == number]
    kept = mine[(mine.arm >= 0) & mine.own_eligible]
    if len(kept):
        treated = {
            int(row.k): spec.arms[int(row.arm) - 1] for row in kept[kept.arm > 0].itertuples()
        }
        return Fate(treated, tuple(sorted(int(k) for k in kept[kept.arm == 0].k)), None)
    if len(mine):
        left = (mine.arm >= 0).any()
        return Fate({}, (), "legally_eligible" if left else "arm_in_study")
    own = segments[segments.person_id == number]
    for step in steps:
        if not (own[f"hi_{step}"] >= own[f"lo_{step}"]).any():
            return Fate({}, (), step)
    return Fate({}, (), steps[-1])


def _judge(person: Mapping[str, Any], fate: Fate, spec: PopulationSpec) -> Check:
    expect = person["expect"]
    inside = fate.lost_at is None
    wrong: list[str] = []
    if bool(expect.get("in", True)) != inside:
        wrong.append("in")
    if "lost_at" in expect and expect["lost_at"] != fate.lost_at:
        wrong.append("lost_at")
    if "arm" in expect:
        month = parse_month(expect["time_zero"]) if "time_zero" in expect else None
        if expect["arm"] == "none":
            if fate.treated:
                wrong.append("arm")
        elif month is None:
            if expect["arm"] not in fate.treated.values():
                wrong.append("arm")
        elif fate.treated.get(month) != expect["arm"]:
            wrong.append("time_zero" if expect["arm"] in fate.treated.values() else "arm")
    if "comparison" in expect and int(expect["comparison"]) != len(fate.comparison):
        wrong.append("comparison")
    met = {
        "in": inside,
        "lost_at": fate.lost_at,
        "treated": {month_label(k): arm for k, arm in fate.treated.items()},
        "comparison": len(fate.comparison),
    }
    return Check(
        key="case",
        status="failed" if wrong else "passed",
        scope={"population": spec.base, "case": str(person.get("name", ""))},
        message={"expected": dict(expect), "met": met, "differs": wrong},
    )


def _read(path: Path) -> list[dict[str, Any]]:
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(
            f"can't be read ({error})", where=path.name, remedy="It must be a TOML file."
        ) from None
    persons = values.get("person", [])
    if not persons:
        raise InputError("names no persons", where=path.name, remedy="Add [[person]] tables.")
    steps = {*EVERY_STEP, *(c.name for c in CRITERIA)}
    for person in persons:
        expect = person.setdefault("expect", {})
        where = f"{path.name}: person '{person.get('name', '?')}'"
        for key in expect:
            if key not in _EXPECT:
                raise unknown("expectation", key, _EXPECT, where=where)
        if "lost_at" in expect and expect["lost_at"] not in steps:
            raise unknown("attrition step", expect["lost_at"], steps, where=where)
    return list(persons)
