"""An event study as arrays: estimates before and after treatment, measured from one base period."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tiltakeval.errors import InputError, counted

Floats = NDArray[np.floating]


@dataclass(frozen=True, kw_only=True)
class EventStudy:
    """K estimates before the base period and P after it, in time order, the base itself left out.

    ``beta`` [K + P], ``sigma`` [K + P, K + P] its covariance, ``before`` is K, ``weights`` [P]
    make the target from the estimates after the base. ``groups`` is the number of clusters behind
    ``sigma`` (of the smaller side, where that is fewer), infinite where it counts as known.
    """

    beta: Floats
    sigma: Floats
    before: int
    weights: Floats
    groups: float = np.inf

    @property
    def after(self) -> int:
        """P, the number of estimates after the base period."""
        return self.beta.size - self.before

    @cached_property
    def times(self) -> NDArray[np.int64]:
        """[K + P] periods since the base period: -K, ..., -1, 1, ..., P."""
        return np.concatenate([np.arange(-self.before, 0), np.arange(1, self.after + 1)])

    @cached_property
    def target(self) -> Floats:
        """[K + P] the weights of the target, zero before the base."""
        return np.concatenate([np.zeros(self.before), self.weights])

    @property
    def estimate(self) -> float:
        """The target's point estimate, right where trends are parallel."""
        return float(self.target @ self.beta)

    @property
    def std_error(self) -> float:
        """Standard error of ``estimate``."""
        return float(np.sqrt(self.target @ self.sigma @ self.target))

    @cached_property
    def steps(self) -> tuple[Floats, Floats]:
        """[K, K + P] changes from period to period up to the base, [P, K + P] from it on."""
        size, k = self.beta.size, self.before
        levels = np.insert(np.eye(size), k, 0.0, axis=0)
        change = np.diff(levels, axis=0)
        return change[:k], change[k:]


def event_study(
    beta: Floats | Sequence[float],
    sigma: Floats | Sequence[Sequence[float]],
    n_pre: int,
    n_post: int,
    weights: Floats | Sequence[float] | None = None,
    *,
    groups: float = np.inf,
    where: str = "event study",
) -> EventStudy:
    """An event study from arrays of any origin, checked.

    ``beta`` holds ``n_pre`` estimates before the base period and ``n_post`` after it, in time
    order, one a period, without the base period itself (which is zero). ``weights`` [n_post] make
    the target; None: the first period after the base. Raises InputError for no period before or
    after, shapes that don't fit, values that aren't finite, or a ``sigma`` that is no covariance.
    """
    b, s = np.asarray(beta, dtype=np.float64), np.asarray(sigma, dtype=np.float64)
    if n_pre < 1:
        raise InputError(
            "no estimate before treatment but the base period",
            where=where,
            remedy="Violations are judged by what is seen before treatment: at least two periods "
            "before it are needed.",
        )
    if n_post < 1:
        raise InputError("no estimate after treatment", where=where)
    size = n_pre + n_post
    if b.shape != (size,) or s.shape != (size, size):
        raise InputError(
            f"{size} estimates announced ({n_pre} before, {n_post} after), but beta has shape "
            f"{b.shape} and sigma {s.shape}",
            where=where,
            remedy="Leave the base period out.",
        )
    bad = int((~np.isfinite(b)).sum() + (~np.isfinite(s)).sum())
    if bad:
        raise InputError(
            f"{counted(bad, 'value')} of the estimates and their covariance missing or infinite",
            where=where,
        )
    w = np.eye(n_post)[0] if weights is None else np.asarray(weights, dtype=np.float64)
    if w.shape != (n_post,) or not np.isfinite(w).all() or not w.any():
        raise InputError(
            f"the target needs {n_post} finite weights, not all zero", where=f"{where}, weights"
        )
    scale = np.sqrt(np.abs(np.diag(s)))
    if (np.diag(s) <= 0).any():
        raise InputError(
            f"{counted(int((np.diag(s) <= 0).sum()), 'estimate')} without a positive variance",
            where=where,
            remedy="Leave the base period out.",
        )
    correlation = s / np.outer(scale, scale)
    if np.abs(correlation - correlation.T).max() > 1e-8:
        raise InputError("sigma isn't symmetric", where=where)
    if np.linalg.eigvalsh(correlation)[0] < -1e-8 * size:
        raise InputError("sigma isn't a covariance: it has a negative eigenvalue", where=where)
    study = EventStudy(beta=b, sigma=(s + s.T) / 2, before=n_pre, weights=w, groups=float(groups))
    change = np.vstack(study.steps)
    error = np.sqrt(np.clip(np.einsum("ij,jk,ik->i", change, study.sigma, change), 0.0, None))
    if min(float(error.min()), study.std_error) < 1e-7 * scale.max():
        raise InputError(
            "sigma is singular: a change between two periods, or the target, has no variance",
            where=where,
            remedy="Leave out estimates that are copies of others.",
        )
    return study


def require_full_rank(study: EventStudy, what: str) -> None:
    """Raise InputError where the covariance of the estimates before the base is singular."""
    part = study.sigma[: study.before, : study.before]
    scale = np.sqrt(np.diag(part))
    values = np.linalg.eigvalsh(part / np.outer(scale, scale))
    rank = int((values > 1e-9 * values[-1]).sum())
    if rank < study.before:
        raise InputError(
            f"the covariance of the {study.before} estimates before treatment has rank {rank}",
            where=what,
            remedy="There are too few clusters for so many periods, or copies among them: keep "
            "fewer periods before treatment (window).",
        )
