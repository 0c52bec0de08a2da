"""Which clusters a bag and a tree see, drawn from (seed, bag, tree) alone."""

from __future__ import annotations

import numpy as np

from tiltakeval.estimators.heterogeneity.forest.compiled import compiled


@compiled
def following(state):  # type: ignore
    """Next 64 bits of ``state`` [1] uint64: SplitMix64 (Steele, Lea & Flood 2014)."""
    state[0] += np.uint64(0x9E3779B97F4A7C15)
    z = state[0]
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@compiled
def uniform(state):  # type: ignore
    """A number in [0, 1)."""
    return np.float64(following(state) >> np.uint64(11)) * (1.0 / 9007199254740992.0)


@compiled
def start(seed, stream, number):  # type: ignore
    """State of a stream of its own for every (seed, stream, number)."""
    state = np.empty(1, np.uint64)
    state[0] = np.uint64(seed)
    for part in (stream, number):
        state[0] = following(state) ^ (np.uint64(part) * np.uint64(0xD1342543DE82EF95))
        following(state)
    return state


@compiled
def draw_bag(seed, bag, take, inside):  # type: ignore
    """Set in ``inside`` [C] which ``take`` of its clusters the bag holds, each set equally likely.

    Selection sampling: one pass, in order (Fan, Muller & Rezucha 1962).
    """
    state = start(seed, 1, bag)
    left, clusters = take, len(inside)
    for c in range(clusters):
        chosen = uniform(state) * (clusters - c) < left
        inside[c] = chosen
        if chosen:
            left -= 1


@compiled
def split_bag(seed, tree, inside, held, take, first, grow, estimate):  # type: ignore
    """Rows of a bag (``held`` clusters) dealt into those that place splits and those that estimate.

    first [C + 1]: rows of each cluster, which stay together. Returns how many rows each got.
    """
    state = start(seed, 2, tree)
    left, rest, a, b = take, held, 0, 0
    for c in range(len(inside)):
        if not inside[c]:
            continue
        if uniform(state) * rest < left:
            left -= 1
            for i in range(first[c], first[c + 1]):
                grow[a] = i
                a += 1
        else:
            for i in range(first[c], first[c + 1]):
                estimate[b] = i
                b += 1
        rest -= 1
    return a, b
