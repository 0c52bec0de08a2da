"""Covariates made ready for the nuisance models: standardised, and expanded when asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tiltakeval.errors import InputError, unknown
from tiltakeval.numerics.products import Product, columns, with_cuts

Floats = NDArray[np.floating]
Basis = Literal["linear", "products", "quadratic"]
BASES = ("linear", "products", "quadratic")
MAX_COLUMNS = 600


def standardise(x: Floats, *, weight: Floats) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Columns of ``x`` [n, p] with weighted mean 0 and variance 1, and which columns were kept.

    Columns that don't vary (relative to their size) are dropped.
    """
    x = np.asarray(x, dtype=np.float64)
    share = weight / weight.sum()
    mean = share @ x
    sd = np.sqrt(share @ (x - mean) ** 2)
    kept = np.flatnonzero(sd > 1e-10 * np.maximum(np.abs(mean), 1e-30))
    return (x[:, kept] - mean[kept]) / sd[kept], kept


def expand(x: Floats, *, weight: Floats, basis: Basis) -> NDArray[np.float64]:
    """[n, q] the columns of ``expand_named``."""
    return expand_named(x, weight=weight, basis=basis)[0]


def expand_named(
    x: Floats, *, weight: Floats, basis: Basis
) -> tuple[NDArray[np.float64], tuple[tuple[int, ...], ...]]:
    """[n, q] standardised columns: ``x`` itself, or with all squares and pairwise products; and the
    columns of ``x`` that each is made of.

    Products that repeat a column already there (the square of an indicator) are dropped. Those of
    "products" come from the odds of programmes (`products_added`): here it is as "linear". Raises
    InputError when more than ``MAX_COLUMNS`` columns would result.
    """
    if basis not in BASES:
        raise unknown("basis", basis, BASES, where="basis")
    z, kept = standardise(x, weight=weight)
    sources: tuple[tuple[int, ...], ...] = tuple((int(j),) for j in kept)
    if basis != "quadratic":
        return z, sources
    p = z.shape[1]
    if p + p * (p + 1) // 2 > MAX_COLUMNS:
        raise InputError(
            f"a quadratic basis of {p} covariates has more than {MAX_COLUMNS} columns",
            where="basis",
            remedy="Use basis = 'linear', or fewer covariates.",
        )
    first, second = np.triu_indices(p)
    products, varied = standardise(z[:, first] * z[:, second], weight=weight)
    columns = np.hstack([z, products])
    sources += tuple((int(kept[first[i]]), int(kept[second[i]])) for i in varied)
    share = weight / weight.sum()
    correlation = np.abs((columns * share[:, None]).T @ columns)
    repeated = np.triu(correlation > 1 - 1e-9, k=1).any(axis=0)
    used = tuple(source for source, again in zip(sources, repeated) if not again)
    return columns[:, ~repeated], used


def products_added(
    z: NDArray[np.float64], products: Sequence[Product], *, weight: Floats
) -> tuple[NDArray[np.float64], tuple[Product, ...]]:
    """``z`` [n, p] and, standardised, the products of its columns that vary; and which those are."""
    if not products:
        return z, ()
    wanted = with_cuts(products)
    more, varied = standardise(columns(z, products), weight=weight)
    return np.hstack([z, more]), tuple(wanted[int(i)] for i in varied)
