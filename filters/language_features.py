"""What the language model reads of a text: its words, and the n-grams of the words that no list knows.

Text is folded (lower case, presentation forms, no vowel points, digits and marks to one separator) and cut into words.
A word is looked up as a whole; only where the model does not know it, its character 3- and 4-grams speak, as in HeLI
(Jauhiainen et al. 2016). Words are the unit because two thirds of the languages are known by word lists alone, in which
the order of words means nothing; and a word that is known leaves its n-grams unread, which saves three quarters of the
work. Han and kana have no spaces: there a character and each pair of neighbours stand for the n-grams.

Everything is vectorised over a batch; keys are 32-bit hashes, alike wherever a word stands. Measured costs are in
`tests/bench/LOG.md`.
"""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

SEPARATOR, DROPPED = 0, 1
APOSTROPHE = ord("'")
WORD, TRIGRAM, TETRAGRAM, CHARACTER, PAIR = range(1, 6)  # what a key is of: different salts of one hash
_PADDING = 2  # separators after each text, so that nothing reaches into the next
_HAN, _HAN_END = 0x2E80, 0xA000  # characters that are worth a word: Han and kana
_MULTIPLIER = np.uint32(0x01000193)
_MIX = np.uint32(0x9E3779B1)
_WORD_BASE = 0x9E3779B97F4A7C15
_APOSTROPHES = "'\u2018\u2019\u02bc\u02bb\u02b9\u0060\u00b4\ua78c\u2032\uff07"
# Vowel points and cantillation of Hebrew, tatweel and vowel signs of Arabic: scripture has them, the web does not.
_POINTS = {*range(0x0591, 0x05BE), 0x05BF, 0x05C1, 0x05C2, 0x05C4, 0x05C5, 0x05C7, 0x0640}
_POINTS |= {*range(0x064B, 0x0653), 0x0670}


@dataclass(frozen=True)
class Words:
    """The words of texts laid end to end.

    Attributes:
        codes: uint32[N], folded code points; a separator stands first and after each text.
        begins, stops: int64[W], where each word begins and ends in `codes`.
        owners: int64[W], number of the text each word is in.
    """

    codes: np.ndarray
    begins: np.ndarray
    stops: np.ndarray
    owners: np.ndarray


