"""One estimator on one prepared file, from the command line: as a Stata user works."""

from __future__ import annotations

import inspect
import json
import math
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tiltakeval.design.event_history import event_history_from_frame
from tiltakeval.design.panel import panel_from_frame
from tiltakeval.design.prepared import cross_section_from_frame, durations_from_frame
from tiltakeval.diagnostics.honest.robust import lines_of
from tiltakeval.errors import InputError, unknown
from tiltakeval.estimates.check import Check
from tiltakeval.estimates.table import Estimates
from tiltakeval.estimators import ESTIMATORS, build
from tiltakeval.estimators.heterogeneity.survival.from_frame import spell_outcomes_from_frame
from tiltakeval.study.estimator import estimate_and_check
from tiltakeval.study.manifest import file_fingerprint, versions
from tiltakeval.study.rollout_kinds import KINDS
from tiltakeval.study.sources import read_frame
from tiltakeval.study.spec_parts import Thresholds

DESIGNS: Mapping[str, Callable[..., Any]] = {
    "cross_section": cross_section_from_frame,
    "durations": durations_from_frame,
    "event_history": event_history_from_frame,
    **{name: kind.load() for name, kind in KINDS.items()},
}
#: Arguments of a design that the command line doesn't set by name=value.
_INTERNAL = ("df", "where", "units", "arms")
_PLAIN = {int: "a whole number", float: "a number", bool: "true or false", tuple: "a list: a,b"}
NOTICE = (
    "Working output, not released: counts are exact. It must not leave the secure zone as it is."
)
_SHOWN = (
    *("programme", "comparator", "subgroup", "outcome", "cohort", "period", "horizon", "term"),
    "estimate",
    *("std_error", "conf_low", "conf_high", "p_value", "n_treated", "n_comparison"),
)


@dataclass(frozen=True)
class Estimation:
    """Estimates with the checks and the run that go with them; not released."""

    estimates: Estimates
    checks: tuple[Check, ...]
    run: Mapping[str, Any]

    def as_json(self) -> str:
        """One object: estimates, checks, run."""
        content = {
            "estimates": self.estimates.records(),
            "checks": [check.as_dict() for check in self.checks],
            "run": dict(self.run),
        }
        return json.dumps(_plain(content), ensure_ascii=False, allow_nan=False)

    def as_text(self) -> str:
        """A table for reading, marked as unreleased."""
        table = self.estimates.table
        shown = [
            name
            for name in _SHOWN
            if table[name].notna().any() and not table[name].isin(["", "none", "all"]).all()
        ]
        lines = [NOTICE, "", table[shown].to_string(index=False, na_rep="", float_format=_number)]
        for check in self.checks:
            found = "" if check.statistic is None else f" ({check.statistic:.3g}"
            found += ")" if check.threshold is None and found else ""
            found += (
                f", limit {check.threshold:.3g})" if found and check.threshold is not None else ""
            )
            scope = ", ".join(f"{k} {v}" for k, v in check.scope.items())
            lines.append(
                f"check {check.key}{' (' + scope + ')' if scope else ''}: {check.status}{found}"
            )
            for name in ("reasons", "dropped"):  # why estimates or covariates are absent
                lines += [f"  {said}" for said in check.message.get(name, ())]
            if check.status == "not_evaluated" and "why" in check.message:
                lines.append(f"  {check.message['why']}")
            else:
                lines += [f"  {said}" for said in lines_of([check])]
        return "\n".join(lines)


def settings(pairs: Sequence[str]) -> dict[str, str]:
    """``name=value`` pairs as a mapping. Raises InputError."""
    found: dict[str, str] = {}
    for pair in pairs:
        name, sign, value = pair.partition("=")
        if not sign or not name:
            raise InputError(
                f"'{pair}' isn't name=value",
                where="--set",
                remedy="For example: --set treatment=treat outcome=re78 covariates=age,educ",
            )
        if name in found:
            raise InputError(f"'{name}' is set twice", where="--set")
        found[name] = value
    return found


