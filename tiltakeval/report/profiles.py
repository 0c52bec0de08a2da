"""Effect profiles, month by month, and the same outcome calculated in other ways."""

from __future__ import annotations

from tiltakeval.disclosure.release import Released
from tiltakeval.report.blocks import Block, Panel, Panels, Para, Sub, Table
from tiltakeval.report.canvas import Limits, shared_limits
from tiltakeval.report.figures import effect_panel
from tiltakeval.report.tables import absent, gaps, month_table, with_interval
from tiltakeval.report.view import EFFECTS, View, number, upper_first


def legend(view: View, released: Released, *, truth: bool) -> list[tuple[str, str]]:
    """What line, areas and dashes mean."""
    words, table = view.words, released.table
    level = words.number(100 * float(table["conf_level"].fillna(0.95).iloc[0]))
    out = [("line", words("legend.estimate")), ("dark", words("legend.interval", level=level))]
    if table["band_low"].notna().any():
        out.append(("light", words("legend.band", level=level)))
    if truth:
        out.append(("dashed", words("legend.truth")))
    return out


def profiles(view: View) -> list[Block]:
    """Effect by month, a panel per programme: every outcome for the primary estimand, the primary
    outcome for the others."""
    if (
        view.spells or view.rollout
    ):  # effects of a hazard model, if any, have a section of their own
        return []
    words = view.words
    blocks: list[Block] = []
    for place, estimand in enumerate(view.estimands):
        outcomes = view.outcomes if place == 0 else [view.primary_outcome]
        for population in view.populations:
            found = [_profile(view, estimand, population, outcome) for outcome in outcomes]
            panels = [block for block in found if block is not None]
            if panels:
                head = words(
                    "profiles.head",
                    population=upper_first(view.population(population)),
                    estimand=words.label("estimand", estimand),
                )
                blocks += [Sub(head), *panels]
    return [Para(words("profiles.intro")), *blocks] if blocks else []


def _profile(view: View, estimand: str, population: str, outcome: str) -> Panels | None:
    words = view.words
    base = {"estimand": estimand, "population": population, "outcome": outcome}
    rows = {
        programme: view.part(
            **base, comparator="none", subgroup="all", programme=programme, term=list(EFFECTS)
        )
        for programme in view.programmes
    }
    rows = {key: gate for key, gate in rows.items() if gate.table["horizon"].notna().any()}
    if not rows:
        return None
    truths = {
        key: view.truth(**base, programme=key, comparator="none", subgroup="all", term="effect")
        for key in rows
    }
    caption = words(
        "profiles.caption",
        outcome=upper_first(view.outcome(outcome)),
        population=upper_first(view.population(population)),
    )
    return month_panels(view, rows, truths, {key: view.programme(key) for key in rows}, caption)


def month_panels(
    view: View,
    rows: dict[str, Released],
    truths: dict[str, Released | None],
    titles: dict[str, str],
    caption: str,
) -> Panels:
    words = view.words
    seen = {key: gate.table["estimate"].notna().any() for key, gate in rows.items()}
    shown = [key for key in rows if seen[key]]
    limits = joint_limits([rows[key] for key in shown], [truths[key] for key in shown])
    panels = []
    for key, gate in rows.items():
        if not seen[key]:
            panels.append(Panel(titles[key], None, note=absent(gate.table, view)))
            continue
        alt = _profile_alt(view, gate, titles[key])
        drawing = effect_panel(
            gate,
            words=words,
            look=view.look(key),
            key=view.key("effect"),
            alt=alt,
            limits=limits,
            truth=truths[key],
        )
        table = month_table(gate, view, caption=f"{titles[key]}: {caption}")
        panels.append(Panel(titles[key], drawing, table))
    first = rows[shown[0]] if shown else next(iter(rows.values()))
    unit = words.unit(str(first.table["unit"].iloc[0]))
    return Panels(
        f"{caption}. {upper_first(unit)}.",
        panels,
        legend(view, first, truth=any(t is not None for t in truths.values())) if shown else (),
        gaps((rows[key] for key in shown), view),
    )


def joint_limits(gates: list[Released], truths: list[Released | None]) -> Limits | None:
    found = [shared_limits(g, truth=t) for g, t in zip(gates, truths)]
    kept = [limit for limit in found if limit is not None]
    return (min(a for a, _ in kept), max(b for _, b in kept)) if kept else None


def _profile_alt(view: View, gate: Released, title: str) -> str:
    """Alternative text: the value at the summary month, the lowest and the highest month."""
    words, table = view.words, gate.table
    table = table[(table["horizon"] >= 0) & table["estimate"].notna()]
    if table.empty:
        return words("alt.empty", title=title)
    unit = str(table["unit"].iloc[0])
    low, high = table.loc[table["estimate"].idxmin()], table.loc[table["estimate"].idxmax()]
    end = table.sort_values("horizon").iloc[-1]
    return words(
        "alt.profile",
        title=title,
        low=words.amount(number(low, "estimate"), unit),
        low_month=words.number(number(low, "horizon")),
        high=words.amount(number(high, "estimate"), unit),
        high_month=words.number(number(high, "horizon")),
        end=words.amount(number(end, "estimate"), unit),
        end_month=words.number(number(end, "horizon")),
        interval=words.interval(number(end, "conf_low"), number(end, "conf_high"), unit),
        unit=words.unit(unit),
    )


def other_ways(view: View) -> list[Block]:
    """The primary outcome at the summary month under every analysis and estimand."""
    words, table = view.words, view.monthly
    if view.rollout:
        return []
    rows = table[(table["outcome"] == view.primary_outcome) & (table["term"] == "effect")]
    ways = list(dict.fromkeys(zip(rows["estimand"], rows["analysis"], rows["time_origin"])))
    if len(ways) < 2:
        return []
    blocks: list[Block] = [Para(words("ways.intro"))]
    for population in view.populations:
        part = rows[rows["population"] == population]
        at = view.month(part)
        shown = [p for p in view.programmes if p in set(part["programme"])]
        if at is None:
            continue
        lines = []
        for estimand, analysis, origin in ways:
            line = [
                f"{upper_first(words.label('estimand', estimand))}; "
                f"{words.label('analysis', analysis)}; {words.label('value', origin)}"
            ]
            for programme in shown:
                one = part[
                    (part["estimand"] == estimand)
                    & (part["analysis"] == analysis)
                    & (part["time_origin"] == origin)
                    & (part["programme"] == programme)
                    & (part["horizon"] == at)
                ]
                line.append(
                    "–" if one.empty else with_interval(one.iloc[0], view, str(one["unit"].iloc[0]))
                )
            lines.append(line)
        caption = words(
            "ways.caption",
            outcome=upper_first(view.outcome(view.primary_outcome)),
            month=at,
            unit=words.unit(str(part["unit"].iloc[0])),
            population=view.population(population),
        )
        blocks.append(
            Table(
                caption,
                [words("ways.way"), *(upper_first(view.programme(p)) for p in shown)],
                lines,
            )
        )
    return blocks
