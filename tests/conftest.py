"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with public reference data, which is not part of the repository."""
    folder = Path(os.environ.get("TILTAKEVAL_SHARED", ROOT.parent / "shared"))
    if not (folder / "data").is_dir():
        if "TILTAKEVAL_SHARED" in os.environ:
            pytest.fail(f"TILTAKEVAL_SHARED names a folder without data: {folder.name}")
        pytest.skip("no folder with reference data: set TILTAKEVAL_SHARED to it")
    return folder
