"""Hashed n-gram scoring of whole documents in vectorised numpy: the arithmetic under the embedded toxicity model.

Text becomes an array of folded code points (case, diacritics, width and digits folded by one table look-up), each
position's character 2- to 5-grams, word and word pair are hashed into small integer weight tables, and a window's score
is the sum of the weights that start in it. fastText with character n-grams does the same work at 2 Mchar/s because
it hashes one n-gram at a time; here a step handles some 64,000 positions at once.

Everything up to the window sum is integer arithmetic, so a document's score cannot depend on its batch neighbours, and
the folding table is stored in the model file, so it cannot depend on the Unicode version of the interpreter either.
"""

from __future__ import annotations

import functools
import math
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

SEPARATOR = 0  # folded code of whitespace and of most punctuation
DROPPED = 1  # folded code of characters that vanish: combining diacritics, zero-width characters
ORDERS = (2, 3, 4, 5)
BITS: dict[int | str, int] = {2: 16, 3: 17, 4: 18, 5: 18, "word": 17, "pair": 18}  # log2 of each table's size
PIECE = 32_768  # characters handled as one array; a longer document is cut there, so memory stays bounded
PADDING = max(ORDERS)  # separators after each piece, so that no n-gram reaches into the next one
GROUP = 65_536  # positions per vectorised step: the arrays of a step stay in the L2 cache

_MULTIPLIER = np.uint32(0x01000193)  # the FNV prime: odd and sparse, and the mix below spreads its result
_MIX = np.uint32(0x9E3779B1)  # 2^32 divided by the golden ratio (Knuth, TAOCP 6.4): multiplicative hashing
_WORD_BASE = 0x100000001B3


@dataclass(frozen=True, slots=True)
class Peak:
    """The highest-scoring window of a document.

    Attributes:
        logit: score of that window, before any correction for the document's length.
        start, end: its code point range in the text.
        windows: number of windows the document had; 0 when it holds nothing but separators.
    """

    logit: float
    start: int
    end: int
    windows: int


@dataclass(frozen=True)
class NgramModel:
    """Integer weight tables and how their window sums become a logit.

    A window is `span` neighbouring blocks of `block` codes, and windows slide by one block. Its logit is
    `bias + scale * sum / sqrt(codes + damping)`: the root lets one insult in a longer window still count (mean AUROC
    on held-out comments .82; .80 with the power 0.7, .73 with a plain mean), the damping keeps single words calm.

    Attributes:
        tables: table name (an n-gram order, `word` or `pair`) -> int16[2^bits].
        fold: uint16[65536], see `folding_table`.
    """

    tables: dict[int | str, np.ndarray]
    fold: np.ndarray
    bias: float
    scale: float
    damping: float
    block: int
    span: int

    @classmethod
    def load(cls, path: Path) -> NgramModel:
        """Read a model written by `save`; raises ValueError when the file is not one."""
        try:
            with np.load(path, allow_pickle=False) as file:
                tables: dict[int | str, np.ndarray] = {name: file[f"table_{name}"].astype(np.int16) for name in BITS}
                bias, scale, damping, block, span = file["shape"].tolist()
                fold = file["fold"]
        except (OSError, KeyError, ValueError, EOFError) as error:
            raise ValueError(f"{path}: not an n-gram model written by this program: {error}") from error
        return cls(tables, fold, bias, scale, damping, int(block), int(span))

    def save(self, path: Path) -> None:
        """Write the model; the same model gives the same bytes (no compression, no time stamps)."""
        tables: dict[str, Any] = {f"table_{name}": table.astype(np.int8) for name, table in self.tables.items()}
        shape = np.array([self.bias, self.scale, self.damping, self.block, self.span], dtype=np.float64)
        np.savez(path, fold=self.fold, shape=shape, **tables)

    def peaks(self, texts: Sequence[str]) -> list[Peak]:
        """The highest-scoring window of each text, in order."""
        found: list[Peak | None] = [None] * len(texts)
        for positions in hashed_positions(texts, self.fold):
            sums = self._sums(positions)
            for start, (owner, offset, piece) in zip(positions.starts.tolist(), positions.pieces, strict=True):
                if len(piece.codes) > 1:  # a lone separator is a text without words
                    found[owner] = _merged(found[owner], self._peak(sums, start, piece, offset))
        return [peak or Peak(-math.inf, 0, 0, 0) for peak in found]

    def _sums(self, positions: Positions) -> np.ndarray:
        """int64[N + 1], running total of the weights of all n-grams that start before each position."""
        weights = np.zeros(len(positions.codes), dtype=np.int16)  # at most 6 tables of int8: no overflow
        for name, (where, rows) in positions.rows.items():
            taken = self.tables[name].take(rows)
            if where is None:
                weights[: len(taken)] += taken
            else:
                weights[where] += taken
        sums = np.zeros(len(weights) + 1, dtype=np.int64)
        np.cumsum(weights, dtype=np.int64, out=sums[1:])
        return sums

    def _peak(self, sums: np.ndarray, start: int, piece: Folded, offset: int) -> Peak:
        length = len(piece.codes)
        width = self.block * self.span
        if length <= width:
            begin, stop, windows = 0, length, 1
            logit = float(self._logit(int(sums[start + length] - sums[start]), length))
        else:
            begins = np.arange(0, length - width + self.block, self.block)
            stops = np.minimum(begins + width, length)
            logits = self._logit(sums[start + stops] - sums[start + begins], stops - begins)
            best = int(logits.argmax())
            begin, stop, windows = int(begins[best]), int(stops[best]), len(begins)
            logit = float(logits[best])
        return Peak(logit, offset + piece.offset(begin), offset + piece.offset(stop - 1) + 1, windows)

    def _logit(self, total, codes):
        return self.bias + self.scale * total / np.sqrt(codes + self.damping)


