"""Averages of switchers' effects: by event time, per treatment received, in total.

Every one is a ratio of sums over switchers, R / Q: R adds up effects, Q counts switchers, or the
treatment they received beyond their baseline. de Chaisemartin & D'Haultfoeuille (2024): DID_l is R over
the number of switchers, the normalised DID^n_l R over the treatment received so far, the average total
effect R over the treatment received in all periods.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiltakeval.design.treatment_paths import TreatmentPaths
from tiltakeval.estimates.lockin import CUMULATED_UNIT
from tiltakeval.estimators.did.beside import Beside
from tiltakeval.estimators.did.level import Support
from tiltakeval.estimators.did.reasons import Reason, Why, together
from tiltakeval.estimators.did.switching.fit import NOW, SELF, SO_FAR, Fitted

Floats = NDArray[np.float64]

#: Terms over event time, which have bands: the suffix of a direction follows.
OVER_TIME = ("effect_by_event_time", "effect_per_treatment_by_event_time")
DIRECTIONS = {1: "up", -1: "down"}


@dataclass(frozen=True)
class Ratio:
    """An average of ``cells`` per ``per`` (`fit.SELF`, ...): value and influence, or ``reason``."""

    cells: tuple[Fitted, ...]
    per: int
    value: float = np.nan
    z: Floats | None = None
    reason: str = ""


def ratio_of(
    cells: Sequence[Fitted], per: int, least: int, *, sampling: bool, settled: bool
) -> Ratio:
    """R / Q over ``cells`` that were fitted. With ``sampling`` it counts that who switches, and how much
    treatment follows, are those of a sample (``settled``: less what errors of the effects add to that);
    else treatment paths are given."""
    good = tuple(one for one in cells if one.z is not None)
    if not good:
        return Ratio((), per, reason=together(one.reason for one in cells))
    switchers = _ones([one.support.treated for one in good if one.support])
    if all(one.alone for one in good) and _clusters(good) < least:
        return Ratio(good, per, reason=good[0].alone)
    size = np.array([one.total[SELF] for one in good])  # type: ignore[index]
    att = np.array([one.att for one in good])
    q = float(sum(one.total[per] for one in good))  # type: ignore[index]
    if not (q > 0 and switchers):
        return Ratio(
            good,
            per,
            reason=Reason(Why.NO_TREATMENT, "no treatment beyond the baseline is received"),
        )
    value = float(size @ att) / q
    own = np.stack([one.z for one in good if one.z is not None], axis=1)
    z = own @ size
    if sampling:
        self_, weight = (
            np.stack([one.held[:, j] for one in good if one.held is not None], axis=1)
            for j in (SELF, per)
        )
        lean = self_ - np.outer(weight.sum(axis=1), size / q)
        part = lean @ att
        z = z + part * (_without_noise(lean, part, own) if settled else 1.0)
    return Ratio(good, per, value, z / q)


def _without_noise(lean: Floats, part: Floats, own: Floats) -> float:
    """What is left of ``part`` [G] = ``lean`` [G, C] times the effects, as a factor, without what their
    errors add to its square: with L for lean, E |L (a + e)|^2 = |L a|^2 + E |L e|^2, and ``own`` [G, C]
    is the effects' influence."""
    root = own if own.shape[0] <= own.shape[1] else np.asarray(np.linalg.qr(own, mode="r"))
    found = float(part @ part)
    made_up = float(((lean @ root.T) ** 2).sum())
    return float(np.sqrt(max(0.0, 1 - made_up / found))) if found > 0 else 0.0


def _clusters(good: Sequence[Fitted]) -> int:
    """How many clusters switch in the cells, at most: those of their switchers' influence."""
    held = np.array([one.held[:, SELF] > 0 for one in good if one.held is not None])
    return int(held.any(axis=0).sum())


@dataclass(frozen=True)
class Labelled:
    """A row to be: labels, ratio."""

    labels: dict[str, Any]
    ratio: Ratio


