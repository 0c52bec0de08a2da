"""How the mixture's kernels are compiled: sums may be taken in any order, infinities are respected."""

from __future__ import annotations

from pathlib import Path

from tiltakeval.numerics.compiled import compiler

compiled = compiler(
    Path(__file__).parent.glob("*kernels*.py"), fastmath={"reassoc", "contract", "arcp", "nsz"}
)
