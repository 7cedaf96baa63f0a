"""What an identifier says of one text."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Answer:
    """One label and how sure it is.

    Attributes:
        label: `iso639-3_Script`; `und_Script` when there is no telling, `und_Zyyy` without any letters.
        score: 0..1, probability that the label is right; 0 for `und`.
        second: label of the language that explains most of the words which the first one does not, if any does.
        share: share of the words that speak for either which only the second explains, 0..1.
        reason: why the label is `und`.
    """

    label: str
    score: float
    second: str | None = None
    share: float = 0.0
    reason: str | None = None
