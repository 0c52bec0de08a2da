"""The designs of differences in differences that a study file may describe, one entry each.

An entry says which columns the design needs beside those of all roll-outs, how its starts may be told,
and where it is built. The keys of ``[columns]`` are the arguments of what builds it, so that a further
design is an entry here, its columns in `spec_rollout.RolloutColumns`, and its texts in the report.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from tiltakeval.errors import InputError

#: Ways to say when units start.
STARTS = ("first", "treated", "group")


@dataclass(frozen=True)
class Kind:
    """``maker``: module and function that build the design from a long file. One of ``needs`` must be
    declared; ``what`` says what they are. ``starts`` are the ways it takes of telling when units start;
    with ``own_start`` none is needed."""

    maker: str
    needs: tuple[str, ...] = ()
    what: str = ""
    starts: tuple[str, ...] = STARTS
    own_start: bool = False

    def load(self) -> Any:
        """The function (imports its module)."""
        module, _, name = self.maker.partition(":")
        return getattr(import_module(f"tiltakeval.design.{module}"), name)


KINDS: Mapping[str, Kind] = {
    "staggered": Kind("staggered_read:staggered_from_frame"),
    "paths": Kind(
        "treatment_paths:paths_from_frame",
        needs=("treatment",),
        what="the treatment of every period",
        starts=(),
        own_start=True,
    ),
    "doses": Kind(
        "doses:doses_from_frame",
        needs=("dose",),
        what="the dose",
        starts=("first",),
        own_start=True,
    ),
    "intensity": Kind(
        "intensity:intensity_from_frame",
        needs=("predicted", "participation"),
        what="predicted participation, or participation with predictors",
        starts=("first", "treated"),
    ),
}
#: Estimators whose results the report tells in words of their own (texts ending in ``_paths``, …), and
#: the limits that only they are held to.
TOLD_AS: Mapping[str, str] = {
    "switching_att": "paths",
    "dose_response": "doses",
    "intensity": "intensity",
    "triple_difference": "triple",
    "synthetic_did": "synthetic",
}
LIMITS: Mapping[str, tuple[str, ...]] = {
    "switching_att": ("crossing_share",),
    "intensity": ("prediction_spread",),
    "synthetic_did": ("worst_fit", "largest_weight"),
}
#: Columns that are a design's own: with one of them, other designs' starts needn't be declared.
OWN = tuple(name for kind in KINDS.values() if kind.own_start for name in kind.needs)


def kind_of(estimator: str) -> str:
    """The design an estimator takes."""
    from tiltakeval.estimators import ESTIMATORS

    return ESTIMATORS[estimator].design


def lacking(estimator: str, columns: Any, *, where: str) -> Iterator[InputError]:
    """What the columns don't say that the estimator's design needs."""
    kind = KINDS[kind_of(estimator)]
    if kind.needs and all(getattr(columns, name) is None for name in kind.needs):
        yield InputError(
            f"{estimator} needs {kind.what}",
            where=f"{where}, estimator",
            remedy=f"Say {' or '.join(kind.needs)} = a column, under [columns].",
        )
    if not kind.own_start and all(getattr(columns, name) is None for name in kind.starts):
        yield InputError(
            f"{estimator} needs to know when units start",
            where=f"{where}, estimator",
            remedy=f"Say {' or '.join(kind.starts)} = a column, under [columns].",
        )
    if not columns.panel and kind_of(estimator) != "staggered":
        yield InputError(
            f"{estimator} follows units over time, and panel = false says that nobody is followed",
            where=f"{where}, estimator",
            remedy="Add persons up to offices and periods, or use group_time_att.",
        )


def build_design(kind: str, frame: Any, columns: Any, **more: Any) -> Any:
    """The design of the rows ``frame``: every key of ``columns`` that the design takes, and ``more``.

    Raises InputError as the design does."""
    make = KINDS[kind].load()
    taken = inspect.signature(make).parameters
    given = {name: getattr(columns, name) for name in type(columns).model_fields}
    given |= {"outcome": tuple(columns.outcomes), "units": columns.outcomes, **more}
    told = {name: value for name, value in given.items() if value is not None}
    return make(frame, **{name: value for name, value in told.items() if name in taken})
