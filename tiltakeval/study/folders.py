"""Folders written whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tiltakeval.errors import InputError


@contextmanager
def swapped(target: Path) -> Iterator[Path]:
    """A new folder beside ``target`` that takes its place when the block ends without an error.

    Until then, and after an error, what stood at ``target`` stands there untouched.
    """
    parent = target.parent
    try:
        parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=parent))
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise InputError(
            f"can't write there ({reason})", where=str(parent), remedy="Choose another folder."
        ) from None
    os.chmod(fresh, 0o755)
    try:
        yield fresh
        old = fresh.with_name(fresh.name + "-old")
        if target.exists():
            target.rename(old)
        fresh.rename(target)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
