"""Goldfish masks that near-duplicates share: the hash sees normalised words, not token ids.

The Apertus report (arXiv 2509.14233, section 5.4.2) names the main failure of Goldfish loss: the same passage in other
line breaks or another tokenisation has other token windows, so each copy hides other tokens and together they reveal
all. Here a text is cut into words, each word is folded (compatibility forms, case, Unicode composition), and the window
of h words that ends with a word decides about it by the same hash as `train.goldfish.keep_mask`. White space, line
breaks, punctuation and invisible characters decide nothing. A dropped word takes with it every token that has a letter
of it, and the separators that follow it, so the rate over tokens is one in k too.

A word is a run of letters, digits and marks. A hyphen or apostrophe between two letters does not end it, nor does a
line break after a hyphen: no reader can tell `well-↵known` from `exam-↵ple`, so both are one word, wherever the line
breaks. Scripts that write without spaces (Han, kana, Thai, Lao, Khmer, Burmese) have each letter as a word, since a
line may break anywhere in them; so has a symbol (emoji, operators). One word that differs changes the h windows that
see it, as a differing token does in the other variants.

Everything is a table over code points and array operations, since a regular expression and `unicodedata` per word take
0.5 microseconds a character. It runs once per corpus, when its tokens are cached. Measured
(`tests/bench/bench_goldfish.py`): 3.4 M tokens per CPU-second on a busy core, where tokenizing the same text makes
0.5 M; copies in other line breaks, spacing and case hide the same words in six languages, where the published mask
shows 22-70 % of the hidden words in the other copy. A token that holds several words of an unspaced script is dropped
with any of them, so there the rate exceeds 1/k (3.4 % instead of 2 % for Japanese with a tokenizer of long tokens).

Shapes: P code points, W words, N tokens.
"""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import regex
from numpy.typing import NDArray

from train.goldfish import finalise, keep_symbols
from train.shuffle import mix

_SEPARATOR, _LETTER, _ALONE, _EXTENDER, _JOINT, _SPACE, _LINE_BREAK = range(7)

_UNSPACED = regex.compile(r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]")
_JOINTS = "-\u2010\u2011\u00ad'\u2018\u2019\u02bc"  # hyphens, the soft one too, and apostrophes
_VOICING = "\uff9e\uff9f"  # marks of halfwidth kana, letters to Unicode
_LINE_BREAKS = "\n\r\v\f\x85\u2028\u2029"
_BASE = np.uint64(0xD6E8FEB86659FD93)  # odd, and not the base of the windows, else words would run into each other
_GROUP = 1 << 17  # code points cut at once: arrays that stay in a core's caches, and few calls
_LONGEST = 1 << 16  # powers start anew after so many letters of a word


@dataclass(frozen=True, slots=True)
class Words:
    """The words of a text.

    Attributes:
        starts, ends: code points [W], ascending; marks belong to the letter before them.
        hashes: of each word as folded, 64 bits [W].
    """

    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    hashes: NDArray[np.uint64]


def find_words(text: str) -> Words:
    """Cut a text into words and hash each; equal hashes mean equal words, differing only in what folding takes away."""
    table = _characters()
    # lone surrogates do not come out of Parquet, but a caller's string may hold them
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    kinds = table.kinds[codes]
    visible = np.flatnonzero(kinds != _EXTENDER)
    begins, stops = _cut(kinds[visible])
    starts = visible[begins]
    ends = np.append(visible, len(codes))[stops]
    return Words(starts, ends, _hash_words(codes, kinds, starts, ends))


