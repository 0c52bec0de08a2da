"""How the forest's kernels are compiled: one order of sums in every build, whatever the threads."""

from __future__ import annotations

from pathlib import Path

from tiltakeval.numerics.compiled import compiler

compiled = compiler(Path(__file__).parent.glob("*kernels*.py"), fastmath={"contract", "nsz"})
