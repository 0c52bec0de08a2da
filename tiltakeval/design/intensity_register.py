"""A programme introduced office by office among people likelier or less likely to take part, from
registers: office by profile, with the participation seen and what foretells it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from tiltakeval.design.intensity import IntensityRollout, intensity_from_frame
from tiltakeval.design.rollout_register import office_panel
from tiltakeval.errors import InputError
from tiltakeval.population.rollout import OfficePeriods
from tiltakeval.population.rollout_spec import FACTS, JOIN

#: The column of participation.
TOOK = "_took"


def intensity_of(
    found: OfficePeriods, *, clusters: Mapping[str, str] | None = None
) -> IntensityRollout:
    """Means over the eligible by office, profile of the predictors and period, as `panel_of` has them by
    office. Participation is the share of those exposed who took part, missing where the programme
    never came (or nobody was exposed); its prediction is fitted by the estimator. Errors are clustered
    by office. As people of one profile have one prediction, effects are those of the persons themselves
    weighed by the person-months before any start.

    Raises InputError where the roll-out has no predictors, where nobody takes part, and as ``panel_of``.
    """
    spec = found.spec
    place = f"roll-out of {spec.programme}"
    if not spec.predictors or found.exposed is None or found.took is None:
        raise InputError(
            "intensity needs what participation is predicted from",
            where=f"{place}, predictors",
            remedy=f"Say predictors = a list of {', '.join(FACTS)}.",
        )
    if not found.took.sum() > 0:
        raise InputError(
            f"none of the {int(found.exposed.sum())} person-months that the programme came to begins it",
            where=place,
            remedy="Check that the eligible are those it is for, and that after is long enough.",
        )
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(found.exposed > 0, found.took / found.exposed, np.nan)

    def build(frame: pd.DataFrame, **given: Any) -> IntensityRollout:
        levels = frame["level"].str.split(JOIN, expand=True, regex=False)
        told = dict(zip(spec.facts, (levels[j] for j in levels.columns)))
        own = {name: told[name] for name in spec.predictors}
        part = share[frame["u"], frame["s"]]
        split = {} if spec.split is None else {"level": told[spec.split]}
        return intensity_from_frame(
            frame.assign(**{TOOK: part}, **own, **split),
            participation=TOOK,
            predictors=spec.predictors,
            **given,
        )

    values = {
        name: found.sums[..., j] / np.maximum(found.counts, 1)
        for j, name in enumerate(spec.outcomes)
    }
    design = office_panel(found, build, values, clusters=clusters, counted="profiles_with_eligible")
    assert isinstance(design, IntensityRollout)
    return design
