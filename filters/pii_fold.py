"""One alphabet for every script: text as the recognizers read it, and as one byte per character for the scan.

A number is as personal in Tamil digits, and an IBAN as valid with U+3000 between its groups, as in ASCII. So nothing
looks at raw text. `normalise` maps code points one to one (digits of every script, spaces, dashes, full-width forms
become ASCII): offsets never move. `fold` goes further for the prefilter: one byte per code point, those below 128
exactly the ASCII of `normalise`, the others a hash of the lower-case letter. An expression over folded bytes therefore
sees everything that an expression over normalised text sees (a label's letters may be taken for another's, one in 128
each: the recognizer decides), and byte offsets are character offsets. Folding costs 1.6 ms/MB of multilingual pages
where UTF-8 costs 1.1, and what is scanned afterwards is a fifth shorter.
"""

from __future__ import annotations

import re
import unicodedata

import numpy as np


def normalise(text: str) -> str:
    """Digits, spaces, dashes and full-width forms as ASCII; one code point for each, so offsets stay.

    Markers of an earlier pass become `<`, line ends, `>`: the words in them (`phone`, `ip`) must announce nothing, and
    a label does not reach across one.
    """
    if not text.isascii() and _HAS_FORM.search(text):
        text = text.translate(_TO_ASCII)
    return _MARKER.sub(_blank, text) if "-pii" in text else text


def fold(text: str) -> bytes:
    """One byte per code point: ASCII as `normalise` would have it, 128 to 255 for everything else."""
    if text.isascii():
        return text.encode()
    if len(text) > _PIECE:  # the widest form of a piece is four bytes a character
        return b"".join(fold(text[start : start + _PIECE]) for start in range(0, len(text), _PIECE))
    try:
        return text.encode("latin-1").translate(_FOLDED_LATIN)
    except UnicodeEncodeError:
        pass
    raw = text.encode("utf-16-le", "surrogatepass")
    if len(raw) == 2 * len(text):
        return _FOLDED_PLANE.take(np.frombuffer(raw, "<u2")).tobytes()
    return _FOLDED.take(np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")).tobytes()


def folded(expression: str) -> bytes:
    """An RE2 expression over normalised text as one over folded bytes (Latin-1 mode).

    Letters beyond ASCII must stand for themselves, alone or in a class: a range of them has no order after folding.
    """
    return b"".join(
        character.encode() if character.isascii() else b"\\x%02x" % _FOLDED[ord(character)] for character in expression
    )


_PIECE = 4_000_000
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
    for code in range(128, _LAST_FORM):
        category = unicodedata.category(chr(code))
        if category == "Nd":
            forms[code] = str(unicodedata.digit(chr(code)))
        elif category == "Zs":
            forms[code] = " "
        elif category in ("Zl", "Zp"):
            forms[code] = "\n"
        elif category == "Pd":
            forms[code] = "-"
        elif 0xFF01 <= code <= 0xFF5E:
            forms[code] = chr(code - 0xFEE0)
    for ascii_form, others in _OTHER_FORMS.items():
        forms.update((ord(other), ascii_form) for other in others)
    return forms


# No digit, space or dash lies beyond (Unicode 16); a test holds it.
_LAST_FORM = 0x20000
# What Unicode's categories do not say. The last four are letters that differ from ASCII's in capitals only, so that an
# expression without case takes them for those.
_OTHER_FORMS = {
    "-": "\N{MINUS SIGN}", "\n": "\x85", "'": "‘’‚‛", '"': "“”„", ".": "。﹒", ":": "︰", "@": "﹫", "+": "﹢",
    "K": "\N{KELVIN SIGN}", "s": "ſ", "i": "ı", "I": "İ",
}  # fmt: skip
_TO_ASCII = _ascii_forms()
# Looking whether anything maps is four times cheaper than mapping. One range for the upper planes keeps the set small.
_HAS_FORM = re.compile(
    "[" + "".join(re.escape(chr(code)) for code in sorted(_TO_ASCII) if code < 0x10000) + "\U00010000-\U0010ffff]"
)


def _fold_table() -> np.ndarray:
    codes = np.arange(0x110000, dtype=np.uint64)
    table = (0x80 | (codes * np.uint64(2_654_435_761) >> np.uint64(15) & np.uint64(0x7F))).astype(np.uint8)
    table[:128] = codes[:128]
    for code in range(128, _LAST_FORM):
        lower = chr(code).lower()
        if len(lower) == 1 and ord(lower) != code:
            table[code] = table[ord(lower)]
    table[ord("ς")] = table[ord("σ")]
    for code, form in _TO_ASCII.items():
        table[code] = ord(form)
    return table


_FOLDED = _fold_table()
_FOLDED_PLANE = _FOLDED[:0x10000].copy()
_FOLDED_LATIN = _FOLDED[:0x100].tobytes()