def estimate_file(key: str, path: Path, given: Mapping[str, str]) -> Estimation:
    """Run the estimator ``key`` on the file with columns and options as ``given``. Raises InputError."""
    if key not in ESTIMATORS:
        raise unknown("estimator", key, ESTIMATORS)
    entry = ESTIMATORS[key]
    make = _maker(entry.design, given)
    columns = _arguments(make)
    options = entry.options()
    hints = entry.hints()
    chosen: dict[str, str] = {}
    set_options: dict[str, Any] = {}
    for name, value in given.items():
        if name in columns:
            chosen[name] = value
        elif name in options:
            set_options[name] = option_value(value, hints.get(name, Any), where=name)
        else:
            raise unknown("setting", name, [*columns, *options], where="--set")
    absent = [name for name, required in columns.items() if required and name not in chosen]
    if absent:
        raise InputError(
            f"{' and '.join(absent)} must be given",
            where="--set",
            remedy=f"For example: --set {' '.join(f'{name}=COLUMN' for name in absent)}",
        )
    estimator = build(key, **set_options)
    frame = read_frame(path)
    hinted = typing.get_type_hints(make)
    numbers = {
        name: option_value(value, hinted[name], where=name)
        for name, value in chosen.items()
        if (kinds := _kinds(hinted[name])) & {int, float} and str not in kinds
    }
    design = make(frame, where=path.name, **{**chosen, **numbers})
    done = estimate_and_check(estimator, design, Thresholds())
    estimates = done.estimates.assign(analysis=key)
    run = {
        **estimates.run,
        "key": key,
        "file": path.name,
        "file_sha256": file_fingerprint(path),
        "settings": dict(given),
        "versions": versions(),
    }
    return Estimation(estimates, tuple(done.checks), run)


def _maker(design: str, given: Mapping[str, str]) -> Callable[..., Any]:
    """What makes the design: a long file with its unit and period is a panel, a file with the duration
    and event of spells a cross-section of outcomes freed of censoring."""
    if design == "cross_section" and {"duration", "event"} <= set(given):
        return spell_outcomes_from_frame
    if design == "cross_section" and {"unit", "period"} <= set(given):
        return panel_from_frame
    return DESIGNS[design]


def option_value(text: str, hint: Any, *, where: str) -> Any:
    """An option's text as the type its annotation asks for. Raises InputError."""
    kinds = _kinds(hint)
    lowered = text.strip().lower()
    if type(None) in kinds and lowered in ("none", ""):
        return None
    if bool in kinds and lowered in ("true", "false"):
        return lowered == "true"
    if tuple in kinds and ("," in text or not kinds - {tuple, type(None)}):
        parts = [part.strip() for part in text.split(",") if part.strip()]
        return tuple(option_value(part, _element(hint), where=where) for part in parts)
    for kind in (int, float):
        if kind in kinds:
            try:
                return kind(text)
            except ValueError:
                continue
    if str in kinds or not kinds:
        return text
    names = " or ".join(_PLAIN.get(kind, kind.__name__) for kind in kinds if kind in _PLAIN)
    raise InputError(f"'{text}' must be {names}", where=where)


def _kinds(hint: Any) -> set[type]:
    """The plain types an annotation allows."""
    origin = typing.get_origin(hint)
    if origin is typing.Literal:
        return {type(value) for value in typing.get_args(hint)}
    if origin is not None and isinstance(origin, type) and issubclass(origin, Sequence):
        return {tuple}
    if origin is not None:
        return set().union(*(_kinds(part) for part in typing.get_args(hint)))
    return {hint} if isinstance(hint, type) else set()


def _element(hint: Any) -> Any:
    """The annotation of one item, in an annotation that allows a list."""
    inside = typing.get_args(hint)
    if _kinds(hint) == {tuple}:
        return inside[0] if inside else Any
    return next((_element(part) for part in inside if tuple in _kinds(part)), Any)


def _arguments(make: Any) -> dict[str, bool]:
    """The design's settable arguments, and whether each is required."""
    return {
        name: parameter.default is inspect.Parameter.empty
        for name, parameter in inspect.signature(make).parameters.items()
        if name not in _INTERNAL
    }


def list_estimators() -> str:
    """Every estimator with its options and defaults, for a terminal."""
    lines = []
    for key, entry in ESTIMATORS.items():
        lines.append(f"{key}: {entry.description}")
        columns = ", ".join(
            f"{name}=" + ("" if required else " (optional)")
            for name, required in _arguments(DESIGNS[entry.design]).items()
        )
        options = ", ".join(f"{name}={value}" for name, value in entry.options().items())
        lines += [f"  columns: {columns}", f"  options: {options}"]
    panel = ", ".join(f"{name}=" for name in _arguments(panel_from_frame))
    lines.append(f"A long file with unit= and period= is a panel, with columns: {panel}")
    spells = ", ".join(f"{name}=" for name in _arguments(spell_outcomes_from_frame))
    lines.append(f"A file with duration= and event= has durations as outcomes, with: {spells}")
    return "\n".join(lines)


def _number(value: float) -> str:
    return f"{value:,.2f}" if abs(value) >= 100 else f"{value:.4f}"


def _plain(value: Any) -> Any:
    """JSON-ready: numpy scalars as numbers, missing and infinite numbers as null."""
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [_plain(item) for item in value]
    if value is None or value is pd.NA:
        return None
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if isinstance(value, str | int | bool) else str(value)