def joined_points(texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Code points of texts laid end to end, uint32[N], and the length of each, int64[T]."""
    points = np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    return points, np.fromiter(map(len, texts), dtype=np.int64, count=len(texts))


def words_of(points: np.ndarray, lengths: np.ndarray, fold: np.ndarray) -> Words:
    """Folded words of texts laid end to end.

    Args:
        points: uint32[N], code points of all texts.
        lengths: int64[T], number of code points of each text.
        fold: uint16[65536], see `folding_table`.
    """
    count = len(lengths)
    codes = np.zeros(len(points) + 1 + _PADDING * count, dtype=np.uint32)
    stops = np.cumsum(lengths)
    ends = stops + 1 + _PADDING * np.arange(1, count + 1)
    folded = fold.take(points, mode="clip").astype(np.uint32)
    if len(points) and points.max() > 0xFFFF:
        _fold_beyond(points, folded)
    start = 0
    for number, stop in enumerate(stops.tolist()):
        place = 1 + start + _PADDING * number
        codes[place : place + stop - start] = folded[start:stop]
        start = stop
    dropped = codes == DROPPED
    if dropped.any():
        ends -= np.cumsum(dropped)[ends - 1]
        codes = codes[~dropped]
    quotes = np.flatnonzero(codes == APOSTROPHE)
    if len(quotes):  # within a word a letter; at its edge, or in a row, a quotation mark
        edge = (codes[quotes - 1] <= APOSTROPHE) | (codes[quotes + 1] <= APOSTROPHE)
        codes[quotes[edge]] = SEPARATOR
    letters = codes != SEPARATOR
    edges = np.flatnonzero(letters[1:] != letters[:-1]) + 1
    begins = edges[::2]
    return Words(codes, begins, edges[1::2], np.searchsorted(ends, begins, side="right"))


def word_keys(words: Words) -> np.ndarray:
    """uint32[W]: a difference of prefix sums of code * base^place, moved back to place 0, exact modulo 2^64."""
    powers, inverses = _powers(1 << max(16, len(words.codes).bit_length()))
    prefix = np.zeros(len(words.codes) + 1, dtype=np.uint64)
    np.cumsum(words.codes * powers[: len(words.codes)], dtype=np.uint64, out=prefix[1:])
    sums = (prefix[words.stops] - prefix[words.begins]) * inverses[words.begins]
    return _key((sums ^ (sums >> np.uint64(29))).astype(np.uint32), WORD)


def gram_keys(words: Words, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Keys of the n-grams of some words, framed by a separator on both sides, and the index of the word of each.

    Args:
        words: all words.
        chosen: int64[C], which of them.
    """
    begins = words.begins[chosen] - 1
    sizes = words.stops[chosen] + 1 - begins
    return window_keys(words.codes[ragged(begins, sizes)], np.repeat(chosen, sizes), sizes)


def window_keys(codes: np.ndarray, number: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Keys of the n-grams inside pieces laid end to end, and the piece's number for each.

    Args:
        codes: uint32[N], folded code points, separators only at the edges of pieces.
        number: int64[N], what to report for each code.
        sizes: int64[P], sizes of the pieces.
    """
    if len(codes) < 4:
        codes, number = np.append(codes, np.zeros(3, np.uint32)), np.append(number, np.zeros(3, np.int64))
        sizes = np.append(sizes, 3)
    room = np.repeat(np.cumsum(sizes), sizes) - np.arange(len(codes))  # codes from here to the piece's end
    pairs = codes[:-1] * _MULTIPLIER + codes[1:]
    trigrams = pairs[:-1] * _MULTIPLIER + codes[2:]
    tetragrams = trigrams[:-1] * _MULTIPLIER + codes[3:]
    fits_3, fits_4 = room[:-2] >= 3, room[:-3] >= 4
    han = (codes >= _HAN) & (codes < _HAN_END)
    keys, owners = [], []
    if han.any():
        touched = han[:-2] | (han[1:-1] & (codes[:-2] == SEPARATOR))
        fits_3 &= ~touched
        fits_4 &= ~touched[:-1]
        places = np.flatnonzero(han)
        keys.append(_key(codes[places], CHARACTER))
        owners.append(number[places])
        places = places[(room[places] > 1) & (codes[np.minimum(places + 1, len(codes) - 1)] != SEPARATOR)]
        keys.append(_key(pairs[places], PAIR))
        owners.append(number[places])
    keys += [_key(trigrams[fits_3], TRIGRAM), _key(tetragrams[fits_4], TETRAGRAM)]
    owners += [number[:-2][fits_3], number[:-3][fits_4]]
    return np.concatenate(keys), np.concatenate(owners)


def ragged(starts: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Concatenated ranges `starts[i] .. starts[i] + sizes[i]`."""
    ends = np.cumsum(sizes)
    total = int(ends[-1]) if len(ends) else 0
    return np.arange(total) + np.repeat(starts - ends + sizes, sizes)


def folding_table() -> np.ndarray:
    """uint16[65536]: what each character of the first plane becomes. Made once, when a model is trained."""
    table = np.zeros(0x10000, dtype=np.uint16)
    for point in range(0x10000):
        character = chr(point)
        category = unicodedata.category(character)
        if character in _APOSTROPHES:
            table[point] = APOSTROPHE
        elif category == "Cf" or point in _POINTS:
            table[point] = DROPPED
        elif category[0] in "LM":
            presentation = 0xFB00 <= point < 0xFFF0  # Arabic and Hebrew presentation forms, full width
            lower = (unicodedata.normalize("NFKC", character) if presentation else character).lower()[:1]
            table[point] = ord(lower) if 1 < ord(lower) < 0x10000 else point
    return table


def _fold_beyond(points: np.ndarray, folded: np.ndarray) -> None:
    """Letters beyond the first plane (Adlam, Gothic, rare Han) stand for themselves; emoji and mathematical letters are
    separators, as everything beyond the first plane is in the table."""
    places = np.flatnonzero(points > 0xFFFF)
    high = points[places]
    letters = (high < 0x1D000) | ((high >= 0x1E000) & (high < 0x1EE00)) | ((high >= 0x20000) & (high < 0x33480))
    capitals = (high >= 0x1E900) & (high < 0x1E922)  # of Adlam
    folded[places[letters]] = (high + 34 * capitals)[letters]


def _key(hashed: np.ndarray, kind: int) -> np.ndarray:
    mixed = (hashed + np.uint32(kind * 0x3C6EF372 & 0xFFFFFFFF)) * _MIX
    mixed ^= mixed >> np.uint32(15)
    mixed *= _MIX
    mixed ^= mixed >> np.uint32(13)
    return mixed


@functools.lru_cache(maxsize=4)
def _powers(size: int) -> tuple[np.ndarray, np.ndarray]:
    """base^i and base^-i modulo 2^64 for i < size."""
    factors = np.full((2, size), _WORD_BASE, dtype=np.uint64)
    factors[1] = pow(_WORD_BASE, -1, 1 << 64)
    factors[:, 0] = 1
    base, inverse = np.cumprod(factors, axis=1, dtype=np.uint64)
    return base, inverse
