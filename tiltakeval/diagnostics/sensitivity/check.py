"""The check on hidden factors that studies run: bounds, robustness values and a yardstick in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from tiltakeval.design.cross_section import CrossSection
from tiltakeval.diagnostics.sensitivity.blocks import covariate_blocks
from tiltakeval.diagnostics.sensitivity.bounds import Bounded, bounds
from tiltakeval.diagnostics.sensitivity.jobs import effects_of
from tiltakeval.diagnostics.sensitivity.left_out import blocks_left_out
from tiltakeval.diagnostics.sensitivity.marginal import odds_bounds
from tiltakeval.diagnostics.sensitivity.riesz import LABELS
from tiltakeval.errors import InputError
from tiltakeval.estimates.check import Check
from tiltakeval.estimates.table import Estimates
from tiltakeval.estimators.weighting.nuisance import Nuisance

#: Blocks that say nothing of persons: no yardstick for motivation or health.
NO_YARDSTICK = ("calendar",)
#: Odds ratios the check tries; between them the one that matters is interpolated.
LAMBDAS = (1.0, 1.1, 1.25, 1.5, 2.0, 3.0, 6.0)
PAIR = ["population", "programme", "comparator"]


def sensitivity(
    *,
    design: CrossSection,
    nuisance: Nuisance,
    estimates: Estimates,
    judged: tuple[int, Sequence[str]] | None = None,
    level: float = 0.95,
) -> tuple[Check, ...]:
    """An informative check per programme and contrast: how strong an unseen factor would have to be.

    Effects on whole target populations; ``judged`` names the month and the outcomes looked at (default:
    the last month with effects, all outcomes). ``statistic`` is the robustness value of the first
    outcome. ``message`` says of that outcome: ``robustness_value_interval`` (0 where the interval
    at ``level``, two-sided as in the tables of effects, holds 0),
    ``benchmark``, the block of covariates that as a yardstick makes the effect look weakest, the shares
    ``benchmark_outcome_share`` and ``benchmark_treatment_share`` it explains, ``times``: how many times
    as strong an unseen factor must be to take the effect's interval to zero; ``odds_ratio``, the factor
    by which odds of taking part may be off before it does (``marginal``); ``plugged`` (``Moments``).
    ``detail`` has a line per outcome and block, strongest yardstick first, with the effect's change
    when the block is left out (no blocks, where covariates alone would be more than
    ``blocks.MOST``). A programme without an estimate is ``not_evaluated``.
    """
    where = _where(estimates, judged)
    found = []
    done: set[str] = set()
    if where is not None:
        bounded = bounds(design, nuisance, estimates, where=where)
        left_out = (
            blocks_left_out(design, nuisance, estimates, where=where, bounded=bounded, level=level)
            if nuisance.sources and _few_blocks(design)
            else None
        )
        main = next(k for k in design.outcome_names if k in set(bounded.table["outcome"]))
        odds = odds_bounds(
            design,
            nuisance,
            estimates,
            lambdas=LAMBDAS,
            where={**where, "outcome": main},
            level=(1 + level) / 2,
        ).breaking
        for keys, _ in bounded.table.groupby(PAIR, sort=False):
            pair = dict(zip(PAIR, keys))
            done.add(str(pair["programme"]))
            check = _check(design, estimates, bounded.rows(**pair), left_out, pair, level)
            at = (odds[PAIR] == pd.Series(pair)).all(axis=1)
            found.append(_with_odds(check, odds.loc[at, "odds_ratio"]))
    for a in nuisance.present:
        if a and design.arms[a] not in done:
            scope = {"population": design.population, "programme": design.arms[a]}
            found.append(Check(key="sensitivity", status="not_evaluated", scope=scope))
    return tuple(found)


def _where(estimates: Estimates, judged: tuple[int, Sequence[str]] | None) -> dict[str, Any] | None:
    """The effects looked at; None when there is none."""
    table = estimates.table
    rows = table[
        (table["term"] == "effect") & (table["subgroup"] == "all") & table["estimate"].notna()
    ]
    rows = rows[rows["population"].astype(str).str.rsplit(":", n=1).str[-1].isin(LABELS)]
    where: dict[str, Any] = {"subgroup": "all", "population": list(rows["population"].unique())}
    if judged is not None:
        rows = rows[(rows["horizon"] == judged[0]) & rows["outcome"].isin(list(judged[1]))]
        where |= {"horizon": judged[0], "outcome": list(judged[1])}
    elif rows["horizon"].notna().any():
        last = int(rows["horizon"].max())
        rows = rows[rows["horizon"] == last]
        where |= {"horizon": last}
    return where if len(rows) else None


def _check(
    design: CrossSection,
    estimates: Estimates,
    bounded: Bounded,
    left_out: pd.DataFrame | None,
    pair: dict[str, Any],
    level: float,
) -> Check:
    values = bounded.robustness(level=(1 + level) / 2)  # clear is said of two-sided intervals
    order = [k for k in design.outcome_names if k in set(values["outcome"])]
    values = values.set_index("outcome").loc[order].reset_index()
    main = values.iloc[0]
    message: dict[str, Any] = {
        "outcome": str(main["outcome"]),
        "horizon": None if pd.isna(main["horizon"]) else int(main["horizon"]),
        "robustness_value_interval": float(main["robustness_value_interval"]),
        "plugged": bool(values["plugged"].any()),
    }
    counted = _counts(estimates, bounded.table)
    kept = ["outcome", "horizon", "robustness_value", "robustness_value_interval"]
    detail = values[kept].merge(counted, on=["outcome", "horizon"])
    if left_out is not None:
        mine = left_out
        for name, value in pair.items():
            mine = mine[mine[name] == value]
        detail = _with_blocks(detail, mine)
        message |= _yardstick(mine[mine["outcome"] == main["outcome"]])
    scope = {"population": design.population, "programme": str(pair["programme"])}
    if pair["comparator"] != design.arms[0]:
        scope["comparator"] = str(pair["comparator"])
    return Check(
        key="sensitivity",
        status="informative",
        scope=scope,
        statistic=float(main["robustness_value"]),
        # released files have no form for a number that isn't finite
        message={k: v for k, v in message.items() if not isinstance(v, float) or np.isfinite(v)},
        detail=detail,
        counts=("n_treated", "n_comparison"),
    )


def _few_blocks(design: CrossSection) -> bool:
    """Whether the covariates form few enough blocks: a study isn't stopped for want of a yardstick."""
    try:
        covariate_blocks(design.covariate_names)
    except InputError:
        return False
    return True


