"""World -> register tables, in memory or as parquet files."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tiltakeval.errors import InputError
from tiltakeval.synthetic.events import Block, simulate_block
from tiltakeval.synthetic.prepare import Arrays, prepare
from tiltakeval.synthetic.tables import person_tables, shared_tables
from tiltakeval.synthetic.world import World

BLOCK = 1000  # persons simulated at a time; the result does not depend on it


def simulate_tables(
    world: World, persons: int, months: int = 120, seed: int = 1, *, first: int = 0,
    threads: int = 1,
) -> dict[str, pa.Table]:  # fmt: skip
    """The canonical register tables of ``persons`` persons (numbers ``first`` and on), in memory.

    The same persons come out whatever the blocks and threads. Raises InputError.
    """
    arrays = _arrays(world, persons, months)
    blocks = list(_blocks(world, arrays, persons, months, seed, first, threads))
    tables = person_tables(world, arrays, blocks, months)
    return tables | shared_tables(world, arrays, months)


def write_register(
    directory: Path, world: World, persons: int, months: int = 120, seed: int = 1, *,
    chunk: int = 20_000, threads: int = 1,
) -> None:  # fmt: skip
    """Write the tables as ``<table>.parquet`` and the world as ``world.toml``, chunk by chunk.

    Raises InputError for an impossible size.
    """
    arrays = _arrays(world, persons, months)
    directory.mkdir(parents=True, exist_ok=True)
    offset = 0
    with ExitStack() as stack:
        writers: dict[str, pq.ParquetWriter] = {}
        for first in range(0, persons, chunk):
            n = min(chunk, persons - first)
            blocks = list(_blocks(world, arrays, n, months, seed, first, threads))
            tables = person_tables(world, arrays, blocks, months, participation_from=offset)
            offset += tables["participation"].num_rows
            for name, table in tables.items():
                if name not in writers:
                    path = directory / f"{name}.parquet"
                    writers[name] = stack.enter_context(
                        pq.ParquetWriter(path, table.schema, compression="zstd")
                    )
                writers[name].write_table(table, row_group_size=500_000)
    for name, table in shared_tables(world, arrays, months).items():
        pq.write_table(table, directory / f"{name}.parquet", compression="zstd")
    head = f"# persons = {persons}, months = {months}, seed = {seed}\n"
    (directory / "world.toml").write_text(head + world.to_toml(), "utf-8")


def _arrays(world: World, persons: int, months: int) -> Arrays:
    if persons < 1 or months < 1:
        raise InputError(
            f"can't simulate {persons} persons over {months} months",
            remedy="Both must be at least 1.",
        )
    return prepare(world, world.calendar.burn_in + months)


def _blocks(
    world: World, arrays: Arrays, persons: int, months: int, seed: int, first: int, threads: int
) -> Iterator[Block]:
    burn = world.calendar.burn_in
    starts = range(first, first + persons, BLOCK)

    def run(start: int) -> Block:
        return simulate_block(
            arrays.flat, seed, start, min(BLOCK, first + persons - start), burn, months
        )

    if threads == 1:
        yield from map(run, starts)
        return
    with ThreadPoolExecutor(threads) as pool:
        yield from pool.map(run, starts)
