"""Learning rate over a run: warm up, stay, decay by the square root (WSD).

Apertus (arXiv 2509.14233, section 2.4) warms up linearly from a tenth of the peak, holds the peak, and cools down by
minimum + (peak - minimum)(1 - sqrt(p)), where p is the part of the cooldown that is done (Hägele et al. 2024, arXiv
2405.18392). Unlike a cosine the plateau does not know its end: a run can be prolonged from any checkpoint before the
cooldown. Steps count from 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class WarmupStableDecay:
    """Learning rate of each step.

    Attributes:
        peak: learning rate of the plateau.
        total: steps of the whole run.
        warmup: steps of the linear rise; step `warmup` has the peak.
        cooldown: last steps of the run, over which the rate falls to `peak * final`.
        initial: rate of step 0 as a share of the peak.
        final: rate at the end as a share of the peak.
    """

    peak: float
    total: int
    warmup: int
    cooldown: int
    initial: float = 0.1
    final: float = 0.1

    def learning_rate(self, step: int) -> float:
        """Learning rate of `step`, 0 <= step < total; the last step is one step short of `peak * final`."""
        if step < self.warmup:
            return self.peak * (self.initial + (1 - self.initial) * step / self.warmup)
        done = step - (self.total - self.cooldown)
        if done <= 0:
            return self.peak
        share = 1 - math.sqrt(done / self.cooldown)
        return self.peak * (self.final + (1 - self.final) * share)
