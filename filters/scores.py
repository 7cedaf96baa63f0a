"""What every model here shares: how a score is rounded, where it was found, and the error when there is no model."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass


class ModelError(ValueError):
    """A model, its calibration or its heads cannot be found or read; the message names the file and the remedy."""


@dataclass(frozen=True, slots=True)
class Mark:
    """Score of a document, the window it comes from (code points; both 0 when there is nothing to read), and the number
    of windows that it is the maximum of."""

    score: float
    start: int
    end: int
    windows: int = 1


def exact(value: float) -> float:
    """Six decimals, then the nearest float32: what a float32 column gives back is what was compared."""
    return struct.unpack("f", struct.pack("f", round(value, 6)))[0]


def longer(score: float, windows: int, slope: float) -> float:
    """A maximum over many windows made comparable with one over few: its logit less `slope` per logarithm of them."""
    if slope == 0 or windows <= 1 or not 0 < score < 1:
        return score
    logit = math.log(score / (1 - score)) - slope * math.log(windows)
    return exact(1 / (1 + math.exp(-max(min(logit, 60.0), -60.0))))
