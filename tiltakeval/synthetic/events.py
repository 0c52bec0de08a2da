"""Simulate a block of persons and log their events: the writer's side of the kernel."""

# ruff: noqa: F403, F405
# mypy: disable-error-code="untyped-decorator,no-any-return,type-arg"
from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tiltakeval.synthetic.compiled import compiled
from tiltakeval.synthetic.hashing import person_key
from tiltakeval.synthetic.kernel import step
from tiltakeval.synthetic.layout import *
from tiltakeval.synthetic.numbers import price
from tiltakeval.synthetic.persons import draw_person, initial_state


class Block(NamedTuple):
    """Everything logged of a block of persons; integer arrays, one row a column of the layout."""

    persons: np.ndarray  # i8[N_AI + 3, n]: attributes, day gone (-1), emigrated 0/1, number
    latent: np.ndarray  # f8[2, n]: v1, v2
    part: np.ndarray  # i8[N_EVENT, ...]; L_SPELL counts rows of ``spells``
    spells: np.ndarray  # i8[N_EVENT, ...]
    edu: np.ndarray  # i8[3, ...]: person, day, level
    rand: np.ndarray  # i8[3, ...]: person, day, arm
    jobs: np.ndarray  # person, employer, month, percent, tenths of hours, nominal kroner
    benefits: np.ndarray  # person, month, benefit, grade, nominal kroner


@compiled
def new_io():  # type: ignore[no-untyped-def]
    """An in- and output vector without intervention."""
    io = np.full(N_IO, -1, dtype=np.int64)
    io[IV_BAR_P] = BAR_NONE
    return io


@compiled
def _job_row(jobs, row, i, t, io, at, level):  # type: ignore[no-untyped-def]
    jobs[0, row], jobs[1, row], jobs[2, row] = i, io[at], t
    jobs[3, row], jobs[4, row] = io[at + 1], io[at + 2]
    jobs[5, row] = max(1, int(io[at + 3] * level + 0.5))


@compiled
def _block(seed, first, n, burn, months, w, ev, people, latent, jobs, ben, count):  # type: ignore[no-untyped-def]
    s = np.zeros(N_STATE, dtype=np.int64)
    ai = np.zeros(N_AI, dtype=np.int64)
    af = np.zeros(N_AF, dtype=np.float64)
    io = new_io()
    nj, nb = 0, 0
    for i in range(n):
        key = person_key(seed, first + i)
        draw_person(key, ai, af, w)
        ev[0, 1], ev[0, 2], ev[0, 3] = first + i, -1, 0
        initial_state(s, key, ai, af, w, ev)
        for t in range(burn + months):
            step(s, t, key, ai, af, w, io, ev)
            if t < burn:
                continue
            level = price(w, t)
            if io[O_EARN] > 0:
                _job_row(jobs, nj, first + i, t, io, O_EMP, level)
                nj += 1
            if io[S_EARN] > 0:
                _job_row(jobs, nj, first + i, t, io, S_EMP, level)
                nj += 1
            for c in range(6):
                if io[B_DAGP + c] > 0:
                    ben[0, nb], ben[1, nb], ben[2, nb] = first + i, t, c
                    ben[3, nb] = io[R_GRADE] if B_DAGP + c == B_UFORE else 100
                    ben[4, nb] = max(1, int(io[B_DAGP + c] * level + 0.5))
                    nb += 1
        for a in range(N_AI):
            people[a, i] = ai[a]
        people[N_AI, i], people[N_AI + 1, i], people[N_AI + 2, i] = ev[0, 2], ev[0, 3], first + i
        latent[0, i], latent[1, i] = af[V1], af[V2]
    count[0], count[1] = nj, nb


def simulate_block(
    flat: np.ndarray, seed: int, first: int, n: int, burn: int, months: int
) -> Block:
    """Persons ``first`` .. ``first + n - 1`` through burn-in and ``months`` observed months.

    ``flat`` are the world's numbers (`Arrays.flat`).
    """
    ev = np.empty((1 + n * 2 * (burn + months), N_EVENT), dtype=np.int64)
    ev[0] = 0
    ev[0, 0] = 1
    people = np.empty((N_AI + 3, n), dtype=np.int64)
    latent = np.empty((2, n))
    jobs = np.empty((6, 2 * n * months), dtype=np.int64)
    ben = np.empty((5, 4 * n * months), dtype=np.int64)
    count = np.zeros(2, np.int64)
    _block(seed, first, n, burn, months, flat, ev, people, latent, jobs, ben, count)
    log = ev[: ev[0, 0]]
    kind = log[:, 0].copy()
    kind[0] = -1
    spell_number = np.cumsum(kind == EV_SPELL) - 1
    part = log[kind == EV_PART].T.copy()
    part[L_SPELL] = spell_number[part[L_SPELL]]
    return Block(
        people, latent, part, log[kind == EV_SPELL].T.copy(),
        log[kind == EV_EDU, 1:4].T.copy(), log[kind == EV_RAND, 1:4].T.copy(),
        jobs[:, : count[0]].copy(), ben[:, : count[1]].copy(),
    )  # fmt: skip