def dropped_tokens(
    texts: Sequence[str], offsets: Sequence[Sequence[tuple[int, int]]], k: int, h: int
) -> list[NDArray[np.bool_]]:  # [N] each
    """True for each token of each text that is left out of the loss.

    Args:
        texts: whole documents.
        offsets: code points [start, end) of each document's tokens, as `tokenizers` gives them.
        k: one word in k is dropped.
        h: words of a window, the decided one included.

    Raises:
        ValueError: k or h below 1.
    """
    if k < 1 or h < 1:
        raise ValueError(f"goldfish needs k >= 1 and h >= 1, not k={k}, h={h}")
    masks: list[NDArray[np.bool_]] = []
    group, size = 0, 0
    for number, text in enumerate(texts):
        size += len(text)
        if size >= _GROUP or number + 1 == len(texts):
            masks += _dropped_in_group(texts[group : number + 1], offsets[group : number + 1], k, h)
            group, size = number + 1, 0
    return masks


def _dropped_in_group(texts: Sequence[str], offsets: Sequence[Any], k: int, h: int) -> list[NDArray[np.bool_]]:
    words = find_words("\0".join(texts))  # no word contains a NUL
    bounds = np.cumsum([0] + [len(text) + 1 for text in texts])
    documents = np.searchsorted(bounds, words.starts, side="right")
    dropped = ~keep_symbols(words.hashes[None], k, h, documents[None])[0]
    counts = [len(document) for document in offsets]
    spans = np.concatenate([np.array(document, dtype=np.int64).reshape(-1, 2) for document in offsets])
    spans += np.repeat(bounds[:-1], counts)[:, None]
    first_word = np.searchsorted(documents, np.arange(1, len(texts) + 1))
    return np.split(_masked(words, dropped, spans, np.repeat(first_word, counts)), np.cumsum(counts)[:-1])


def _masked(words: Words, dropped: NDArray[np.bool_], spans: NDArray, first_word: NDArray) -> NDArray[np.bool_]:
    """Tokens that touch a dropped word, or follow one without touching the next."""
    first = np.searchsorted(words.ends, spans[:, 0], side="right")
    last = np.searchsorted(words.starts, spans[:, 1], side="left") - 1
    count = np.append(0, np.cumsum(dropped))
    follows = (last >= first_word) & np.append(dropped, False)[last]
    touches = first <= last
    return np.where(touches, count[last + 1] > count[np.where(touches, first, 0)], follows)