def _with_odds(check: Check, ratio: pd.Series) -> Check:
    """The check with the odds ratio at which the effect is no longer clear; beyond those tried none."""
    value = float(ratio.iloc[0]) if len(ratio) else np.inf
    if not np.isfinite(value):
        return check
    return replace(check, message={**check.message, "odds_ratio": round(value, 3)})


def _yardstick(rows: pd.DataFrame) -> dict[str, Any]:
    """The block whose strength, times the smallest number, would do."""
    rows = rows[~rows["block"].isin(NO_YARDSTICK) & np.isfinite(rows["times"])]
    if rows.empty:
        return {"benchmark": ""}
    row = rows.loc[rows["times"].idxmin()]
    return {
        "benchmark": str(row["block"]),
        "benchmark_outcome_share": float(row["outcome_share"]),
        "benchmark_treatment_share": float(row["weight_share"]),
        "times": float(row["times_interval"]),
    }


def _counts(estimates: Estimates, rows: pd.DataFrame) -> pd.DataFrame:
    """Units behind each effect, for disclosure control."""
    table = effects_of(estimates, {"subgroup": "all"})[0]
    keys = [*PAIR, "outcome", "horizon"]
    found = rows[keys].merge(table[[*keys, "n_treated", "n_comparison"]], on=keys)
    return found[["outcome", "horizon", "n_treated", "n_comparison"]]


def _with_blocks(detail: pd.DataFrame, left_out: pd.DataFrame) -> pd.DataFrame:
    names = {
        "block": "benchmark",
        "outcome_share": "benchmark_outcome_share",
        "weight_share": "benchmark_treatment_share",
        "bias": "benchmark_bias",
        "times": "times",
        "times_interval": "times_interval",
        "difference": "difference_without",
        "difference_se": "difference_without_se",
    }
    rows = left_out[["outcome", "horizon", *names]].rename(columns=names)
    whole = detail.assign(order=np.arange(len(detail))).merge(rows, on=["outcome", "horizon"])
    whole = whole.sort_values(["order", "times"], kind="stable").drop(columns="order")
    # no strength of a block that explains nothing is enough: no number, rather than an infinite one
    whole = whole.replace([np.inf, -np.inf], np.nan)
    return whole.reset_index(drop=True)
