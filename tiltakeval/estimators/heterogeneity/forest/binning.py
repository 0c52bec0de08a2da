"""Covariates as bytes: at most 254 bins of about equal numbers, and bin 0 for what is missing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tiltakeval.errors import InputError, counted

Floats = NDArray[np.floating]
#: Columns with at most so many values are codes: a value not seen before is an error, not a neighbour.
CODES = 12
#: Edges of bins come from at most so many rows, evenly spaced.
SAMPLE = 200_000


@dataclass(frozen=True)
class Bins:
    """``edges`` one array a column (a value up to the first edge is in bin 1), ``used`` [p] number of
    bins with bin 0, ``codes`` the values of columns that have few (None for others)."""

    edges: tuple[Floats, ...]
    used: NDArray[np.int64]
    codes: tuple[Floats | None, ...]
    names: tuple[str, ...]

    def encode(self, x: Floats, *, check_codes: bool = True) -> NDArray[np.uint8]:
        """[n, p] bytes. Raises InputError for infinite values, and for values of a code not known
        (``check_codes``; else they go to the nearest bin)."""
        if x.ndim != 2 or x.shape[1] != len(self.names):
            raise InputError(
                f"{x.shape[1] if x.ndim == 2 else x.ndim} columns where {len(self.names)} are known",
                where="x",
                remedy="Give the columns the forest was fitted with, in their order.",
            )
        out = np.zeros(x.shape, dtype=np.uint8)
        for j, (edges, codes) in enumerate(zip(self.edges, self.codes)):
            values = x[:, j]
            seen = np.isfinite(values)
            infinite = int(np.isinf(values).sum())
            if infinite:
                raise InputError(
                    f"{counted(infinite, 'row')} with an infinite value",
                    where=f"column '{self.names[j]}'",
                    remedy="Set them to missing, or to the largest value that means something.",
                )
            found = values[seen]
            if codes is not None and check_codes:
                unknown = int((~np.isin(found, codes)).sum())
                if unknown:
                    raise InputError(
                        f"{counted(unknown, 'row')} with a value that wasn't there when the forest "
                        f"was fitted ({len(codes)} values were)",
                        where=f"column '{self.names[j]}'",
                        remedy="Recode them to a known value or to missing, or fit with such rows.",
                    )
            out[seen, j] = 1 + np.searchsorted(edges, found, side="left")
        return out


def make_bins(x: Floats, *, bins: int, names: tuple[str, ...]) -> Bins:
    """Bins of the columns of x [n, p]: each value its own where there are at most ``bins``, else cuts
    at equal shares. Cuts lie half-way between values."""
    step = max(1, len(x) // SAMPLE)
    edges, used, codes = [], [], []
    for j in range(x.shape[1]):
        column = x[:, j]
        values = np.unique(column[::step][np.isfinite(column[::step])])
        few = None
        if values.size <= CODES:  # all rows, lest a rare code be missed
            few = np.unique(column[np.isfinite(column)])
            values, few = few, few if few.size <= CODES else None
        if values.size <= bins:
            cuts = (values[1:] + values[:-1]) / 2
        else:
            part = np.sort(column[::step][np.isfinite(column[::step])])
            at = np.linspace(0, part.size - 1, bins + 1)[1:-1].astype(np.int64)
            cuts = np.unique((part[at] + part[np.minimum(at + 1, part.size - 1)]) / 2)
        edges.append(cuts)
        # a column with values all equal, but missing ones, can still be cut
        used.append(cuts.size + 2)
        codes.append(few)
    return Bins(tuple(edges), np.array(used, dtype=np.int64), tuple(codes), names)
