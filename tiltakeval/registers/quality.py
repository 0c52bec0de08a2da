"""Is this extract fit to be used? One function a rule; this is the list of them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from tiltakeval.engine import Engine
from tiltakeval.errors import InputError, InputErrors, counted, unknown
from tiltakeval.estimates.check import Check
from tiltakeval.registers import quality_time, quality_values
from tiltakeval.registers import schema as register_schema
from tiltakeval.registers.finding import describe
from tiltakeval.registers.read import Registers, read_registers
from tiltakeval.registers.schema import Schema
from tiltakeval.registers.source import Source, StartedRule

if TYPE_CHECKING:
    from tiltakeval.programmes.catalogue import Catalogue

Rule = Callable[[Registers, Schema], Iterator[Check]]

RULES: Mapping[str, Rule] = {
    "structure": quality_values.structure,
    "types": quality_values.types,
    "unreadable_values": quality_values.unreadable_values,
    "missing_values": quality_values.missing_values,
    "duplicate_keys": quality_values.duplicate_keys,
    "levels": quality_values.levels,
    "ranges": quality_values.ranges,
    "negative_amounts": quality_values.negative_amounts,
    "unknown_codes": quality_values.unknown_codes,
    "statuses": quality_values.statuses,
    "left_out": quality_values.left_out,
    "reversed_dates": quality_time.reversed_dates,
    "order_of_events": quality_time.order_of_events,
    "outside_window": quality_time.outside_window,
    "coverage": quality_time.coverage,
    "orphans": quality_time.orphans,
    "overlapping_spells": quality_time.overlapping_spells,
    "after_death": quality_time.after_death,
}
"""Rules in the order they are reported. To add one, write its function and a line here."""

__all__ = [
    "RULES",
    "check_extract",
    "check_registers",
    "describe",
    "errors",
    "raise_errors",
    "summary",
]


def check_registers(registers: Registers, rules: Iterable[str] | None = None) -> list[Check]:
    """Every rule's findings, errors first; a rule that finds nothing gives one passed check.

    ``rules`` limits it to some of ``RULES``. Raises InputError for a rule there isn't.

    A finding's ``message`` has severity ("error", "warning", "info"), what, remedy, and, where they
    apply, rows (as text, "<5" for small counts) and example; ``scope`` has table and column.
    """
    schema = register_schema.load()
    checks: list[Check] = []
    broken = False
    wanted = list(RULES if rules is None else rules)
    for key in wanted:
        if key not in RULES:
            raise unknown("quality rule", key, RULES)
    for key, rule in RULES.items():
        if key not in wanted:
            continue
        if broken:
            checks.append(Check(key=key, status="not_evaluated"))
            continue
        found = list(rule(registers, schema))
        checks += found or [Check(key=key, status="passed")]
        # The other rules compute on the columns, so they need these to be there and of their type.
        broken = key == "types" and bool(found)
    return sorted(checks, key=_rank)


def check_extract(
    path: Path | str,
    *,
    engine: Engine,
    catalogue: Catalogue,
    source: str | Path | Source = "canonical",
    started_rule: str | StartedRule | None = None,
    as_of: dt.date | None = None,
    rules: Iterable[str] | None = None,
) -> list[Check]:
    """Read the extract as far as it can be read and check it: missing files and columns become
    findings beside the others. Raises InputError only when there is nothing to read."""
    try:
        registers = read_registers(
            path, engine=engine, catalogue=catalogue, source=source,
            started_rule=started_rule, as_of=as_of, strict=False,
        )  # fmt: skip
    except InputErrors as error:
        return [quality_values.fault_finding(fault) for fault in error.errors]
    return check_registers(registers, rules)


def errors(checks: Iterable[Check]) -> list[Check]:
    """The findings that make an extract unfit for use."""
    return [check for check in checks if check.message.get("severity") == "error"]


def raise_errors(checks: Iterable[Check]) -> None:
    """Raise InputErrors with every error among the findings; warnings pass."""
    found = errors(checks)
    if found:
        raise InputErrors(
            [
                InputError(
                    str(check.message["what"])
                    + (f" ({check.message['rows']} rows)" if "rows" in check.message else ""),
                    where=".".join(check.scope.values()),
                    remedy=str(check.message["remedy"]),
                )
                for check in found
            ],
            title=f"The extract has {counted(len(found), 'error')}.",
        )


def summary(checks: Iterable[Check]) -> str:
    """The findings as text for a terminal, ending with the numbers of each kind."""
    checks = list(checks)
    kinds = [str(c.message.get("severity", c.status)) for c in checks]
    lines = [describe(check) for check in checks if check.status != "not_evaluated"]
    skipped = kinds.count("not_evaluated")
    named = (("error", "error"), ("warning", "warning"), ("info", "note"))
    tally = [counted(kinds.count(kind), noun) for kind, noun in named]
    passed = counted(kinds.count("passed"), "rule passed", "rules passed")
    end = ", ".join([*tally, passed])
    return "\n".join([*lines, "", end + (f", {skipped} not evaluated." if skipped else ".")])


def _rank(check: Check) -> int:
    order = ["error", "warning", "info"]
    severity = str(check.message.get("severity", ""))
    return order.index(severity) if severity in order else len(order)
