"""Sums over units with either decision as rows of the result."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tiltakeval.estimates.table import tidy
from tiltakeval.spells.outcomes import OUTCOMES as DECLARED
from tiltakeval.synthetic.layout import BASE_STATES, EDUCATION, IPS, PROGRAMMES

if TYPE_CHECKING:
    from tiltakeval.synthetic.truth import TruthSpec

ESTIMANDS = ("now_vs_wait", "vs_no_programme", "vs_without_this_programme")
TERMS = ("effect", "mean_treated", "mean_comparison")
TARGETS = ("att", "ate", "itt_offer")
Ints = NDArray[np.int64]


@dataclass
class Sums:
    """Integer sums over units; shapes in `truth_kernel.truth_block`."""

    count: Ints
    mean: Ints
    square: Ints
    gap: Ints
    set_count: Ints
    set_mean: Ints
    set_square: Ints
    set_gap: Ints

    def __iadd__(self, other: Sums) -> Sums:
        for name in self.__dataclass_fields__:
            for mine, theirs in zip(getattr(self, name), getattr(other, name)):
                if theirs.any():  # adding zeros would claim memory never touched
                    mine += theirs
        return self


def truth_table(sums: Sums, spec: TruthSpec) -> pd.DataFrame:
    """All rows in the result schema, made tidy a hundred groups at a time to spare memory."""
    done: list[pd.DataFrame] = []
    waiting: list[pd.DataFrame] = []
    for part in chain(_single_rows(sums, spec), _set_rows(sums, spec)):
        waiting.append(part)
        if len(waiting) == 100:
            done.append(tidy(pd.concat(waiting, ignore_index=True)))
            waiting = []
    if waiting:
        done.append(tidy(pd.concat(waiting, ignore_index=True)))
    return pd.concat(done, ignore_index=True) if done else tidy([])


def cells(spec: TruthSpec) -> list[tuple[str, NDArray[np.bool_]]]:
    """Subgroup labels and the cells they cover."""
    if not spec.subgroups:
        return [("all", np.ones(1, bool))]
    sex, band, group, level = (
        x.ravel() for x in np.meshgrid(*map(np.arange, (2, 3, 4, 3)), indexing="ij")
    )
    a, b = spec.age_from
    found = [("all", np.ones(72, bool))]
    found += [(f"sex={name}", sex == i) for i, name in enumerate(("female", "male"))]
    bands = (f"18-{a - 1}", f"{a}-{b - 1}", f"{b}-66")
    found += [(f"age_band={name}", band == i) for i, name in enumerate(bands)]
    found += [(f"landgruppe={i}", group == i) for i in range(4)]
    found += [(f"education={name}", level == i) for i, name in enumerate(EDUCATION)]
    return found


def _single_rows(sums: Sums, spec: TruthSpec) -> Iterator[pd.DataFrame]:
    for target, name in enumerate(TARGETS):
        if name not in spec.targets:
            continue
        for key in spec.arms if name != "itt_offer" else (PROGRAMMES[IPS],):
            p = PROGRAMMES.index(key)
            for g, base in enumerate(BASE_STATES):
                for label, inside in cells(spec):
                    n = int(sums.count[target, p, g][inside].sum())
                    if n == 0:
                        continue
                    total = [x[target, p, g][inside].sum(axis=0)
                             for x in (sums.mean, sums.square, sums.gap)]  # fmt: skip
                    asked = [e for e in ESTIMANDS if e in spec.estimands]
                    if name == "itt_offer":
                        asked = ["itt_offer"]
                    for estimand in asked:
                        j = 1 if name == "itt_offer" else 1 + ESTIMANDS.index(estimand)
                        yield _rows(
                            spec, n, total[0][[0, j]], total[1][[0, j]], total[2][j - 1],
                            population=f"{base}:{'att' if name == 'itt_offer' else name}",
                            estimand=estimand, programme=key, comparator="none", subgroup=label,
                        )  # fmt: skip


def _set_rows(sums: Sums, spec: TruthSpec) -> Iterator[pd.DataFrame]:
    for m, members in enumerate(spec.sets):
        paths = ["none", *(p for p in PROGRAMMES if p in members)]
        pairs = [(a, b) for a in range(len(paths)) for b in range(a + 1, len(paths))]
        for target, name in ((0, "att"), (1, "ate")):
            if name not in spec.targets:
                continue
            common = "ate" if name == "ate" else "either" if len(members) == 2 else "programmes"
            for g, base in enumerate(BASE_STATES):
                for label, inside in cells(spec):
                    n = int(sums.set_count[target, m, g][inside].sum())
                    if n == 0:
                        continue
                    mean, square, gap = (
                        x[target, m, g][inside].sum(axis=0)
                        for x in (sums.set_mean, sums.set_square, sums.set_gap)
                    )
                    for i, (a, b) in enumerate(pairs):
                        # the later path is the treated one against none, else the first named
                        one, other = (b, a) if a == 0 else (a, b)
                        yield _rows(
                            spec, n, mean[[one, other]], square[[one, other]], gap[i],
                            population=f"{base}:{common}", estimand="vs_programme_b",
                            programme=paths[one], comparator=paths[other], subgroup=label,
                        )  # fmt: skip


def _rows(
    spec: TruthSpec, n: int, mean: Ints, square: Ints, gap: Ints, **keys: str
) -> pd.DataFrame:
    """Rows effect, mean_treated, mean_comparison by horizon and outcome. mean [2,H,K], gap [H,K]."""
    average = mean / n
    effect = average[0] - average[1]
    spread = np.maximum(np.stack([gap / n - effect**2, *(square / n - average**2)]), 0.0)
    error = np.sqrt(spread / max(n - 1, 1)) if n > 1 else np.full_like(spread, np.nan)
    values = np.stack([effect, average[0], average[1]])
    terms, months, outcomes = values.shape
    frame: dict[str, Sequence[Any] | NDArray[Any] | str | int] = {
        **keys,
        "term": np.repeat(np.array(TERMS, object), months * outcomes),
        "horizon": np.tile(np.repeat(np.arange(months), outcomes), terms),
        "outcome": np.tile(np.array(spec.outcomes, object), terms * months),
        "unit": np.tile(
            np.array([DECLARED[o].unit for o in spec.outcomes], object), terms * months
        ),
        "estimate": values.ravel(),
        "std_error": error.ravel(),
        "n_treated": n,
        "n_comparison": n,
        "time_origin": "vedtak",
        "source": "truth",
    }
    return pd.DataFrame(frame)
