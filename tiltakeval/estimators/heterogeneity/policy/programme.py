"""Small linear programmes whose limits give way where they contradict each other, and their prices."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.optimize import linprog

from tiltakeval.errors import InputError

Floats = NDArray[np.floating]


@dataclass(frozen=True)
class Shares:
    """``share`` [m, A] what part of each row gets each arm (rows add up to one), ``prices`` [K] what a
    unit more of each limit is worth, ``excess`` [K] by how much limits are passed that can't be kept."""

    share: NDArray[np.float64]
    prices: NDArray[np.float64]
    excess: NDArray[np.float64]


def divide(reward: Floats, load: Floats, bound: Floats, allowed: NDArray[np.bool_]) -> Shares:
    """Shares of arms in every row that maximise the sum of ``reward`` [m, A] with sums of ``load``
    [K, m, A] at most ``bound`` [K]; only ``allowed`` [m, A] arms.

    Limits that can't all be kept are passed by as little as can be (a price above every reward), and
    ``excess`` tells by how much. Raises InputError when the solver fails.
    """
    m, arms = reward.shape
    k = bound.size
    every = np.arange(m * arms)
    rows = sparse.csr_matrix((np.ones(m * arms), (every // arms, every)), (m, m * arms))
    size = max(float(np.abs(reward).max(initial=0.0)), 1e-12)
    objective = -np.where(allowed, reward, 0.0).ravel() / size
    high = np.where(allowed.ravel(), 1.0, 0.0)
    # a limit may give way at a price no reward reaches
    scale = np.maximum(np.abs(load).reshape(k, -1).max(axis=1, initial=0.0), 1e-12)
    slack_cost = np.full(k, 1e4 * m)
    upper = sparse.hstack(
        [sparse.csr_matrix(load.reshape(k, m * arms) / scale[:, None]), -sparse.identity(k)]
    )
    found = linprog(
        np.concatenate([objective, slack_cost]),
        A_ub=upper if k else None,
        b_ub=bound / scale if k else None,
        A_eq=sparse.hstack([rows, sparse.csr_matrix((m, k))]),
        b_eq=np.ones(m),
        bounds=np.column_stack(
            [np.zeros(m * arms + k), np.concatenate([high, np.full(k, np.inf)])]
        ),
        method="highs",
    )
    if found.status != 0:
        raise InputError(
            f"places can't be dealt within the limits ({found.message.strip()})",
            where="capacity, budget, fairness",
            remedy="Look for limits that contradict each other.",
        )
    share = np.clip(found.x[: m * arms].reshape(m, arms), 0.0, 1.0)
    share /= share.sum(axis=1, keepdims=True)
    prices = -found.ineqlin.marginals * size / scale if k else np.empty(0)
    return Shares(share, np.maximum(prices, 0.0), found.x[m * arms :] * scale)
