"""From scores of units to labelled rows with influence; the median over splits; one result."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tiltakeval import __version__
from tiltakeval.estimates.combine import row_degrees, with_inference
from tiltakeval.estimates.inference import Influence, band_critical_value, standard_errors
from tiltakeval.estimates.table import Estimates, tidy
from tiltakeval.estimators.heterogeneity.score_types import PARTICIPANTS, UnitScores

Floats = NDArray[np.floating]
#: Fewest units of either arm, and clusters, in a row.
MIN_UNITS = 2
#: theta [m] and the influence of every unit [n, m], from the scores of one split.
Compute = Callable[[UnitScores], tuple[Floats, Floats]]


@dataclass(frozen=True)
class Lines:
    """Some rows: ``labels`` [m] what each is, ``theta`` [m], influence ``z`` [G, m] summed by group.

    ``family`` names the rows that one band covers ("" for none).
    """

    labels: tuple[Mapping[str, Any], ...]
    theta: Floats
    z: Floats
    family: str = ""

    def __len__(self) -> int:
        return len(self.labels)

    def combine(
        self, matrix: Floats, labels: Sequence[Mapping[str, Any]], family: str = ""
    ) -> Lines:
        """``matrix`` [k, m] applied to the rows; what it touches must be supported (not NaN)."""
        used = np.abs(matrix).sum(axis=0) > 0
        return Lines(
            tuple(labels),
            matrix[:, used] @ self.theta[used],
            self.z[:, used] @ matrix[:, used].T,
            family,
        )

    def good(self) -> NDArray[np.bool_]:
        """[m] rows with an estimate."""
        return np.asarray(np.isfinite(self.theta))


def over_splits(scores: UnitScores, compute: Compute) -> tuple[Floats, Floats]:
    """theta [m] and z [G, m]: the median over the splits.

    Its variance is the median of se^2 + (theta - median)^2 (Chernozhukov et al. 2018, definition
    3.3); the influence is the splits' mean, scaled to that, as for the averages.
    """
    form = scores.groups.form
    found = []
    for number in range(len(scores.splits)):
        theta, values = compute(scores.of_split(number))
        found.append((theta, scores.groups.add_up(np.nan_to_num(values), scores.units)))
    if len(found) == 1:
        return found[0]
    thetas = np.stack([theta for theta, _ in found])
    theta = np.median(thetas, axis=0)
    errors = np.stack([standard_errors(z, form) for _, z in found])
    wanted = np.sqrt(np.median(errors**2 + (thetas - theta) ** 2, axis=0))
    z = np.mean([z for _, z in found], axis=0)
    now = standard_errors(z, form)
    return theta, z * np.where(now > 0, wanted / np.where(now > 0, now, 1.0), 1.0)


def mean_of(weight: Floats, values: Floats) -> tuple[Floats, Floats]:
    """Weighted means [m] of ``values`` [n, m] and each unit's influence [n, m]."""
    total = weight.sum()
    if total <= 0:
        return np.full(values.shape[1], np.nan), np.zeros(values.shape)
    theta = weight @ values / total
    return theta, weight[:, None] * (values - theta) / total


def ratio_of(weight: Floats, n: Floats, d: Floats) -> tuple[Floats, Floats]:
    """sum(weight n) / sum(weight d) [m] of columns [n, m], and each unit's influence [n, m]."""
    total = weight @ d
    good = total > 0
    safe = np.where(good, total, 1.0)
    theta = np.where(good, weight @ n / safe, np.nan)
    values = weight[:, None] * (n - np.where(good, theta, 0.0) * d) / safe
    return theta, np.where(good, values, 0.0)


def effect_means(split: UnitScores, member: NDArray) -> tuple[Floats, Floats]:
    """Effects among the units of each column of ``member`` [n, L], programmes within levels
    [L (A - 1)], and each unit's influence."""
    n, d = split.all_scores()
    found = [ratio_of(split.weight * member[:, j], n, d) for j in range(member.shape[1])]
    return np.concatenate([t for t, _ in found]), np.hstack([v for _, v in found])


def support(
    scores: UnitScores, member: NDArray[np.bool_], arm: int, against: int = 0
) -> dict[str, Any]:
    """Counts of a row: units of ``arm`` and of ``against`` (the comparison) among ``member`` [n],
    clusters, and the effective number of comparison units once weighted to the population."""
    treated, other = member & (scores.arm == arm), member & (scores.arm == against)
    v = scores.weight[other] / scores.propensity[other, against]
    if scores.target in PARTICIPANTS:
        own = range(1, len(scores.arms)) if scores.target == "programmes" else {arm, against} - {0}
        v = v * scores.propensity[other][:, list(own)].sum(axis=1)
    square = float((v**2).sum())
    return {
        "n_treated": int(treated.sum()),
        "n_comparison": int(other.sum()),
        "n_clusters": int(np.unique(scores.cluster[treated | other]).size),
        "n_effective": float(v.sum() ** 2 / square) if square > 0 else 0.0,
    }


