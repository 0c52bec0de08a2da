"""The database behind the registers: one connection, and the few operations the layers use.

Expressions are built with Ibis and stay lazy. Rows leave the engine only through ``arrow_batches``
and ``frame`` (small aggregates). Pitfalls that shaped this: method notes of Ibis 12 with DuckDB 1.5.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import ibis
import pandas as pd
import pyarrow as pa
from ibis.expr.types import Table

from tiltakeval.errors import InputError


@dataclass(frozen=True)
class Engine:
    """One connection. Close it (or use it as a context manager): spilled rows of persons are deleted."""

    backend: Any
    scratch: Path

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Disconnect and delete the private folder for spilled rows."""
        self.backend.disconnect()
        shutil.rmtree(self.scratch, ignore_errors=True)

    def read_parquet(self, path: Path, name: str) -> Table:
        """A lazy table over a parquet file."""
        return self.backend.read_parquet(str(path), table_name=name)

    def memory_table(self, rows: pa.Table, name: str) -> Table:
        """A table from Arrow data, copied into the engine."""
        return self.backend.create_table(name, rows, temp=True, overwrite=True)

    def materialise(self, expression: Table, name: str) -> Table:
        """Compute the expression once, as a temporary table of that name in the engine."""
        return self.backend.create_table(name, expression, temp=True, overwrite=True)

    def drop(self, name: str) -> None:
        """Drop a temporary table."""
        self.backend.drop_table(name, force=True)

    def frame(self, expression: Table) -> pd.DataFrame:
        """A small aggregate as a data frame. Not for rows of persons."""
        return expression.to_pandas()

    def arrow(self, expression: Table) -> pa.Table:
        """The expression's rows, as Arrow columns; the hand-over to a design."""
        return expression.to_pyarrow()

    def arrow_batches(self, expression: Table, rows: int = 500_000) -> Iterator[pa.RecordBatch]:
        """The expression's rows in batches of about ``rows``; drained before anything else runs."""
        reader = expression.to_pyarrow_batches(chunk_size=rows)
        try:
            yield from reader
        finally:
            reader.close()

    def count(self, expression: Table) -> int:
        """Number of rows."""
        return int(expression.count().execute())


def connect(url: str = "duckdb://", *, memory_limit: str = "2GB", threads: int = 2) -> Engine:
    """Open an engine. ``duckdb://`` is the embedded default; other Ibis URLs are passed on.

    Raises InputError when the URL can't be opened.
    """
    scratch = Path(tempfile.mkdtemp(prefix="tiltakeval-"))
    try:
        if url == "duckdb://":
            backend = ibis.duckdb.connect(
                ":memory:",
                memory_limit=memory_limit,
                threads=threads,
                temp_directory=str(scratch),
                preserve_insertion_order=False,
            )
            with suppress(duckdb.Error):  # refused in a notebook that couldn't draw one anyway
                backend.raw_sql("SET enable_progress_bar = false")  # stages tell the progress
        else:
            backend = ibis.connect(url)
    except Exception as error:
        shutil.rmtree(scratch, ignore_errors=True)
        raise InputError(
            f"the database can't be opened ({type(error).__name__})",
            where=url.split("@")[-1],
            remedy="Give a URL Ibis knows, or leave it out for the embedded engine.",
        ) from None
    return Engine(backend=backend, scratch=scratch)
