"""How much a sample says: exact one-sided confidence bounds for a share, after Clopper and Pearson (1934)."""

from __future__ import annotations

import math

CONFIDENCE = 0.95


def upper_bound(found: int, drawn: int, confidence: float = CONFIDENCE) -> float:
    """The largest share that `found` of `drawn` independent draws do not rule out at this confidence.

    With nothing found it is 1 - (1 - confidence)^(1/drawn), the "rule of three": about 3/drawn at 95 %.
    Drawing without replacement, as audits do, says a little more than that, so the bound errs on the safe side.

    Raises:
        ValueError: more found than drawn, or a confidence that is none.
    """
    if not 0 <= found <= drawn or not 0 < confidence < 1:
        raise ValueError(f"{found} found of {drawn} drawn at confidence {confidence}: no such sample")
    if found == drawn:
        return 1.0
    low, high = found / drawn, 1.0
    for _ in range(60):  # P(X <= found) falls as the share grows: bisect where it meets 1 - confidence
        middle = (low + high) / 2
        if _at_most(found, drawn, middle) > 1 - confidence:
            low = middle
        else:
            high = middle
    return high


def _at_most(found: int, drawn: int, share: float) -> float:
    """Binomial probability of `found` or fewer."""
    if share >= 1:
        return 0.0
    odds, none = math.log(share) - math.log1p(-share), drawn * math.log1p(-share)
    ways = 0.0
    total = 0.0
    for number in range(found + 1):
        total += math.exp(none + ways + number * odds)
        ways += math.log(drawn - number) - math.log(number + 1)
    return min(total, 1.0)
