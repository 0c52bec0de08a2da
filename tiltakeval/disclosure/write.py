"""Released tables as files, with the log of what was suppressed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tiltakeval.disclosure.plain import as_json, plain, records, tally
from tiltakeval.disclosure.release import (
    AnyReleased,
    Gated,
    Released,
    ReleasedAttrition,
    ReleasedChecks,
    require_released,
)


def write_released(released: AnyReleased, directory: Path, name: str | None = None) -> list[Path]:
    """Write a released table as ``<name>.csv`` and ``<name>.json`` with its suppression log.

    Suppressed numbers are empty (null) and have status "suppressed". The JSON of estimates has
    ``columns`` and a list of values per row; that of checks and attrition a mapping per row, checks
    with their details. The log counts suppressed rows by what they are of and why.
    Returns the files written.
    """
    gate: Gated = require_released(
        released, (Released, ReleasedChecks, ReleasedAttrition), "write_released"
    )
    directory.mkdir(parents=True, exist_ok=True)
    stem = name or gate._kind
    table, paths = gate.table, [directory / f"{stem}.csv", directory / f"{stem}.json"]
    table.to_csv(paths[0], index=False, float_format="%.10g")
    content: dict[str, Any] = {"rules": gate.rules.as_dict(), "suppressed": tally(gate.log)}
    if isinstance(released, Released):
        content["columns"] = list(table.columns)
        lines = [as_json(row) for row in plain(table).to_numpy().tolist()]
    else:
        rows = records(table)
        if isinstance(released, ReleasedChecks):
            for row, item in zip(rows, released.items):
                row["message"] = dict(item.message)
                row["detail"] = None if item.detail is None else records(item.detail)
        lines = [as_json(row) for row in rows]
    head = as_json(content)[:-1]
    body = ",\n".join(lines)
    paths[1].write_text(f'{head},\n"{gate._kind}": [\n{body}\n]}}\n', "utf-8")
    return paths
