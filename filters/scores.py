"""What every model here shares: how a score is rounded, where it was found, and the error when there is no model."""

from __future__ import annotations

import struct
from dataclasses import dataclass


class ModelError(ValueError):
    """A model, its calibration or its heads cannot be found or read; the message names the file and the remedy."""


@dataclass(frozen=True, slots=True)
class Mark:
    """Score of a document and the window it comes from (code points; both 0 when there is nothing to read)."""

    score: float
    start: int
    end: int


def exact(value: float) -> float:
    """Six decimals, then the nearest float32: what a float32 column gives back is what was compared."""
    return struct.unpack("f", struct.pack("f", round(value, 6)))[0]
