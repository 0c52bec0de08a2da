"""The section on trends: what the tests before the start could see, and what the effect bears."""

from __future__ import annotations

import re
from typing import Any

from tiltakeval.disclosure.release import Released, ReleasedCheck
from tiltakeval.report.blocks import Block, Bullets, Panel, Panels, Para
from tiltakeval.report.profiles import joint_limits
from tiltakeval.report.rollout import main_rows
from tiltakeval.report.rollout_figures import sensitivity_panel
from tiltakeval.report.tables import named_table, small_or_number, with_interval
from tiltakeval.report.view import View, upper_first

ROBUST = "robust_interval"
_MBAR = re.compile(r"Mbar=([\d.e+-]+)$")
TARGETS = ("first", "mean")


def trends(view: View) -> list[Block]:
    """Tests before the start and their power in words, and robust intervals by size of violation."""
    if not view.rollout:
        return []
    if view.words.has(own := view.text("trends.intro")) and own.endswith("_synthetic"):
        return [Para(view.words(own))]  # the time before the start was fitted
    blocks: list[Block] = []
    for population in view.populations:
        said = [
            (upper_first(view.outcome(outcome)), " ".join(sentences))
            for outcome in view.outcomes
            if (sentences := trend_sentences(view, population, outcome))
        ]
        blocks += [Bullets(said)] if said else []
        panels = [
            panel
            for outcome in view.outcomes
            for target in TARGETS
            if (panel := _panel(view, population, outcome, target)) is not None
        ]
        if panels:
            words = view.words
            caption = words("trends.caption", population=view.population(population))
            marks = [
                ("line", words("trends.legend_interval")),
                ("dashed", words("trends.legend_breakdown")),
            ]
            blocks.append(Panels(caption, panels, marks))
    if not blocks:
        return []
    return [Para(view.words("trends.intro")), *blocks]


def found(view: View, population: str, key: str, **scope: str) -> ReleasedCheck | None:
    """The check of the first analysis of a population with that key and scope."""
    rows = main_rows(view, population).table
    analysis = rows["analysis"].iloc[0] if len(rows) else ""
    for item in view.material.checks.items:
        own = item.scope.get("analysis", analysis) == analysis
        if item.key == key and own and all(item.scope.get(k) == v for k, v in scope.items()):
            return item
    return None


def trend_sentences(view: View, population: str, outcome: str) -> list[str]:
    """What the checks of trends mean for the conclusion about an outcome."""
    rows = main_rows(view, population, outcome=outcome).table
    unit = str(rows["unit"].iloc[0]) if len(rows) else ""
    out = [
        _tested(view, found(view, population, "pretrend", outcome=outcome, over="event_time")),
        _power(view, found(view, population, "pretrend_power", outcome=outcome), unit),
    ]
    for target in TARGETS:
        scope = {"outcome": outcome, "target": target}
        check = found(view, population, "robust_to_trends", **scope)
        out.append(_borne(view, population, outcome, check, target))
    return [text for text in out if text]


def _tested(view: View, check: ReleasedCheck | None) -> str:
    words = view.words
    if check is None:
        return ""
    if check.status == "not_evaluated" or check.statistic is None:
        return words("trends.test_not_evaluated")
    p = small_or_number(check.statistic, words)
    return words(f"trends.test_{check.status}", p=p, periods=words.number(check.message["rows"]))


def _power(view: View, check: ReleasedCheck | None, unit: str) -> str:
    words = view.words
    if check is None:
        return ""
    m = check.message
    if check.status == "not_evaluated":
        return words("trends.power_not_evaluated")
    return words(
        "trends.power",
        power=words.number(100 * m["power"]),
        slope=_amount(view, m["slope"], unit),
        bias=_amount(view, m["bias"], unit),
        passed=_amount(view, m["bias_if_passed"], unit),
        unit=words.unit(unit),
    )


def _amount(view: View, value: float, unit: str) -> str:
    """A size with one decimal more where it would be rounded to nothing."""
    text = view.words.amount(value, unit)
    return text if any(c in "123456789" for c in text) else view.words.amount(value, unit, extra=1)


def target_name(view: View, population: str, outcome: str, target: str) -> str:
    """What a robust interval is of: the first effect, or the mean over the times of the window."""
    gate = _of_target(main_rows(view, population, outcome=outcome, term=ROBUST), target)
    over = str(gate.table["period"].iloc[0]).split(",")[0] if len(gate) else ""
    if target == "first" or "-" not in over:
        return view.words(f"trends.of_{target}")
    first, last = over.split("-")
    return view.words("trends.of_window", first=first, last=last)


def _borne(
    view: View, population: str, outcome: str, check: ReleasedCheck | None, target: str
) -> str:
    """How large violations the effect bears."""
    words = view.words
    if check is None or check.status == "not_evaluated":
        return ""
    m: Any = check.message
    of = target_name(view, population, outcome, target)
    limit = words.number(check.threshold, 1)
    if m["breakdown"] == "none":
        return words("trends.bears_none", of=upper_first(of))
    if m["breakdown"] == "beyond_grid":
        return words("trends.bears_all", of=upper_first(of), value=words.number(m["searched"], 1))
    key = "trends.bears_enough" if check.status == "passed" else "trends.bears_little"
    return words(key, of=upper_first(of), value=words.number(m["value"], 2), limit=limit)


def _panel(view: View, population: str, outcome: str, target: str) -> Panel | None:
    words = view.words
    gate = main_rows(view, population, outcome=outcome, term=ROBUST)
    gate = _of_target(gate, target)
    table = gate.table
    if not len(gate) or not table["conf_low"].notna().any():
        return None
    mbar = [float(_MBAR.search(str(p))[1]) for p in table["period"]]  # type: ignore[index]
    unit = str(table["unit"].iloc[0])
    name = upper_first(view.outcome(outcome))
    what = target_name(view, population, outcome, target)
    title = f"{name}: {what} ({words.unit(unit)})"
    check = found(view, population, "robust_to_trends", outcome=outcome, target=target)
    breakdown = None if check is None else check.statistic
    lines = [words("trends.at", mbar=words.number(v, 2)) for v in mbar]
    text = "; ".join(
        f"{line}: {with_interval(row, view, unit)}"
        for line, (_, row) in zip(lines, table.iterrows())
    )
    drawing = sensitivity_panel(
        gate,
        mbar,
        words=words,
        look=view.look(view.programmes[0]),
        key=view.key("trends"),
        alt=words("alt.sensitivity", title=title, text=text),
        breakdown=breakdown,
        limits=joint_limits([gate], [None]),
    )
    shown = named_table(gate, lines, view, caption=title, first=words("trends.violation"))
    return Panel(title, drawing, shown)


def _of_target(gate: Released, target: str) -> Released:
    """The robust intervals of the first effect (they have a horizon), or of the mean."""
    periods = set(gate.table["period"])
    plain = [p for p in periods if p.startswith("Mbar")]
    mean = [p for p in periods if not p.startswith("Mbar")]
    return gate.select(period=plain if target == "first" else mean)
