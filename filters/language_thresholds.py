"""Quality tier and default threshold of every label: data in `lists/language_tiers.tsv`, which the recipe writes.

A label is `measured` when its F1 is known on held-out sources, `sentences` when it was trained on sentences but no
other source was there to measure it on, `words` when only word or n-gram lists were. No label is advertised without its
tier. How thresholds are derived is in the header of the list.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass

from filters.language_labels import LISTS

FASTTEXT = 0.3  # of 411 pages that lid.176 scores below it, 29 are labelled right; of the next 111, half


@dataclass(frozen=True, slots=True)
class Tier:
    """What is known about a label.

    Attributes:
        tier: `measured`, `sentences` or `words`.
        sentences, words, grams: training material: lines, listed words, listed n-grams.
        f1: on held-out sources, None where not measured.
        threshold: score below which a document with this label is excluded by default.
    """

    tier: str
    sentences: int
    words: int
    grams: int
    f1: float | None
    threshold: float


@functools.cache
def tiers() -> Mapping[str, Tier]:
    """Every label that the embedded model knows."""
    found = {}
    for line in (LISTS / "language_tiers.tsv").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith(("#", "label\t")):
            label, tier, sentences, words, grams, f1, threshold = line.split("\t")
            found[label] = Tier(
                tier, int(sentences), int(words), int(grams), float(f1) if f1 else None, float(threshold)
            )
    return found


def threshold_of(label: str, embedded: bool) -> float:
    """Default threshold of a label of the embedded model; one value for all labels of other models, whose scores mean
    something else."""
    return tiers()[label].threshold if embedded and label in tiers() else FASTTEXT
