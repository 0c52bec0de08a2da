"""A study on a register: extract → population → design → estimates, with checks and known truth."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tiltakeval.disclosure.rules import load_rules
from tiltakeval.engine import connect
from tiltakeval.estimates.attrition import Attrition
from tiltakeval.estimates.table import Estimates
from tiltakeval.study.estimator import (
    defaults,
    estimator_of,
)
from tiltakeval.study.for_whom_asked import Asked, prepared
from tiltakeval.study.for_whom_truth import true_for_whom
from tiltakeval.study.found import Found
from tiltakeval.study.known_truth import TIMES, known_truth
from tiltakeval.study.opened import MEMORY_LIMIT, open_register, read_checked
from tiltakeval.study.register_base import Gathered, analyse_base, first_analysis, summary_month
from tiltakeval.study.spec_register import RegisterStudy
from tiltakeval.study.stages import Stages


def run(
    spec: RegisterStudy,
    data: Path | None,
    source: str,
    work: Path,
    persons: int | None,
    stages: Stages,
) -> Found:
    """Every analysis on every base population, checks first. Raises InputError."""
    estimators = {
        a.key: estimator_of(a.estimator, defaults(spec.inference, spec.seed), a.options)
        for a in spec.models
    }
    asked = for_whom_asked(spec, estimators)
    opened = open_register(spec, data, work, persons, stages)
    synthetic, truth_of = opened.synthetic, opened.truth_of
    gathered = Gathered()
    with connect(memory_limit=MEMORY_LIMIT) as engine:
        registers, findings = read_checked(opened.folder, source, engine, stages)
        gathered.checks += findings
        for base in spec.base:
            analyse_base(spec, base, registers, estimators, asked, gathered, stages)
        fingerprint, count = registers.fingerprint, engine.count(registers["persons"])
    truth = None
    if truth_of is not None:
        size = min(spec.truth_persons, TIMES * count)
        with stages.stage(f"true effects: {size:,} persons of the same invented world"):
            truth = known_truth(spec, truth_of, size)
            beside = None
            if gathered.for_whom:
                found = Estimates.concat(gathered.for_whom)
                beside = true_for_whom(spec, truth_of, size, found, gathered.checks)
            parts = [part for part in (truth, beside) if part is not None]
            truth = Estimates.concat(parts) if parts else None
    return Found(
        estimates=Estimates.concat(gathered.estimates),
        hazards=Estimates.concat(gathered.hazards) if gathered.hazards else None,
        for_whom=Estimates.concat(gathered.for_whom) if gathered.for_whom else None,
        checks=tuple(gathered.checks),
        attrition=Attrition.concat(gathered.attrition),
        data={
            "source": source,
            "fingerprint": fingerprint,
            "invented": synthetic,
            **({"persons": count} if synthetic else {}),
        },
        runs=gathered.runs,
        truth=truth,
        synthetic=synthetic,
        facts={
            "register": spec.register_ if data is None else source,
            "persons": count if synthetic else None,
        },
    )


def for_whom_asked(spec: RegisterStudy, estimators: Mapping[str, Any]) -> list[Asked]:
    """The tables `[[for_whom]]`, each with an analysis and a month. Raises InputError."""
    first = first_analysis(spec)
    out = []
    for one in spec.for_whom:
        one = one if one.analysis else one.model_copy(update={"analysis": first})
        out.append(
            prepared(
                one,
                estimators[str(one.analysis)],
                defaults(spec.inference, spec.seed),
                horizon=summary_month(spec) if one.horizon is None else one.horizon,
                threshold=load_rules(spec.rules).threshold,
            )
        )
    return out
