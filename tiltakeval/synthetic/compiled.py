"""How the compiled files of this folder are compiled: a change in one recompiles them all."""

from __future__ import annotations

from pathlib import Path

from tiltakeval.numerics.compiled import compiler

_CONSTANTS = ("layout.py", "numbers.py")

compiled = compiler(
    path
    for path in Path(__file__).parent.glob("*.py")
    if path.name in _CONSTANTS or b"\n@compiled\n" in path.read_bytes()
)
