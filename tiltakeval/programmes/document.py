"""The page on programmes, from the catalogue."""

from __future__ import annotations

import datetime as dt
import math
import sys

from tiltakeval.programmes.catalogue import Catalogue, load
from tiltakeval.programmes.programme import (
    Cost,
    Duration,
    Entry,
    Programme,
    Provenance,
    Subsidy,
)

_HEAD = """# Programmes

Written from `tiltakeval/programmes/catalogue/` by
`python -m tiltakeval.programmes.document > docs/programmes.md`.

A programme is a TOML file; its name is the key studies use. To add one, add a file, here or in a folder
given to `catalogue.load(extra=...)`; a file of the same name there replaces the shipped one. Every fact
has a `source` or `assumed = true`; what the sources do not give says "not given", and nothing is filled
in. A code stands for one programme at a date; phased-out codes are mapped where a succession is stated
or their label names the programme. Codes known to exist but claimed by no programme are in
`unclaimed_codes.toml`.

Each file has: `group`; `codes` (system, code, from, to, label, `trial`, `phase_out`, `misspelt`);
`entry` (states, ages in whole years, innsatsgrupper, from, to); `duration` (states, usual and maximum in
months or weeks, or a status); `subsidy` (states, rate, months of the place, from, to); `costs` (item,
value, unit, price year, or a status); and the tables `name`, `availability`, `delivery`, `aim`, `wage`,
`allowance`. `to` is the first day it no longer holds. "System" `tiltakeval` marks a code of this
toolkit's own, where the sources give none.

"""


def markdown(catalogue: Catalogue | None = None) -> str:
    """The page."""
    catalogue = catalogue or load()
    rows = ["| Key | Name | Enters from | Employment is its aim | Subsidises a wage |"]
    rows += ["|---|---|---|---|---|"]
    for p in catalogue.programmes.values():
        cells = (f"[`{p.key}`](#{p.key})", p.name_nb, ", ".join(p.target_states) or "–",
                 _yes(p.employment_is_aim), _yes(p.subsidises_wage))  # fmt: skip
        rows.append(f"| {' | '.join(cells)} |")
    parts = [_HEAD + "\n".join(rows), ""]
    parts += [_programme(p) for p in catalogue.programmes.values()]
    return "\n".join(parts)


def _programme(p: Programme) -> str:
    lines = [f"## {p.key}", "", f"**{p.name_nb}** · {p.name_en} · group `{p.group}`", ""]
    known = p.provenance
    if p.available_from or p.available_to or p.predecessors or p.successors:
        text = _period(p.available_from, p.available_to) or "dates not given"
        text += f"; after {', '.join(p.predecessors)}" if p.predecessors else ""
        text += f"; followed by {', '.join(p.successors)}" if p.successors else ""
        lines.append(f"- Available: {text}{_from(known['availability'])}")
    lines.append(f"- Delivery: {', '.join(p.delivery)}{_from(known['delivery'])}")
    lines.append(f"- Employment is its aim: {_yes(p.employment_is_aim)}{_from(known['aim'])}")
    lines.append(f"- Subsidises a wage: {_yes(p.subsidises_wage)}{_from(known['wage'])}")
    if p.gives_tiltakspenger is not None:
        text = _yes(p.gives_tiltakspenger)
        lines.append(f"- Gives tiltakspenger: {text}{_from(known['allowance'])}")
    lines += [f"- Enters: {_entry(rule)}" for rule in p.entry]
    lines += [f"- Lasts: {_duration(rule)}" for rule in p.durations]
    lines += [f"- Subsidy: {_subsidy(rule)}" for rule in p.subsidies]
    lines += [f"- Cost: {_cost(cost)}" for cost in p.costs]
    by_system: dict[str, list[str]] = {}
    for code in p.codes:
        flags = [n for n in ("trial", "phase_out", "misspelt") if getattr(code, n)]
        note = [*flags, *([_period(code.start, code.stop)] if code.start or code.stop else [])]
        text = f"`{code.code}`" + (f" ({', '.join(note)})" if note else "")
        by_system.setdefault(code.system, []).append(text)
    lines += [f"- Codes, {system}: {', '.join(codes)}" for system, codes in by_system.items()]
    return "\n".join([*lines, *[f"- Note: {note}" for note in p.notes], ""])


def _entry(rule: Entry) -> str:
    text = ", ".join(rule.states)
    if rule.min_age is not None or rule.max_age is not None:
        low = "" if rule.min_age is None else f"{rule.min_age}"
        high = "" if rule.max_age is None else f"{rule.max_age}"
        text += (
            f"; age {low}–{high}"
            if low and high
            else f"; age {low}+"
            if low
            else f"; age up to {high}"
        )
    if rule.innsatsgrupper:
        text += f"; {'/'.join(rule.innsatsgrupper)} ({rule.innsatsgruppe_source})"
    return text + _rest(rule.start, rule.stop, rule.condition, rule.note) + _from(rule.provenance)


def _duration(rule: Duration) -> str:
    text = f"{', '.join(rule.states)}: "
    if rule.limit != "limited":
        text += "no limit" if rule.limit == "none" else "not given"
    elif rule.usual_months is None or rule.max_months is None:
        months = rule.max_months if rule.max_months is not None else rule.usual_months
        text += f"at most {_number(months)} months"
    else:
        text += f"{_number(rule.usual_months)} months, at most {_number(rule.max_months)}"
    return text + _rest(rule.start, rule.stop, rule.note) + _from(rule.provenance)


def _subsidy(rule: Subsidy) -> str:
    text = f"{', '.join(rule.states)}: "
    if rule.rate is None:
        return text + "not given" + _rest(rule.start, rule.stop, rule.note)
    last = "on" if rule.last_month is None else f"–{rule.last_month + 1}"
    text += f"{rule.rate:.0%} of {rule.base or 'the wage'} from month {rule.first_month + 1}"
    text += f"{last}" if last != "on" else " on"
    if rule.cap_g_per_year is not None:
        text += f", at most {rule.cap_g_per_year:g} G a year"
    return text + _rest(rule.start, rule.stop, rule.note) + _from(rule.provenance)


def _cost(cost: Cost) -> str:
    if cost.value is None:
        text = f"{cost.item}, {cost.unit}: not given"
    else:
        text = f"{cost.item}: {_number(cost.value)} {cost.unit} ({cost.year})"
    return text + _rest(None, None, cost.note) + _from(cost.provenance)


def _rest(start: dt.date | None, stop: dt.date | None, *notes: str | None) -> str:
    found = [_period(start, stop), *notes]
    return "".join(f"; {note.rstrip('.')}" for note in found if note)


def _period(start: dt.date | None, stop: dt.date | None) -> str:
    if start and stop:
        return f"{start} to {stop}"
    return f"from {start}" if start else f"until {stop}" if stop else ""


def _from(provenance: Provenance) -> str:
    if provenance.assumed:
        return " [assumed]"
    return f" [{provenance.source}]" if provenance.source else ""


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _number(value: float | None) -> str:
    if value is None or math.isinf(value):
        return "–"
    return f"{value:,.0f}".replace(",", " ") if value == int(value) else f"{value:.1f}"


if __name__ == "__main__":
    sys.stdout.write(markdown())
