"""The command line answers at once: nothing heavy is imported before it is needed."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

FORBIDDEN = (
    *("pandas", "ibis", "econml", "matplotlib", "numba", "scipy", "sklearn", "statsmodels"),
    *("lifelines", "duckdb", "pyarrow", "numpy"),
)
LIMIT_SECONDS = 0.5


def _python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )


@pytest.mark.parametrize(
    "code",
    [
        "import tiltakeval",
        "import tiltakeval.cli; tiltakeval.cli.main([])",
        "import tiltakeval.cli; tiltakeval.cli.main(['rnu'])",
    ],
    ids=["import", "help", "mistyped command"],
)
def test_nothing_heavy_is_imported(code: str) -> None:
    show = f"import sys; print('LOADED', *[n for n in {FORBIDDEN!r} if n in sys.modules])"
    out = _python(f"{code}\n{show}").stdout
    assert out.splitlines()[-1].split() == ["LOADED"]


@pytest.mark.parametrize(
    "arguments", [["-c", "import tiltakeval"], ["-m", "tiltakeval.cli", "--help"]]
)
def test_it_is_quick(arguments: list[str]) -> None:
    def seconds() -> float:
        start = time.perf_counter()
        subprocess.run([sys.executable, *arguments], capture_output=True, check=True, timeout=60)
        return time.perf_counter() - start

    assert min(seconds() for _ in range(3)) < LIMIT_SECONDS