def _merged(one: Peak | None, other: Peak | None) -> Peak | None:
    if one is None or other is None:
        return one or other
    best = one if one.logit >= other.logit else other
    return Peak(best.logit, best.start, best.end, one.windows + other.windows)


@dataclass(frozen=True, slots=True)
class Folded:
    """A piece of text as folded codes, and what is needed to find a code's place in the text again.

    Attributes:
        codes: uint32[n], folded code points; a separator stands first and last.
        kept: int64[n], place of each code before runs were shortened.
        undropped: offsets of the characters that did not vanish, None when all stayed.
        length: number of characters of the piece.
    """

    codes: np.ndarray
    kept: np.ndarray
    undropped: np.ndarray | None
    length: int

    def offset(self, code: int) -> int:
        """Code point offset in the piece of the code at an index."""
        place = int(self.kept[code]) - 1  # the frame added one separator in front
        count = self.length if self.undropped is None else len(self.undropped)
        place = min(max(place, 0), max(count - 1, 0))
        return place if self.undropped is None or not count else int(self.undropped[place])


@dataclass(frozen=True)
class Positions:
    """Pieces laid end to end, and the table rows each position contributes to.

    Attributes:
        codes: uint32[N], folded code points, separators between pieces.
        pieces: owner (index of the document), offset in the document and folded text of each piece.
        starts: int64[P], first position of each piece.
        rows: table name -> (positions int64[M] or None for all, table rows int64[M]).
    """

    codes: np.ndarray
    pieces: Sequence[tuple[int, int, Folded]]
    starts: np.ndarray
    rows: dict[int | str, tuple[np.ndarray | None, np.ndarray]]


def hashed_positions(texts: Sequence[str], fold: np.ndarray) -> Iterator[Positions]:
    """Fold and hash the texts, in groups of about `GROUP` positions; a document may spread over several groups."""
    pieces: list[tuple[int, int, Folded]] = []
    held = 0
    for owner, text in enumerate(texts):
        for offset in range(0, max(len(text), 1), PIECE):
            piece = folded(text[offset : offset + PIECE], fold)
            pieces.append((owner, offset, piece))
            held += len(piece.codes) + PADDING
            if held >= GROUP:
                yield _hash(pieces)
                pieces, held = [], 0
    if pieces:
        yield _hash(pieces)


def folded(text: str, fold: np.ndarray) -> Folded:
    """Folded codes of a text.

    Runs of separators become one, a run of one character keeps two ("sooooo" and "soo" are the same word), and a
    separator stands before and after, so that word edges look alike everywhere.
    """
    ascii_only = text.isascii()
    if ascii_only:
        points = np.frombuffer(text.encode("ascii"), dtype=np.uint8)
    else:
        points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    if not ascii_only and points.max() > 0xFFFF:
        # Planes above the first (emoji, rare Han) fold into the private use area, which text does not use.
        points = np.where(points > 0xFFFF, 0xE000 + points % 0x1800, points)
    codes = fold.take(points)
    undropped = None
    if not ascii_only and (codes == DROPPED).any():
        undropped = np.flatnonzero(codes != DROPPED)
        codes = codes[undropped]
    framed = np.zeros(len(codes) + 2, dtype=np.uint32)
    framed[1:-1] = codes
    same = framed[1:] == framed[:-1]
    repeated = same & (framed[1:] == SEPARATOR)
    repeated[1:] |= same[1:] & same[:-1]
    kept = np.flatnonzero(np.concatenate([[True], ~repeated]))
    return Folded(framed[kept], kept, undropped, len(text))


