"""Compile with a cache on disk that notices a change in any kernel of this folder.

Numba's own cache looks at the file of the function alone, so that a change in a function it calls
would go unnoticed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from numba import njit


def _fingerprint() -> str:
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*kernels*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


FINGERPRINT = _fingerprint()


def compiled(function: Callable[..., Any]) -> Any:
    """The function compiled without the interpreter lock, cached under the common fingerprint."""
    dispatcher = njit(cache=True, nogil=True, fastmath={"reassoc", "contract", "arcp", "nsz"})(
        function
    )
    stored = getattr(getattr(dispatcher, "_cache", None), "_cache_file", None)
    if stored is not None and hasattr(stored, "_source_stamp"):
        stored._source_stamp = FINGERPRINT
    return dispatcher
