"""An invented extract on disk, an engine, the catalogue."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tiltakeval import engine as engine_module
from tiltakeval.engine import Engine
from tiltakeval.programmes import catalogue as catalogue_module
from tiltakeval.programmes.catalogue import Catalogue
from tiltakeval.registers import schema
from tiltakeval.registers.invented import invent

Tables = dict[str, pa.Table]


@pytest.fixture(scope="session")
def catalogue() -> Catalogue:
    return catalogue_module.load()


@pytest.fixture
def engine() -> Iterator[Engine]:
    with engine_module.connect(threads=1) as found:
        yield found


@pytest.fixture(scope="session")
def invented() -> Tables:
    return invent(schema.load(), persons=60, seed=5)


@pytest.fixture
def write(tmp_path: Path) -> Callable[[Tables], Path]:
    """Writes tables as the canonical layout into a folder of the test's own."""

    def put(tables: Tables) -> Path:
        for name, table in tables.items():
            pq.write_table(table, tmp_path / f"{name}.parquet")
        return tmp_path

    return put
