"""The register a study runs on: the extract that was given, or the invented one it names."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tiltakeval.engine import Engine
from tiltakeval.errors import InputError
from tiltakeval.estimates.check import Check
from tiltakeval.programmes import catalogue
from tiltakeval.registers import quality
from tiltakeval.registers.read import Registers, read_registers
from tiltakeval.study.known_truth import world_beside
from tiltakeval.study.spec_register import RegisterStudy
from tiltakeval.study.spec_rollout_register import RegisterRolloutStudy
from tiltakeval.study.stages import Stages
from tiltakeval.study.synthesize import default_register
from tiltakeval.synthetic.world import World

MEMORY_LIMIT = "2GB"


@dataclass(frozen=True)
class Opened:
    """Where the tables are; whether they are invented; the world to show the truth of, if any."""

    folder: Path
    synthetic: bool
    truth_of: World | None


def open_register(
    spec: RegisterStudy | RegisterRolloutStudy,
    data: Path | None,
    work: Path,
    persons: int | None,
    stages: Stages,
) -> Opened:
    """The extract in ``data``, or the study's invented register, made in ``work`` where it is missing.

    Raises InputError when both an extract and a size are given.
    """
    if data is not None and persons is not None:
        raise InputError(
            "--persons is the size of an invented register, and an extract is given",
            remedy="Leave out --persons or --data.",
        )
    world = spec.register_.split(":")[1]
    size = spec.persons if persons is None else persons
    folder = data or default_register(work, world, size, stages=stages)
    synthetic = (
        folder / "world.toml"
    ).is_file()  # an invented register's world lies beside its tables
    return Opened(folder, synthetic, world_beside(folder) if synthetic and spec.truth else None)


def read_checked(
    folder: Path, source: str, engine: Engine, stages: Stages
) -> tuple[Registers, list[Check]]:
    """The registers, and what the quality rules found. Raises InputErrors when those are errors."""
    with stages.stage("reading and checking the extract"):
        registers = read_registers(folder, engine=engine, catalogue=catalogue.load(), source=source)
        findings = quality.check_registers(registers)
        quality.raise_errors(findings)
    return registers, list(findings)
