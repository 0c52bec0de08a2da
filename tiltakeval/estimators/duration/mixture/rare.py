"""Levels in which a transition never happens: their rows can't say how its hazard varies there."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tiltakeval.design.event_history import EventHistory


def leave_out_rare(design: EventHistory) -> tuple[EventHistory, dict[str, list[str]]]:
    """Where a 0/1 covariate never sees a transition, on one of its sides, nobody there is at risk.

    That is the likelihood's limit: the coefficient has no finite value, and the hazard on that side
    goes to zero. The covariate then no longer enters the transition. Returns the design, and the
    covariates by transition.
    """
    binary = np.flatnonzero(np.isin(design.covariates, (0.0, 1.0)).all(axis=0))
    on = np.asfortranarray(design.covariates[:, binary] > 0)
    before = design.before
    early = None if before is None else before.covariates[:, binary] > 0
    at_risk, enters = design.at_risk.copy(), design.enters.copy()
    risk_before = None if before is None else before.at_risk.copy()
    found: dict[str, list[str]] = {}
    for t, name in enumerate(design.transitions):
        happened = design.event == t + 1
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