def supported(label: Mapping[str, Any]) -> bool:
    """Whether a row has enough units of both arms, and clusters."""
    return all(label[name] >= MIN_UNITS for name in ("n_treated", "n_comparison", "n_clusters"))


def label_of(scores: UnitScores, arm: int, **more: Any) -> dict[str, Any]:
    """Key columns of a row about ``arm`` against the comparison."""
    return {"programme": scores.arms[arm], "comparator": scores.arms[0], **more}


def level_members(scores: UnitScores) -> list[tuple[str, str, NDArray[np.bool_]]]:
    """(variable, label, members [n]) of every level of every declared subgroup."""
    return [
        (name, group.label(name, level), np.asarray(group.codes == level))
        for name, group in scores.subgroups.items()
        for level in range(len(group.levels))
    ]


def estimates_of(
    scores: UnitScores,
    parts: Sequence[Lines],
    *,
    tests: Sequence[Mapping[str, Any]] = (),
    level: float = 0.95,
    draws: int = 999,
    source: str = "heterogeneity",
    attrition: Any = None,
    run: Mapping[str, Any] | None = None,
    bands: bool = True,
) -> Estimates:
    """One result: the rows of ``parts`` with errors and bands, and ``tests`` (status ``test``:
    ``estimate`` is the statistic, ``p_value`` its p value).

    Labels may hold ``conf_low``, ``conf_high``, ``p_value`` of their own (shrunk estimates).
    """
    labels = [label for part in parts for label in part.labels]
    m = len(labels)
    theta = np.concatenate([part.theta for part in parts]) if parts else np.zeros(0)
    good = np.isfinite(theta)
    rows = [
        {**label, "estimate": value if ok else None, "status": "ok" if ok else "not_supported"}
        for label, value, ok in zip(labels, theta, good)
    ]
    rows += [{**test, "status": "test"} for test in tests]
    common = {
        "population": scores.labels.population,
        "estimand": scores.labels.estimand,
        "time_origin": scores.labels.time_origin,
        "horizon": scores.labels.horizon,
        "source": f"tiltakeval {__version__} {source}",
    }
    whose = {"outcome": scores.labels.outcome, "unit": scores.labels.unit}
    table = tidy(pd.DataFrame([{**common, **whose, **row} for row in rows]))
    fields: dict[str, Any] = {"run": dict(run or {})}
    if attrition is not None:
        fields["attrition"] = attrition
    if not good.any():
        return Estimates(table, **fields)
    z = np.concatenate([part.z for part in parts], axis=1)
    influence = Influence(
        frame=scores.groups.frame,
        kind=scores.cluster_kind,
        n_clusters=scores.groups.n_clusters,
        values={source: z[:, good]},
        rows={source: np.flatnonzero(good)},
        form=scores.groups.form,
    )
    out = with_inference(table, influence, level=level, **fields)
    table = out.table.copy()
    for name in ("conf_low", "conf_high", "p_value"):
        own = np.array([label.get(name, np.nan) for label in labels], dtype=np.float64)
        here = np.flatnonzero(np.isfinite(own) & good)
        table.loc[here, name] = own[here]
    biased = [
        i for i, label in enumerate(labels) if "p_value" in label and label["p_value"] is None
    ]
    table.loc[biased, "p_value"] = np.nan
    for position, test in enumerate(tests):
        table.loc[m + position, "p_value"] = test["p_value"]
    if bands:
        _add_bands(table, parts, z, influence, level=level, draws=draws)
    return Estimates(table, influence=influence, **fields)


def _add_bands(
    table: pd.DataFrame,
    parts: Sequence[Lines],
    z: Floats,
    influence: Influence,
    *,
    level: float,
    draws: int,
) -> None:
    """Simultaneous bands over the rows of each family, in place."""
    family = np.array([part.family for part in parts for _ in part.labels], dtype=object)
    df = row_degrees(table, influence.groups)
    point = table["estimate"].to_numpy(copy=True)
    se = table["std_error"].to_numpy(copy=True)
    for name in dict.fromkeys(family):
        rows = np.flatnonzero((family == name) & np.isfinite(point[: family.size]))
        if not name or not rows.size:
            continue
        critical = band_critical_value(
            z[:, rows], level=level, draws=draws, df=df[rows].min(), form=influence.form
        )
        table.loc[rows, "band_low"] = point[rows] - critical * se[rows]
        table.loc[rows, "band_high"] = point[rows] + critical * se[rows]
        table.loc[rows, "band_family"] = name
