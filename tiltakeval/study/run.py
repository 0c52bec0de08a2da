"""A study from its file to its report: the whole pipeline on one page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tiltakeval.disclosure.release import (
    AnyReleased,
    release_attrition,
    release_checks,
    release_estimates,
)
from tiltakeval.disclosure.rules import load_rules
from tiltakeval.disclosure.write import write_released
from tiltakeval.errors import InputError
from tiltakeval.estimates.attrition import Attrition
from tiltakeval.estimates.check import Check
from tiltakeval.estimates.table import Estimates
from tiltakeval.estimators.numerics.threads import one_thread
from tiltakeval.report.build import write_report
from tiltakeval.study import from_file, from_register, rollout_register, wording
from tiltakeval.study.folders import swapped
from tiltakeval.study.found import Found
from tiltakeval.study.manifest import as_json, manifest
from tiltakeval.study.spec import FileStudy, StudySpec, find_study, load_spec
from tiltakeval.study.spec_rollout_register import RegisterRolloutStudy
from tiltakeval.study.stages import Stages


@dataclass(frozen=True, kw_only=True)
class StudyResult:
    """What a study found. Not released: ``write_outputs`` releases what it writes."""

    spec: StudySpec
    estimates: Estimates
    checks: tuple[Check, ...]
    attrition: Attrition
    manifest: Mapping[str, Any]
    truth: Estimates | None = None
    published: Estimates | None = None
    hazards: Estimates | None = None
    for_whom: Estimates | None = None
    synthetic: bool = False
    facts: Mapping[str, Any] = field(default_factory=dict)


def run_study(
    study: str | Path,
    *,
    data: Path | None = None,
    source: str = "canonical",
    work: Path = Path("work"),
    persons: int | None = None,
    seed: int | None = None,
    command: str = "",
    progress: bool = True,
) -> StudyResult:
    """Run a study on the extract in ``data``, or on its invented register. Raises InputError.

    ``persons`` is the size of the invented register and ``seed`` replaces the study file's; both are
    in the manifest. Person-level files stay in ``work``.
    """
    path = find_study(study)
    spec, text = load_spec(path)
    if seed is not None:
        spec = spec.model_copy(update={"seed": seed})
    stages = Stages(show=progress)
    stages.say(f"study {spec.slug}")
    with one_thread():
        found = _analyse(spec, path.parent, data, source, work, persons, stages)
    return StudyResult(
        spec=spec,
        estimates=found.estimates.assign(study=spec.slug),
        checks=found.checks,
        attrition=found.attrition,
        truth=found.truth,
        published=found.published,
        hazards=None if found.hazards is None else found.hazards.assign(study=spec.slug),
        for_whom=None if found.for_whom is None else found.for_whom.assign(study=spec.slug),
        synthetic=found.synthetic,
        facts=found.facts,
        manifest=manifest(
            study=spec.slug,
            spec_text=text,
            seed=spec.seed,
            rules=load_rules(spec.rules).as_dict(),
            data=found.data,
            analyses=found.runs,
            stages=stages.done,
            command=command,
        ),
    )


def _analyse(
    spec: StudySpec,
    folder: Path,
    data: Path | None,
    source: str,
    work: Path,
    persons: int | None,
    stages: Stages,
) -> Found:
    """The study's analyses, at the level it enters."""
    if isinstance(spec, FileStudy):
        given = {"--persons": persons, "--data": None if spec.from_command_line else data}
        for name, value in given.items():
            if value is not None:
                raise InputError(
                    f"this study reads the samples its file declares; {name} does nothing here",
                    where=spec.slug,
                    remedy=f"Leave {name} out.",
                )
        return from_file.run(spec, folder, data, stages)
    if isinstance(spec, RegisterRolloutStudy):
        return rollout_register.run(spec, data, source, work, persons, stages)
    return from_register.run(spec, data, source, work, persons, stages)


def write_outputs(result: StudyResult, out: Path, *, progress: bool = False) -> list[Path]:
    """Write ``out/<slug>/``: both reports, the tables behind them, the manifest; all released.

    The folder is replaced whole at the end; after an error the one before stands untouched.
    """
    rules, stages = result.spec.rules, Stages(show=progress)
    with stages.stage("disclosure control"):
        checks = release_checks(result.checks, rules)
        released: dict[str, AnyReleased] = {
            "estimates": release_estimates(result.estimates, rules),
            "attrition": release_attrition(result.attrition, rules),
        }
        for name, beside in (("hazards", result.hazards), ("for_whom", result.for_whom)):
            if beside is not None:
                released[name] = release_estimates(beside, rules)
        for name, value in (("truth", result.truth), ("published", result.published)):
            if value is not None:
                released[name] = release_estimates(value, rules, uncounted="allow")
    target = out / result.spec.slug
    with swapped(target) as folder:
        with stages.stage("report in bokmål and English"):
            material = wording.material(
                result.spec,
                checks=checks,
                released=released,
                facts=result.facts,
                manifest=result.manifest,
                synthetic=result.synthetic,
            )
            names = [path.name for path in write_report(material, folder)]
        with stages.stage("tables and manifest"):
            for name, table in released.items():
                table.table.to_csv(folder / f"{name}.csv", index=False, float_format="%.7g")
                names.append(f"{name}.csv")
            write_released(checks, folder)
            timed = [*result.manifest["stages"], *(vars(stage) for stage in stages.done)]
            hidden = {name: len(table.log) for name, table in released.items()}
            content = {**result.manifest, "suppressed": hidden, "stages": timed}
            (folder / "manifest.json").write_text(as_json(content), "utf-8")
    return [target / name for name in (*names, "checks.csv", "checks.json", "manifest.json")]


def run_and_write(study: str | Path, *, out: Path, **options: Any) -> list[Path]:
    """Run a study and write its outputs: what ``tiltakeval run`` does."""
    return write_outputs(run_study(study, **options), out, progress=True)
