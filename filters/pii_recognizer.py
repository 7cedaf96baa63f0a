"""What every PII recognizer of fairtrove is: a presidio `EntityRecognizer` that works on a short window of text.

Why windows: presidio's recognizers run over whole documents at 0.4 MB/s per core together; 95 % of web text holds
nothing that could be PII. `filters.pii_scan` finds the few places that could, and only those are normalised and
handed to recognizers. Windows and whole texts must give the same verdicts; a test holds them together.

Normalisation maps code points one to one, so that offsets never move: digits of every script become ASCII digits, the
many spaces and dashes become ` ` and `-`, full-width forms become ASCII. Boundaries are always ASCII
(`(?<![A-Za-z0-9])`): `\\b` counts Chinese, Thai or Cyrillic letters as word
characters, and misses what is glued to them.
"""

from __future__ import annotations

import re
import unicodedata
from abc import abstractmethod
from collections.abc import Iterable
from typing import ClassVar

from presidio_analyzer import EntityRecognizer, RecognizerResult

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


def normalise(text: str) -> str:
    """Digits, spaces, dashes and full-width forms as ASCII; one code point for each, so offsets stay.

    Markers of an earlier pass become `<`, line ends, `>`: the words in them (`phone`, `ip`) must announce nothing, and
    a label does not reach across one.
    """
    if not text.isascii() and _HAS_FORM.search(text):
        text = text.translate(_TO_ASCII)
    return _MARKER.sub(_blank, text) if "-pii" in text else text


def words_before(window: str, start: int) -> str | None:
    """The words right before a value, up to 48 characters on its line without another number; None if there are none.

    Lower case, ASCII punctuation as single spaces and one space in front, so that a label is found at a word's start
    by a space: ` tel` is in ` tel mobil ` and not in ` hotel `.
    """
    before = _BEFORE.search(window, max(0, start - 48), start)
    return None if before is None else " " + _PUNCTUATION.sub(" ", before[0].lower())


def label_pattern(labels: Iterable[str]) -> str:
    """RE2 expression over `words_before`. `_` ends a word; scripts written without spaces match anywhere."""
    return "|".join(f"{' ' if label < _UNSPACED else ''}{label.replace('_', '(?: |$)')}" for label in labels)


def label_gate(labels: Iterable[str]) -> str:
    """RE2 expression over any text, case-insensitive, that matches wherever `label_pattern` might: spaces are loose."""
    return "|".join(
        (r"\b" if label[0].isascii() else "")
        + label.replace("_", "(?:[^a-z]|$)").replace(" ?", r"\W{0,3}").replace(" ", r"\W{1,3}")
        for label in labels
    )


_BEFORE = re.compile(r"[^0-9\n]{1,48}\Z")
_PUNCTUATION = re.compile(
    r"[^0-9a-z\x80-\U0010ffff]+|[№º°]+|(?<=[\u0900-\u1cff\u2e80-\U0010ffff])(?=[a-z\u0370-\u05ff])"
)
_UNSPACED = "\u0900"  # Devanagari and everything after it in Unicode: Thai, Georgian, Chinese, ...


_MARKER = re.compile(r"<[a-z]{2,11}-pii(?::[a-p]{16})?>")


def _blank(marker: re.Match[str]) -> str:
    return "<" + "\n" * (len(marker[0]) - 2) + ">"


class CharacterMap(dict[int, str]):
    """A table for `str.translate` that learns what maps to itself: a missing key costs an exception there."""

    def __missing__(self, code: int) -> str:
        character = self[code] = chr(code)
        return character


def _ascii_forms() -> CharacterMap:
    forms = CharacterMap()
    for code in range(128, 0x20000):
        character = chr(code)
        category = unicodedata.category(character)
        if category == "Nd":
            forms[code] = str(unicodedata.digit(character))
        elif category == "Zs":
            forms[code] = " "
        elif category == "Pd" or character == "\N{MINUS SIGN}":
            forms[code] = "-"
        elif 0xFF01 <= code <= 0xFF5E:
            forms[code] = chr(code - 0xFEE0)
    for mark in "‘’‚‛":
        forms[ord(mark)] = "'"
    for mark in "“”„":
        forms[ord(mark)] = '"'
    forms[ord("。")] = "."
    forms[ord("﹒")] = "."
    forms[ord("︰")] = ":"
    return forms


_TO_ASCII = _ascii_forms()
# Looking whether anything maps is four times cheaper than mapping. One range for the upper planes keeps the set small.
_HAS_FORM = re.compile(
    "[" + "".join(re.escape(chr(code)) for code in sorted(_TO_ASCII) if code < 0x10000) + "\U00010000-\U0010ffff]"
)
