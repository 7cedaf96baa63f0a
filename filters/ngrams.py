"""Hashed n-gram scoring of whole documents in vectorised numpy: the arithmetic under the embedded toxicity model.

Text becomes an array of folded code points (case, diacritics, width and digits folded by one table look-up). Character
n-grams stay within a word, so that all a word adds is a function of the word alone: it is computed once and remembered
(nine of ten words of a page were seen before), and what is left to do per occurrence is one look-up for the word and
one for each word group it starts. That is 40 Mchar/s on one core, where hashing every n-gram of every position in the
same numpy made 17, and fastText with character n-grams makes 2. Text without spaces (Han, kana, Thai) and words of
more than 24 letters (addresses, base64) are hashed position by position, as there is nothing to remember.

Everything up to the window sum is integer arithmetic, so a document's score cannot depend on its batch neighbours, and
the folding table is stored in the model file, so it cannot depend on the Unicode version of the interpreter either.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

SEPARATOR = 0  # folded code of whitespace and of most punctuation
DROPPED = 1  # folded code of characters that vanish: combining diacritics, zero-width characters
ORDERS = (2, 3, 4, 5)
BITS: dict[int | str, int] = {2: 16, 3: 17, 4: 19, 5: 19, "word": 18, "pair": 19, "skip": 19}  # log2 of table sizes
PIECE = 32_768  # characters handled as one array; a longer document is cut there, so memory stays bounded
GROUP = 262_144  # positions per vectorised step: the arrays of a step stay in the L2 cache
LONG = 24  # letters; a word above it is hashed by position
QUAD = 4  # codes per 64-bit load
MEMO_BITS = 18  # words remembered: 262,144 slots, 2.6 MB

_MULTIPLIER = np.uint32(0x01000193)  # the FNV prime: odd and sparse, and the mix below spreads its result
_MIX = np.uint32(0x9E3779B1)  # 2^32 divided by the golden ratio (Knuth, TAOCP 6.4): multiplicative hashing
_MIX64 = np.uint64(0x9E3779B97F4A7C15)  # the same for 2^64
_SKIP = np.uint32(0x85EBCA6B)  # odd; tells "a _ b" from "a b"
# Bits of a word's codes in its first, second, ... load, by its length; a longer word's are those of the last entry.
_LETTERS = [
    np.array([(1 << 16 * min(max(length - start, 0), QUAD)) - 1 for length in range(LONG + 1)], dtype=np.uint64)
    for start in range(0, LONG, QUAD)
]


class Peak(NamedTuple):
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

    A text is measured as if one separator stood between neighbouring words. A window is `span` neighbouring blocks of
    `block` codes, windows slide by one block, and a word counts in the block it starts in. A window's logit is
    `bias + scale * sum / sqrt(codes + damping)`: the root lets one insult in a longer window still count (mean AUROC
    on held-out comments .82; .80 with the power 0.7, .73 with a plain mean), the damping keeps single words calm.

    Attributes:
        tables: table name (an n-gram order, `word`, `pair` or `skip`) -> int8[2^bits].
        fold: uint16[65536], see `folding_table`.
    """

    tables: dict[int | str, np.ndarray]
    fold: np.ndarray
    bias: float
    scale: float
    damping: float
    block: int
    span: int
    # Remembers only what the tables say about a word, so it is no part of the model's identity.
    memo: Memo = field(default_factory=lambda: Memo(), compare=False, repr=False)

    @property
    def shift(self) -> int:
        """Logarithm of `block`, which is a power of two: a shift is far cheaper than a division."""
        return self.block.bit_length() - 1

    @classmethod
    def load(cls, path: Path) -> NgramModel:
        """Read a model written by `save`; raises ValueError when the file is not one."""
        try:
            with np.load(path, allow_pickle=False) as file:
                tables: dict[int | str, np.ndarray] = {name: file[f"table_{name}"].astype(np.int8) for name in BITS}
                bias, scale, damping, block, span = file["shape"].tolist()
                fold = file["fold"]
        except (OSError, KeyError, ValueError, EOFError) as error:
            raise ValueError(f"{path}: not an n-gram model written by this program: {error}") from error
        for name, bits in BITS.items():
            if tables[name].shape != (1 << bits,):
                raise ValueError(f"{path}: table {name} has {tables[name].shape} weights instead of {1 << bits}")
        return cls(tables, fold, bias, scale, damping, int(block), int(span))

    def save(self, path: Path) -> None:
        """Write the model; the same model gives the same bytes (no compression, no time stamps)."""
        tables: dict[str, Any] = {f"table_{name}": table for name, table in self.tables.items()}
        shape = np.array([self.bias, self.scale, self.damping, self.block, self.span], dtype=np.float64)
        np.savez(path, fold=self.fold, shape=shape, **tables)

    def peaks(self, texts: Sequence[str]) -> list[Peak]:
        """The highest-scoring window of each text, in order."""
        found: list[Peak | None] = [None] * len(texts)
        for words in folded_words(texts, self.fold):
            for owner, peak in self._peaks(words):
                known = found[owner]
                found[owner] = peak if known is None else _merged(known, peak)
        return [peak or Peak(-math.inf, 0, 0, 0) for peak in found]

    def _peaks(self, words: Words) -> Iterator[tuple[int, Peak]]:
        """Owner and highest window of each piece that holds a word."""
        present = np.flatnonzero(np.diff(words.firsts))
        if not len(present):
            return
        lengths = words.measures[present]
        blocks = -(-lengths // self.block)
        bases = np.concatenate([[0], np.cumsum(blocks)])
        total = np.concatenate([[0], np.cumsum(self._block_sums(words, present, bases))])
        # Every piece gets as many windows as blocks; those that begin too late are masked by a very small logit.
        piece = np.repeat(np.arange(len(present)), blocks)
        index = np.arange(len(piece))
        inside = index - bases[piece]
        stop = np.minimum(index + self.span, bases[piece + 1])
        codes = np.minimum((inside + self.span) * self.block, lengths[piece]) - inside * self.block
        windows = np.maximum(blocks - self.span + 1, 1)
        logits = self.bias + self.scale * (total[stop] - total[index]) / np.sqrt(codes + self.damping)
        logits[inside >= windows[piece]] = -np.inf
        highest = np.maximum.reduceat(logits, bases[:-1])
        where = np.flatnonzero(logits == highest[piece])
        best = where[np.unique(piece[where], return_index=True)[1]]
        begins = inside[best] * self.block
        ends = np.minimum(begins + self.span * self.block, lengths) - 1
        starts = words.offsets(present, begins)
        stops = np.maximum(words.offsets(present, ends), starts) + 1
        owners = words.owners[present]
        columns = (column.tolist() for column in (owners, highest, starts, stops, windows))
        for owner, logit, start, end, count in zip(*columns, strict=True):
            yield owner, Peak(logit, start, end, count)

    def _block_sums(self, words: Words, present: np.ndarray, bases: np.ndarray) -> np.ndarray:
        """int64[blocks], sum of the weights of all n-grams, words and word groups by the block they start in."""
        weights = np.zeros(len(words.begins), dtype=np.int32)
        some_long = words.long.any()
        short = np.flatnonzero(~words.long) if some_long else slice(None)
        weights[short] = self._word_sums(words, short)
        for name, rows, crossing in words.groups():
            taken = self.tables[name].take(rows, mode="clip")  # clip: no row is too large, and unchecked is faster
            taken[crossing] = 0
            weights[: len(taken)] += taken
        base = np.repeat(bases[:-1], np.diff(words.firsts)[present])
        sums = np.bincount(base + (words.places >> self.shift), weights, minlength=int(bases[-1]))
        if some_long:
            which = np.flatnonzero(words.long)
            sizes = words.lengths[which] + 1
            codes, firsts = spelled(words, which)
            place = np.arange(len(codes)) + np.repeat(words.places[which] - firsts - 1, sizes)
            block = np.repeat(base[which], sizes) + (np.maximum(place, 0) >> self.shift)
            sums += np.bincount(block, self._ngram_weights(codes), minlength=int(bases[-1]))
        return sums.astype(np.int64)  # sums of whole numbers far below 2^53: exact

    def _word_sums(self, words: Words, short: np.ndarray | slice) -> np.ndarray:
        """int16[...], for each short word the weights of its n-grams and its own; new words enter the memo."""
        keys = words.keys[short]
        known, values = self.memo.get(keys)
        if not known.all():
            missing = np.flatnonzero(~known)
            codes, firsts = spelled(words, missing if isinstance(short, slice) else short[missing])
            sums = np.add.reduceat(self._ngram_weights(codes), firsts)
            sums += self.tables["word"].take(word_rows(keys[missing]))
            self.memo.put(keys[missing], sums)
            values[missing] = sums
        return values

    def _ngram_weights(self, codes: np.ndarray) -> np.ndarray:
        """int16[M], sum of the weights of the n-grams that start at each code of some words as `spelled`."""
        weights = np.zeros(len(codes), dtype=np.int16)
        for order, rows, valid in ngrams(codes):
            taken = self.tables[order].take(rows, mode="clip")
            taken *= valid
            weights[: len(taken)] += taken
        return weights


class Memo:
    """What short words add, by their 64-bit key: one slot per key, the newest word stays.

    The sums are functions of the words alone, so that what is remembered never shows in a score.
    """

    def __init__(self) -> None:
        self.keys = np.zeros(1 << MEMO_BITS, dtype=np.uint64)
        self.sums = np.zeros(1 << MEMO_BITS, dtype=np.int16)  # 24 letters reach 4 * 25 * 127 at most

    def get(self, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        slots = _slot(keys)
        return self.keys.take(slots) == keys, self.sums.take(slots)

    def put(self, keys: np.ndarray, sums: np.ndarray) -> None:
        slots = _slot(keys)
        self.keys[slots] = keys  # of two keys for one slot numpy leaves the last, here and in the next line
        self.sums[slots] = sums

    def __reduce__(self) -> tuple[type[Memo], tuple[()]]:
        return Memo, ()


def _slot(keys: np.ndarray) -> np.ndarray:
    return (keys >> np.uint64(64 - MEMO_BITS)).astype(np.int64)


def _merged(one: Peak, other: Peak) -> Peak:
    best = one if one.logit >= other.logit else other
    return Peak(best.logit, best.start, best.end, one.windows + other.windows)


@dataclass(frozen=True)
class Words:
    """The words of some pieces of text, laid end to end.

    Attributes:
        codes: uint16[N], folded code points of all pieces, a separator before each, and some at the end.
        vanished: int64[...], places in the joined text of characters that became no code.
        owners, pieces: int64[P], index of each piece's document, and the piece's offset in it.
        starts: int64[P], place of each piece in the joined text.
        firsts: int64[P + 1], index of each piece's first word.
        begins, lengths: int64[W], position of each word in `codes` and its number of codes.
        places: int64[W], where the word would begin in its piece if single separators stood around every word.
        measures: int64[P], length of each piece counted in that way, 0 without words.
        long: bool[W], words that are hashed by position.
        keys: uint64[W], a hash of each word's codes; 0 for long ones.
    """

    codes: np.ndarray
    vanished: np.ndarray
    owners: np.ndarray
    pieces: np.ndarray
    starts: np.ndarray
    firsts: np.ndarray
    begins: np.ndarray
    lengths: np.ndarray
    places: np.ndarray
    measures: np.ndarray
    long: np.ndarray
    keys: np.ndarray

    def offsets(self, pieces: np.ndarray, places: np.ndarray) -> np.ndarray:
        """int64[...], code point offset in its document of a place (as in `places`) in each of these pieces."""
        bases = np.cumsum(self.measures) - self.measures
        ordered = self.places + np.repeat(bases, np.diff(self.firsts))  # one piece after the other
        word = np.searchsorted(ordered, places + bases[pieces], side="right") - 1
        word = np.maximum(word, self.firsts[pieces])
        inside = np.clip(places - self.places[word], 0, self.lengths[word] - 1)
        position = self.begins[word] + inside
        # Each vanished character moves all codes after it by one: `earlier` is where a code would be the first moved.
        earlier = self.vanished - np.arange(len(self.vanished))
        position += np.searchsorted(earlier, position, side="right")
        return position - self.starts[pieces] + self.pieces[pieces]

    def groups(self) -> Iterator[tuple[int | str, np.ndarray, np.ndarray]]:
        """Table name, row of the word group that starts at each word, and the words whose group leaves their piece.

        Groups are neighbouring words (`pair`), and words with one between them (`skip`).
        """
        hashes = word_hashes(self.keys)
        for name, distance, mixer in (("pair", 1, _MULTIPLIER), ("skip", 2, _SKIP)):
            if len(hashes) > distance:
                crossing = np.concatenate([self.firsts[1:] - back for back in range(1, distance + 1)])
                crossing = crossing[(crossing >= 0) & (crossing < len(hashes) - distance)]
                yield name, _row(hashes[:-distance] * mixer ^ hashes[distance:], BITS[name]), crossing


def folded_words(texts: Sequence[str], fold: np.ndarray) -> Iterator[Words]:
    """Fold the texts and cut them into words, in groups of about `GROUP` codes; a document may spread over several."""
    pieces: list[tuple[int, int, str]] = []
    held = 0
    for owner, text in enumerate(texts):
        for offset in range(0, max(len(text), 1), PIECE):
            piece = text if len(text) <= PIECE else text[offset : offset + PIECE]
            pieces.append((owner, offset, piece))
            held += len(piece)
            if held >= GROUP:
                yield _words(pieces, fold)
                pieces, held = [], 0
    if pieces:
        yield _words(pieces, fold)


def _words(pieces: Sequence[tuple[int, int, str]], fold: np.ndarray) -> Words:
    owners, offsets, texts = zip(*pieces, strict=True)
    sizes = np.array([len(text) for text in texts]) + 1
    starts = np.cumsum(sizes) - sizes + 1
    codes, vanished = folded("\n" + "\n".join(texts), fold)
    letters = codes != SEPARATOR
    edges = np.flatnonzero(letters[1:] != letters[:-1]) + 1  # separators stand first and last
    begins, ends = edges[::2], edges[1::2]
    lengths = ends - begins
    opened = starts - np.searchsorted(vanished, starts)
    firsts = np.concatenate([np.searchsorted(begins, opened), [len(begins)]])
    before = np.concatenate([[0], np.cumsum(lengths + 1)])
    counts = np.diff(firsts)
    measures = before[firsts[1:]] - before[firsts[:-1]]
    measures += measures > 0  # the separator before the first word
    places = before[:-1] - np.repeat(before[firsts[:-1]], counts) + 1
    long = (lengths > LONG) | unspaced(codes[begins])
    keys = _keys(codes, begins, lengths, long)
    return Words(
        codes,
        vanished,
        np.array(owners),
        np.array(offsets),
        starts,
        firsts,
        begins,
        lengths,
        places,
        measures,
        long,
        keys,
    )


def folded(text: str, fold: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Folded codes (uint16) of a text, with some separators after it, and the offsets of the characters that vanished.

    A run of one letter or mark keeps two ("sooooo" and "soo" are the same word); a run of digits stays, for years would
    make every page take the slow path.
    """
    points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")
    if points.max() > 0xFFFF:
        # Planes above the first (emoji, rare Han) fold into the private use area, which text does not use.
        points = np.where(points > 0xFFFF, 0xE000 + points % 0x1800, points)
    size = len(points)
    codes = np.zeros(size + LONG + QUAD, dtype=np.uint16)
    fold.take(points, out=codes[:size], mode="clip")  # clip: no index is too large, and without checks it is faster
    gone = codes == DROPPED
    repeated = (codes[2:] == codes[1:-1]) & (codes[1:-1] == codes[:-2])
    gone[2:] |= repeated & (codes[2:] != SEPARATOR) & (codes[2:] != ord("0"))
    vanished = np.flatnonzero(gone)
    return (codes[~gone] if len(vanished) else codes), vanished


def unspaced(codes: np.ndarray) -> np.ndarray:
    """Whether a word that begins with this code is text without spaces: Thai to Khmer, kana, Han."""
    southeast = (codes >= 0x0E00) & (codes < 0x1100) | (codes >= 0x1780) & (codes < 0x1800)
    return southeast | (codes >= 0x2E80) & (codes < 0xA000) | (codes >= 0xF900) & (codes < 0xFB00)


def _keys(codes: np.ndarray, begins: np.ndarray, lengths: np.ndarray, long: np.ndarray) -> np.ndarray:
    """64-bit hashes of short words, four codes at a time by unaligned loads (codes are little-endian uint16)."""
    quads: np.ndarray = np.ndarray(
        (len(codes) - QUAD,), dtype="<u8", buffer=np.asarray(codes, "<u2").data, strides=(2,)
    )
    keys = quads.take(begins)
    keys &= _LETTERS[0].take(lengths, mode="clip")
    more = np.flatnonzero(lengths > QUAD)
    begin, length, hashed = begins[more], lengths[more], keys[more]
    for number in range(1, len(_LETTERS)):
        begin += QUAD
        hashed *= _MIX64
        hashed ^= hashed >> np.uint64(31)
        hashed += quads.take(begin, mode="clip") & _LETTERS[number].take(length, mode="clip")
        if number == 1:  # words of up to eight letters, the most, are done
            keys[more] = hashed
            rest = np.flatnonzero(length > 2 * QUAD)
            more, begin, length, hashed = more[rest], begin[rest], length[rest], hashed[rest]
    keys[more] = hashed
    keys *= _MIX64
    keys ^= keys >> np.uint64(32)
    keys *= _MIX64  # the memo's slot is taken from the upper bits
    keys[keys == 0] = 1
    keys[long] = 0
    return keys


def word_hashes(keys: np.ndarray) -> np.ndarray:
    """uint32 of each key, for the rows of words and word groups."""
    return (keys >> np.uint64(32)).astype(np.uint32)


def word_rows(keys: np.ndarray) -> np.ndarray:
    """Rows of the table `word`."""
    return _row(word_hashes(keys), BITS["word"])


def spelled(words: Words, which: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """uint32[M] codes of the words at these indices, a separator before each; int64[...] places of the separators."""
    sizes = words.lengths[which] + 1
    firsts = np.cumsum(sizes) - sizes
    index = np.arange(int(sizes.sum())) + np.repeat(words.begins[which] - firsts - 1, sizes)
    return words.codes.take(index).astype(np.uint32), firsts


def ngrams(codes: np.ndarray) -> Iterator[tuple[int | str, np.ndarray, np.ndarray]]:
    """Order, table row of the n-gram that starts at each code, and whether it stays in one word.

    The separators that frame a word belong to it. Arrays end where no n-gram of the order starts any more; a separator
    is thought of after the last code.
    """
    padded = np.append(codes, np.uint32(SEPARATOR))
    letters = padded != SEPARATOR
    hashed = padded.copy()
    valid = np.ones(len(codes), dtype=bool)
    for order in range(2, max(ORDERS) + 1):
        count = len(padded) - order + 1
        if count <= 0:
            return
        hashed = hashed[:count] * _MULTIPLIER
        hashed += padded[order - 1 :]
        valid = valid[:count]
        if order > 2:
            valid &= letters[order - 2 : order - 2 + count]
        if order in BITS:
            yield order, _row(hashed, BITS[order]), valid


def _row(hashed: np.ndarray, bits: int) -> np.ndarray:
    mixed = hashed ^ (hashed >> np.uint32(15))
    mixed *= _MIX
    mixed >>= np.uint32(32 - bits)
    return mixed.astype(np.int64)


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