def _hash(pieces: Sequence[tuple[int, int, Folded]]) -> Positions:
    lengths = np.array([len(piece.codes) for _, _, piece in pieces])
    starts = np.concatenate([[0], np.cumsum(lengths + PADDING)[:-1]])
    codes = np.zeros(int(starts[-1] + lengths[-1] + PADDING), dtype=np.uint32)
    for start, (_, _, piece) in zip(starts.tolist(), pieces, strict=True):
        codes[start : start + len(piece.codes)] = piece.codes
    rows: dict[int | str, tuple[np.ndarray | None, np.ndarray]] = {}
    hashed = codes.copy()
    for order in range(2, max(ORDERS) + 1):
        hashed[: -(order - 1)] *= _MULTIPLIER
        hashed[: -(order - 1)] += codes[order - 1 :]
        if order in BITS:
            rows[order] = None, _row(hashed, BITS[order])
    rows |= _word_rows(codes)
    return Positions(codes, pieces, starts, rows)


def _word_rows(codes: np.ndarray) -> dict[int | str, tuple[np.ndarray | None, np.ndarray]]:
    """Rows of words and of pairs of neighbouring words, at the position where the (first) word starts."""
    letters = codes != SEPARATOR
    edges = np.flatnonzero(letters[1:] != letters[:-1]) + 1  # every piece starts and ends with a separator
    begins, ends = edges[::2], edges[1::2]
    # A word's hash is a difference of prefix sums of code * base^position, moved back to position 0: with an odd base
    # everything is exact modulo 2^64, so the same word hashes alike wherever it stands.
    powers, inverses = _powers(len(codes))
    prefix = np.concatenate([np.zeros(1, np.uint64), np.cumsum(codes * powers, dtype=np.uint64)])
    words = (prefix[ends] - prefix[begins]) * inverses[begins]
    words = ((words ^ (words >> np.uint64(29))) & np.uint64(0xFFFFFFFF)).astype(np.uint32)
    # Two words are a pair when one separator stands between them; padding between pieces is longer.
    neighbours = begins[1:] - ends[:-1] == 1
    pairs = (words[:-1] * _MULTIPLIER ^ words[1:])[neighbours]
    return {
        "word": (begins, _row(words, BITS["word"])),
        "pair": (begins[:-1][neighbours], _row(pairs, BITS["pair"])),
    }


def _row(hashed: np.ndarray, bits: int) -> np.ndarray:
    mixed = hashed ^ (hashed >> np.uint32(15))
    mixed *= _MIX
    mixed >>= np.uint32(32 - bits)
    return mixed.astype(np.int64)


@functools.cache
def _all_powers() -> tuple[np.ndarray, np.ndarray]:
    size = GROUP + PIECE + 2 * PADDING  # a group closes with the piece that fills it
    factors = np.full((2, size), _WORD_BASE, dtype=np.uint64)
    factors[1] = pow(_WORD_BASE, -1, 1 << 64)
    factors[:, 0] = 1
    base, inverse = np.cumprod(factors, axis=1, dtype=np.uint64)
    return base, inverse


def _powers(length: int) -> tuple[np.ndarray, np.ndarray]:
    """base^i and base^-i modulo 2^64 for i < length."""
    base, inverse = _all_powers()
    return base[:length], inverse[:length]


def folding_table() -> np.ndarray:
    """uint16[65536]: what each character of the first plane becomes. Made once, when a model is trained.

    Letters lose case, width and diacritics (NFKD, first character), digits become `0`, `! ? * @ #` stay because they
    carry insult spelling and tone, every other mark is a separator; combining accents and format characters vanish.
    """
    table = np.zeros(0x10000, dtype=np.uint16)
    for point in range(0x10000):
        character = chr(point)
        if 0xD800 <= point < 0xE000:
            table[point] = SEPARATOR
        elif character in "!?*@#":
            table[point] = point
        elif 0x0300 <= point < 0x0370 or 0x064B <= point < 0x0660 or point == 0x0640:
            table[point] = DROPPED  # Latin, Greek and Cyrillic accents; Arabic vowel signs and tatweel
        else:
            category = unicodedata.category(character)
            base = unicodedata.normalize("NFKD", character).lower()[0]
            if category == "Cf":
                table[point] = DROPPED
            elif category[0] == "N":
                table[point] = ord("0")
            elif 0xAC00 <= point < 0xD7A4:
                table[point] = point  # NFKD would leave only a syllable's first consonant
            elif 0x3040 <= point < 0x3100 or 0x0900 <= point < 0x1000:
                table[point] = point if category[0] in "LM" else SEPARATOR  # voicing and vowel signs carry meaning
            elif category[0] in "LMC" and ord(base) > DROPPED and category not in ("Cc",):
                table[point] = ord(base) if ord(base) < 0x10000 else point
            elif 0xE000 <= point < 0xF900 or category == "So":
                table[point] = point  # folded emoji, dingbats
    return table