def averages(
    design: TreatmentPaths,
    cells: Sequence[Fitted],
    *,
    unit: str,
    balance: int | None,
    least: int,
    sampling: bool,
    settled: bool = False,
) -> Iterator[Labelled]:
    """All averages: together, then of those who switch up and down where there are both."""

    def ratio(chosen: Sequence[Fitted], per: int) -> Ratio:
        return ratio_of(chosen, per, least, sampling=sampling, settled=settled)

    signs = sorted({one.cell.who.sign for one in cells}, reverse=True)
    for sign in [0, *(signs if len(signs) > 1 else [])]:
        mine = [one for one in cells if sign in (0, one.cell.who.sign)]
        suffix = f"_{DIRECTIONS[sign]}" if sign else ""
        post = [one for one in mine if one.cell.effect]
        yield Labelled({"term": f"effect_overall{suffix}"}, ratio(post, SELF))
        yield Labelled({"term": f"effect_per_treatment{suffix}"}, ratio(post, NOW))
        used = mine if balance is None else balanced(mine, balance)
        for per, term in zip((SELF, SO_FAR), OVER_TIME):
            for event in sorted({one.cell.event for one in used}):
                chosen = [one for one in used if one.cell.event == event]
                if per == SO_FAR and not all(_received(one) for one in chosen):
                    continue
                yield Labelled({"term": term + suffix, "horizon": event}, ratio(chosen, per))
        if sign == 0:
            yield from _cumulated(design, used, unit, ratio)


def _received(one: Fitted) -> bool:
    """Whether treatment was received by the cell's period (that of the effect a placebo mirrors)."""
    return one.cell.effect or one.cell.mirror is not None


def _cumulated(
    design: TreatmentPaths, used: Sequence[Fitted], unit: str, ratio: Any
) -> Iterator[Labelled]:
    """Sums of the effects from the first change on, until a gap."""
    shown = CUMULATED_UNIT.get(unit, unit) if design.monthly else unit
    total: Ratio | None = None
    for event in sorted({one.cell.event for one in used if one.cell.effect}):
        own = ratio([one for one in used if one.cell.event == event], SELF)
        if own.z is None:
            return
        if total is not None and total.z is not None:
            own = Ratio((*total.cells, *own.cells), SELF, total.value + own.value, total.z + own.z)
        total = own
        yield Labelled({"term": "cumulated_path", "horizon": event, "unit": shown}, total)


def balanced(cells: Sequence[Fitted], balance: int) -> list[Fitted]:
    """The cells, up to event time ``balance``, of switchers seen and fitted that long."""
    long = {
        id(one.cell.who) for one in cells if one.z is not None and one.cell.event == balance
    }  # fmt: skip
    return [one for one in cells if id(one.cell.who) in long and one.cell.event <= balance]


def beside(row: Labelled, nobody: Support) -> Beside:
    """The row with what supports it."""
    held = [one.support for one in row.ratio.cells if one.support is not None]
    support = joined(held) if held else nobody
    return Beside(row.labels, support, row.ratio.value, row.ratio.z, row.ratio.reason)


def cell_row(
    design: TreatmentPaths, one: Fitted, nobody: Support, within: str | None = None
) -> Beside:
    """A cell's own row; the set of units it is ``within`` is part of its group's name."""
    who = one.cell.who
    place = f" in {design.subgroups[within].label(within, who.set)}" if within else ""
    labels = {
        "term": "effect",
        "cohort": f"{design.label(design.periods[who.first])} from {who.baseline:g} "
        f"{DIRECTIONS[who.sign]}{place}",
        "period": design.label(design.periods[one.cell.t]),
        "horizon": one.cell.event,
    }
    reason = one.reason or one.alone
    if reason:
        return Beside(labels, one.support or nobody, reason=reason)
    return Beside(labels, one.support or nobody, one.att, one.z)


def joined(supports: Sequence[Support]) -> Support:
    """Distinct units and clusters behind several cells; the effective number of the weakest."""
    return Support(
        treated=np.bitwise_or.reduce([one.treated for one in supports]),
        comparison=np.bitwise_or.reduce([one.comparison for one in supports]),
        clusters=np.bitwise_or.reduce([one.clusters for one in supports]),
        effective=min(one.effective for one in supports),
        trimmed=max(one.trimmed for one in supports),
    )


def _ones(masks: Sequence[NDArray[np.uint8]]) -> int:
    return int(np.bitwise_count(np.bitwise_or.reduce(list(masks))).sum())
