"""What changes over a run: the learning rate (warm up, stay, decay by the square root: WSD) and the batch size.

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


@dataclass(frozen=True, slots=True)
class BatchSize:
    """Rows of each step, which double at some of them: Apertus does so once, at 7T tokens (8B) and 4.4T (70B).

    Attributes:
        rows: of the first step.
        double_at: steps from which on there are twice as many, ascending.
    """

    rows: int
    double_at: tuple[int, ...] = ()

    def rows_at(self, step: int) -> int:
        """Rows of `step`."""
        return self.rows << sum(step >= at for at in self.double_at)

    def position_at(self, step: int) -> int:
        """Rows of all steps before `step`: where its batch begins in the data."""
        position, begin = 0, 0
        for at in (*self.double_at, step):
            if at > begin:
                position += self.rows_at(begin) * (min(at, step) - begin)
                begin = min(at, step)
        return position

    def step_of(self, position: int) -> int:
        """The step whose batch holds the row at `position`."""
        begin = 0
        for at in self.double_at:
            if position < self.position_at(at):
                break
            begin = at
        return begin + (position - self.position_at(begin)) // self.rows_at(begin)
