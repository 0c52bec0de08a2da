"""Simulate a block of persons and log their events: the writer's side of the kernel."""

# mypy: disable-error-code="untyped-decorator,no-any-return,type-arg"
from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from tiltakeval.synthetic.hashing import person_key
from tiltakeval.synthetic.kernel import step
from tiltakeval.synthetic.layout import *  # noqa: F403
from tiltakeval.synthetic.persons import draw_person, initial_state
from tiltakeval.synthetic.prepare import Arrays


class Log(NamedTuple):
    """Event buffers; ``n`` counts rows of part, spells, edu, rand and holds the current person."""

    part: np.ndarray
    spells: np.ndarray
    edu: np.ndarray
    rand: np.ndarray
    gone: np.ndarray
    n: np.ndarray


class Block(NamedTuple):
    """Everything logged of a block of persons; integer arrays, one row a column of the layout."""

    persons: np.ndarray  # i8[N_AI + 3, n]: attributes, day gone (-1), emigrated 0/1, number
    latent: np.ndarray  # f8[2, n]: v1, v2
    part: np.ndarray
    spells: np.ndarray
    edu: np.ndarray
    rand: np.ndarray
    jobs: np.ndarray  # person, employer, month, percent, tenths of hours, nominal kroner
    benefits: np.ndarray  # person, month, benefit, grade, nominal kroner


def no_log() -> Log:
    """Buffers of size nothing, for paths that are not logged."""
    empty = np.zeros((N_PART, 1), dtype=np.int64)
    return Log(empty, empty.copy(), empty.copy(), empty.copy(), np.zeros(2, np.int64),
               np.zeros(5, np.int64))  # fmt: skip


@njit(cache=True, nogil=True)
def _block(seed, first, n, burn, months, w, lg, people, latent, jobs, ben, count):  # type: ignore[no-untyped-def]
    s = np.zeros(N_STATE, dtype=np.int64)
    ai = np.zeros(N_AI, dtype=np.int64)
    af = np.zeros(N_AF, dtype=np.float64)
    rec = np.zeros(N_REC, dtype=np.int64)
    info = np.zeros(N_INFO, dtype=np.int64)
    iv = np.full(N_IV, -1, dtype=np.int64)
    iv[IV_BAR_P] = BAR_NONE
    nj, nb = 0, 0
    for i in range(n):
        key = person_key(seed, first + i)
        draw_person(key, ai, af, w)
        lg.n[4] = first + i
        lg.gone[0] = -1
        lg.gone[1] = 0
        initial_state(s, key, ai, af, w, lg, True)
        for t in range(burn + months):
            step(s, t, key, ai, af, w, iv, rec, info, lg, True)
            if t < burn:
                continue
            level = w.nominal[t]
            if rec[O_EARN] > 0:
                jobs[0, nj], jobs[1, nj], jobs[2, nj] = first + i, rec[O_EMP], t
                jobs[3, nj], jobs[4, nj] = rec[O_PCT], rec[O_HOURS10]
                jobs[5, nj] = max(1, int(rec[O_EARN] * level + 0.5))
                nj += 1
            if rec[S_EARN] > 0:
                jobs[0, nj], jobs[1, nj], jobs[2, nj] = first + i, rec[S_EMP], t
                jobs[3, nj], jobs[4, nj] = rec[S_PCT], rec[S_HOURS10]
                jobs[5, nj] = max(1, int(rec[S_EARN] * level + 0.5))
                nj += 1
            for c in range(6):
                if rec[B_DAGP + c] > 0:
                    ben[0, nb], ben[1, nb], ben[2, nb] = first + i, t, c
                    ben[3, nb] = rec[U_GRADE] if B_DAGP + c == B_UFORE else 100
                    ben[4, nb] = max(1, int(rec[B_DAGP + c] * level + 0.5))
                    nb += 1
        for a in range(N_AI):
            people[a, i] = ai[a]
        people[N_AI, i] = lg.gone[0]
        people[N_AI + 1, i] = lg.gone[1]
        people[N_AI + 2, i] = first + i
        latent[0, i], latent[1, i] = af[V1], af[V2]
    count[0], count[1] = nj, nb


def simulate_block(w: Arrays, seed: int, first: int, n: int, burn: int, months: int) -> Block:
    """Persons ``first`` .. ``first + n - 1`` through burn-in and ``months`` observed months."""

    def zeros(rows: int, size: int) -> np.ndarray:
        return np.empty((rows, size), dtype=np.int64)

    total = burn + months
    log = Log(
        zeros(N_PART, n * (4 + total // 3)), zeros(N_SPELL, n * (2 + total // 2)),
        zeros(3, n * 12), zeros(3, n * 2), np.zeros(2, np.int64), np.zeros(5, np.int64),
    )  # fmt: skip
    people = zeros(N_AI + 3, n)
    latent = np.empty((2, n))
    jobs, ben = zeros(6, 2 * n * months), zeros(5, 4 * n * months)
    count = np.zeros(2, np.int64)
    _block(seed, first, n, burn, months, w, log, people, latent, jobs, ben, count)
    k = log.n
    return Block(
        people, latent, log.part[:, : k[0]].copy(), log.spells[:, : k[1]].copy(),
        log.edu[:, : k[2]].copy(), log.rand[:, : k[3]].copy(), jobs[:, : count[0]].copy(),
        ben[:, : count[1]].copy(),
    )  # fmt: skip
