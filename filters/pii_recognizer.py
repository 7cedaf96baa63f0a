"""What every PII recognizer of fairtrove is: a presidio `EntityRecognizer` that works on a short window of text.

Why windows: presidio's recognizers run over whole documents at 0.4 MB/s per core together; 95 % of web text holds
nothing that could be PII. `filters.pii_scan` finds the few places that could, and only those are normalised and
handed to recognizers. Windows and whole texts must give the same verdicts; a test holds them together.

Recognizers read normalised text (`pii_fold`). Boundaries are always ASCII (`(?<![A-Za-z0-9])`): `\\b` counts Chinese,
Thai or Cyrillic letters as word characters, and misses what is glued to them.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Iterable
from typing import ClassVar

from presidio_analyzer import EntityRecognizer, RecognizerResult

from filters.pii_fold import normalise

# What every number is made of, and the least that is worth a look: six digits with at most three separators between.
NUMBER_ROW = re.compile(r"[0-9](?:[ .\-/()]{0,3}[0-9]){5,}")
Span = tuple[int, int, str]  # start, end (code points), type


class SpanRecognizer(EntityRecognizer):
    """A recognizer of one type; usable in a presidio `AnalyzerEngine` as well as by `filters.pii`."""

    kind: ClassVar[str]

    def __init__(self, supported_language: str = "en"):
        super().__init__(
            supported_entities=[self.kind], name=f"fairtrove {self.kind}", supported_language=supported_language
        )

    def load(self) -> None:
        """Nothing to load; required by presidio."""

    def analyze(self, text: str, entities: list[str], nlp_artifacts: object = None) -> list[RecognizerResult]:
        """Presidio's interface: all spans of this type in a text, each with the full score."""
        return [RecognizerResult(self.kind, start, end, 1.0) for start, end in self.spans(normalise(text), "und")]

    @abstractmethod
    def spans(self, window: str, language: str) -> Iterable[tuple[int, int]]:
        """Spans in a normalised window, in linear time. `language` is a label such as `deu_Latn` or `und`."""


def words_before(window: str, start: int) -> str | None:
    """The words right before a value, up to 48 characters on its line without another number; None if there are none.

    Lower case, ASCII punctuation as single spaces and one space in front, so that a label is found at a word's start
    by a space: ` tel` is in ` tel mobil ` and not in ` hotel `.
    """
    before = _BEFORE.match(window[max(0, start - 48) : start][::-1])
    return None if before is None else " " + _PUNCTUATION.sub(" ", before[0][::-1].lower())


def label_pattern(labels: Iterable[str]) -> str:
    """RE2 expression over `words_before`. `_` ends a word; scripts written without spaces match anywhere."""
    return "|".join(f"{' ' if label < _UNSPACED else ''}{label.replace('_', '(?: |$)')}" for label in labels)


def label_gate(labels: Iterable[str]) -> str:
    """RE2 expression for `pii_fold.folded`, without case, that matches wherever `label_pattern` might.

    Any punctuation, or none, for a space; and no demand on what stands before a label beyond ASCII.
    """
    return "|".join(
        ("(?:^|[^a-z])" if label[0].isascii() else "")
        + label.replace("_", "(?:[^a-z]|$)").replace(" ?", f"{_GAP}*").replace(" ", f"{_GAP}*")
        for label in labels
    )


# What `_PUNCTUATION` makes a space, as a class of its own.
_GAP = r"[\x00-/:-@\[-`{-\x7f№º°]"
_BEFORE = re.compile(r"[^0-9\n]+")  # backwards, or it would be tried from every start
_PUNCTUATION = re.compile(
    r"[^0-9a-z\x80-\U0010ffff]+|[№º°]+|(?<=[\u0900-\u1cff\u2e80-\U0010ffff])(?=[a-z\u0370-\u05ff])"
)
_UNSPACED = "\u0900"  # Devanagari and everything after it in Unicode: Thai, Georgian, Chinese, ...
