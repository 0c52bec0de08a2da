"""An invented register in a folder: made on demand, kept in the working folder."""

from __future__ import annotations

from pathlib import Path

from tiltakeval.errors import InputError
from tiltakeval.study.folders import swapped
from tiltakeval.study.known_truth import register_truth, threads
from tiltakeval.study.stages import Stages
from tiltakeval.synthetic.simulate import write_register
from tiltakeval.synthetic.world import World, load_world

MONTHS = 120
SEED = 1


def world_of(
    name: str,
    *,
    world_seed: int | None = None,
    selection_observed: float | None = None,
    selection_unobserved: float | None = None,
) -> World:
    """The named world with what was given set. Raises InputError."""
    given = {
        "seed": world_seed,
        "selection_observed": selection_observed,
        "selection_unobserved": selection_unobserved,
    }
    return load_world(name).with_(**{k: v for k, v in given.items() if v is not None})


def synthesize(
    out: Path,
    *,
    persons: int,
    months: int = MONTHS,
    seed: int = SEED,
    world: str = "standard",
    world_seed: int | None = None,
    selection_observed: float | None = None,
    selection_unobserved: float | None = None,
    truth_persons: int | None = None,
    stages: Stages | None = None,
) -> list[Path]:
    """Write a register to the new folder ``out``; returns the files. Raises InputError.

    ``truth_persons`` also writes ``truth/truth.parquet``, the true effects among so many persons of
    the same world.
    """
    if out.exists() and any(out.iterdir() if out.is_dir() else [out]):
        raise InputError(
            "there is something there already", where=str(out), remedy="Name a new folder."
        )
    chosen = world_of(
        world,
        world_seed=world_seed,
        selection_observed=selection_observed,
        selection_unobserved=selection_unobserved,
    )
    stages = stages or Stages()
    with swapped(out) as folder:
        with stages.stage(f"invented register: {persons:,} persons, {months} months"):
            write_register(folder, chosen, persons, months, seed, threads=threads())
        if truth_persons is not None:
            with stages.stage(f"true effects: {truth_persons:,} persons"):
                register_truth(chosen, truth_persons).write(folder / "truth" / "truth.parquet")
    return sorted(path for path in out.rglob("*") if path.is_file())


def default_register(
    work: Path, world: str, persons: int, *, seed: int = SEED, stages: Stages | None = None
) -> Path:
    """The folder of the invented register a study runs on, written first where it is missing."""
    folder = work / "registers" / f"{world}-{persons}-{seed}"
    if not folder.is_dir():
        synthesize(folder, persons=persons, seed=seed, world=world, stages=stages)
    return folder
