"""Which transitions are possible in which row of an event history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tiltakeval.design.columns import as_text, refuse_missing
from tiltakeval.design.event_rows import code_pairs
from tiltakeval.errors import InputError, unknown


def risk_sets_of(
    df: pd.DataFrame,
    flags: NDArray[np.float64],
    *,
    status: Sequence[str],
    transitions: Sequence[str],
    entries: Sequence[str],
    state: str | None,
    risk_sets: str | Mapping[str, str | Sequence[str]] | None,
    where: str,
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """[R, K] which transitions are possible, and [K] which of them are programme entries."""
    for name in entries:
        if name not in transitions:
            raise unknown("transition", name, transitions, where="entries")
    if entries:
        is_entry = np.array([name in entries for name in transitions])
    else:
        is_entry = np.array(
            [
                bool(status)
                and (name == "programme" or name.startswith("programme_") or name in status)
                for name in transitions
            ]
        )
    if (state is None) != (risk_sets is None):
        raise InputError(
            "state and risk_sets go together",
            where=where,
            remedy="For example: state=s risk_sets=0:job+programme,1:job",
        )
    at_risk = np.ones((len(df), len(transitions)), dtype=bool)
    if state is None or risk_sets is None:
        free: NDArray[np.bool_] = (flags == 0).all(axis=1, keepdims=True)
        at_risk[:, is_entry] = free
        return at_risk, is_entry
    refuse_missing(df[state], column=state, what="state", where=where)
    pairs: Any = (
        risk_sets.items()
        if isinstance(risk_sets, Mapping)
        else code_pairs(risk_sets, where="risk_sets")
    )
    sets = {}
    for key, possible in pairs:
        members = possible.split("+") if isinstance(possible, str) else list(possible)
        members = [member.strip() for member in members if member.strip() not in ("", "none")]
        for member in members:
            if member not in transitions:
                raise unknown("transition", member, transitions, where="risk_sets")
        sets[as_text(key).strip()] = [name in members for name in transitions]
    code, levels = pd.factorize(df[state])
    text = [as_text(level) for level in levels]
    lost = [i for i, name in enumerate(text) if name not in sets]
    if lost:
        raise InputError(
            f"{int(np.isin(code, lost).sum())} rows are in state(s) without a risk set: "
            + ", ".join(sorted(text[i] for i in lost)[:10]),
            where=f"{where}, column '{state}'",
            remedy="Say what is possible in every state, none included: 0:job+programme,9:none",
        )
    return np.array([sets[name] for name in text], dtype=bool)[code], is_entry


def refuse_impossible(
    event: NDArray[np.int16],
    at_risk: NDArray[np.bool_],
    transitions: Sequence[str],
    person: NDArray[np.int64],
    *,
    column: str,
    where: str,
) -> None:
    """Raise InputError for a transition outside its risk set, or a person never at risk."""
    outside = (event > 0) & ~at_risk[np.arange(len(event)), np.maximum(event - 1, 0)]
    if outside.any():
        counts = np.bincount(event[outside], minlength=len(transitions) + 1)[1:]
        told = ", ".join(f"{count} {name}" for name, count in zip(transitions, counts) if count)
        raise InputError(
            f"{int(outside.sum())} rows end in a transition that isn't possible there: {told}",
            where=f"{where}, column '{column}'",
            remedy="Entries are possible only where every programme status is 0; "
            "otherwise declare state and risk_sets.",
        )
    refuse_never(at_risk, person, where=where)


def refuse_never(at_risk: NDArray[np.bool_], person: NDArray[np.int64], *, where: str) -> None:
    """Raise InputError when a person is in no row at risk of any transition."""
    ever = np.zeros(int(person[-1]) + 1, dtype=bool)
    ever[person[at_risk.any(axis=1)]] = True
    if not ever.all():
        raise InputError(
            f"{int((~ever).sum())} of {ever.size} persons have no row at risk of any transition",
            where=where,
            remedy="Leave these persons out, or correct the risk sets.",
        )
