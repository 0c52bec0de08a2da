"""What the file of a roll-out is said to hold, checked before its rows are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from tiltakeval.design.columns import listed, require_columns
from tiltakeval.design.cross_section import ESTIMANDS
from tiltakeval.design.entry import check_entry
from tiltakeval.design.panel_rows import Errors
from tiltakeval.errors import unknown

Listed = str | Sequence[str]


@dataclass(frozen=True, kw_only=True)
class Declared:
    """Columns by what they are; ``groups`` is grouping -> column, ``read`` every column, in order."""

    outcomes: tuple[str, ...]
    covariates: tuple[str, ...]
    varying: tuple[str, ...]
    clusters: tuple[str, ...]
    groups: Mapping[str, str]
    weight: str | None
    read: tuple[str, ...]

    @property
    def constant(self) -> tuple[str, ...]:
        """Columns with one value for each unit."""
        return (*self.covariates, *([self.weight] if self.weight else []), *self.groups.values())


def declared(
    errors: Errors,
    df: pd.DataFrame,
    *,
    design: Sequence[str | None],
    outcome: Listed,
    covariates: Listed,
    varying: Listed = (),
    weight: str | None,
    cluster: Listed | None,
    most_clusters: int,
    subgroups: Listed | Mapping[str, str],
    estimand: str,
    entry: str | None,
    override: str | None,
    unit_names: str | None = None,
    where: str,
) -> Declared:
    """The columns, with ``design`` those that say who is treated when. Raises InputErrors, with what
    ``errors`` has so far: columns that aren't there, or are two things; no outcome; no rows; an entry
    that is refused."""
    errors.attempt(lambda: check_entry(entry, override, where=f"{where}, entry"))
    outcomes, names, moving = listed(outcome), listed(covariates), listed(varying)
    clusters = listed(cluster or ())
    if len(clusters) > most_clusters:
        most = "one" if most_clusters == 1 else "two"
        errors.add(f"{len(clusters)} clusters are given, {most} at most", where=where)
    groups = (
        dict(subgroups) if isinstance(subgroups, Mapping) else {k: k for k in listed(subgroups)}
    )
    if not outcomes:
        errors.add("no outcome is declared", where=where, remedy="Say outcome = a column.")
    if estimand not in ESTIMANDS:
        errors.found.append(unknown("estimand", estimand, ESTIMANDS, where=where))
    for name in dict.fromkeys(name for name in (*names, *moving, *outcomes) if name in design):
        errors.add(f"'{name}' can't be an outcome or covariate: it is the design", where=where)
    read = [*design, unit_names, *outcomes, *names, *moving, weight, *clusters, *groups.values()]
    errors.attempt(lambda: require_columns(df, read, where=where))
    if df.empty:
        errors.add("the file has no rows", where=where)
    errors.stop(where)
    return Declared(
        outcomes=outcomes,
        covariates=names,
        varying=moving,
        clusters=clusters,
        groups=groups,
        weight=weight,
        read=tuple(name for name in dict.fromkeys(read) if name),
    )
