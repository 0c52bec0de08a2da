"""Compile with a cache on disk that notices a change in any file of a set.

Numba's own cache looks at the file of the function alone, so that a change in a function it calls, or
in a constant, would go unnoticed. Kernels that call nothing outside their file need only ``njit``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from numba import njit


def compiler(paths: Iterable[Path], **options: Any) -> Callable[[Callable[..., Any]], Any]:
    """A decorator that compiles without the interpreter lock, cached under the files' fingerprint.

    ``options`` are numba's.
    """
    digest = hashlib.sha256()
    for path in sorted(paths):
        digest.update(path.read_bytes())
    fingerprint = digest.hexdigest()

    def compiled(function: Callable[..., Any]) -> Any:
        dispatcher = njit(cache=True, nogil=True, **options)(function)
        stored = getattr(getattr(dispatcher, "_cache", None), "_cache_file", None)
        if stored is not None and hasattr(stored, "_source_stamp"):
            stored._source_stamp = fingerprint
        return dispatcher

    return compiled