def _cut(kinds: NDArray[np.uint8]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First letters of words, and what follows their last ones, as places among visible characters."""
    cores = np.flatnonzero((kinds == _LETTER) | (kinds == _ALONE))
    if not len(cores):
        return cores, cores
    before, after = cores[:-1], cores[1:]
    gap = after - before - 1
    letters = kinds[cores] == _LETTER
    joint = kinds[before + 1] == _JOINT
    joined = (gap == 0) | ((gap == 1) & joint)
    broken = np.flatnonzero((gap > 1) & joint)  # a joint with more after it: words only where a line break is in it
    for place in broken:
        between = kinds[before[place] + 2 : after[place]]
        joined[place] = ((between == _SPACE) | (between == _LINE_BREAK)).all() and (between == _LINE_BREAK).any()
    joined &= letters[:-1] & letters[1:]
    return cores[np.append(True, ~joined)], cores[np.append(~joined, True)] + 1


def _hash_words(codes: NDArray, kinds: NDArray, starts: NDArray, ends: NDArray) -> NDArray[np.uint64]:
    """Polynomial hash of each word's folded letters; a letter's marks share its power, so their order is irrelevant."""
    if not len(starts):
        return np.zeros(0, dtype=np.uint64)
    table = _characters()
    inside = np.zeros(len(codes) + 1, dtype=np.int8)
    inside[starts] += 1
    inside[ends] -= 1  # may be the next word's start
    letters = codes[np.cumsum(inside[:-1], dtype=np.int8).view(bool)]
    folded, lengths = table.folded[letters], table.lengths[letters]
    sizes = ends - starts
    first = np.cumsum(sizes) - sizes  # of each word's letters
    if (lengths != 1).any():
        folded = _expand(letters, folded, lengths)
        first = np.append(0, np.cumsum(lengths, dtype=np.int64))[first]
        sizes = np.diff(first, append=len(folded))
    is_base = table.bases[folded]
    bases = np.cumsum(is_base, dtype=np.int32)
    place = bases - np.repeat(bases[first], sizes)
    terms = folded.astype(np.uint64)
    terms += np.uint64(1)
    if not is_base.all():
        marks = np.flatnonzero(~is_base)
        terms[marks] = mix(terms[marks])  # else å and î were equal: what they are short of in the letter is in the mark
    terms *= _letter_powers()[place & (_LONGEST - 1)]
    hashes = np.add.reduceat(terms, first)
    finalise(hashes, out=np.empty_like(hashes))
    return hashes


def _expand(letters: NDArray, folded: NDArray, lengths: NDArray) -> NDArray:
    """Folded letters, where some letters fold to several or none."""
    table = _characters()
    expanded = np.repeat(folded, lengths)
    several = np.flatnonzero(lengths > 1)
    counts = lengths[several].astype(np.int64)
    within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    begins = (np.cumsum(lengths, dtype=np.int64) - lengths)[several]
    # `folded` of a letter that folds to several is their place in `sequences`
    expanded[np.repeat(begins, counts) + within] = table.sequences[np.repeat(folded[several], counts) + within]
    return expanded


@dataclass(frozen=True, slots=True)
class _Characters:
    """What is known of each code point.

    Attributes:
        kinds: its part in a word.
        folded: the code point that it folds to; where it folds to several, their place in `sequences`.
        lengths: how many it folds to.
        bases: whether it takes a place of its own in a word; marks do not.
        sequences: what letters fold to that fold to several, one after the other.
    """

    kinds: NDArray[np.uint8]
    folded: NDArray[np.uint32]
    lengths: NDArray[np.uint8]
    bases: NDArray[np.bool_]
    sequences: NDArray[np.uint32]


@functools.lru_cache(maxsize=1)
def _characters() -> _Characters:
    """Made once per process, in about half a second; Python's Unicode version decides about its newest letters."""
    size = 0x110000
    kinds = np.full(size, _SEPARATOR, dtype=np.uint8)
    folded = np.arange(size, dtype=np.uint32)
    lengths = np.ones(size, dtype=np.uint8)
    bases = np.ones(size, dtype=bool)
    sequences: list[int] = []
    assigned = []
    for code in range(size):
        character = chr(code)
        category = unicodedata.category(character)
        if category in ("Cn", "Co", "Cs"):
            continue
        major = category[0]
        if major in "LN":
            kinds[code] = _LETTER
            assigned.append(character)
        elif major == "S":
            kinds[code] = _ALONE
        elif major == "M" or category == "Cf":
            kinds[code] = _EXTENDER
        elif character.isspace():
            kinds[code] = _SPACE
        bases[code] = not unicodedata.combining(character)
        if major in "LNSM":
            # decomposed, since whether characters compose depends on their neighbours
            fold = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", character).casefold())
            lengths[code] = len(fold)
            if len(fold) == 1:
                folded[code] = ord(fold)
            else:
                folded[code] = len(sequences)
                sequences += map(ord, fold)
        else:
            lengths[code] = 0
    for character in _UNSPACED.findall("".join(assigned)):
        kinds[ord(character)] = _ALONE
    for characters, kind in ((_VOICING, _EXTENDER), (_JOINTS, _JOINT), (_LINE_BREAKS, _LINE_BREAK)):
        kinds[[ord(character) for character in characters]] = kind
    lengths[[ord(character) for character in _JOINTS]] = 0
    for am, aa, nikhahit in ((0xE33, 0xE32, 0xE4D), (0xEB3, 0xEB2, 0xECD)):
        # NFKC cuts Thai and Lao sara am in two, of which the mark goes to the letter before: another cut into words
        folded[am], lengths[am], lengths[nikhahit] = aa, 1, 0
    return _Characters(kinds, folded, lengths, bases, np.array(sequences, dtype=np.uint32))


@functools.lru_cache(maxsize=1)
def _letter_powers() -> NDArray[np.uint64]:
    return np.cumprod(np.full(_LONGEST, _BASE, dtype=np.uint64), dtype=np.uint64)
