"""Months of work from every part of a timing-of-events fit: everybody, and the subgroups."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from tiltakeval.design.event_history import EventHistory
from tiltakeval.errors import InputError
from tiltakeval.estimates.inference import Influence
from tiltakeval.estimates.lockin import WINDOWS
from tiltakeval.estimates.table import Estimates, tidy
from tiltakeval.estimators.duration.mixture.errors import Information
from tiltakeval.estimators.duration.mixture.newton import Fit
from tiltakeval.estimators.duration.mixture.report import Part
from tiltakeval.estimators.duration.months.consequences import REMAINING, consequences
from tiltakeval.estimators.duration.months.law import Averaged
from tiltakeval.estimators.duration.months.mixture_law import exits_of, law_of
from tiltakeval.estimators.duration.months.observed import with_observed
from tiltakeval.estimators.duration.months.stages import programmes_of, stages_of
from tiltakeval.estimators.numerics.groups import Groups

ESTIMAND = "vs_no_programme"


@dataclass(frozen=True, kw_only=True)
class Question:
    """Months followed from month zero (0: not asked), a month's length in the file's unit of time, and
    NOK a month by exit."""

    months: int
    month: float
    amounts: Mapping[str, float]
    windows: tuple[int, ...] = WINDOWS

    @property
    def columns(self) -> int:
        """About how many numbers a programme gives."""
        return 30 * self.months


def asked(
    months: int, month: float, amounts: Mapping[str, float] | Sequence[str] | str
) -> Question:
    """The question as options put it; amounts are a mapping or "job:32000,remaining:17000".

    Raises InputError.
    """
    if months < 0:
        raise InputError("months can't be negative", where="months")
    if not month > 0:
        raise InputError("a month must have a length above zero", where="month")
    if not isinstance(amounts, Mapping):
        texts = amounts.split(",") if isinstance(amounts, str) else amounts
        pairs = [text.partition(":") for text in texts if text.strip()]
        try:
            amounts = {name.strip(): float(value) for name, _, value in pairs}
        except ValueError:
            raise InputError(
                "an amount isn't a number",
                where="amounts",
                remedy="Write exit and NOK a month: amounts=job:32000,remaining:17000",
            ) from None
    if amounts and not months:
        raise InputError(
            "amounts are for months of work", where="amounts", remedy="Set months too."
        )
    return Question(months=months, month=month, amounts=dict(amounts))


def check(design: EventHistory, *, varying: bool) -> None:
    """Raise InputError, before the search, for a model that months can't be computed for."""
    if varying:
        raise InputError(
            "months can't be computed with an effect that varies between persons", where="random"
        )
    if design.before is not None:
        raise InputError(
            "months can't be computed with delayed entry",
            where="months",
            remedy="Keep to spells seen from their start.",
        )
    for programme, stages in programmes_of(design.programme).items():
        if "inside" not in stages:
            raise InputError(
                f"no status says when somebody is in {programme}",
                where="months",
                remedy=f"Add a status column {programme}_in.",
            )


def months_of(
    part: Part,
    fits: Sequence[tuple[Fit, float]],
    groups: Groups,
    question: Question,
    *,
    cuts: Sequence[float],
    kind: str,
) -> Iterator[Estimates]:
    """What `consequences` gives, for each programme of the part, whose design is cut at ``cuts``.

    ``fits`` are averaged by their weights, which add up to one. Where a subgroup has none, or too few
    in a programme, rows say so. Raises InputError.
    """
    design = part.design
    information = [Information(part.panel, fit, groups) for fit, _ in fits]
    weights = tuple(weight for _, weight in fits)
    for programme, names in programmes_of(design.programme).items():
        labels = labels_of(design, programme, names, part.label)
        if not information:
            yield without(labels, design, question, groups)
            continue
        try:
            stages = stages_of(design, **names, months=question.months, month=question.month)
            laws = tuple(
                law_of(
                    one, design, stages, cuts=cuts, kind=kind, labels=labels, month=question.month
                )
                for one in information
            )
            law = laws[0] if len(laws) == 1 else Averaged(laws, weights)
            found = consequences(
                law, months=question.months, windows=question.windows, amounts=question.amounts
            )
            yield with_observed(
                found, design, stages, law.exits, months=question.months, month=question.month
            )
        except InputError:
            if part.label == "all":
                raise
            yield without(labels, design, question, groups)


def labels_of(
    design: EventHistory, programme: str, names: Mapping[str, Sequence[str]], subgroup: str
) -> dict[str, str]:
    """Key columns of a programme's rows; ``names`` are its status columns by stage."""
    return {
        "programme": programme,
        "population": design.population,
        "subgroup": subgroup,
        "estimand": ESTIMAND,
        "time_origin": "vedtak" if "waiting" in names else "start",
    }


def without(
    labels: dict[str, str], design: EventHistory, question: Question, groups: Groups
) -> Estimates:
    """Rows of sums that can't be had."""
    rows = [
        {"outcome": outcome, "term": "cumulated", "period": f"1-{w}", "unit": "months"}
        for outcome in (*exits_of(design), REMAINING)
        for w in question.windows
        if w <= question.months
    ]
    table = tidy(pd.DataFrame(rows)).assign(
        estimate=np.nan, comparator="none", status="not_supported", **labels
    )
    nothing = Influence(groups.frame, design.cluster_kind, groups.n_clusters, {}, {})
    return Estimates(table, influence=nothing)
