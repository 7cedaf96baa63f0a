"""Shared fixtures: where the optional development data lies, and small things every folder's tests need."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


def shared_data(relative: str) -> Path:
    """Path of a development data file, or skip the test with the reason when this checkout has none beside it."""
    folder = Path(os.environ.get("FAIRTROVE_SHARED", REPOSITORY.parent / "shared"))
    path = folder / relative
    if not path.exists():
        pytest.skip(f"development data not present: {path} (set FAIRTROVE_SHARED to its folder)")
    return path
