"""Levels in which a transition never happens: their rows can't say how its hazard varies there."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tiltakeval.design.event_history import EventHistory

STEP = "duration ["


def leave_out_rare(design: EventHistory) -> tuple[EventHistory, dict[str, list[str]]]:
    """Where a 0/1 covariate never sees a transition, on one of its sides, nobody there is at risk.

    That is the likelihood's limit: the coefficient has no finite value, and the hazard on that side
    goes to zero. The covariate then no longer enters the transition. So too for steps of duration: where
    the first has no event, the next one is what the others are compared with. Returns the design, and
    the covariates by transition.
    """
    binary = np.flatnonzero(np.isin(design.covariates, (0.0, 1.0)).all(axis=0))
    on = np.asfortranarray(design.covariates[:, binary] > 0)
    before = design.before
    steps = [k for k, n in enumerate(design.covariate_names) if n.startswith(STEP)]
    early = None if before is None else before.covariates[:, binary] > 0
    at_risk, enters = design.at_risk.copy(), design.enters.copy()
    risk_before = None if before is None else before.at_risk.copy()
    found: dict[str, list[str]] = {}
    for t, name in enumerate(design.transitions):
        happened = design.event == t + 1
        _first_step(design, t, steps, at_risk, enters, risk_before)
        changed = True
        while changed:  # rows taken away can leave another side without events
            changed = False
            for place, k in enumerate(binary):
                if not enters[t, k]:
                    continue
                for side in (True, False):
                    there = at_risk[:, t] & (on[:, place] == side)
                    if there.any() and (happened & there).any():
                        continue
                    at_risk[there, t] = False
                    if risk_before is not None and early is not None:
                        risk_before[early[:, place] == side, t] = False
                    enters[t, k] = False
                    if there.any():
                        found.setdefault(name, []).append(design.covariate_names[k])
                    changed = True
                    break
    if before is not None and risk_before is not None:
        before = replace(before, at_risk=risk_before)
    return replace(design, at_risk=at_risk, enters=enters, before=before), found


def _first_step(
    design: EventHistory,
    t: int,
    steps: list[int],
    at_risk: NDArray[np.bool_],
    enters: NDArray[np.bool_],
    risk_before: NDArray[np.bool_] | None,
) -> None:
    """Nobody is at risk in the first steps while they have no event; ``at_risk`` and so on change."""
    happened = design.event == t + 1
    for _ in steps:
        left = [s for s in steps if enters[t, s]]
        there = at_risk[:, t] & ~(design.covariates[:, left] > 0).any(axis=1)
        if not left or (there.any() and (happened & there).any()):
            return
        at_risk[there, t] = False
        if risk_before is not None and design.before is not None:
            risk_before[~(design.before.covariates[:, left] > 0).any(axis=1), t] = False
        enters[t, left[0]] = False
